"""What happens next, word by word: retries, failover, time, parallels, retried runs, bounds."""

from typing import Any

import msgspec
import pytest
from tests.runs.runs_world import Course, workflow
from tests.runs.test_runs_structure import choice, fork, join, task

from gossamer_gateway.errors import BadRequest
from gossamer_gateway.runs.model import deciding
from gossamer_gateway.runs.model import events as e
from gossamer_gateway.runs.model.definition import Retry
from gossamer_gateway.runs.model.events import Failure
from gossamer_gateway.runs.model.flow import Flow
from gossamer_gateway.runs.model.run import (
    HEARD_MAX,
    Status,
    StepStatus,
    evolve,
    fold,
)
from gossamer_gateway.runs.model.values import DEPTH_MAX, VALUE_BYTES_MAX

NO_JITTER = {"maxAttempts": 3, "initialDelayMs": 100, "multiplier": 2, "jitter": 0}
ONCE = {"maxAttempts": 1}


def started(*steps: dict[str, Any], given: Any = None, start: str | None = None) -> Course:
    course = Course(workflow(*steps, start=start), given)
    course.start()
    return course


def fn(id: str = "a", *fallback: str, **fields: Any) -> dict[str, Any]:
    made = {"id": id, "provider": "AWS", "functionId": "f", "retry": ONCE} | fields
    return made | {"fallbackProvider": list(fallback)} if fallback else made


def kinds(events: list[e.Event]) -> list[str]:
    return [type(one).__name__ for one in events]


def failed(code: str = "X", blame: str = "worker", retryable: bool = True) -> Failure:
    return Failure(code, "it broke", blame, retryable)


# One after the other


def test_a_list_of_two() -> None:
    course = started({"action": "a"}, {"action": "b"}, given={"x": 1})
    assert course.kinds() == ["RunTriggered", "RunStarted", "StepStarted", "AttemptStarted"]
    assert kinds(course.answer("a", [1])) == ["StepCompleted", "StepStarted", "AttemptStarted"]
    assert course.run.steps["b"].input == [1]
    assert kinds(course.answer("b", "out")) == ["StepCompleted", "RunCompleted"]
    assert (course.run.status, course.run.output) == (Status.COMPLETED, "out")
    assert course.start() == []


def test_an_attempt_says_whose_it_is() -> None:
    course = started({"id": "a", "action": "act", "timeoutMs": 70})
    attempt = course.history()[-1]
    assert isinstance(attempt, e.AttemptStarted)
    assert (attempt.action, attempt.provider, attempt.due_ms) == ("act", None, 1_070)
    course = started(fn("a", "GCP"), start="a")
    attempt = course.history()[-1]
    assert isinstance(attempt, e.AttemptStarted)
    assert (attempt.action, attempt.provider, attempt.function_id) == (None, "AWS", "f")


def test_templates_make_payload_and_output() -> None:
    course = started(
        task("a", "b", output={"kept": "$.result.x", "of": "$.previous.n"}),
        task("b", input=["$.input.n", "$.steps.a.kept", "$.previous"]),
        given={"n": 7},
        start="a",
    )
    course.answer("a", {"x": "y", "z": 1})
    assert course.run.steps["b"].input == [7, "y", {"kept": "y", "of": 7}]


@pytest.mark.parametrize(
    ("given", "way"), [({"n": 1}, "x"), ({"n": 9}, "y"), ({"n": "1"}, "z"), (None, "z")]
)
def test_a_choice_takes_the_first_that_holds(given: Any, way: str) -> None:
    course = started(
        {"id": "c", "type": "CHOICE", "default": "z", "choices": [
            {"when": {"path": "$.input.n", "lessThan": 5}, "next": "x"},
            {"when": {"path": "$.input.n", "greaterThan": 0}, "next": "y"},
        ]},
        task("x"), task("y"), task("z"), given=given, start="c",
    )  # fmt: skip
    assert list(course.run.steps) == ["c", way]
    assert course.run.steps[way].input == given


def test_a_choice_without_a_way_fails_and_can_be_retried() -> None:
    course = started(choice("c", "a"), task("a"), given=7, start="c")
    assert course.run.failure is not None
    assert (course.run.status, course.run.failure.code) == (Status.FAILED, "NoChoice")
    assert kinds(course.retry()) == ["RunRetried", "StepFailed", "RunFailed"]


# Failing and trying again


def test_delays_grow_and_the_last_failure_ends_it() -> None:
    course = started({"id": "a", "action": "a", "retry": NO_JITTER})
    assert kinds(course.fail("a")) == ["AttemptFailed", "RetryScheduled"]
    assert course.run.due_ms == course.now_ms + 100
    assert course.wait(99) == []
    assert kinds(course.wait(1)) == ["AttemptStarted"]
    course.fail("a")
    assert course.run.due_ms == course.now_ms + 200
    course.wait()
    assert kinds(course.fail("a", "Last")) == ["AttemptFailed", "StepFailed", "RunFailed"]
    assert course.run.failure == Failure("Last") and course.run.steps["a"].attempt == 3


@pytest.mark.parametrize(
    ("policy", "tries", "chance", "delay"),
    [
        (Retry(jitter=0), 1, 0.9, 500), (Retry(jitter=0), 2, 0.9, 1_000),
        (Retry(jitter=0), 99, 0.9, 60_000), (Retry(jitter=1), 1, 0.5, 250),
        (Retry(jitter=0.5), 1, 0.999999, 250), (Retry(jitter=1), 3, 0.0, 2_000),
        (Retry(100, 0, 100.0, 86_400_000, 1), 100, 0.5, 0),
        (Retry(100, 86_400_000, 100.0, 86_400_000, 0), 100, 0.5, 86_400_000),
        (Retry(100, 1, 100.0, 86_400_000, 0), 100_000, 0.5, 86_400_000),
        (Retry(100, 1, 1.0, 86_400_000, 0), 100_000, 0.5, 1),
        (Retry(multiplier=1.5, jitter=0), 3, 0.0, 1_125),
    ],
)  # fmt: skip
def test_how_long_it_waits(policy: Retry, tries: int, chance: float, delay: int) -> None:
    assert deciding.delay_ms(policy, tries, chance) == delay


@pytest.mark.parametrize(
    ("policy", "failure", "again"),
    [
        (Retry(), failed(), True), (Retry(), failed(retryable=False), False),
        (Retry(on=("X",)), failed(), True), (Retry(on=("Y",)), failed(), False),
        (Retry(not_on=("X",)), failed(), False), (Retry(not_on=("Y",)), failed(), True),
        (Retry(on=("X",), not_on=("X",)), failed(), False),
        (Retry(on=("X",)), failed(retryable=False), False),
    ],
)  # fmt: skip
def test_what_is_tried_again(policy: Retry, failure: Failure, again: bool) -> None:
    assert deciding.is_of_use(policy, failure) is again


def test_nobody_answers() -> None:
    course = started({"id": "a", "action": "act", "timeoutMs": 2_500, "retry": NO_JITTER})
    assert kinds(course.wait()) == ["AttemptFailed", "RetryScheduled"]
    failure = course.run.steps["a"].failure
    assert failure == Failure(
        "Timeout", "attempt 1 of a: no worker of act answered within 2.5 s", "time"
    )
    assert kinds(course.answer("a", 1, attempt=1)) == ["AttemptLate"]
    assert course.answer("a", 2, attempt=1) == []
    assert course.fail("a", attempt=1) == []
    assert course.run.steps["a"].status is StepStatus.WAITING


def test_an_old_attempt_is_late_and_a_future_one_unknown() -> None:
    course = started({"id": "a", "action": "a", "timeoutMs": 10, "retry": NO_JITTER})
    course.wait(), course.wait()
    assert course.answer("a", attempt=3) == [] == course.answer("a", attempt=-1)
    assert course.said(deciding.Answer("b", 1)) == []
    for odd in (0, True, 1.0, 2.0, 10**30):
        assert course.said(deciding.Answer("a", odd)) == []  # type: ignore[arg-type]
    assert kinds(course.fail("a", attempt=1)) == ["AttemptLate"]
    assert kinds(course.answer("a", "yes")) == ["StepCompleted", "RunCompleted"]
    assert course.answer("a", "yes", attempt=2) == []


def test_an_answer_after_the_end_is_late() -> None:
    course = started({"action": "a"})
    course.cancel()
    assert kinds(course.answer("a", 1)) == ["AttemptLate"]
    assert (course.run.status, course.run.late) == (Status.CANCELLED, 1)
    assert course.answer("a", 1) == []


def test_late_answers_are_recorded_up_to_a_bound() -> None:
    policy = {"maxAttempts": 100, "initialDelayMs": 0, "jitter": 0}
    course = started({"id": "a", "action": "a", "timeoutMs": 1, "retry": policy})
    for _ in range(99):
        course.wait(), course.wait()
    course.cancel()
    course.crash()
    for attempt in range(1, 101):
        assert kinds(course.answer("a", attempt=attempt)) == ["AttemptLate"]
    assert len(course.run.steps["a"].heard) == HEARD_MAX
    course = started(*({"id": f"s{n}", "action": "a", "timeoutMs": 1, "retry": policy}
                       for n in range(2)))  # fmt: skip
    for _ in range(49):
        course.wait(), course.wait()
    course.answer("s0", 1)
    for _ in range(99):
        course.wait(), course.wait()
    for step, last in (("s0", 49), ("s1", 99)):
        for attempt in range(1, last + 1):
            course.answer(step, attempt=attempt)
    assert course.run.late == deciding.LATE_MAX


def test_attempts_from_long_ago_count_as_answered() -> None:
    policy = {"maxAttempts": 100, "initialDelayMs": 0, "jitter": 0}
    course = started({"id": "a", "provider": "AWS", "functionId": "f", "timeoutMs": 1,
                      "retry": policy, "fallbackProvider": "GCP"}, start="a")  # fmt: skip
    for _ in range(120):
        course.wait()
        if course.run.steps["a"].status is StepStatus.WAITING:
            course.wait()
    assert course.run.steps["a"].attempt == 121
    assert course.answer("a", attempt=21) == []
    assert kinds(course.answer("a", attempt=22)) == ["AttemptLate"]


def test_however_often_a_run_is_retried_a_step_remembers_the_newest_answers_alone() -> None:
    course = started({"id": "a", "action": "a", "retry": {"maxAttempts": 1}})
    for _ in range(HEARD_MAX + 50):
        course.fail("a")
        course.retry()
    assert course.run.steps["a"].heard == tuple(range(51, HEARD_MAX + 51))


# Deadlines


def test_a_deadline_cuts_the_last_attempt() -> None:
    course = started({"id": "a", "action": "a", "timeoutMs": 100, "deadlineMs": 150,
                      "retry": NO_JITTER | {"initialDelayMs": 0}})  # fmt: skip
    course.wait(100), course.wait(0)
    assert course.run.due_ms == 1_150
    assert kinds(course.wait()) == ["AttemptFailed", "StepFailed", "RunFailed"]
    assert course.run.failure is not None
    assert course.run.failure.code == "DeadlineExceeded"
    assert "before its deadline of 0.15 s" in course.run.failure.message


def test_a_retry_that_would_come_too_late_is_not_made() -> None:
    course = started({"id": "a", "action": "a", "deadlineMs": 90, "retry": NO_JITTER})
    assert kinds(course.fail("a")) == ["AttemptFailed", "StepFailed", "RunFailed"]
    assert course.run.failure is not None and "it broke" not in course.run.failure.message


def test_a_retry_that_was_overslept_is_not_made() -> None:
    course = started({"id": "a", "action": "a", "deadlineMs": 150, "retry": NO_JITTER})
    course.fail("a", failed())
    assert kinds(course.wait(1_000)) == ["StepFailed", "RunFailed"]
    assert course.run.failure is not None
    assert course.run.failure.message.endswith("the last attempt said: it broke")


def test_no_failover_after_the_deadline() -> None:
    course = started(fn("a", "GCP", deadlineMs=100), start="a")
    assert kinds(course.wait(100)) == ["AttemptFailed", "StepFailed", "RunFailed"]


def test_a_retried_run_has_its_deadlines_anew() -> None:
    course = started({"id": "a", "action": "a", "deadlineMs": 90, "retry": ONCE})
    course.wait(90)
    course.now_ms = 5_000
    course.retry()
    assert course.run.due_ms == 5_090


# Failover


def test_a_provider_that_fails_is_left() -> None:
    course = started(fn("a", "GCP", "Azure", retry=NO_JITTER | {"maxAttempts": 2}), start="a")
    course.fail("a", failed("Throttled", "provider"))
    course.wait()
    found = course.fail("a", failed("Throttled", "provider"))
    assert kinds(found) == ["AttemptFailed", "FailedOver", "AttemptStarted"]
    over, attempt = found[1:]
    assert isinstance(over, e.FailedOver) and isinstance(attempt, e.AttemptStarted)
    assert (over.place, over.left, over.taken) == (1, "AWS", "GCP")
    assert (attempt.provider, attempt.attempt) == ("GCP", 3)
    course.wait(), course.wait()  # nobody answers: at GCP anew, twice
    assert kinds(course.wait()) == ["AttemptFailed", "FailedOver", "AttemptStarted"]
    assert kinds(course.fail("a", failed("Gone", "provider", retryable=False))) == [
        "AttemptFailed", "StepFailed", "RunFailed",
    ]  # fmt: skip
    assert course.run.steps["a"].attempt == 5


@pytest.mark.parametrize(
    ("failure", "over"),
    [
        (failed("T", "provider"), True), (failed("T", "provider", False), True),
        (failed("T", "function"), False), (failed("T", "worker"), False),
        (failed("T", "time"), True), (failed("T", "definition"), True), (failed("T", ""), True),
    ],
)  # fmt: skip
def test_whose_failure_makes_another_place_useful(failure: Failure, over: bool) -> None:
    course = started(fn("a", "GCP"), start="a")
    assert ("FailedOver" in kinds(course.fail("a", failure))) is over
    assert course.history()[4].failure.blame in ("provider", "function", "worker")  # type: ignore[union-attr]


def test_a_retried_run_begins_at_the_first_place() -> None:
    course = started(fn("a", "GCP"), start="a")
    course.wait(), course.wait()
    assert course.run.status is Status.FAILED
    attempt = course.retry()[-1]
    assert isinstance(attempt, e.AttemptStarted)
    assert (attempt.provider, attempt.attempt) == ("AWS", 3)


# What comes from outside is judged


def test_a_failure_is_cut_to_size() -> None:
    course = started({"id": "a", "action": "a", "retry": ONCE})
    wild = Failure("", "m" * 9_999 + "\ud800", "evil", True, "\udfff" + "d" * 99_999)
    course.fail("a", wild)
    kept = course.run.failure
    assert kept is not None
    assert (kept.code, kept.blame, len(kept.message), len(kept.details)) == (
        "Error", "worker", e.MESSAGE_CHARACTERS_MAX, e.DETAILS_CHARACTERS_MAX,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("output", "code"),
    [(float("nan"), "BadValue"), ({"a": (1,)}, "BadValue"), ("\ud800", "BadValue"),
     ("x" * VALUE_BYTES_MAX, "TooLarge"), ({1: 1}, "BadValue")],
)  # fmt: skip
def test_an_output_that_is_none_fails_the_attempt_for_good(output: Any, code: str) -> None:
    course = started({"id": "a", "action": "a", "retry": NO_JITTER})
    assert kinds(course.answer("a", output)) == ["AttemptFailed", "StepFailed", "RunFailed"]
    assert course.run.failure is not None
    assert (course.run.failure.code, course.run.failure.blame) == (code, "worker")


def test_an_input_that_is_none_is_refused() -> None:
    for given in (float("inf"), "x" * VALUE_BYTES_MAX):
        with pytest.raises(BadRequest, match="the input of w cannot be taken"):
            Course(workflow({"action": "a"}), given)


@pytest.mark.parametrize("key", ["", "k" * 256, "a\nb"])
def test_a_key_is_short_and_printable(key: str) -> None:
    with pytest.raises(BadRequest, match="a key has 1 to 255"):
        deciding.trigger(Flow(workflow({"action": "a"})), "r", None, 1, key=key)


def test_words_of_people_are_cut_to_size() -> None:
    course = Course(workflow({"action": "a"}))
    (event,) = deciding.cancel(course.flow, course.run, 1, reason="r" * 9_999, who="w" * 9_999)
    assert isinstance(event, e.RunCancelled)
    assert (len(event.reason), len(event.who)) == (2_000, 200)


def test_templates_cannot_grow_values_without_end() -> None:
    twice = [task(f"s{n}", f"s{n + 1}", output=["$.result", "$.previous"]) for n in range(90)]
    course = started(*twice, task("s90"), given="x" * 1_000, start="s0")
    while course.run.status is Status.RUNNING:
        ((step, _),) = course.at_work()
        course.answer(step, course.run.steps[step].input)
    assert course.run.failure is not None
    assert (course.run.failure.code, course.run.failure.blame) == ("TooLarge", "definition")
    deep = [task(f"s{n}", f"s{n + 1}", input=["$.previous"]) for n in range(DEPTH_MAX + 5)]
    course = started(*deep, task(f"s{DEPTH_MAX + 5}"), start="s0")
    while course.run.status is Status.RUNNING:
        ((step, _),) = course.at_work()
        course.answer(step, course.run.steps[step].input)
    assert course.run.failure is not None and course.run.failure.code == "BadValue"


def test_mappings_that_lead_nowhere() -> None:
    course = started(
        {"id": "a", "action": "a", "output": "$.result.gone", "retry": NO_JITTER},
        {"id": "b", "action": "b", "input": "$.steps.a.x"},
    )
    assert kinds(course.answer("a", {})) == ["AttemptFailed", "StepFailed", "RunFailed"]
    assert course.answer("a", {}) == []
    assert kinds(course.retry()) == ["RunRetried", "StepStarted", "AttemptStarted"]
    course.answer("a", {"gone": {}})
    assert course.run.failure is not None
    assert (
        course.run.failure.message == "the input: there is nothing at $.steps.a.x: 'x' is missing"
    )
    assert course.run.steps["b"].attempt == 0


# Parallels

PAIR = (fork("f", "a", "b", join="j"), task("a", "j"), task("b", "j"), join("j", "z"), task("z"))


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_a_join_waits_for_all(order: str) -> None:
    course = started(*PAIR, given=1, start="f")
    assert course.at_work() == [("a", 1), ("b", 1)]
    first, second = list(order)
    assert kinds(course.answer(first, first)) == ["StepCompleted", "BranchJoined"]
    course.crash()
    assert kinds(course.answer(second, second)) == [
        "StepCompleted", "BranchJoined", "JoinCompleted", "StepStarted", "AttemptStarted",
    ]  # fmt: skip
    assert list(course.run.steps["z"].input.items()) == [("a", "a"), ("b", "b")]
    assert course.run.joins == {}


def test_both_branches_are_due_at_once() -> None:
    course = started(fork("f", "a", "b", join="j"),
                     task("a", "j", retry=ONCE, timeoutMs=5),
                     task("b", "j", retry=ONCE, timeoutMs=5), join("j"), start="f")  # fmt: skip
    assert kinds(course.wait()) == ["AttemptFailed", "StepFailed", "RunFailed"]
    assert course.run.steps["b"].status is StepStatus.LEFT


def test_a_retried_parallel_goes_on_with_what_was_left_and_keeps_what_is_done() -> None:
    three = (fork("f", "a", "b", "c", join="j"), task("a", "j"), task("b", "j", retry=ONCE),
             task("c", "j"), join("j"))  # fmt: skip
    course = started(*three, start="f")
    course.answer("a", 1)
    course.fail("b")
    assert [one.status for one in course.run.steps.values()] == [
        StepStatus.COMPLETED, StepStatus.COMPLETED, StepStatus.FAILED, StepStatus.LEFT,
    ]  # fmt: skip
    assert kinds(course.answer("c", 3)) == ["AttemptLate"]
    course.retry()
    assert course.at_work() == [("b", 2), ("c", 2)]
    course.answer("b", 2), course.answer("c", 4)
    assert course.run.output == {"a": 1, "b": 2, "c": 4}


def test_branches_that_had_not_begun_begin_when_the_run_is_retried() -> None:
    course = started(
        fork("f", "g", "c", join="j"),
        fork("g", "a", "b", join="k"),
        {"id": "a", "action": "a", "input": "$.input.n", "next": "k"},
        task("b", "k"),
        join("k", "j"),
        task("c", "j"),
        join("j"),
        given={},
        start="f",
    )
    assert course.run.failure is not None and course.run.failure.code == "MappingFailed"
    assert list(course.run.steps) == ["f", "g", "a"]
    found = course.retry()
    assert kinds(found) == ["RunRetried", "StepFailed", "RunFailed"]
    # Nobody can mend an input; so this one is mended by hand, to see the rest.
    mended = msgspec.structs.replace(course.run, input={"n": 5})
    events = deciding.retry(course.flow, mended, 2_000)
    begun = [one.step for one in events if isinstance(one, e.AttemptStarted)]
    assert sorted(begun) == ["a", "b", "c"]


def test_a_branch_that_is_nothing_but_a_choice() -> None:
    course = started(
        fork("f", "c", "d", join="j"), choice("c", "j", default="j"),
        choice("d", "j", default="j"), join("j"), given=0, start="f",
    )  # fmt: skip
    assert course.run.status is Status.COMPLETED
    assert course.run.output == {"c": 0, "d": 0}


def test_a_join_whose_values_are_too_large_fails_and_may_be_retried() -> None:
    course = started(*PAIR, start="f")
    course.answer("a", "x" * (VALUE_BYTES_MAX // 2))
    assert kinds(course.answer("b", "x" * (VALUE_BYTES_MAX // 2))) == [
        "StepCompleted", "BranchJoined", "StepFailed", "RunFailed",
    ]  # fmt: skip
    assert kinds(course.retry()) == ["RunRetried", "StepFailed", "RunFailed"]
    assert course.run.failure is not None and course.run.failure.code == "TooLarge"


def test_a_thousand_choices_in_a_row() -> None:
    steps = [choice(f"c{n}", f"c{n + 1}", default=f"c{n + 1}") for n in range(999)]
    course = Course(workflow(*steps, task("c999"), start="c0"))
    course.start()
    assert course.at_work() == [("c999", 1)]


def test_parallels_as_deep_as_they_go() -> None:
    deep = [fork(f"f{n}", f"f{n + 1}", join=f"j{n}") for n in range(333)]
    deep += [task("f333", "j332")] + [join(f"j{n}", f"j{n - 1}" if n else None) for n in range(333)]
    course = started(*deep, start="f0")
    course.answer("f333", 1)
    assert course.run.failure is not None and course.run.failure.code == "BadValue"


# Whole runs


def test_a_run_that_broke_before_it_began_begins_when_it_is_retried() -> None:
    course = Course(workflow({"action": "a"}), 5)
    course.take(deciding.broken(course.flow, course.run, Failure("NoEngine"), course.now_ms))
    assert kinds(course.retry()) == ["RunRetried", "RunStarted", "StepStarted", "AttemptStarted"]
    course.answer("a")
    assert course.run.status is Status.COMPLETED


def test_a_run_that_broke_goes_on_when_it_is_retried() -> None:
    course = started(*PAIR, start="f")
    course.answer("a", 1)
    course.take(deciding.broken(course.flow, course.run, Failure("Lost"), course.now_ms))
    course.retry()
    assert course.at_work() == [("b", 2)]


def test_a_cancelled_or_completed_run_is_not_retried() -> None:
    course = started({"action": "a"})
    assert course.retry() == []
    course.cancel()
    assert course.retry() == [] and course.start() == [] and course.wait(10**9) == []


def test_a_clock_that_goes_back_harms_nothing() -> None:
    course = started({"id": "a", "action": "a", "timeoutMs": 10, "deadlineMs": 50,
                      "retry": NO_JITTER})  # fmt: skip
    course.wait(-5_000)
    course.fail("a")
    course.wait(-(10**9))
    course.now_ms = 0
    course.wait()
    course.answer("a", 1)
    assert course.run.status is Status.COMPLETED


def test_a_run_ends_at_its_most_events() -> None:
    policy = {"maxAttempts": 100, "initialDelayMs": 0, "jitter": 0}
    course = started({"id": "a", "action": "a", "retry": policy})
    while course.run.seq < deciding.FULL:
        if course.run.status is Status.FAILED:
            course.retry()
        while course.run.status is Status.RUNNING and course.run.seq < deciding.FULL:
            course.fail("a")
            if course.run.due_ms is not None:
                course.wait(0)
    if course.run.status is Status.RUNNING:
        course.fail("a")
    assert course.run.failure is not None and course.run.failure.code == "TooManyEvents"
    with pytest.raises(deciding.RunFull, match="trigger a new run"):
        course.retry()
    last = course.run.steps["a"].attempt
    for attempt in range(last - 150, last + 1):
        course.answer("a", attempt=attempt)
    assert course.run.seq <= e.EVENTS_MAX
    course.crash()


# Another executor


def test_another_executor_says_which_step_is_next() -> None:
    flow = Flow(workflow({"action": "a", "output": {"r": "$.result"}}, {"action": "b",
                          "input": "$.steps.a.r", "retry": ONCE}))  # fmt: skip
    run = fold(deciding.trigger(flow, "r", 1, 1, executor=deciding.ZEEBE))

    def take(events: list[e.Event]) -> list[str]:
        nonlocal run
        for event in events:
            run = evolve(run, event)
        return kinds(events)

    assert take(deciding.reached(flow, run, "a", 2)) == []
    assert take(deciding.start(flow, run, 2, place="2251")) == ["RunStarted"]
    assert run.place == "2251"
    assert take(deciding.reached(flow, run, "nothing", 2)) == []
    begun = ["StepStarted", "AttemptStarted"]
    assert take(deciding.reached(flow, run, "a", 2, job="7")) == begun
    assert run.steps["a"].job == "7" and run.steps["a"].input == 1
    assert take(deciding.reached(flow, run, "a", 2)) == []
    said = deciding.Answer("a", 1, 5)
    assert take(deciding.answer(flow, run, said, 3, lambda: 0)) == ["StepCompleted"]
    assert run.status is Status.RUNNING and run.due_ms is None
    assert take(deciding.reached(flow, run, "b", 4)) == begun
    assert run.steps["b"].input == 5
    failure = deciding.Answer("b", 1, failure=Failure("X"))
    take(deciding.answer(flow, run, failure, 6, lambda: 0))
    # The executor stands still at a step that failed, so it is not reached anew.
    assert take(deciding.retry(flow, run, 7)) == ["RunRetried", *begun]
    assert take(deciding.reached(flow, run, "b", 8)) == []
    done = deciding.answer(flow, run, deciding.Answer("b", 2, 6), 9, lambda: 0)
    assert take(done) == ["StepCompleted", "RunCompleted"]
    assert run.output == 6


def test_another_executor_that_leaves_a_step_out_fails_the_run() -> None:
    flow = Flow(workflow({"action": "a"}, {"action": "b"}))
    run = fold(deciding.trigger(flow, "r", 1, 1, executor=deciding.ZEEBE))
    for event in deciding.start(flow, run, 2):
        run = evolve(run, event)
    for event in deciding.reached(flow, run, "b", 3):
        run = evolve(run, event)
    assert run.failure is not None and run.failure.code == "OutOfStep"
