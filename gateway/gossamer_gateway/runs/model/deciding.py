"""What happens next: each function takes a run and a word from outside and gives the events of it.

Pure. An empty answer says that the word changes nothing: it came twice, or too late, or for
something that is over. The same word may so be given any number of times. Whoever calls puts the
events on disk before anybody hears of them; what has to be done outside is in them as well: an
`attempt.started` asks for a job or a call, `Run.due_ms` says when to come again.

A run of another executor goes the same way, but a task begins when its executor says that it came
there (`reached`). All else is decided here as ever, choices and joins too, and the executor is told
where they lead: so both ways of execution give the same events.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from gossamer_gateway.errors import BadRequest, RequestError
from gossamer_gateway.runs.model import events as e
from gossamer_gateway.runs.model.conditions import holds
from gossamer_gateway.runs.model.definition import Place, Retry, Step, StepType
from gossamer_gateway.runs.model.events import Event, Failure
from gossamer_gateway.runs.model.flow import Flow
from gossamer_gateway.runs.model.mapping import MappingFailed, fill
from gossamer_gateway.runs.model.run import HEARD_MAX, Run, Status, StepState, StepStatus, evolve
from gossamer_gateway.runs.model.values import flaw, mended

OWN = "own"
ZEEBE = "zeebe"

LATE_MAX = 100
"""Answers that came too late which a run records; further ones are only refused."""

FULL = e.EVENTS_MAX - LATE_MAX - 1
"""Events after which a run takes only its end, and what comes late."""

KEY_CHARACTERS_MAX = 255

Chance = Callable[[], float]
"""Gives a number from 0 to below 1, each as likely."""


class RunFull(RequestError):
    """A run has all the events that it may have, so it cannot go on."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker or a function said to an attempt. `failure` None: it is done, with `output`."""

    step: str
    attempt: int
    output: Any = None
    failure: Failure | None = None


class Verdict(Enum):
    """What becomes of an answer."""

    TAKEN = "taken"
    REPEATED = "repeated"
    LATE = "late"
    UNKNOWN = "unknown"


def trigger(
    flow: Flow, run: str, given: Any, now_ms: int, *, key: str | None = None, executor: str = OWN
) -> list[Event]:
    """There is a run of this, pending.

    Raises: BadRequest for an input or a key that cannot be kept.
    """
    of = flow.definition
    flawed = flaw(given)
    if flawed is not None:
        raise BadRequest(f"the input of {of.id} cannot be taken: {flawed.message}")
    if key is not None and not (0 < len(key) <= KEY_CHARACTERS_MAX and key.isprintable()):
        raise BadRequest(f"a key has 1 to {KEY_CHARACTERS_MAX} printable characters")
    return [e.RunTriggered(run, 1, now_ms, of.id, of.version, given, key, executor)]


def start(flow: Flow, run: Run, now_ms: int, *, place: str | None = None) -> list[Event]:
    """It begins. `place`: of another executor, what that calls it."""
    if run.status is not Status.PENDING:
        return []
    return Course(flow, run, now_ms).decide(lambda course: course.begin(place))


def verdict(run: Run, said: Answer) -> Verdict:
    """What `answer` makes of an answer now. `LATE`: the attempt was given up before."""
    state = run.steps.get(said.step)
    if state is None or type(said.attempt) is not int or not 1 <= said.attempt <= state.attempt:
        return Verdict.UNKNOWN  # 1.0 and true are equal to 1, and not what an event may have
    if said.attempt in state.heard or said.attempt <= state.attempt - HEARD_MAX:
        return Verdict.REPEATED
    at_work = state.status is StepStatus.RUNNING and said.attempt == state.attempt
    return Verdict.TAKEN if at_work and run.status is Status.RUNNING else Verdict.LATE


def answer(flow: Flow, run: Run, said: Answer, now_ms: int, chance: Chance) -> list[Event]:
    """An attempt was answered.

    An answer that was heard before changes nothing; one to an attempt that was given up is recorded
    and has no effect.
    """
    judged = verdict(run, said)
    course = Course(flow, run, now_ms)
    if judged is Verdict.TAKEN:
        step = flow[said.step]
        return course.decide(lambda course: course.answered(step, said, chance))
    if judged is Verdict.LATE and run.late < LATE_MAX:
        status = "failed" if said.failure else "completed"
        course.add(e.AttemptLate, said.step, said.attempt, status)
    return course


def due(flow: Flow, run: Run, now_ms: int, chance: Chance) -> list[Event]:
    """Time has passed: attempts that nobody answered have failed, and delayed ones begin."""
    return Course(flow, run, now_ms).decide(lambda course: course.due(chance))


def cancel(flow: Flow, run: Run, now_ms: int, *, reason: str = "", who: str = "") -> list[Event]:
    """Somebody ends it. Nothing if it has ended."""
    course = Course(flow, run, now_ms)
    if not run.status.has_ended:
        course.add(e.RunCancelled, mended(reason, e.MESSAGE_CHARACTERS_MAX), _who(who))
    return course


def retry(flow: Flow, run: Run, now_ms: int, *, who: str = "") -> list[Event]:
    """Somebody has a failed run go on where it failed. Nothing if it has not failed.

    Steps that were at work beside the one that failed begin anew as well, and branches that had not
    begun begin.

    Raises: RunFull.
    """
    if run.status is not Status.FAILED:
        return []
    if run.seq >= FULL:
        raise RunFull(f"{run.id} has {run.seq} events, it cannot go on; trigger a new run")
    return Course(flow, run, now_ms).decide(lambda course: course.go_on(_who(who)))


def reached(
    flow: Flow, run: Run, step_id: str, now_ms: int, *, job: str | None = None
) -> list[Event]:
    """Another executor came to a task. Nothing if the step was come to before.

    What comes along is known here. Where nothing leads there yet, somebody has a hand in that
    executor: a step was passed whose output nobody has, and the run fails. In a run that began
    there anew, a step that was stopped goes on.

    Args:
        job: what the executor calls the step's job.
    """
    if run.status is not Status.RUNNING or step_id not in flow:
        return []
    if step_id in run.steps and run.steps[step_id].status not in _STOPPED:
        return []
    return Course(flow, run, now_ms).decide(lambda course: course.reached(flow[step_id], job))


def broken(flow: Flow, run: Run, failure: Failure, now_ms: int) -> list[Event]:
    """A run cannot go on, for no reason of a step's."""
    course = Course(flow, run, now_ms)
    if not run.status.has_ended:
        course.add(e.RunFailed, _mended(failure, failure.blame))
    return course


def after(run: Run, events: list[Event]) -> Run:
    """The state after events that were decided on `run`, which need not be folded again."""
    if isinstance(events, Course) and events and events[-1].seq == events.run.seq:
        return events.run
    for one in events:
        run = evolve(run, one)
    return run


def _came(flow: Flow, run: Run, step_id: str) -> tuple[Any] | None:
    """What comes along to a step by now; None: nothing leads there."""
    # Ways to a step exclude each other, but for a choice's direct one and one through steps behind
    # it; and whichever was gone, its last step began last.
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
    # With the bounds that `fields` sets, a power beyond the 64th could be no float.
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


def _timeout(step: Step, state: StepState) -> Failure:
    last_ms = None if step.deadline_ms is None else state.begun_ms + step.deadline_ms
    within_ms = step.timeout_ms
    said = "within"
    if last_ms is not None and state.due_ms is not None and state.due_ms >= last_ms:
        within_ms, said = step.deadline_ms or 0, "before its deadline of"
    if step.action is not None:
        who = f"no worker of {step.action} answered"
    else:
        place = step.places[state.place]
        who = f"{place.provider} did not answer for {place.function_id}"
    message = f"attempt {state.attempt} of {step.id}: {who} {said} {within_ms / 1000:g} s"
    return Failure("Timeout", mended(message, e.MESSAGE_CHARACTERS_MAX), "time")


_STOPPED = (StepStatus.FAILED, StepStatus.LEFT)

Way = tuple[str, Any, str]
"""A step that is come to, with what, and from which step."""


class _Full(Exception):
    """There is no room for another event."""


class Course(list[Event]):
    """Events being decided, and the run after them."""

    def __init__(self, flow: Flow, run: Run, now_ms: int) -> None:
        super().__init__()
        self.run = run
        self._flow = flow
        self._now_ms = now_ms

    def decide(self, act: Callable[["Course"], None]) -> "Course":
        """The events of an act; if there are too many, up to there, and that the run failed."""
        try:
            act(self)
        except _Full:
            said = f"a run has at most {e.EVENTS_MAX} events, and this one is full"
            failure = Failure("TooManyEvents", said, "definition", retryable=False)
            self.add(e.RunFailed, failure)
        return self

    def add(self, kind: Callable[..., Event], *values: Any) -> None:
        if self.run.seq >= FULL and kind not in (e.RunFailed, e.RunCancelled, e.AttemptLate):
            raise _Full
        event = kind(self.run.id, self.run.seq + 1, self._now_ms, *values)
        self.run = evolve(self.run, event)
        self.append(event)

    # What may happen

    def begin(self, place: str | None = None) -> None:
        self.add(e.RunStarted, place)
        if not self.run.steps:  # else it begins anew, and goes on where its executor comes to
            self._follow([(self._flow.definition.start_at, self.run.input, "")])

    def answered(self, step: Step, said: Answer, chance: Chance) -> None:
        """The attempt at work was answered."""
        if said.failure is not None:
            blame = said.failure.blame
            if blame not in ("worker", "function", "provider"):
                blame = "provider" if step.places else "worker"
            self._failed(step, _mended(said.failure, blame), chance)
            return
        flawed = flaw(said.output)
        if flawed is not None:
            failure = Failure(flawed.code, f"the output: {flawed.message}", retryable=False)
            self._failed(step, failure, chance)
            return
        self._completed(step, said.output)

    def due(self, chance: Chance) -> None:
        for id, state in self.run.steps.items():
            if state.due_ms is None or state.due_ms > self._now_ms:
                continue
            if self.run.status is not Status.RUNNING:
                return
            step = self._flow[id]
            if state.status is StepStatus.RUNNING:
                self._failed(step, _timeout(step, state), chance)
            elif self._is_in_time(step, state, 0):
                self._attempt(step)
            else:
                last = state.failure or Failure("Timeout", "", "time")
                self._give_up(step, _too_late(step, last))

    def go_on(self, who: str) -> None:
        """A failed run is retried."""
        steps = {id: one for id, one in self.run.steps.items() if one.status in _STOPPED}
        unbegun = list(self._unbegun())
        self.add(e.RunRetried, tuple(steps), who)
        if self.run.status is Status.PENDING and self.run.executor == OWN:
            self.begin()
        for id, state in steps.items():
            if self.run.status is Status.RUNNING:
                self._again(self._flow[id], state)
        self._follow(unbegun)

    def reached(self, step: Step, job: str | None) -> None:
        """Another executor came to a task that has not begun, or was stopped."""
        state = self.run.steps.get(step.id)
        if state is not None:
            self._again(step, replace(state, job=job))
            return
        came = _came(self._flow, self.run, step.id)
        if came is None:
            said = (
                f"{self.run.executor} came to {step.id} before what leads there was done: a worker"
                " that is none of ours took a job there; see `workflows.job_prefix`"
            )
            failure = Failure("OutOfStep", said, "engine", retryable=False)
            self.add(e.RunFailed, failure, step.id)
        else:
            self._begin(step, came[0], job)

    # Steps

    def _follow(self, ways: Sequence[Way]) -> None:
        """Goes these ways, each until it ends, waits, or the run is over. Branches in order."""
        waiting = list(reversed(ways))
        while waiting and self.run.status is Status.RUNNING:
            waiting.extend(reversed(self._enter(*waiting.pop())))

    def _enter(self, id: str, value: Any, source: str) -> Sequence[Way]:
        """A step is come to; where the way goes on at once."""
        step = self._flow[id]
        if step.type is StepType.TASK:
            if self.run.executor == OWN:
                self._begin(step, value)
            return ()
        if step.type is StepType.CHOICE:
            return self._choose(step, value)
        if step.type is StepType.PARALLEL:
            self.add(e.ParallelStarted, id, step.branches, value)
            return [(branch, value, id) for branch in step.branches]
        self.add(e.BranchJoined, id, self._flow.heads[source], value)
        return self._join(step)

    def _again(self, step: Step, state: StepState) -> None:
        """A step that failed, or was left, begins anew."""
        if state.attempt:
            self.add(e.StepStarted, step.id, state.input, state.job)
            self._attempt(step)
        elif step.type is StepType.TASK:  # it was come to and could not begin
            self._begin(step, state.input, state.job)
        elif step.type is StepType.JOIN:
            self._follow(self._join(step))
        else:  # what it has is what came along
            self._follow([(step.id, state.input, "")])

    def _unbegun(self) -> Iterator[Way]:
        """Branches that nobody came to, as the run failed in one before them."""
        for id, state in self.run.steps.items():
            step = self._flow[id]
            if step.type is StepType.PARALLEL and step.next not in self.run.steps:
                for branch in step.branches:
                    if branch not in self.run.steps:
                        yield branch, state.output, id

    def _begin(self, step: Step, value: Any, job: str | None = None) -> None:
        payload = value
        if step.input is not UNSET:
            try:
                payload = fill(step.input, scope(self.run, value))
            except MappingFailed as error:
                self._cannot(step, "MappingFailed", f"the input: {error}", value)
                return
            flawed = flaw(payload)
            if flawed is not None:
                self._cannot(step, flawed.code, f"the input: {flawed.message}", value)
                return
        self.add(e.StepStarted, step.id, payload, job)
        self._attempt(step)

    def _attempt(self, step: Step) -> None:
        state = self.run.steps[step.id]
        due_ms = self._now_ms + step.timeout_ms
        if step.deadline_ms is not None:
            due_ms = min(due_ms, state.begun_ms + step.deadline_ms)
        where: tuple[str | None, ...] = (step.action,)
        if step.places:
            place = step.places[state.place]
            where = (None, place.provider, place.function_id, place.region)
        self.add(e.AttemptStarted, step.id, state.attempt + 1, due_ms, *where)

    def _completed(self, step: Step, result: Any) -> None:
        """The attempt at work is done."""
        state = self.run.steps[step.id]
        output = result
        if step.output is not UNSET:
            known = scope(self.run, state.input) | {"result": result}
            flawed: tuple[str, str] | None
            try:
                output = fill(step.output, known)
                flawed = flaw(output)
            except MappingFailed as error:
                flawed = ("MappingFailed", str(error))
            if flawed is not None:
                failure = _impossible(flawed[0], f"the output: {flawed[1]}")
                self.add(e.AttemptFailed, step.id, state.attempt, failure)
                self._give_up(step, failure)
                return
        self.add(e.StepCompleted, step.id, state.attempt, output)
        self._follow(self._leave(step, output))

    def _failed(self, step: Step, failure: Failure, chance: Chance) -> None:
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
            self._attempt(step)
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

    def _cannot(self, step: Step, code: str, message: str, value: Any = None) -> None:
        """A step cannot even begin, with what came along."""
        self._give_up(step, _impossible(code, message), value)

    def _choose(self, step: Step, value: Any) -> Sequence[Way]:
        known = scope(self.run, value)
        taken = next((one.next for one in step.choices if holds(one.when, known)), step.default)
        if taken is None:
            said = f"no condition of {step.id} holds, and it has no default"
            self._cannot(step, "NoChoice", said, value)
            return ()
        self.add(e.ChoiceTaken, step.id, taken, value)
        return ((taken, value, step.id),)

    def _leave(self, step: Step, value: Any) -> Sequence[Way]:
        """A step is done with this: the way goes on, or ends."""
        if step.next is not None:
            return ((step.next, value, step.id),)
        self.add(e.RunCompleted, value)
        return ()

    def _join(self, join: Step) -> Sequence[Way]:
        """A branch came to its join; the way goes on with the last."""
        branches = self._flow[self._flow.forks[join.id]].branches
        come = self.run.joins[join.id]
        if len(come) < len(branches):
            return ()
        together = {one: come[one] for one in branches}
        flawed = flaw(together)
        if flawed is not None:
            self._cannot(join, flawed.code, f"what the branches gave: {flawed.message}")
            return ()
        self.add(e.JoinCompleted, join.id, together)
        return self._leave(join, together)


def _impossible(code: str, message: str) -> Failure:
    message = mended(message, e.MESSAGE_CHARACTERS_MAX)
    return Failure(code, message, "definition", retryable=False)


def _mended(failure: Failure, blame: str) -> Failure:
    """A failure from outside, cut to size."""
    told_ms = failure.retry_after_ms
    return Failure(
        mended(failure.code, e.CODE_CHARACTERS_MAX) or "Error",
        mended(failure.message, e.MESSAGE_CHARACTERS_MAX),
        blame,
        failure.retryable,
        mended(failure.details, e.DETAILS_CHARACTERS_MAX),
        None if told_ms is None else min(max(0, told_ms), e.RETRY_AFTER_MS_MAX),
    )


def _too_late(step: Step, failure: Failure) -> Failure:
    said = f"{step.id} had {step.deadline_ms} ms in all; the last attempt said: {failure.message}"
    return Failure("DeadlineExceeded", mended(said, e.MESSAGE_CHARACTERS_MAX), "time", False)


def _who(who: str) -> str:
    return mended(who, e.CODE_CHARACTERS_MAX)


def _name(place: Place) -> str:
    return place.provider if place.region is None else f"{place.provider}/{place.region}"
