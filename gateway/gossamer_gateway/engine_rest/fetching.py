"""fetchAndLock over every engine: what a worker asks for, read once and asked of each.

Engines of Camunda 7's dialect are asked with the worker's own words. Camunda 8 knows one topic at a
time and no filter, so it is asked for each topic by itself, and what it hands out is looked at: a
job that the worker did not ask for goes back at once, and the next look waits `MISFIT_PAUSE_S`, for
such a job comes again and again. Filters by process, definition, tenant and business key are served
so. A topic with another filter (variables, version tag) is not asked for there at all: nothing of a
job answers it. A fetch that then has no engine left is refused.

Before the worker hears of a job, its row is on the disk. Its lock ends by our clock: between the
moments of asking and answering, plus its time, and within that where Camunda 8 says.
"""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import trio

from gossamer_gateway import handed
from gossamer_gateway.bridge.jobs import DEFAULT_TENANT, Names7, task_of_job
from gossamer_gateway.desk import Desk
from gossamer_gateway.door.asking import check_process
from gossamer_gateway.engine_rest.ids import definition_of_eight, name_of
from gossamer_gateway.errors import BadRequest, GatewayError
from gossamer_gateway.fields import Fields
from gossamer_gateway.handed import Handed
from gossamer_gateway.index.definitions import Definition, deployed
from gossamer_gateway.index.instances import Instance, Source, State, business_keys, saw
from gossamer_gateway.index.sightings import of_tasks
from gossamer_gateway.storage.port import Rows
from gossamer_gateway.upstreams.upstream import Upstream, Upstreams
from gossamer_node.engines.camunda8 import NO_VARIABLE, RELEASE_MS
from gossamer_node.engines.exchange import Answer, whole
from gossamer_node.engines.polls import POLL_GRACE_MS
from gossamer_node.errors import EngineError

TOPICS_MAX = 200
"""Topics of one fetch."""
TASKS_MAX = 1_000
"""Tasks handed out by one fetch, whatever is asked for."""
WAIT_MS_MAX = 1_800_000
"""Camunda 7's longest `asyncResponseTimeout`."""
LOCK_MS_MAX = 10 * 365 * 24 * 3_600_000
"""Ten years: no date is written past the year 9999."""

MISFIT_PAUSE_S = 1.0

BEYOND_EIGHT = ("processVariables", "processDefinitionVersionTag")
"""Filters that nothing of a job of Camunda 8 answers."""


@dataclass(frozen=True, slots=True)
class Topic:
    """What a worker wants of one topic, as far as it matters for jobs of Camunda 8.

    Attributes:
        variables: names; None for all.
        processes, definitions, tenants: a job must be of one of them; None for any. The default
            tenant is None here, too.
    """

    name: str
    lock_ms: int
    variables: tuple[str, ...] | None
    with_properties: bool
    deserialize: bool
    business_key: str | None
    processes: tuple[str, ...] | None
    definitions: tuple[int, ...] | None
    tenants: tuple[str | None, ...] | None

    def wants(self, job: Mapping[str, Any], task: Mapping[str, Any]) -> bool:
        """Whether a job of Camunda 8, `task` in Camunda 7's words, is one of these."""
        return (
            (self.processes is None or task["processDefinitionKey"] in self.processes)
            and (self.definitions is None or int(job["processDefinitionKey"]) in self.definitions)
            and (self.tenants is None or task["tenantId"] in self.tenants)
            and (self.business_key is None or task["businessKey"] == self.business_key)
        )


@dataclass(frozen=True, slots=True)
class Refusal:
    """An engine's answer that blames the worker's own words; it travels like a job."""

    answer: Answer


@dataclass(frozen=True, slots=True)
class Locked:
    """A task in Camunda 7's words.

    Attributes:
        row: what stands in `handed`, None for a task of Camunda 7.
    """

    task: Mapping[str, Any]
    until_ms: int
    row: Handed | None = None


Got = Locked | Refusal


@dataclass(frozen=True)
class Shape:
    """A fetch of one worker, without how many and how long. See `polls.driver.Shape`.

    Attributes:
        words: the worker's body, without these two, as JSON.
        topics: those that Camunda 8 can be asked for.
    """

    worker: str
    words: str
    topics: tuple[Topic, ...]
    desk: Desk = field(compare=False, repr=False)

    async def poll(self, engine: Upstream, *, jobs_max: int, wait_ms: int) -> Sequence[Got]:
        """Asks an engine of Camunda 7's dialect."""
        body: dict[str, Any] = json.loads(self.words) | {"maxTasks": jobs_max}
        if wait_ms > 0:
            body["asyncResponseTimeout"] = wait_ms
        if engine.tenant is not None:
            for topic in body["topics"]:
                topic["tenantIdIn"] = topic.get("tenantIdIn") or [engine.tenant]
        locks_ms = {topic["topicName"]: topic["lockDuration"] for topic in body["topics"]}
        asked_ms = _now_ms()
        answer = await engine.ask(
            "POST", "/external-task/fetchAndLock", body, within_ms=wait_ms + POLL_GRACE_MS
        )
        if answer.status == 400:
            return [Refusal(answer)]
        if answer.status != 200:
            raise engine.error(answer, "hand out tasks")
        try:
            locked = [
                Locked(dict(task), asked_ms + locks_ms[task["topicName"]]) for task in answer.json()
            ]
        except (ValueError, TypeError, KeyError) as error:
            raise engine.rest.nonsense("hand out tasks") from error
        self.desk.sightings.note(of_tasks(engine.name, (one.task for one in locked)))
        return locked

    async def poll_part(
        self, engine: Upstream, part: str, *, jobs_max: int, wait_ms: int
    ) -> Sequence[Got]:
        """Asks Camunda 8 for a topic."""
        (topic,) = (one for one in self.topics if one.name == part)
        body: dict[str, Any] = {
            "type": topic.name,
            "worker": self.worker,
            "timeout": topic.lock_ms,
            "maxJobsToActivate": jobs_max,
            # 0 would mean the server's own long poll; negative answers at once.
            "requestTimeout": wait_ms if wait_ms > 0 else -1,
        }
        if topic.variables is not None:
            body["fetchVariable"] = topic.variables or (NO_VARIABLE,)
        if engine.tenant is not None:
            body["tenantIds"] = [engine.tenant]
        asked_ms = _now_ms()
        answer = await engine.ask(
            "POST", "/v2/jobs/activation", body, within_ms=wait_ms + POLL_GRACE_MS
        )
        if answer.status != 200:
            raise engine.error(answer, f"hand out jobs of {topic.name}")
        try:
            jobs: list[Mapping[str, Any]] = answer.json_object()["jobs"]
            read = [(job, self._task(engine, topic, job, asked_ms)) for job in jobs]
            for job in jobs:
                self.desk.noticed(engine, int(_key(job)))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise engine.rest.nonsense(f"hand out jobs of {topic.name}") from error
        if not read:
            return []
        try:
            locked = await self.desk.storage.submit(
                lambda rows, now_ms: self._keep(rows, engine, topic, read, now_ms)
            )
        except GatewayError:
            await _unlock_eight(engine, [_key(job) for job, _ in read])
            raise
        kept = {one.row.job for one in locked if one.row is not None}
        misfits = [_key(job) for job, _ in read if _key(job) not in kept]
        if misfits:
            await _unlock_eight(engine, misfits)
            if not locked:
                await trio.sleep(MISFIT_PAUSE_S)
        return locked

    def _task(
        self, engine: Upstream, topic: Topic, job: Mapping[str, Any], asked_ms: int
    ) -> tuple[dict[str, Any], int]:
        """A job in Camunda 7's words, and the end of its lock."""
        deadline_ms = whole(job["deadline"])
        earliest_ms, latest_ms = asked_ms + topic.lock_ms, _now_ms() + topic.lock_ms
        until_ms = min(max(deadline_ms, earliest_ms), latest_ms)
        names = Names7(lambda number: name_of(engine, number))
        task = task_of_job(job, names, worker_id=self.worker, until_ms=until_ms)
        if not topic.with_properties:
            task["extensionProperties"] = {}
        if topic.deserialize:
            task["variables"] = opened(task["variables"])
        return task, until_ms

    def _keep(
        self,
        rows: Rows,
        engine: Upstream,
        topic: Topic,
        read: Sequence[tuple[Mapping[str, Any], tuple[dict[str, Any], int]]],
        now_ms: int,
    ) -> list[Locked]:
        """Has on the disk what the worker asked for, with its business keys; returns that."""
        instances = [str(job["processInstanceKey"]) for job, _ in read]
        keys = business_keys(rows, engine.name, instances)
        found = []
        for (job, (plain, until_ms)), instance in zip(read, instances, strict=True):
            task = {**plain, "businessKey": keys.get(instance)}
            if not topic.wants(job, task):
                continue
            told = {name: value for name, value in task.items() if name != "variables"}
            told["elementInstance"] = str(job["elementInstanceKey"])
            row = Handed(engine.name, _key(job), self.worker, until_ms, self.worker, task=told)
            found.append(Locked(task, until_ms, row))
        handed.hand_out(rows, [one.row for one in found if one.row is not None])
        deployed(rows, _definitions(engine, [job for job, _ in read]))
        saw(
            rows,
            [
                Instance(engine.name, id, str(job["processDefinitionId"]), None, now_ms,
                         Source.JOB, State.ACTIVE, now_ms)
                for id, job in {i: job for i, (job, _) in zip(instances, read, strict=True)}.items()
            ],
        )  # fmt: skip
        return found

    async def put_back(self, engine: Upstream, jobs: Sequence[Got]) -> None:
        locked = [one for one in jobs if isinstance(one, Locked)]
        now_ms = _now_ms()
        held = [one for one in locked if one.until_ms > now_ms]  # else perhaps somebody else's
        rows = [one.row for one in held if one.row is not None]
        if rows:
            await self.desk.storage.submit(lambda tables, now: _let_go(tables, rows, now))
            await _unlock_eight(engine, [row.job for row in rows])
        for one in held:
            if one.row is None:
                path = f"/external-task/{quote(str(one.task['id']), safe='')}/unlock"
                answer = await engine.ask("POST", path)
                if answer.status not in (204, 404):
                    raise engine.error(answer, "take a task back")


def _let_go(tables: Rows, rows: Sequence[Handed], now_ms: int) -> None:
    for row in rows:
        handed.let_go(tables, row, now_ms)


def _definitions(engine: Upstream, jobs: Iterable[Mapping[str, Any]]) -> list[Definition]:
    """What jobs tell of their definitions; not of which deployment."""
    found = {
        str(job["processDefinitionKey"]): (
            str(job["processDefinitionId"]),
            whole(job["processDefinitionVersion"]),
        )
        for job in jobs
    }
    return [Definition(engine.name, id, *told, "") for id, told in found.items()]


def opened(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Variables as a worker reads them that wants values deserialised: JSON is an object then."""
    found: dict[str, Any] = {}
    for name, one in variables.items():
        if one["type"] == "Json" and one["value"] is not None:
            value = json.loads(one["value"])
            java = "java.util.ArrayList" if isinstance(value, list) else "java.util.LinkedHashMap"
            info = {"objectTypeName": java, "serializationDataFormat": "application/json"}
            found[name] = {"type": "Object", "value": value, "valueInfo": info}
        else:
            found[name] = one
    return found


def _key(job: Mapping[str, Any]) -> str:
    return str(job["jobKey"] if "jobKey" in job else job["key"])


async def _unlock_eight(engine: Upstream, jobs: Sequence[str]) -> None:
    """Gives jobs back; goes on where one fails. Raises: EngineError, the last."""
    failed: EngineError | None = None
    for job in jobs:
        try:
            body = {"changeset": {"timeout": RELEASE_MS}}
            answer = await engine.ask("PATCH", f"/v2/jobs/{job}", body)
            if answer.status not in (204, 400, 404, 409):
                failed = engine.error(answer, "take a job back")
        except EngineError as error:
            failed = error
    if failed is not None:
        raise failed


@dataclass(frozen=True, slots=True)
class Fetch:
    """A fetchAndLock.

    Attributes:
        engines: whom to ask; `parts` of whom.
    """

    shape: Shape
    tasks_max: int
    wait_ms: int
    engines: Sequence[Upstream]
    parts: Mapping[str, Sequence[str]]


def read_fetch(body: Fields, desk: Desk) -> Fetch | None:
    """Reads a request; None for one that asks for nothing. Of a topic that is named twice the last
    counts, as in Camunda 7.

    Raises: BadRequest.
    """
    worker = body.text("workerId")
    wait_ms = body.number("asyncResponseTimeout")
    if wait_ms > WAIT_MS_MAX:
        raise BadRequest(
            "The asynchronous response timeout cannot be set to a value greater than "
            f"{WAIT_MS_MAX} milliseconds"
        )
    body.flag("usePriority")
    body.objects("sorting")
    tasks_max = max(0, min(body.number("maxTasks"), TASKS_MAX))
    topics = body.objects("topics")
    if len(topics) > TOPICS_MAX:
        raise BadRequest(f"One fetch has at most {TOPICS_MAX} topics")
    by_name = {topic.text("topicName"): topic for topic in topics}
    for topic in by_name.values():
        for process in _one_or_more(topic, "processDefinitionKey", "processDefinitionKeyIn") or (
            None,
        ):
            check_process(process)
    read = [_read_topic(topic, desk.engines) for topic in by_name.values()]
    if not read or tasks_max == 0:
        return None
    plain: dict[str, Any] = body.without("maxTasks", "asyncResponseTimeout")
    plain["topics"] = [topic.without() for topic in by_name.values()]
    wanted = tuple(topic for topic in read if topic is not None)
    engines = list(desk.engines.sevens)
    parts = {}
    if desk.engines.eight is not None and wanted:
        engines.append(desk.engines.eight)
        parts[desk.engines.eight.name] = [topic.name for topic in wanted]
    if not engines:
        raise BadRequest(
            "No engine here can serve this: jobs of Camunda 8 can't be chosen by "
            f"{', '.join(BEYOND_EIGHT)} or by definitions of Camunda 7"
        )
    shape = Shape(worker, json.dumps(plain, sort_keys=True), wanted, desk)
    return Fetch(shape, tasks_max, max(0, wait_ms), engines, parts)


def _read_topic(topic: Fields, engines: Upstreams) -> Topic | None:
    """A topic for Camunda 8; None if it can't be asked there. Raises: BadRequest."""
    lock_ms = topic.number("lockDuration")
    if not 0 < lock_ms <= LOCK_MS_MAX:
        raise BadRequest("lockTime is not greater than 0, or more than ten years")
    ids = _one_or_more(topic, "processDefinitionId", "processDefinitionIdIn")
    keys = _one_or_more(topic, "processDefinitionKey", "processDefinitionKeyIn")
    tenants: tuple[str | None, ...] | None = topic.maybe_texts("tenantIdIn")
    if topic.flag("withoutTenantId"):
        tenants = (None,)
    elif tenants is not None:
        tenants = tuple(None if one == DEFAULT_TENANT else one for one in tenants)
    topic.flag("localVariables")
    numbers = None
    if ids is not None:
        found = (definition_of_eight(engines, id) for id in ids)
        numbers = tuple(number for number in found if number is not None)
    beyond = any(topic.get(name) not in (None, [], {}) for name in BEYOND_EIGHT)
    if beyond or (numbers is not None and not numbers):
        return None
    return Topic(
        name=topic.text("topicName"),
        lock_ms=lock_ms,
        variables=topic.maybe_texts("variables"),
        with_properties=topic.flag("includeExtensionProperties"),
        deserialize=topic.flag("deserializeValues"),
        business_key=topic.maybe_text("businessKey"),
        processes=keys,
        definitions=numbers,
        tenants=tenants,
    )


def _one_or_more(topic: Fields, one: str, more: str) -> tuple[str, ...] | None:
    """Both filters of a topic as one, as far as jobs of Camunda 8 are concerned."""
    single, several = topic.maybe_text(one), topic.maybe_texts(more)
    if single is not None:
        return (single,) if not several or single in several else ()
    return several or None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
