"""A run as the sum of its events. Pure: `evolve(run, event)` gives the next state, `fold` the last.

A state is never changed in place, so that one may be kept and compared with a later one. Which
event may follow in which status is `ALLOWED`; anything else is a mistake of ours, or a log that was
tampered with, and raises.
"""

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from gossamer_gateway.runs.model import events as e
from gossamer_gateway.runs.model.events import Event, Failure


class Status(Enum):
    """Where a run is."""

    PENDING = "Pending"
    RUNNING = "Running"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELLED = "Cancelled"

    @property
    def has_ended(self) -> bool:
        return self not in (Status.PENDING, Status.RUNNING)


class StepStatus(Enum):
    """Where a step is. `WAITING`: for its next attempt. `LEFT`: its run ended without it."""

    RUNNING = "Running"
    WAITING = "Waiting"
    COMPLETED = "Completed"
    FAILED = "Failed"
    LEFT = "Left"

    @property
    def is_open(self) -> bool:
        return self in (StepStatus.RUNNING, StepStatus.WAITING)


class StepState(Struct, frozen=True, rename="camel", omit_defaults=True):
    """A step in a run.

    Attributes:
        attempt: the number of the newest attempt; counted on when the run is retried.
        place: which of the step's places it is at.
        tries: attempts at this place since it was taken.
        due_ms: when its attempt counts as failed, or its next one begins.
        begun_ms: when it (last) began, for its deadline.
        heard: attempts that were answered, the newest ones.
        taken: where a choice went on.
        job: what another executor calls the step's job.
    """

    status: StepStatus
    begun_ms: int
    input: Any = None
    output: Any = None
    attempt: int = 0
    place: int = 0
    tries: int = 0
    due_ms: int | None = None
    ended_ms: int | None = None
    failure: Failure | None = None
    heard: tuple[int, ...] = ()
    taken: str | None = None
    job: str | None = None


class Run(Struct, frozen=True, rename="camel", omit_defaults=True):
    """A run after the event numbered `seq`.

    Attributes:
        place: of another executor, what that calls it.
        steps: those that have begun, by id, in that order.
        joins: values of branches that have come to a join, by join and branch.
        late: answers that came too late and were recorded.
    """

    id: str
    workflow: str
    version: int
    status: Status
    seq: int
    triggered_ms: int
    input: Any = None
    executor: str = "own"
    key: str | None = None
    place: str | None = None
    output: Any = None
    failure: Failure | None = None
    started_ms: int | None = None
    ended_ms: int | None = None
    steps: dict[str, StepState] = {}
    joins: dict[str, dict[str, Any]] = {}
    late: int = 0

    @property
    def due_ms(self) -> int | None:
        """When the next thing happens by itself; None: nothing does."""
        if self.status is not Status.RUNNING:
            return None
        dues = [one.due_ms for one in self.steps.values() if one.due_ms is not None]
        return min(dues, default=None)


class OutOfPlace(Exception):
    """An event that cannot follow: a mistake of ours, or a log with a gap."""


HEARD_MAX = 100
"""How many attempts back a step remembers which were answered; older ones count as answered."""

_RUNNING = (Status.RUNNING,)

ALLOWED: dict[type[Event], tuple[Status, ...]] = {
    e.RunStarted: (Status.PENDING,),
    e.RunCancelled: (Status.PENDING, Status.RUNNING),
    e.RunFailed: (Status.PENDING, Status.RUNNING),
    e.RunRetried: (Status.FAILED,),
    e.AttemptLate: tuple(Status),
    **dict.fromkeys(
        (
            e.StepStarted, e.AttemptStarted, e.AttemptFailed, e.RetryScheduled, e.FailedOver,
            e.StepCompleted, e.StepFailed, e.ChoiceTaken, e.ParallelStarted, e.BranchJoined,
            e.JoinCompleted, e.RunCompleted,
        ),
        _RUNNING,
    ),
}  # fmt: skip
"""In which status of a run an event may happen."""

_AGAIN = (None, StepStatus.FAILED, StepStatus.LEFT)
_MEANWHILE = (None, StepStatus.FAILED)  # of steps that take no time, and so are never left

ALLOWED_IN_STEP: dict[type[Event], tuple[StepStatus | None, ...]] = {
    e.StepStarted: _AGAIN,
    e.AttemptStarted: (StepStatus.WAITING,),
    e.AttemptFailed: (StepStatus.RUNNING,),
    e.AttemptLate: tuple(StepStatus),
    e.RetryScheduled: (StepStatus.WAITING,),
    e.FailedOver: (StepStatus.WAITING,),
    e.StepCompleted: (StepStatus.RUNNING,),
    e.StepFailed: (*_AGAIN, StepStatus.WAITING),
    e.ChoiceTaken: _MEANWHILE,
    e.ParallelStarted: _MEANWHILE,
    e.BranchJoined: (None,),
    e.JoinCompleted: _MEANWHILE,
}
"""In which status of its step an event may happen; None: the step has not begun."""


def fold(history: Iterable[Event]) -> Run:
    """The run that these events make, in order and complete.

    Raises: OutOfPlace.
    """
    run: Run | None = None
    for event in history:
        run = evolve(run, event)
    if run is None:
        raise OutOfPlace("there is no event, so there is no run")
    return run


def evolve(run: Run | None, event: Event) -> Run:
    """The state after an event.

    Raises: OutOfPlace; the state is as it was.
    """
    if run is None:
        if not isinstance(event, e.RunTriggered) or event.seq != 1:
            raise OutOfPlace(f"a run begins with run.triggered, not with {event!r}")
        return Run(
            id=event.run, workflow=event.workflow, version=event.version, status=Status.PENDING,
            seq=1, triggered_ms=event.at_ms, input=event.input, executor=event.executor,
            key=event.key,
        )  # fmt: skip
    if event.run != run.id or event.seq != run.seq + 1:
        raise OutOfPlace(f"{event.run} {event.seq} does not follow {run.id} {run.seq}")
    kind = type(event)
    if run.status not in ALLOWED.get(kind, ()):
        raise OutOfPlace(f"a run that is {run.status.value} takes no {kind.__name__}")
    allowed = ALLOWED_IN_STEP.get(kind)
    if allowed is not None:
        state = run.steps.get(event.step)  # type: ignore[attr-defined]
        status = None if state is None else state.status
        if status not in allowed:
            raise OutOfPlace(f"a step that is {status} takes no {event!r}")
    return _EVOLVE[kind](run, event)


def _step(run: Run, event: Any, **changes: Any) -> Run:
    """A run with a step of it changed."""
    changed = replace(run.steps[event.step], **changes)
    return replace(run, seq=event.seq, steps={**run.steps, event.step: changed})


def _done(run: Run, event: Any, value: Any, taken: str | None = None) -> Run:
    """A run with a step in it that took no time."""
    state = StepState(
        StepStatus.COMPLETED, event.at_ms, value, value, ended_ms=event.at_ms, taken=taken
    )  # fmt: skip
    return replace(run, seq=event.seq, steps={**run.steps, event.step: state})


def _ended(run: Run, event: Event, status: Status, **changes: Any) -> Run:
    steps = {
        id: replace(one, status=StepStatus.LEFT, due_ms=None, ended_ms=event.at_ms)
        if one.status.is_open
        else one
        for id, one in run.steps.items()
    }
    return replace(run, seq=event.seq, status=status, ended_ms=event.at_ms, steps=steps, **changes)


def _run_started(run: Run, event: e.RunStarted) -> Run:
    return replace(
        run, seq=event.seq, status=Status.RUNNING, started_ms=event.at_ms, place=event.place
    )


def _step_started(run: Run, event: e.StepStarted) -> Run:
    known = run.steps.get(event.step)
    state = StepState(
        StepStatus.WAITING, event.at_ms, event.input,
        attempt=known.attempt if known else 0,
        heard=known.heard if known else (),
        job=event.job,
    )  # fmt: skip
    return replace(run, seq=event.seq, steps={**run.steps, event.step: state})


def _attempt_started(run: Run, event: e.AttemptStarted) -> Run:
    state = run.steps[event.step]
    if event.attempt != state.attempt + 1:
        raise OutOfPlace(f"{event!r} does not follow attempt {state.attempt}")
    return _step(
        run, event, status=StepStatus.RUNNING, attempt=event.attempt, tries=state.tries + 1,
        due_ms=event.due_ms,
    )  # fmt: skip


def _attempt_failed(run: Run, event: e.AttemptFailed) -> Run:
    _is_at_work(run, event)
    # Nobody answered one whose time ran out, so its answer may still come.
    heard = _heard(run, event) if event.failure.blame != "time" else {}
    return _step(
        run, event, status=StepStatus.WAITING, due_ms=None, failure=event.failure, **heard
    )  # fmt: skip


def _is_at_work(run: Run, event: Any) -> None:
    if event.attempt != run.steps[event.step].attempt:
        raise OutOfPlace(f"{event!r} is not of the attempt that is at work")


def _heard(run: Run, event: Any) -> dict[str, tuple[int, ...]]:
    step = run.steps[event.step]
    oldest = step.attempt - HEARD_MAX
    return {"heard": (*(one for one in step.heard if one > oldest), event.attempt)}


def _attempt_late(run: Run, event: e.AttemptLate) -> Run:
    return _step(replace(run, late=run.late + 1), event, **_heard(run, event))


def _failed_over(run: Run, event: e.FailedOver) -> Run:
    return _step(run, event, place=event.place, tries=0)


def _step_completed(run: Run, event: e.StepCompleted) -> Run:
    _is_at_work(run, event)
    return _step(
        run, event, status=StepStatus.COMPLETED, output=event.output, due_ms=None, failure=None,
        ended_ms=event.at_ms, **_heard(run, event),
    )  # fmt: skip


def _step_failed(run: Run, event: e.StepFailed) -> Run:
    if event.step not in run.steps:  # a choice without a way, a mapping that leads nowhere
        state = StepState(StepStatus.FAILED, event.at_ms, event.value)
        run = replace(run, steps={**run.steps, event.step: state})
    return _step(
        run, event, status=StepStatus.FAILED, failure=event.failure, due_ms=None,
        ended_ms=event.at_ms,
    )  # fmt: skip


def _branch_joined(run: Run, event: e.BranchJoined) -> Run:
    before = run.joins.get(event.step, {})
    if event.branch in before:
        raise OutOfPlace(f"{event!r} comes twice")
    come = {**before, event.branch: event.value}
    return replace(run, seq=event.seq, joins={**run.joins, event.step: come})


def _join_completed(run: Run, event: e.JoinCompleted) -> Run:
    joins = {id: come for id, come in run.joins.items() if id != event.step}
    return replace(_done(run, event, event.output), joins=joins)


def _run_retried(run: Run, event: e.RunRetried) -> Run:
    # Where its executor is to blame it has nothing to go on with: the run begins there anew.
    is_anew = run.failure is not None and run.failure.blame == "engine"
    run = replace(run, seq=event.seq, status=Status.RUNNING, ended_ms=None, failure=None)
    if is_anew:
        run = replace(run, started_ms=None, place=None)
    return run if run.started_ms is not None else replace(run, status=Status.PENDING)


_EVOLVE: dict[type[Event], Callable[[Run, Any], Run]] = {
    e.RunStarted: _run_started,
    e.StepStarted: _step_started,
    e.AttemptStarted: _attempt_started,
    e.AttemptFailed: _attempt_failed,
    e.AttemptLate: _attempt_late,
    e.RetryScheduled: lambda run, event: _step(run, event, due_ms=event.due_ms),
    e.FailedOver: _failed_over,
    e.StepCompleted: _step_completed,
    e.StepFailed: _step_failed,
    e.ChoiceTaken: lambda run, event: _done(run, event, event.value, event.next),
    e.ParallelStarted: lambda run, event: _done(run, event, event.value),
    e.BranchJoined: _branch_joined,
    e.JoinCompleted: _join_completed,
    e.RunCompleted: lambda run, event: _ended(run, event, Status.COMPLETED, output=event.output),
    e.RunFailed: lambda run, event: _ended(run, event, Status.FAILED, failure=event.failure),
    e.RunCancelled: lambda run, event: _ended(run, event, Status.CANCELLED),
    e.RunRetried: _run_retried,
}
