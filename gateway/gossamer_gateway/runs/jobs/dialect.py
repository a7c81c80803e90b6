"""Steps as external tasks of Camunda 7, under `/workflow/engine-rest`: for nodes of the mesh.

A node to which this URL is an engine of kind `camunda7` works steps with its WASM services, under
the same leases as any other job. What is here is what its adapter uses to work jobs, and nothing of
processes: there are none. A task's id is `run:step:attempt`, its process the workflow, its instance
and business key the run. What a task has of retries is null, for the workflow's own policy says how
often a step is tried; a failure that says `retries: 0` ends them all the same, and so does a BPMN
error, whose code becomes the failure's. `retryTimeout` is passed over.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from quart import Blueprint, request
from werkzeug.exceptions import HTTPException

from gossamer_gateway.engine_rest import answers
from gossamer_gateway.engine_rest.answers import NOTHING
from gossamer_gateway.errors import BadRequest, GatewayError, NotLockedByWorker, UnknownTask
from gossamer_gateway.fields import DETAILS_CHARS_MAX, Fields
from gossamer_gateway.reading7 import read_body
from gossamer_gateway.runs.engine import Engine
from gossamer_gateway.runs.jobs import holding
from gossamer_gateway.runs.jobs.holding import Held
from gossamer_gateway.runs.jobs.polls import Polls, is_of_provider
from gossamer_gateway.runs.jobs.variables import output_of, variables_of
from gossamer_gateway.runs.model.deciding import Answer, Verdict
from gossamer_gateway.runs.model.events import Failure
from gossamer_gateway.runs.results import failure_of
from gossamer_gateway.runs.store import Job
from gossamer_gateway.storage import Rows, Storage
from gossamer_gateway.wording7 import (
    BPMN_ERROR,
    COMPLETE,
    EXTEND,
    FAILURE,
    Json,
    not_locked_by,
    stamp,
    task_row,
)

SCHEMA = """
CREATE TABLE IF NOT EXISTS workflow_about (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);
"""

PREFIX = "/workflow/engine-rest"

TOPICS_MAX = 200
TASKS_MAX = 1_000
WAIT_MS_MAX = 1_800_000
"""Camunda 7's longest `asyncResponseTimeout`."""

LOCK_MS_MAX = 24 * 3_600_000

ROWS_MAX = 1_000
"""Of one page."""

_FILTERS = (
    "businessKey", "processDefinitionId", "processDefinitionIdIn", "processDefinitionKey",
    "processDefinitionKeyIn", "processDefinitionVersionTag", "processVariables", "tenantIdIn",
)  # fmt: skip
"""Of a fetched topic, in Camunda 7 and not here: to pass over one would hand out other tasks."""


@dataclass(frozen=True, slots=True)
class Topic:
    """What a worker wants of one topic. `names`: variables; None: all."""

    lock_ms: int
    names: tuple[str, ...] | None
    with_properties: bool


def create_blueprint(engine: Engine, polls: Polls, storage: Storage) -> Blueprint:
    """Everything under `PREFIX`."""
    routes = Blueprint("workflow_engine_rest", __name__, url_prefix=PREFIX)
    tasks = _Tasks(engine, polls, storage)
    task = "/external-task/<task_id>"
    for method, path, view in (
        ("GET", "/version", tasks.version),
        ("GET", "/engine", tasks.engines),
        ("GET", "/telemetry/data", tasks.telemetry),
        ("POST", "/external-task/fetchAndLock", tasks.fetch),
        ("POST", "/external-task", tasks.list),
        ("GET", task, tasks.get),
        ("POST", f"{task}/complete", tasks.complete),
        ("POST", f"{task}/failure", tasks.failure),
        ("POST", f"{task}/bpmnError", tasks.bpmn_error),
        ("POST", f"{task}/extendLock", tasks.extend),
        ("POST", f"{task}/unlock", tasks.unlock),
    ):
        routes.add_url_rule(path, f"{method} {path}", view, methods=[method])
    for kind, answer in (
        (GatewayError, answers.refused),
        (HTTPException, answers.http_error),
        (Exception, answers.broken),
    ):
        routes.register_error_handler(kind, answer)
    return routes


class _Tasks:
    def __init__(self, engine: Engine, polls: Polls, storage: Storage) -> None:
        self._engine = engine
        self._polls = polls
        self._submit = storage.submit

    # --- the engine

    async def version(self) -> Json:
        return {"version": version("gossamer"), "product": "gossamer"}

    async def engines(self) -> list[Json]:
        return [{"name": "default"}]

    async def telemetry(self) -> Json:
        """By its installation nodes know an engine again, under whatever URL."""
        made = uuid.uuid4().hex

        def command(rows: Rows, _now_ms: int) -> str:
            rows.execute(
                "INSERT INTO workflow_about (name, value) VALUES ('installation', ?)"
                " ON CONFLICT (name) DO NOTHING",
                (made,),
            )
            (found,) = rows.execute(
                "SELECT value FROM workflow_about WHERE name = 'installation'"
            ).fetchone()
            return str(found)

        product = {"name": "Gossamer", "version": version("gossamer"), "edition": "workflows"}
        return {"installation": await self._submit(command), "product": product}

    # --- tasks

    async def fetch(self) -> list[Json]:
        body = await read_body()
        worker, wait_ms = body.text("workerId"), body.number("asyncResponseTimeout")
        if wait_ms > WAIT_MS_MAX:
            raise BadRequest(
                "The asynchronous response timeout cannot be set to a value greater than "
                f"{WAIT_MS_MAX} milliseconds"
            )
        topics = _topics(body)
        tasks_max = min(body.number("maxTasks"), TASKS_MAX)
        if not topics or tasks_max <= 0:
            return []
        lock_ms = max(one.lock_ms for one in topics.values())
        jobs = await self._polls.fetch(
            worker, topics, jobs_max=tasks_max, lock_ms=lock_ms, wait_ms=max(0, wait_ms)
        )
        for job in jobs:
            if topics[job.queue].lock_ms != lock_ms:
                await self._engine.extend(
                    job.run, job.step, job.attempt, worker, topics[job.queue].lock_ms
                )
        return [_locked(job, topics[job.queue], worker, lock_ms) for job in jobs]

    async def list(self) -> list[Json]:
        """What a worker has locked: all that anybody asks this for."""
        body = await read_body()
        worker = body.text("workerId")
        if not body.flag("locked"):
            raise BadRequest("Tasks are listed here by workerId with locked: true alone")
        skip, limit = _page("firstResult", 0), _page("maxResults", ROWS_MAX)
        found = await self._submit(
            lambda rows, now_ms: holding.of_worker(rows, worker, now_ms, skip, min(limit, ROWS_MAX))
        )
        return [_row(one) for one in found]

    async def get(self, task_id: str) -> Json:
        return _row(await self._held(task_id))

    async def complete(self, task_id: str) -> tuple[str, int]:
        body = await read_body()
        held = await self._held_by(task_id, body.text("workerId"), COMPLETE)
        return await self._settle(held, Answer(held.step, held.attempt, _output(body)))

    async def failure(self, task_id: str) -> tuple[str, int]:
        body = await read_body()
        held = await self._held_by(task_id, body.text("workerId"), FAILURE)
        failure = failure_of(
            "WorkerFailed",
            body.maybe_text("errorMessage") or "",
            body.maybe_text("errorDetails", DETAILS_CHARS_MAX) or "",
            retryable=body.get("retries") is None or body.number("retries") > 0,
        )
        return await self._fail(held, failure)

    async def bpmn_error(self, task_id: str) -> tuple[str, int]:
        body = await read_body()
        held = await self._held_by(task_id, body.text("workerId"), BPMN_ERROR)
        message = body.maybe_text("errorMessage") or ""
        return await self._fail(held, failure_of(body.text("errorCode"), message, retryable=False))

    async def extend(self, task_id: str) -> tuple[str, int]:
        body = await read_body()
        worker, lock_ms = body.text("workerId"), _lock_ms(body.number("newDuration"), "lockTime")
        held = await self._held_by(task_id, worker, EXTEND)
        if not await self._engine.extend(held.run, held.step, held.attempt, worker, lock_ms):
            raise NotLockedByWorker(not_locked_by(task_id, worker, None, EXTEND))
        return NOTHING

    async def unlock(self, task_id: str) -> tuple[str, int]:
        held = await self._held(task_id)
        if held.worker is not None:
            await self._engine.release(held.run, held.step, held.attempt, held.worker)
        return NOTHING

    # --- what several have in common

    async def _held(self, task_id: str) -> Held:
        """The job of a task. Raises: UnknownTask."""
        run, _, rest = task_id.partition(":")
        step, _, attempt = rest.rpartition(":")
        for one in await self._submit(lambda rows, _: holding.of_run(rows, run)):
            if one.step == step and str(one.attempt) == attempt:
                return one
        raise UnknownTask(task_id)

    async def _held_by(self, task_id: str, worker: str, refusal: str) -> Held:
        # The worker is checked and not the clock: a lock that ran out is still the worker's until
        # another takes it.
        held = await self._held(task_id)
        if held.worker != worker:
            raise NotLockedByWorker(not_locked_by(task_id, worker, held.worker, refusal))
        return held

    async def _fail(self, held: Held, failure: Failure) -> tuple[str, int]:
        return await self._settle(held, Answer(held.step, held.attempt, failure=failure))

    async def _settle(self, held: Held, said: Answer) -> tuple[str, int]:
        verdict = await self._engine.answer(held.run, said)
        if verdict is not Verdict.TAKEN:
            raise UnknownTask(_id(held.run, held.step, held.attempt))
        return NOTHING


def _topics(body: Fields) -> Mapping[str, Topic]:
    """Of a topic that is named twice the last counts, as in Camunda 7."""
    asked = body.objects("topics")
    if len(asked) > TOPICS_MAX:
        raise BadRequest(f"One fetch has at most {TOPICS_MAX} topics")
    made = {}
    for one in asked:
        for name in _FILTERS:
            if one.get(name):
                raise BadRequest(f"The filter '{name}' of a topic is not known here")
        if is_of_provider(one.text("topicName")):
            raise BadRequest(f"{one.text('topicName')} is no topic of workers")
        made[one.text("topicName")] = Topic(
            _lock_ms(one.number("lockDuration"), "lockTime"),
            one.maybe_texts("variables"),
            one.flag("includeExtensionProperties"),
        )
    return made


def _lock_ms(lock_ms: int, name: str) -> int:
    if lock_ms <= 0:
        raise BadRequest(f"{name} is not greater than 0")
    return min(lock_ms, LOCK_MS_MAX)


def _page(name: str, default: int) -> int:
    text = request.args.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise BadRequest(f"Cannot set query parameter '{name}' to value '{text[:80]}'")
    return int(text)


def _output(body: Fields) -> Any:
    return output_of(body.get("variables"))


def _locked(job: Job, topic: Topic, worker: str, lock_ms: int) -> Json:
    told = _told(job.run, job.step, job.attempt, job.queue, job.workflow) | {
        "lockExpirationTime": stamp(job.locked_ms - lock_ms + topic.lock_ms),
        "workerId": worker,
        "errorDetails": None,
        "variables": variables_of(job.payload, topic.names),
    }
    if topic.with_properties:
        told["extensionProperties"] = {"key": job.key, "attempt": str(job.attempt)}
    return told


def _row(held: Held) -> Json:
    until = stamp(held.free_ms) if held.worker is not None else None
    told = _told(held.run, held.step, held.attempt, held.queue, None)
    return told | {"workerId": held.worker, "lockExpirationTime": until}


def _told(run: str, step: str, attempt: int, queue: str, workflow: str | None) -> Json:
    return task_row(
        {
            "id": _id(run, step, attempt),
            "instance_id": run,
            "activity_id": f"{run}:{step}",
            "node_id": step,
            "topic": queue,
            "priority": 0,
            "created_ms": None,
            "lock_until_ms": None,
            "worker_id": None,
            "retries": None,
            "error_message": None,
            "business_key": run,
            "definition_id": workflow,
            "definition_key": workflow,
            "version_tag": None,
        }
    )


def _id(run: str, step: str, attempt: int) -> str:
    return f"{run}:{step}:{attempt}"
