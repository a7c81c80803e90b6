"""Where the next attempt is: at the same place by the step's policy, then elsewhere, then nowhere.

What is tried is decided by the core alone, from what the failure says of itself; a random number is
part of the input.
"""

from typing import Any

from gossamer_gateway.runs.model import deciding
from gossamer_gateway.runs.model import events as e
from gossamer_gateway.runs.model.deciding import Answer
from gossamer_gateway.runs.model.definition import Definition, Place, Retry, Step
from gossamer_gateway.runs.model.events import Event, Failure
from gossamer_gateway.runs.model.flow import Flow
from gossamer_gateway.runs.model.run import Run, fold

DOWN = Failure("Unavailable", "503", "provider")
PLACES = tuple(Place(one, "pay") for one in ("AWS", "GCP", "AZURE"))


class Case:
    """A run of one step, and its clock."""

    def __init__(self, *, places: int = 3, **step: Any) -> None:
        policy = step.pop("retry", Retry(max_attempts=2, initial_delay_ms=100, jitter=0))
        made = Step("pay", places=PLACES[:places], retry=policy, **step)
        self.flow = Flow(Definition("payment", "pay", {"pay": made}))
        self.now_ms = 1_000
        self.events: list[Event] = deciding.trigger(self.flow, "r", None, self.now_ms)
        self.note(deciding.start(self.flow, self.run, self.now_ms))

    @property
    def run(self) -> Run:
        return fold(self.events)

    def note(self, events: list[Event]) -> list[Event]:
        self.events += events
        return events

    def fails(self, failure: Failure = DOWN) -> list[Event]:
        """The attempt at work does; gives what follows."""
        said = Answer("pay", self.run.steps["pay"].attempt, failure=failure)
        found = deciding.answer(self.flow, self.run, said, self.now_ms, lambda: 0.5)
        assert isinstance(found[0], e.AttemptFailed)
        return self.note(found)[1:]

    def comes_round(self, after_ms: int) -> list[Event]:
        self.now_ms += after_ms
        return self.note(deciding.due(self.flow, self.run, self.now_ms, lambda: 0.5))

    def attempts(self) -> list[str | None]:
        return [one.provider for one in self.events if isinstance(one, e.AttemptStarted)]


def test_each_place_is_tried_by_the_policy_before_the_next() -> None:
    case = Case()
    for _ in range(2):
        (waits,) = case.fails()
        assert isinstance(waits, e.RetryScheduled) and waits.delay_ms == 100
        case.comes_round(100)
        moved, begun = case.fails()
        assert isinstance(moved, e.FailedOver) and isinstance(begun, e.AttemptStarted)
    case.fails()
    case.comes_round(100)
    gone, ended = case.fails()
    assert isinstance(gone, e.StepFailed) and isinstance(ended, e.RunFailed)
    assert case.attempts() == ["AWS", "AWS", "GCP", "GCP", "AZURE", "AZURE"]


def test_the_functions_own_error_is_no_reason_to_go_elsewhere() -> None:
    case = Case()
    own = Failure("CardDeclined", "no money", "function")
    assert isinstance(case.fails(own)[0], e.RetryScheduled)
    case.comes_round(100)
    assert [type(one) for one in case.fails(own)] == [e.StepFailed, e.RunFailed]
    assert case.attempts() == ["AWS", "AWS"]


def test_what_is_no_use_to_try_again_goes_elsewhere_at_once() -> None:
    case = Case()
    moved, _ = case.fails(Failure("AccessDenied", "", "provider", retryable=False))
    assert isinstance(moved, e.FailedOver) and (moved.left, moved.taken) == ("AWS", "GCP")


def test_an_open_circuit_goes_elsewhere_and_is_waited_for_where_there_is_nowhere() -> None:
    is_open = Failure("CircuitOpen", "", "provider", retryable=False, retry_after_ms=7_000)
    assert isinstance(Case().fails(is_open)[0], e.FailedOver)
    (waits,) = Case(places=1).fails(is_open)
    assert isinstance(waits, e.RetryScheduled) and waits.delay_ms == 7_000


def test_a_provider_that_says_when_is_not_asked_sooner() -> None:
    (waits,) = Case().fails(Failure("Throttled", "", "provider", retry_after_ms=3_000))
    assert isinstance(waits, e.RetryScheduled) and waits.delay_ms == 3_000
    (waits,) = Case().fails(Failure("Throttled", "", "provider", retry_after_ms=5))
    assert isinstance(waits, e.RetryScheduled) and waits.delay_ms == 100


def test_one_that_asks_for_more_patience_than_the_policy_has_is_left() -> None:
    failure = Failure("Throttled", "", "provider", retry_after_ms=60_001)
    assert isinstance(Case().fails(failure)[0], e.FailedOver)
    (waits,) = Case(places=1).fails(failure)
    assert isinstance(waits, e.RetryScheduled) and waits.delay_ms == 60_001


def test_a_retry_that_would_come_too_late_gives_way_to_the_next_place() -> None:
    case = Case(retry=Retry(initial_delay_ms=5_000, jitter=0), deadline_ms=4_000)
    moved, begun = case.fails()
    assert isinstance(moved, e.FailedOver)
    assert isinstance(begun, e.AttemptStarted) and begun.due_ms == 1_000 + 4_000


def test_a_retry_that_would_come_too_late_ends_the_step_where_there_is_no_other_place() -> None:
    case = Case(places=1, retry=Retry(initial_delay_ms=5_000, jitter=0), deadline_ms=4_000)
    gone, _ = case.fails()
    assert isinstance(gone, e.StepFailed) and gone.failure.code == "DeadlineExceeded"


def test_attempts_share_what_is_left_of_the_deadline() -> None:
    case = Case(timeout_ms=3_000, deadline_ms=4_000)
    case.now_ms += 2_000
    case.fails()
    (begun,) = case.comes_round(100)
    assert isinstance(begun, e.AttemptStarted) and begun.due_ms == 1_000 + 4_000
    # Nobody answers: the time of the step is over, for other places as well.
    ends = case.comes_round(2_000)
    assert [type(one) for one in ends] == [e.AttemptFailed, e.StepFailed, e.RunFailed]


def test_what_a_failure_tells_is_bounded() -> None:
    (waits,) = Case(places=1).fails(Failure("Throttled", "", "provider", retry_after_ms=10**15))
    assert isinstance(waits, e.RetryScheduled) and waits.delay_ms == e.RETRY_AFTER_MS_MAX
    (waits,) = Case(places=1).fails(Failure("Throttled", "", "provider", retry_after_ms=-(10**15)))
    assert isinstance(waits, e.RetryScheduled) and waits.delay_ms == 100
