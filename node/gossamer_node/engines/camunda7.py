"""Camunda 7 over its REST API; Gossamer's own engine speaks the same dialect.

One fetchAndLock serves a whole claim group. The engine checks an external task's worker id and
nothing else: not the lock's age, not who asks to unlock. A commit runs on to the next wait state,
so `complete` answers 500 when the *next* step fails, and the task stays locked; that becomes a
failure of this job, with the engine's sentence, because nobody else would ever say it. Only
optimistic locking (two commits met) is tried again. Where Camunda 7 differs from Camunda 8 in
ways that an adapter can't level is written in DIFFERENCES.md.

REST resources used, which is what an engine of this dialect must offer: `version`,
`external-task` (`fetchAndLock`, `complete`, `failure`, `bpmnError`, `extendLock`, `unlock`, GET),
`deployment/create`, `process-definition/key/…/start`, `process-instance/…/variables`, `incident`,
`history/process-instance`, `history/activity-instance`, `history/variable-instance`; optionally
`telemetry/data`, for the installation's id.
"""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from gossamer_node.engines.camunda7_variables import from_wire, to_wire
from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.exchange import Answer, text, whole
from gossamer_node.engines.polls import POLL_GRACE_MS, Polls
from gossamer_node.engines.port import (
    LOCKED_MAX,
    WAIT_MS_MAX,
    Capability,
    Effect,
    EngineInfo,
    ProcessInstance,
    Settlement,
    TopicRequest,
)
from gossamer_node.engines.rest import BACKPRESSURE_MS, POLLS_MAX, FormFile, RestClient
from gossamer_node.errors import EngineError, EngineRefused, EngineUnavailable, Unsupported
from gossamer_node.jobs import BpmnError, Completed, Failed, Job, JobRef
from gossamer_node.variables import JsonValue, Variables

RETRIES_DEFAULT = 3
"""Tries in all while the engine has no count (`retries` is null before the first failure) and the
claimer put no service's count into the JobRef. Camunda 7's own default for its jobs."""

NEXT_STEP_BACKOFF_MS = 1_000
"""Wait before the retry of a job whose next step failed."""

CONFLICT_ATTEMPTS_MAX = 5
"""How often a settlement is sent when the engine answers that two commits met."""

ROWS_PER_PAGE = 1_000
"""Rows of the history asked for at once."""

ROWS_MAX = 1_000_000
"""Rows of the history read for one listing: a bound on memory, not a promise of speed."""

_LOCKED_BY = re.compile(r"It is locked by worker '[^']*'\.?$")
"""How Camunda 7's sentence on a wrong worker id ends."""

_TASK_UNKNOWN = "RestException"
"""Type of the 404 that means "no such task", where a wrong URL gives NotFoundException or HTML."""

_CONFLICTS = frozenset(("OptimisticLockingException", "CrdbTransactionRetryException"))

# Camunda 7's built-in exception codes (user guide, "Exception codes").
_DEADLOCK = 10_000
_COLUMN_TOO_SMALL = 10_002

_STATES = {
    "ACTIVE": "active",
    "SUSPENDED": "active",
    "COMPLETED": "completed",
    "EXTERNALLY_TERMINATED": "cancelled",
    "INTERNALLY_TERMINATED": "cancelled",
}
"""`HistoricProcessInstance.state` → ours."""


class Camunda7:
    """One Camunda 7. See `port.Engine` for what each method does and raises."""

    kind: str = "camunda7"
    transport: str = "REST"
    topics_per_activation_max: int | None = None
    capabilities: frozenset[Capability] = frozenset(
        (
            Capability.DEPLOY,
            Capability.START,
            Capability.READ_VARIABLES,
            Capability.LIST_INSTANCES,
            Capability.LIST_LOCKED,
        )
    )

    def __init__(self, config: EngineConfig) -> None:
        self.name = config.name
        self._config = config
        self._tenant = config.tenant
        self._rest = RestClient(config)
        self._polls = Polls(self._rest.peer, POLLS_MAX)

    async def probe(self) -> EngineInfo:
        answer = await self._rest.send("GET", "/version")
        if answer.status == 404:
            raise EngineRefused(
                f"{self._rest.peer} has no Camunda 7 REST API (404); "
                "its URL usually ends in /engine-rest."
            )
        told = self._object(answer, "tell its version")
        version, product = told.get("version"), told.get("product", self.kind)
        if not isinstance(version, str) or not isinstance(product, str):
            raise self._rest.nonsense("tell its version")
        return EngineInfo(product, version, await self._fingerprint())

    async def _fingerprint(self) -> str:
        # The installation's id lives in the engine's database. Where it is not to be read (an older
        # engine, credentials without that right), the URL must do.
        answer = await self._rest.send("GET", "/telemetry/data")
        if answer.status not in (200, 403, 404):
            raise self._rest.error(answer, "tell its installation's id")
        installation = answer.json_object().get("installation") if answer.status == 200 else None
        identity = f"{installation or self._config.url}\n{self._tenant or ''}"
        return hashlib.sha256(identity.encode(errors="replace")).hexdigest()[:32]

    async def activate(
        self, topics: Sequence[TopicRequest], *, jobs_max: int, wait_ms: int, worker_id: str
    ) -> list[Job]:
        if not topics or jobs_max <= 0:
            return []
        locks_ms = {topic.name: topic.lock_ms for topic in topics}
        body: dict[str, Any] = {
            "workerId": worker_id,
            "maxTasks": jobs_max,
            "usePriority": True,
            "topics": [self._topic(topic) for topic in topics],
        }
        wait_ms = min(wait_ms, WAIT_MS_MAX)
        if wait_ms > 0:
            body["asyncResponseTimeout"] = wait_ms

        async def poll() -> list[Job]:
            answer = await self._rest.send(
                "POST", "/external-task/fetchAndLock", body=body, within_ms=wait_ms + POLL_GRACE_MS
            )
            if answer.status == 500:
                # Too many polls waiting (200 in all), or a database that is busy or away.
                raise EngineUnavailable(
                    f"{self._rest.peer} hands out no jobs (500): {answer.sentence()}",
                    retry_after_ms=BACKPRESSURE_MS,
                )
            if answer.status != 200:
                raise self._rest.error(answer, "hand out jobs")
            try:
                return [self._job(task, locks_ms, worker_id) for task in answer.json()]
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise self._rest.nonsense("hand out jobs") from error

        return await self._polls.run(poll, self.release)

    def _topic(self, topic: TopicRequest) -> dict[str, Any]:
        wanted: dict[str, Any] = {
            "topicName": topic.name,
            "lockDuration": topic.lock_ms,
            "deserializeValues": False,
            "includeExtensionProperties": True,
        }
        if topic.variables is not None:
            wanted["variables"] = topic.variables
        if self._tenant is not None:
            wanted["tenantIdIn"] = [self._tenant]
        return wanted

    def _job(self, task: Mapping[str, Any], locks_ms: Mapping[str, int], worker_id: str) -> Job:
        topic, retries = task["topicName"], task["retries"]
        variables = from_wire(task["variables"])
        return Job(
            JobRef(
                self.name,
                text(task["id"]),
                topic,
                worker_id,
                None if retries is None else whole(retries),
                variables.types,
            ),
            variables,
            locks_ms[topic],
            process_id=text(task["processDefinitionKey"]),
            process_instance_key=text(task["processInstanceId"]),
            element_id=text(task["activityId"]),
            business_key=task["businessKey"],
            tenant=task["tenantId"],
            headers=dict(task.get("extensionProperties") or ()),
            priority=whole(task["priority"]),
        )

    async def extend(self, job: JobRef, lock_ms: int) -> Settlement:
        return await self._settle(
            job, "extendLock", {"workerId": job.worker_id, "newDuration": lock_ms}
        )

    async def release(self, job: JobRef) -> Settlement:
        # Nobody asks whose lock an unlock ends: a late one would end the lock of who has the job by
        # now, ourselves included. Nor would a lock time of 1 ms do, which is asked whose it is: an
        # unlock wakes the waiting polls, an expiring lock does not.
        answer = await self._rest.send("GET", f"/external-task/{quote(job.key, safe='')}")
        if answer.status == 200:
            doing = f"tell who has job {job.key}"
            task = self._object(answer, doing)
            if "workerId" not in task:
                raise self._rest.nonsense(doing)
            if task["workerId"] != job.worker_id:
                return Settlement(Effect.NOT_OURS)
        return await self._settle(job, "unlock", {})

    async def locked_by(self, worker_id: str) -> list[JobRef] | None:
        doing = f"tell what {worker_id} has locked"
        body: dict[str, Any] = {"workerId": worker_id, "locked": True}
        if self._tenant is not None:
            body["tenantIdIn"] = [self._tenant]
        tasks = await self._pages("/external-task", body, ["id"], doing, LOCKED_MAX)
        try:
            return [
                JobRef(
                    self.name,
                    text(task["id"]),
                    text(task["topicName"]),
                    worker_id,
                    None if task["retries"] is None else whole(task["retries"]),
                )
                for task in tasks
            ]
        except (KeyError, TypeError) as error:
            raise self._rest.nonsense(doing) from error

    async def complete(self, job: JobRef, outcome: Completed) -> Settlement:
        body: dict[str, Any] = {"workerId": job.worker_id}
        if outcome.variables.values:
            body["variables"] = to_wire(outcome.variables, job.types)
        return await self._settle(job, "complete", body)

    async def fail(self, job: JobRef, outcome: Failed) -> Settlement:
        retries = _retries_left(job) if outcome.retries is None else outcome.retries
        body = {
            "workerId": job.worker_id,
            "errorMessage": outcome.message,
            "errorDetails": outcome.details,
            "retries": max(0, retries),
            "retryTimeout": max(0, outcome.backoff_ms or 0),
        }
        return await self._settle(job, "failure", body)

    async def throw_error(self, job: JobRef, outcome: BpmnError) -> Settlement:
        if not outcome.code:
            # The engine's 500 for it could not be told from a next step that failed.
            raise EngineRefused(f"{self._rest.peer} takes no BPMN error without a code.")
        body: dict[str, Any] = {"workerId": job.worker_id, "errorCode": outcome.code}
        if outcome.message:  # An empty one is refused, with a 500.
            body["errorMessage"] = outcome.message
        if outcome.variables.values:
            body["variables"] = to_wire(outcome.variables, job.types)
        return await self._settle(job, "bpmnError", body)

    async def _settle(self, job: JobRef, verb: str, body: Mapping[str, Any]) -> Settlement:
        path = f"/external-task/{quote(job.key, safe='')}"
        for _ in range(CONFLICT_ATTEMPTS_MAX):
            answer = await self._rest.send("POST", f"{path}/{verb}", body=body)
            if answer.status == 204:
                return Settlement(Effect.APPLIED)
            conflict = _is_conflict(answer)
            if not conflict:
                break
        doing = f"take {verb} of job {job.key}"
        exception = _exception_type(answer)
        if conflict:
            raise EngineUnavailable(
                f"{self._rest.peer} did not {doing}, {CONFLICT_ATTEMPTS_MAX} times: "
                f"{answer.sentence()}",
                retry_after_ms=BACKPRESSURE_MS,
            )
        if answer.status == 404 and exception == _TASK_UNKNOWN:
            return Settlement(Effect.GONE, answer.sentence())
        if answer.status == 400:
            return await self._after_400(job, verb, path, answer)
        if answer.status == 500 and exception and verb in ("complete", "bpmnError"):
            return await self._fail_for_next_step(job, answer)
        raise self._rest.error(answer, doing)

    async def _fail_for_next_step(self, job: JobRef, answer: Answer) -> Settlement:
        message = answer.sentence()
        if answer.json_object().get("code") == _COLUMN_TOO_SMALL:
            message += " A text is too long for its column; Camunda 7's hold 4,000 characters."
        settled = await self.fail(job, Failed(message, _retries_left(job), NEXT_STEP_BACKOFF_MS))
        if settled.effect is Effect.APPLIED:
            return Settlement(Effect.APPLIED_AS_FAILURE, message)
        return settled

    async def _after_400(self, job: JobRef, verb: str, path: str, answer: Answer) -> Settlement:
        """A wrong worker id and a wrong variable are both 400: the task itself tells them apart."""
        lost = Settlement(Effect.NOT_OURS, answer.sentence())
        if verb == "extendLock":
            return lost  # Ours but expired is 400 as well, and may be another's any moment.
        if _LOCKED_BY.search(answer.sentence()):
            return lost  # The task may be ours again by now, by a poll: then it tells nothing.
        task = await self._rest.send("GET", path)
        if task.status == 404:
            return Settlement(Effect.GONE, answer.sentence())
        if task.status == 200 and task.json_object().get("workerId", "") != job.worker_id:
            return lost
        raise self._rest.error(answer, f"take {verb} of job {job.key}")

    async def deploy(self, resources: Mapping[str, bytes]) -> list[str]:
        form = {
            "deployment-name": next(iter(resources), "gossamer"),
            "deployment-source": "gossamer",
        }
        if self._tenant is not None:
            form["tenant-id"] = self._tenant
        files: list[tuple[str, FormFile]] = [
            (name, (name, content, "application/octet-stream"))
            for name, content in resources.items()
        ]
        doing = f"deploy {', '.join(resources)}"
        answer = await self._rest.send("POST", "/deployment/create", form=form, files=files)
        told = self._object(answer, doing)
        try:
            definitions = told["deployedProcessDefinitions"] or {}
            return [text(definition["key"]) for definition in definitions.values()]
        except (KeyError, TypeError, AttributeError) as error:
            raise self._rest.nonsense(doing) from error

    async def start(
        self, process_id: str, *, variables: Variables, business_key: str | None = None
    ) -> str:
        path = f"/process-definition/key/{quote(process_id, safe='')}"
        if self._tenant is not None:
            path += f"/tenant-id/{quote(self._tenant, safe='')}"
        body: dict[str, Any] = {"variables": to_wire(variables, {})}
        if business_key is not None:
            body["businessKey"] = business_key
        doing = f"start {process_id}"
        told = self._object(await self._rest.send("POST", f"{path}/start", body=body), doing)
        try:
            return text(told["id"])
        except (KeyError, TypeError) as error:
            raise self._rest.nonsense(doing) from error

    async def start_and_wait(
        self, process_id: str, *, variables: Variables, wait_ms: int
    ) -> Variables | None:
        raise Unsupported(
            f"{self._rest.peer} can't start {process_id} and wait for its end; "
            "start it, then list its instances."
        )

    async def read_variables(self, instance_key: str) -> Variables:
        doing = f"read the variables of instance {instance_key}"
        key = quote(instance_key, safe="")
        query = {"deserializeValues": "false"}
        running = await self._rest.send("GET", f"/process-instance/{key}/variables", query=query)
        # For an ended instance the answer is 500: its execution is null.
        if running.status == 200:
            wire = self._object(running, doing)
        else:
            wire = await self._ended_variables(instance_key, doing)
        try:
            return from_wire(wire)
        except (KeyError, TypeError, AttributeError) as error:
            raise self._rest.nonsense(doing) from error

    async def _ended_variables(self, instance_key: str, doing: str) -> dict[str, Any]:
        known = await self._rest.send(
            "GET", f"/history/process-instance/{quote(instance_key, safe='')}"
        )
        if known.status != 200:
            raise self._error(known, doing)
        answer = await self._rest.send(
            "GET",
            "/history/variable-instance",
            query={"processInstanceId": instance_key, "deserializeValues": "false"},
        )
        wire: dict[str, Any] = {}
        for entry in self._list(answer, doing):
            # Only the instance's own scope: a task's local variables ended with the task.
            if entry.get("activityInstanceId") != instance_key:
                continue
            wire[str(entry.get("name"))] = entry
            if entry.get("type") == "Bytes":
                entry["value"] = await self._historic_bytes(str(entry.get("id")), doing)
        return wire

    async def _historic_bytes(self, variable_key: str, doing: str) -> JsonValue:
        # The list leaves Bytes out, as null. A value that is null has no data: 404.
        path = f"/history/variable-instance/{quote(variable_key, safe='')}/data"
        answer = await self._rest.send("GET", path)
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise self._error(answer, doing)
        return base64.b64encode(answer.body).decode()

    async def list_instances(self, process_id: str) -> list[ProcessInstance]:
        doing = f"list the instances of {process_id}"
        entries = await self._pages(
            "/history/process-instance",
            {"processDefinitionKey": process_id},
            ("startTime", "instanceId"),
            doing,
        )
        incidents = await self._rest.send(
            "GET", "/incident", query={"processDefinitionKeyIn": process_id}
        )
        ends: dict[str, list[str]] = {}
        try:
            stuck = {entry["processInstanceId"] for entry in self._list(incidents, doing)}
            # A gateway may list instances that live elsewhere, whose definition it doesn't know.
            for definition in {entry["processDefinitionId"] for entry in entries} - {None}:
                # There is no filter for the kind "some end event" nor for a set of instances.
                for activity in await self._pages(
                    "/history/activity-instance",
                    {"processDefinitionId": definition, "finished": True},
                    ("endTime", "activityInstanceId"),
                    doing,
                ):
                    if activity["activityType"].endswith("EndEvent") and not activity["canceled"]:
                        reached = ends.setdefault(activity["processInstanceId"], [])
                        reached.append(text(activity["activityId"]))
            return [
                ProcessInstance(
                    text(entry["id"]),
                    text(entry["processDefinitionKey"]),
                    entry["businessKey"],
                    _state(entry["state"], entry["id"] in stuck),
                    tuple(ends.get(entry["id"], ())),
                )
                for entry in entries
            ]
        except (KeyError, TypeError, AttributeError) as error:
            raise self._rest.nonsense(doing) from error

    async def _pages(
        self,
        path: str,
        body: Mapping[str, Any],
        sort_by: Sequence[str],
        doing: str,
        enough: int | None = None,
    ) -> list[dict[str, Any]]:
        """All rows of a query, or the first `enough`. `sort_by` must order them fully, or pages
        would overlap."""
        sorting = [{"sortBy": column, "sortOrder": "asc"} for column in sort_by]
        rows: list[dict[str, Any]] = []
        while len(rows) < ROWS_MAX:
            query = {"firstResult": len(rows), "maxResults": ROWS_PER_PAGE}
            answer = await self._rest.send(
                "POST", path, query=query, body={**body, "sorting": sorting}
            )
            page = self._list(answer, doing)
            rows += page
            if len(page) < ROWS_PER_PAGE or (enough is not None and len(rows) >= enough):
                return rows[:enough]
        raise EngineRefused(
            f"{self._rest.peer} did not {doing}: its history has more than {ROWS_MAX} rows of them."
        )

    async def aclose(self) -> None:
        await self._polls.drain()
        await self._rest.aclose()

    def _object(self, answer: Answer, doing: str) -> dict[str, Any]:
        value = self._json(answer, doing)
        if not isinstance(value, dict):
            raise self._rest.nonsense(doing)
        return value

    def _list(self, answer: Answer, doing: str) -> list[dict[str, Any]]:
        value = self._json(answer, doing)
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
            raise self._rest.nonsense(doing)
        return value

    def _json(self, answer: Answer, doing: str) -> Any:
        if answer.status != 200:
            raise self._error(answer, doing)
        try:
            return answer.json()
        except ValueError as error:
            raise self._rest.nonsense(doing) from error

    def _error(self, answer: Answer, doing: str) -> EngineError:
        # The engine's own exception, such as BPMN that does not parse, is 500, too, and stays.
        if answer.status == 500 and _exception_type(answer):
            return EngineRefused(f"{self._rest.peer} did not {doing}: {answer.sentence()}")
        return self._rest.error(answer, doing)


def _exception_type(answer: Answer) -> str:
    """The engine's exception behind an answer, empty where something else answered."""
    if answer.status < 400:
        return ""
    kind = answer.json_object().get("type")
    return kind if isinstance(kind, str) else ""


def _is_conflict(answer: Answer) -> bool:
    """Whether two commits met, so that the same call may do better when sent again."""
    if answer.status != 500:
        return False
    return _exception_type(answer) in _CONFLICTS or answer.json_object().get("code") == _DEADLOCK


def _state(historic: str, stuck: bool) -> str:
    state = _STATES[historic]
    return "incident" if stuck and state == "active" else state


def _retries_left(job: JobRef) -> int:
    return max(0, (RETRIES_DEFAULT if job.retries is None else job.retries) - 1)
