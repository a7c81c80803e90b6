"""What happens next: each function takes a run and a word from outside and gives the events of it.

Pure. An empty answer says that the word changes nothing: it came twice, or too late, or for
something that is over. The same word may so be given any number of times. Whoever calls puts the
events on disk before anybody hears of them; what has to be done outside is in them as well: an
`attempt.started` asks for a job or a call, `Run.due_ms` says when to come again.

A run of another executor goes the same way, but a task begins when its executor says that it came
there (`reached`). All else is decided here as ever, choices and joins too, and the executor is told
where they lead: so both ways of execution give the same events.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from msgspec import UNSET

from gossamer_gateway.runs.model import events as e
from gossamer_gateway.runs.model.conditions import holds
from gossamer_gateway.runs.model.definition import Place, Retry, Step, StepType
from gossamer_gateway.runs.model.events import Event, Failure
from gossamer_gateway.runs.model.flow import Flow
from gossamer_gateway.runs.model.mapping import MappingFailed, fill
from gossamer_gateway.runs.model.run import Run, Status, StepState, StepStatus, evolve

OWN = "own"
ZEEBE = "zeebe"

LATE_MAX = 100
"""Answers that came too late which a run records; further ones are only refused."""

Chance = Callable[[], float]
"""Gives a number from 0 to below 1, each as likely."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker or a function said to an attempt. `failure` None: it is done, with `output`."""

    step: str
    attempt: int
    output: Any = None
    failure: Failure | None = None


def trigger(
    flow: Flow, run: str, given: Any, now_ms: int, *, key: str | None = None, executor: str = OWN
) -> list[Event]:
    """There is a run of this, pending."""
    of = flow.definition
    return [e.RunTriggered(run, 1, now_ms, of.id, of.version, given, key, executor)]


def start(flow: Flow, run: Run, now_ms: int, *, place: str | None = None) -> list[Event]:
    """It begins. `place`: of another executor, what that calls it."""
    if run.status is not Status.PENDING:
        return []
    course = _Course(flow, run, now_ms)
    course.add(e.RunStarted, place)
    course.enter(flow.definition.start_at, run.input)
    return course.events


def answer(flow: Flow, run: Run, said: Answer, now_ms: int, chance: Chance) -> list[Event]:
    """An attempt was answered.

    An answer that was heard before changes nothing; one to an attempt that was given up is recorded
    and has no effect.
    """
    state = run.steps.get(said.step)
    if state is None or not 1 <= said.attempt <= state.attempt or said.attempt in state.heard:
        return []
    course = _Course(flow, run, now_ms)
    at_work = state.status is StepStatus.RUNNING and said.attempt == state.attempt
    if run.status is not Status.RUNNING or not at_work:
        if run.late < LATE_MAX:
            status = "failed" if said.failure else "completed"
            course.add(e.AttemptLate, said.step, said.attempt, status)
        return course.events
    if said.failure is not None:
        course.failed(flow[said.step], said.failure, chance)
    else:
        course.completed(flow[said.step], said.output)
    return course.events


def due(flow: Flow, run: Run, now_ms: int, chance: Chance) -> list[Event]:
    """Time has passed: attempts that nobody answered have failed, and delayed ones begin."""
    course = _Course(flow, run, now_ms)
    for id, state in run.steps.items():
        if state.due_ms is None or state.due_ms > now_ms or course.run.status.has_ended:
            continue
        if state.status is StepStatus.RUNNING:
            course.failed(flow[id], _timeout(flow[id], run, state), chance)
        elif state.status is StepStatus.WAITING:
            course.attempt(flow[id])
    return course.events


def cancel(flow: Flow, run: Run, now_ms: int, *, reason: str = "", who: str = "") -> list[Event]:
    """Somebody ends it. Nothing if it has ended."""
    course = _Course(flow, run, now_ms)
    if not run.status.has_ended:
        course.add(e.RunCancelled, reason[: e.MESSAGE_CHARACTERS_MAX], who)
    return course.events


def retry(flow: Flow, run: Run, now_ms: int, *, who: str = "") -> list[Event]:
    """Somebody has a failed run go on where it failed. Nothing if it has not failed.

    Steps that were at work beside the one that failed begin anew as well.
    """
    if run.status is not Status.FAILED:
        return []
    again = (StepStatus.FAILED, StepStatus.LEFT)
    steps = tuple(id for id, one in run.steps.items() if one.status in again)
    course = _Course(flow, run, now_ms)
    course.add(e.RunRetried, steps, who)
    if run.started_ms is None and run.executor == OWN:
        course.add(e.RunStarted, None)
        course.enter(flow.definition.start_at, run.input)
    for id in steps:
        state = run.steps[id]
        if not course.run.status.has_ended:
            course.again(flow[id], state)
    return course.events


def reached(
    flow: Flow, run: Run, step_id: str, now_ms: int, *, job: str | None = None
) -> list[Event]:
    """Another executor came to a task. Nothing if the step has begun before.

    What came along is known here. Where nothing leads there yet, somebody has a hand in that
    executor: a step was passed whose output nobody has, and the run fails.

    Args:
        job: what the executor calls the step's job.
    """
    if run.status is not Status.RUNNING or step_id in run.steps:
        return []
    course = _Course(flow, run, now_ms)
    came = _came(flow, run, step_id)
    if came is None:
        said = f"{run.executor} came to {step_id} before the steps that lead there were done"
        course.add(e.RunFailed, Failure("OutOfStep", said, "engine", retryable=False), step_id)
    else:
        course.begin(flow[step_id], came[0], job)
    return course.events


def broken(flow: Flow, run: Run, failure: Failure, now_ms: int) -> list[Event]:
    """A run cannot go on, for no reason of a step's."""
    course = _Course(flow, run, now_ms)
    if not run.status.has_ended:
        course.add(e.RunFailed, failure)
    return course.events


def _came(flow: Flow, run: Run, step_id: str) -> tuple[Any] | None:
    """What comes along to a step by now; None: nothing leads there."""
    # The ways to a step are of one branch and exclude each other, but for a choice's direct way and
    # one through other steps of it; and whichever is gone, its last step began last.
    for id in reversed(run.steps):
        state = run.steps[id]
        if state.status is StepStatus.COMPLETED:
            step = flow[id]
            ahead: tuple[str | None, ...] = (step.next,)
            if step.type is StepType.CHOICE:
                ahead = (state.taken,)
            elif step.type is StepType.PARALLEL:
                ahead = step.branches
            if step_id in ahead:
                return (state.output,)
    return (run.input,) if step_id == flow.definition.start_at else None


def scope(run: Run, previous: Any) -> dict[str, Any]:
    """What templates and conditions see."""
    outputs = {
        id: one.output for id, one in run.steps.items() if one.status is StepStatus.COMPLETED
    }
    return {"input": run.input, "steps": outputs, "previous": previous}


def delay_ms(policy: Retry, tries: int, chance: float) -> int:
    """How long to wait after so many attempts.

    The source of the jitter: AWS Architecture Blog, "Exponential Backoff And Jitter" (2015), whose
    "equal jitter" is `jitter: 0.5` and "full jitter" `jitter: 1`.
    """
    # The power of a hundred attempts is above what a float holds.
    grown = policy.initial_delay_ms * policy.multiplier ** min(tries - 1, 64)
    whole = min(grown, policy.max_delay_ms)
    return round(whole * (1 - policy.jitter * chance))


def wait_ms(policy: Retry, tries: int, failure: Failure, chance: float) -> int:
    """How long to wait for the next attempt: the policy's delay, or longer where one was told."""
    return max(delay_ms(policy, tries, chance), failure.retry_after_ms or 0)


def is_of_use(policy: Retry, failure: Failure, *, elsewhere: bool = False) -> bool:
    """Whether another attempt at the same place is of use after this.

    A place that asks for more patience than the policy has is waited for only if there is no other.

    Args:
        elsewhere: there is another place to go to.
    """
    if failure.code in policy.not_on or (policy.on and failure.code not in policy.on):
        return False
    told_ms = failure.retry_after_ms
    if elsewhere and told_ms is not None and told_ms > policy.max_delay_ms:
        return False
    return failure.retryable or (told_ms is not None and not elsewhere)


def _timeout(step: Step, run: Run, state: StepState) -> Failure:
    after_s = step.timeout_ms / 1000
    if step.action is not None:
        who = f"no worker of {step.action} answered within {after_s:g} s"
    else:
        place = step.places[state.place]
        who = f"{place.provider} did not answer for {place.function_id} within {after_s:g} s"
    return Failure("Timeout", f"attempt {state.attempt} of {step.id}: {who}", "time")


class _Course:
    """Events being decided, and the run after them."""

    def __init__(self, flow: Flow, run: Run, now_ms: int) -> None:
        self.run = run
        self.events: list[Event] = []
        self._flow = flow
        self._now_ms = now_ms

    def add(self, kind: Callable[..., Event], *values: Any) -> None:
        event = kind(self.run.id, self.run.seq + 1, self._now_ms, *values)
        self.run = evolve(self.run, event)
        self.events.append(event)

    def enter(self, id: str, value: Any) -> None:
        """A step is come to, with this."""
        step = self._flow[id]
        if step.type is StepType.TASK:
            if self.run.executor == OWN:
                self.begin(step, value)
        elif step.type is StepType.CHOICE:
            self._choose(step, value)
        elif step.type is StepType.PARALLEL:
            self.add(e.ParallelStarted, id, step.branches, value)
            for branch in step.branches:
                if not self.run.status.has_ended:
                    self.enter(branch, value)

    def again(self, step: Step, state: StepState) -> None:
        """A step that failed, or was left, begins anew."""
        if state.attempt == 0:  # it never began, and what it has is what came along
            if step.type is StepType.TASK:
                self.begin(step, state.input)
            else:
                self.enter(step.id, state.input)
        else:
            self.add(e.StepStarted, step.id, state.input, state.job)
            self.attempt(step)

    def attempt(self, step: Step) -> None:
        state = self.run.steps[step.id]
        due_ms = self._now_ms + step.timeout_ms
        if step.deadline_ms is not None:
            due_ms = min(due_ms, state.begun_ms + step.deadline_ms)
        where: tuple[str | None, ...] = (step.action,)
        if step.places:
            place = step.places[state.place]
            where = (None, place.provider, place.function_id, place.region)
        self.add(e.AttemptStarted, step.id, state.attempt + 1, due_ms, *where)

    def completed(self, step: Step, result: Any) -> None:
        """The attempt at work is done."""
        attempt = self.run.steps[step.id].attempt
        output = result
        if step.output is not UNSET:
            known = scope(self.run, self.run.steps[step.id].input) | {"result": result}
            try:
                output = fill(step.output, known)
            except MappingFailed as error:
                failure = Failure("MappingFailed", str(error), "definition", retryable=False)
                self.add(e.AttemptFailed, step.id, attempt, failure)
                self._give_up(step, failure)
                return
        self.add(e.StepCompleted, step.id, attempt, output)
        self._leave(step, output)

    def failed(self, step: Step, failure: Failure, chance: Chance) -> None:
        """The attempt at work failed: it is tried again, elsewhere, or given up."""
        state = self.run.steps[step.id]
        self.add(e.AttemptFailed, step.id, state.attempt, failure)
        may_fail_over = self._may_fail_over(step, state, failure)
        wait = wait_ms(step.retry, state.tries, failure, chance())
        is_tried_again = state.tries < step.retry.max_attempts and (
            is_of_use(step.retry, failure, elsewhere=may_fail_over)
        )
        if is_tried_again and self._is_in_time(step, state, wait):
            next_ms = self._now_ms + wait
            self.add(e.RetryScheduled, step.id, state.attempt + 1, next_ms, wait)
        elif may_fail_over:
            left, taken = step.places[state.place], step.places[state.place + 1]
            self.add(e.FailedOver, step.id, state.place + 1, _name(left), _name(taken))
            self.attempt(step)
        else:
            self._give_up(step, _too_late(step, failure) if is_tried_again else failure)

    def _may_fail_over(self, step: Step, state: StepState, failure: Failure) -> bool:
        """Elsewhere is of use where the place is to blame, not where the function itself is."""
        return (
            failure.blame in ("provider", "time")
            and state.place + 1 < len(step.places)
            and self._is_in_time(step, state, 0)
        )

    def _is_in_time(self, step: Step, state: StepState, delay: int) -> bool:
        if step.deadline_ms is None:
            return True
        return self._now_ms + delay < state.begun_ms + step.deadline_ms

    def _give_up(self, step: Step, failure: Failure, value: Any = None) -> None:
        self.add(e.StepFailed, step.id, failure, value)
        self.add(e.RunFailed, failure, step.id)

    def begin(self, step: Step, value: Any, job: str | None = None) -> None:
        """A task is come to, with this, and begins."""
        payload = value
        if step.input is not UNSET:
            try:
                payload = fill(step.input, scope(self.run, value))
            except MappingFailed as error:
                failure = Failure("MappingFailed", str(error), "definition", retryable=False)
                self._give_up(step, failure, value)
                return
        self.add(e.StepStarted, step.id, payload, job)
        self.attempt(step)

    def _choose(self, step: Step, value: Any) -> None:
        known = scope(self.run, value)
        taken = next((one.next for one in step.choices if holds(one.when, known)), step.default)
        if taken is None:
            said = f"no condition of {step.id} holds, and it has no default"
            self._give_up(step, Failure("NoChoice", said, "definition", retryable=False), value)
            return
        self.add(e.ChoiceTaken, step.id, taken, value)
        self._go_on(step, taken, value)

    def _leave(self, step: Step, value: Any) -> None:
        """A step is done with this: the way goes on, or ends."""
        if step.next is None:
            self.add(e.RunCompleted, value)
        else:
            self._go_on(step, step.next, value)

    def _go_on(self, step: Step, next: str, value: Any) -> None:
        if self._flow[next].type is StepType.JOIN:
            self._join(self._flow[next], self._flow.heads[step.id], value)
        else:
            self.enter(next, value)

    def _join(self, join: Step, branch: str, value: Any) -> None:
        self.add(e.BranchJoined, join.id, branch, value)
        fork = self._flow[self._flow.forks[join.id]]
        come = self.run.joins[join.id]
        if len(come) == len(fork.branches):
            together = {one: come[one] for one in fork.branches}
            self.add(e.JoinCompleted, join.id, together)
            self._leave(join, together)


def _too_late(step: Step, failure: Failure) -> Failure:
    said = f"{step.id} had {step.deadline_ms} ms in all; the last attempt said: {failure.message}"
    return Failure("DeadlineExceeded", said[: e.MESSAGE_CHARACTERS_MAX], "time", retryable=False)


def _name(place: Place) -> str:
    return place.provider if place.region is None else f"{place.provider}/{place.region}"
