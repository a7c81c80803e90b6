"""Activating jobs, wherever they live: `Wanted` is what one client asks for, over either wire.

A Camunda 8 is asked over the client's own wire, so that the jobs' keys and all their fields are the
engine's; over gRPC its messages stay as they came. Camunda 7 is asked by `fetchAndLock` under the
one worker id that all gateways of a mesh share; numbers for its ids and the types of the variables
are on the disk before the client hears of a job. What is known of it then is `handed`.

Wrong numbers of jobs and lock times are refused here over REST, in 8.6's words; its gRPC takes them
and answers nothing, and so does ours.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

import trio
from google.protobuf.message import DecodeError

from gossamer_gateway import handed
from gossamer_gateway.bridge.jobs import DEFAULT_TENANT, Names8, job_of_task
from gossamer_gateway.camunda8.fields import INT_MAX, Fields, Json
from gossamer_gateway.camunda8.refusals import INVALID_ARGUMENT, Refused
from gossamer_gateway.desk import Desk
from gossamer_gateway.errors import GatewayError
from gossamer_gateway.handed import Handed
from gossamer_gateway.index.sightings import Sighting, of_tasks
from gossamer_gateway.names.numbers import numbers_of
from gossamer_gateway.storage.port import Rows
from gossamer_gateway.upstreams.rpc import call
from gossamer_gateway.upstreams.upstream import Upstream
from gossamer_node.engines.polls import POLL_GRACE_MS
from gossamer_node.engines.zeebe import gateway_pb2 as zeebe
from gossamer_node.errors import EngineUnavailable
from gossamer_node.grpc import Code, RpcError

WAIT_MS_DEFAULT = 10_000
"""A long poll whose client names no time (Zeebe: `longPolling.timeout`)."""

WAIT_MS_MAX = 3_600_000

SOONER_MS = 300
"""By which a long poll ends early: Camunda's Java client over REST waits for its answer no longer
than it asks it to take, and a job that comes with the last of it would be lost."""

JOBS_MAX = 1_000
"""For one client at a time. Whoever wants more is given these and asks again."""

EARLY_MS = 500
"""A pause after an engine answered a long poll at once with nothing, as 8.8's does for tests."""

RELEASE_MS = 1
"""The lock time that gives a job of Camunda 8 back."""

_KNOWN = frozenset(
    ("type", "worker", "timeout", "maxJobsToActivate", "requestTimeout", "fetchVariable")
) | {"tenantIds"}


@dataclass(frozen=True, slots=True)
class Taken:
    """A job in a client's hands.

    Attributes:
        told: as its client is told: JSON, or an `ActivatedJob` that came over gRPC.
        id: at its engine.
        lock: Camunda 7's own word for the end of the lock.
    """

    told: Any
    id: str
    lock: str = ""


def see(desk: Desk, engine: Upstream, taken: Iterable[Taken]) -> None:
    """Jobs of a Camunda 8 tell how far it is, and of their instances."""
    seen = []
    for one in taken:
        desk.noticed(engine, int(one.id))
        if isinstance(one.told, zeebe.ActivatedJob):
            id, process = one.told.processInstanceKey, one.told.bpmnProcessId
        else:
            id, process = one.told.get("processInstanceKey"), one.told.get("processDefinitionId")
        if id and process:
            seen.append(Sighting(engine.name, str(id), str(process)))
    desk.sightings.note(seen)


@dataclass(frozen=True, slots=True)
class Wanted:
    """See `polls.driver.Shape`.

    Attributes:
        more: other fields of the body, as JSON text: for Camunda 8 alone.
        over_grpc: the client's wire.
        stream: of a stream's polls, which engines they ask; empty for all engines.
    """

    desk: Desk = field(compare=False, repr=False)
    type: str
    worker: str
    lock_ms: int
    names: tuple[str, ...]
    tenants: tuple[str, ...]
    more: str = "{}"
    over_grpc: bool = False
    stream: str = ""

    async def poll(self, engine: Upstream, *, jobs_max: int, wait_ms: int) -> Sequence[Taken]:
        if engine.kind == "camunda7":
            return await _fetch_and_lock(self, engine, jobs_max, wait_ms)
        began_s = trio.current_time()
        if self.over_grpc and engine.channel is not None:
            taken = await _activate_by_grpc(self, engine, jobs_max, wait_ms)
        else:
            taken = await _activate_by_rest(self, engine, jobs_max, wait_ms)
        see(self.desk, engine, taken)
        if not taken and (trio.current_time() - began_s) * 2_000 < wait_ms:
            await trio.sleep(min(EARLY_MS, wait_ms) / 1_000)
        return taken

    async def put_back(self, engine: Upstream, jobs: Sequence[Taken]) -> None:
        for job in jobs:
            if engine.kind == "camunda7":
                await _unlock(self.desk, engine, job)
            else:
                await _release(engine, job, over_grpc=self.over_grpc)

    def eights_tenants(self, engine: Upstream) -> list[str]:
        """As a Camunda 8 is asked for them."""
        return list(self.tenants) or ([] if engine.tenant is None else [engine.tenant])


def read_wanted(desk: Desk, body: Fields) -> tuple[Wanted, int, int]:
    """Reads an activation of REST's form.

    Returns: what is wanted, how many at most, and the `requestTimeout`.
    Raises: Refused.
    """
    faults = []
    if not body.text("type").strip():
        faults.append("No type provided.")
    for name in ("timeout", "maxJobsToActivate"):
        value = body.number(name, largest=INT_MAX if name != "timeout" else 2**63 - 1)
        if body.all.get(name) is None:
            faults.append(f"No {name} provided.")
        elif value <= 0:
            faults.append(f"The value for {name} is '{value}' but must be greater than 0.")
    if faults:
        raise Refused(INVALID_ARGUMENT, " ".join(faults))
    more = {name: value for name, value in body.all.items() if name not in _KNOWN}
    wanted = Wanted(
        desk,
        body.text("type"),
        body.text("worker"),
        body.number("timeout"),
        body.texts("fetchVariable"),
        body.texts("tenantIds"),
        json.dumps(more, sort_keys=True),
    )
    return wanted, min(JOBS_MAX, body.number("maxJobsToActivate")), body.number("requestTimeout")


def read_wanted_message(
    desk: Desk, asked: zeebe.ActivateJobsRequest | zeebe.StreamActivatedJobsRequest
) -> Wanted:
    """Reads an activation of gRPC's form."""
    return Wanted(
        desk,
        asked.type,
        asked.worker,
        asked.timeout,
        tuple(asked.fetchVariable),
        tuple(asked.tenantIds),
        over_grpc=True,
    )


def _wait_ms(asked_ms: int) -> int:
    if asked_ms == 0:
        return WAIT_MS_DEFAULT
    return max(0, min(asked_ms, WAIT_MS_MAX) - min(SOONER_MS, asked_ms // 10))


async def activate(
    wanted: Wanted, jobs_max: int, request_timeout_ms: int
) -> list[tuple[Upstream, Taken]]:
    """Jobs of whichever engine has some first, with whose they are.

    Args:
        request_timeout_ms: as the client said it: 0 leaves it to us, less does not wait.

    Raises: NoEngineAnswered; Overloaded.
    """
    desk = wanted.desk
    jobs = await desk.polling.fetch(
        wanted, desk.engines.all, wanted=jobs_max, wait_ms=_wait_ms(request_timeout_ms)
    )
    for engine, job in jobs:
        desk.hand_outs.job(engine.name, job.told)
    return jobs


# --- Camunda 8


async def _activate_by_rest(
    wanted: Wanted, engine: Upstream, jobs_max: int, wait_ms: int
) -> list[Taken]:
    body: Json = json.loads(wanted.more) | {
        "type": wanted.type,
        "worker": wanted.worker,
        "timeout": wanted.lock_ms,
        "maxJobsToActivate": jobs_max,
        # 0 would mean the engine's own long poll; negative answers at once.
        "requestTimeout": wait_ms if wait_ms > 0 else -1,
    }
    if wanted.names:
        body["fetchVariable"] = list(wanted.names)
    if tenants := wanted.eights_tenants(engine):
        body["tenantIds"] = tenants
    answer = await engine.ask(
        "POST", "/v2/jobs/activation", body, within_ms=wait_ms + POLL_GRACE_MS
    )
    doing = f"hand out jobs of {wanted.type}"
    if answer.status != 200:
        raise engine.error(answer, doing)
    try:
        return [_of_both_generations(job) for job in answer.json()["jobs"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise engine.rest.nonsense(doing) from error


def _of_both_generations(job: Json) -> Taken:
    """8.6 says `key`, newer ones `jobKey`; clients read the one or the other."""
    key = str(job["jobKey"] if "jobKey" in job else job["key"])
    return Taken({**job, "key": int(key), "jobKey": key}, key)


async def _activate_by_grpc(
    wanted: Wanted, engine: Upstream, jobs_max: int, wait_ms: int
) -> list[Taken]:
    asked = zeebe.ActivateJobsRequest(
        type=wanted.type,
        worker=wanted.worker,
        timeout=wanted.lock_ms,
        maxJobsToActivate=jobs_max,
        requestTimeout=wait_ms if wait_ms > 0 else -1,
        fetchVariable=wanted.names,
        tenantIds=wanted.eights_tenants(engine),
    )
    try:
        answers = await call(
            engine,
            "/gateway_protocol.Gateway/ActivateJobs",
            asked.SerializeToString(),
            timeout_ms=wait_ms + POLL_GRACE_MS,
            waits=True,
        )
        jobs = [job for one in answers for job in zeebe.ActivateJobsResponse.FromString(one).jobs]
    except RpcError as error:
        raise EngineUnavailable(str(error)) from error
    except DecodeError as error:
        raise engine.rest.nonsense(f"hand out jobs of {wanted.type}") from error
    return [Taken(job, str(job.key)) for job in jobs]


async def _release(engine: Upstream, job: Taken, *, over_grpc: bool) -> None:
    if over_grpc and engine.channel is not None:
        asked = zeebe.UpdateJobTimeoutRequest(jobKey=int(job.id), timeout=RELEASE_MS)
        path = "/gateway_protocol.Gateway/UpdateJobTimeout"
        try:
            await call(engine, path, asked.SerializeToString())
        except RpcError as error:
            if error.code not in (Code.NOT_FOUND, Code.INVALID_ARGUMENT):
                raise EngineUnavailable(str(error)) from error
        return
    body = {"changeset": {"timeout": RELEASE_MS}}
    answer = await engine.ask("PATCH", f"/v2/jobs/{quote(job.id, safe='')}", body)
    if answer.status not in (204, 400, 404):
        raise engine.error(answer, f"take job {job.id} back")


# --- Camunda 7


async def _fetch_and_lock(
    wanted: Wanted, engine: Upstream, jobs_max: int, wait_ms: int
) -> list[Taken]:
    desk = wanted.desk
    topic: Json = {
        "topicName": wanted.type,
        "lockDuration": wanted.lock_ms,
        "deserializeValues": False,
        "includeExtensionProperties": True,
    }
    if wanted.names:
        topic["variables"] = list(wanted.names)
    topic |= _tenants(wanted, engine)
    body: Json = {
        "workerId": desk.worker,
        "maxTasks": jobs_max,
        "usePriority": True,
        "topics": [topic],
    }
    if wait_ms > 0:
        body["asyncResponseTimeout"] = wait_ms
    answer = await engine.ask(
        "POST", "/external-task/fetchAndLock", body, within_ms=wait_ms + POLL_GRACE_MS
    )
    doing = f"hand out jobs of {wanted.type}"
    if answer.status != 200:
        raise engine.error(answer, doing)
    try:
        tasks = answer.json()
        ids = _ids(tasks)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise engine.rest.nonsense(doing) from error
    if not tasks:
        return []
    kept = [Taken(None, str(task["id"]), str(task["lockExpirationTime"])) for task in tasks]

    def keep(rows: Rows, now_ms: int) -> list[Taken]:
        numbers = numbers_of(rows, engine.name, ids)
        names = Names8(lambda id: numbers[id])
        taken, hands = [], []
        for task, one in zip(tasks, kept, strict=True):
            until_ms = _time_ms(one.lock) or now_ms + wanted.lock_ms
            job, types = job_of_task(task, names, worker=wanted.worker, until_ms=until_ms)
            if task.get("tenantId") == engine.tenant:
                job["tenantId"] = DEFAULT_TENANT
            taken.append(Taken(job, one.id, one.lock))
            hands.append(
                Handed(engine.name, one.id, wanted.worker, until_ms, desk.worker, dict(types))
            )
        handed.hand_out(rows, hands)
        return taken

    try:
        taken = await desk.storage.submit(keep)
    except (GatewayError, KeyError, TypeError, ValueError, AttributeError) as error:
        # Nobody will hear of them, so they are nobody's.
        for one in kept:
            await _unlock(desk, engine, one)
        if isinstance(error, GatewayError):
            raise
        raise engine.rest.nonsense(doing) from error
    for one in taken:
        desk.whereabouts.seen("external-task", one.id, engine)
    desk.sightings.note(of_tasks(engine.name, tasks))
    return taken


def _ids(tasks: list[Mapping[str, Any]]) -> list[str]:
    names = ("id", "processInstanceId", "processDefinitionId", "activityInstanceId")
    return [str(task[name]) for task in tasks for name in names]


def _tenants(wanted: Wanted, engine: Upstream) -> Json:
    """Camunda 8's default tenant is what the engine is configured to work for."""
    asked = [one for one in wanted.tenants if one != DEFAULT_TENANT]
    if not asked and engine.tenant is None:
        return {"withoutTenantId": True}
    if engine.tenant is not None and (not wanted.tenants or DEFAULT_TENANT in wanted.tenants):
        asked.append(engine.tenant)
    return {"tenantIdIn": asked}


def _time_ms(text: str) -> int | None:
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1_000)
    except ValueError:
        return None


async def _unlock(desk: Desk, engine: Upstream, job: Taken) -> None:
    """Gives a task back, if it is still locked as it was then.

    Nobody asks whose lock an unlock ends, and all gateways lock under one name: so the end of the
    lock tells whether somebody has taken the task since.
    """
    path = f"/external-task/{quote(job.id, safe='')}"
    answer = await engine.ask("GET", path)
    if answer.status == 404:
        return
    task = answer.json_object()
    if answer.status != 200:
        raise engine.error(answer, f"tell who has task {job.id}")
    if task.get("workerId") != desk.worker or task.get("lockExpirationTime") != job.lock:
        return
    answer = await engine.ask("POST", f"{path}/unlock", {})
    if answer.status not in (204, 404):
        raise engine.error(answer, f"take task {job.id} back")
