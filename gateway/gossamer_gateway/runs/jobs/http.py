"""Jobs for workers over HTTP: fetched with a long poll, answered in batches, their locks extended.

A batch of results is refused whole where one of them cannot be read, and nothing of it counts then;
otherwise each has its verdict. A batch that was answered 503, or not at all, is sent again as it
was: what had been taken is `repeated`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from gossamer_gateway.errors import BadRequest
from gossamer_gateway.runs import strict
from gossamer_gateway.runs.engine import Engine
from gossamer_gateway.runs.jobs import shapes
from gossamer_gateway.runs.jobs.polls import Polls, is_of_provider
from gossamer_gateway.runs.results import (
    ATTEMPT_MAX,
    ID_CHARACTERS_MAX,
    Result,
    read_attempt,
    read_result,
)
from gossamer_gateway.runs.store import Job
from gossamer_gateway.v1.operations import Asked, Body, Operation

ACTIONS_MAX = 200
"""Actions of one fetch."""

JOBS_MAX = 1_000
"""Jobs of one fetch, and results of one batch."""

WAIT_MS_MAX = 60_000
"""What proxies on the way hold open."""

LOCK_MS_MIN, LOCK_MS_MAX = 100, 24 * 3_600_000

_NAME = {"type": "string", "minLength": 1, "maxLength": ID_CHARACTERS_MAX}
_LOCK = {"type": "integer", "minimum": LOCK_MS_MIN, "maximum": LOCK_MS_MAX}
_ATTEMPT = {"type": "integer", "minimum": 1, "maximum": ATTEMPT_MAX}


def _object(fields: dict[str, Any], *required: str, others: bool = False) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": fields,
        "required": list(required),
        "additionalProperties": others,
    }


def _many(items: dict[str, Any], most: int) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": 1, "maxItems": most}


FETCH = _object(
    {
        "actions": _many(_NAME, ACTIONS_MAX),
        "worker": _NAME,
        "max": {"type": "integer", "minimum": 1, "maximum": JOBS_MAX},
        "waitMs": {"type": "integer", "minimum": 0, "maximum": WAIT_MS_MAX},
        "lockMs": _LOCK,
    },
    "actions",
    "worker",
)
_TEXT = {"type": ["string", "null"]}
_FAILURE = {
    "type": ["object", "null"],
    "properties": {
        "code": _TEXT,
        "message": _TEXT,
        "details": _TEXT,
        "retryable": {"type": "boolean"},
    },
}
_RESULT = _object(
    {
        "run": _NAME,
        "step": _NAME,
        "attempt": _ATTEMPT,
        "status": {"enum": ["completed", "failed"]},
        "output": {},
        "failure": _FAILURE,
    },
    "run",
    "step",
    "attempt",
    "status",
    others=True,
)
RESULTS = _object({"worker": _NAME, "results": _many(_RESULT, JOBS_MAX)}, "worker", "results")
_JOB = _object({"run": _NAME, "step": _NAME, "attempt": _ATTEMPT}, "run", "step", "attempt")
EXTEND = _object(
    {"worker": _NAME, "lockMs": _LOCK, "jobs": _many(_JOB, JOBS_MAX)}, "worker", "jobs"
)


@dataclass(frozen=True, slots=True)
class Fetch:
    """What a worker asks for."""

    actions: tuple[str, ...]
    worker: str
    jobs_max: int
    wait_ms: int
    lock_ms: int


@dataclass(frozen=True, slots=True)
class Extend:
    """Jobs, by run, step and attempt, that their worker needs longer for."""

    worker: str
    lock_ms: int
    jobs: tuple[tuple[str, str, int], ...]


def rows(engine: Engine, polls: Polls, is_offered: Callable[[str], bool]) -> tuple[Operation, ...]:
    """The endpoints.

    Args:
        is_offered: whether jobs of an action are fetched here.
    """
    serving = _Serving(engine, polls, is_offered)
    row = partial(Operation, "POST", base="/workflow/jobs", about="workers")
    busy = {503: "Too many wait already, or the rows can't be written or read now."}
    return (
        row(
            "/fetch", "Lock jobs of some actions, waiting for the first", shapes.Jobs,
            serving.fetch, takes=Body(_fetch, FETCH), errors=busy,
        ),
        row(
            "/results", "Say how attempts ended", shapes.Verdicts, serving.results,
            takes=Body(_results, RESULTS), errors=busy,
        ),
        row(
            "/extend", "Keep jobs for longer", shapes.Locks, serving.extend,
            takes=Body(_extend, EXTEND), errors=busy,
        ),
    )  # fmt: skip


class _Serving:
    def __init__(self, engine: Engine, polls: Polls, is_offered: Callable[[str], bool]) -> None:
        self._engine = engine
        self._polls = polls
        self._is_offered = is_offered

    async def fetch(self, asked: Asked) -> shapes.Jobs:
        wanted: Fetch = asked.body
        for one in wanted.actions:
            if not self._is_offered(one):
                raise BadRequest(
                    f"jobs of {one} go over Kafka here; take them from there, or name the action "
                    "in workflows.offered of the gateway's configuration to have them fetched"
                )
        jobs = await self._polls.fetch(
            wanted.worker,
            wanted.actions,
            jobs_max=wanted.jobs_max,
            lock_ms=wanted.lock_ms,
            wait_ms=wanted.wait_ms,
        )
        return shapes.Jobs([_shown(one) for one in jobs])

    async def results(self, asked: Asked) -> shapes.Verdicts:
        results: Sequence[Result] = asked.body
        verdicts = await self._engine.answer_all([(one.run, one.answer) for one in results])
        return shapes.Verdicts(
            [
                shapes.Judged(one.run, one.answer.step, one.answer.attempt, verdict.value)
                for one, verdict in zip(results, verdicts, strict=True)
            ]
        )

    async def extend(self, asked: Asked) -> shapes.Locks:
        wanted: Extend = asked.body
        locks = []
        for run, step, attempt in wanted.jobs:
            until = await self._engine.extend(run, step, attempt, wanted.worker, wanted.lock_ms)
            locks.append(shapes.Lock(run, step, attempt, until))
        return shapes.Locks(locks)


def _shown(job: Job) -> shapes.JobShown:
    return shapes.JobShown(
        run=job.run,
        workflow=job.workflow,
        step=job.step,
        attempt=job.attempt,
        action=job.queue,
        payload=job.payload,
        key=job.key,
        due_ms=job.due_ms,
        locked_ms=job.locked_ms,
    )


# --- bodies


def _fetch(data: bytes, _media: str) -> Fetch:
    fields = strict.read_object(data, "actions", "worker", "max", "waitMs", "lockMs")
    actions = fields.get("actions")
    if not isinstance(actions, list) or not 0 < len(actions) <= ACTIONS_MAX:
        raise BadRequest(f"actions must be a list of 1 to {ACTIONS_MAX} actions")
    for one in actions:
        if not isinstance(one, str) or not 0 < len(one) <= ID_CHARACTERS_MAX:
            raise BadRequest(f"an action is a text of 1 to {ID_CHARACTERS_MAX} characters")
        if is_of_provider(one):
            raise BadRequest(f"{one} is no action; the gateway calls functions itself")
    return Fetch(
        tuple(actions),
        _worker(fields),
        _number(fields, "max", 1, 1, JOBS_MAX),
        _number(fields, "waitMs", 0, 0, WAIT_MS_MAX),
        _number(fields, "lockMs", 30_000, LOCK_MS_MIN, LOCK_MS_MAX),
    )


def _results(data: bytes, _media: str) -> tuple[Result, ...]:
    fields = strict.read_object(data, "worker", "results")
    _worker(fields)
    read = []
    for at, one in enumerate(_list(fields, "results")):
        try:
            read.append(read_result(one))
        except BadRequest as error:
            raise BadRequest(f"results[{at}]: {error}") from None
    return tuple(read)


def _extend(data: bytes, _media: str) -> Extend:
    fields = strict.read_object(data, "worker", "lockMs", "jobs")
    jobs = []
    for at, one in enumerate(_list(fields, "jobs")):
        if not isinstance(one, dict):
            raise BadRequest(f"jobs[{at}] must be an object with run, step and attempt, as fetched")
        try:
            jobs.append(read_attempt(one, "run", "step", "attempt"))
        except BadRequest as error:
            raise BadRequest(f"jobs[{at}]: {error}") from None
    lock_ms = _number(fields, "lockMs", 30_000, LOCK_MS_MIN, LOCK_MS_MAX)
    return Extend(_worker(fields), lock_ms, tuple(jobs))


def _worker(fields: dict[str, Any]) -> str:
    worker = fields.get("worker")
    if not isinstance(worker, str) or not 0 < len(worker) <= ID_CHARACTERS_MAX:
        raise BadRequest(f"worker must be a text of 1 to {ID_CHARACTERS_MAX} characters")
    return worker


def _list(fields: dict[str, Any], name: str) -> list[Any]:
    value = fields.get(name)
    if not isinstance(value, list) or not 0 < len(value) <= JOBS_MAX:
        raise BadRequest(f"{name} must be a list of 1 to {JOBS_MAX} objects")
    return value


def _number(fields: dict[str, Any], name: str, default: int, least: int, most: int) -> int:
    value = fields.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise BadRequest(f"{name} must be a whole number, {least} to {most}")
    return value
