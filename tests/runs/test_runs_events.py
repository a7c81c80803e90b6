"""Events as they are stored and folded: each comes back, and none comes where it cannot."""

import msgspec
import pytest
from tests.runs.runs_world import workflow
from tests.runs.test_runs_deciding import PAIR, started

from gossamer_gateway.runs.model import events as e
from gossamer_gateway.runs.model.definition import Definition
from gossamer_gateway.runs.model.events import Failure
from gossamer_gateway.runs.model.run import ALLOWED, ALLOWED_IN_STEP, OutOfPlace, Run, evolve, fold


def test_every_event_has_its_row_in_the_tables() -> None:
    of_runs = set(ALLOWED) | {e.RunTriggered}
    assert of_runs == {type(one) for one in ALL_EVENTS} == set(e.AnyEvent.__args__)
    with_step = {type(one) for one in ALL_EVENTS if "step" in type(one).__struct_fields__}
    assert set(ALLOWED_IN_STEP) == with_step - {e.RunFailed}


ALL_EVENTS: list[e.AnyEvent] = [
    e.RunTriggered("r", 1, 5, "w", 2, {"x": None}, "k", "zeebe"),
    e.RunStarted("r", 2, 5, "p"),
    e.StepStarted("r", 3, 5, "a", [1, None]),
    e.AttemptStarted("r", 4, 5, "a", 1, 9, None, "AWS", "f", "eu"),
    e.AttemptFailed("r", 5, 5, "a", 1, Failure("C", "m", "time", False, "d")),
    e.AttemptLate("r", 6, 5, "a", 1, "completed"),
    e.RetryScheduled("r", 7, 5, "a", 2, 9, 4),
    e.FailedOver("r", 8, 5, "a", 1, "AWS", "GCP"),
    e.StepCompleted("r", 9, 5, "a", 2, 1.5),
    e.StepFailed("r", 10, 5, "a", Failure("C"), "v"),
    e.ChoiceTaken("r", 11, 5, "c", "a", False),
    e.ParallelStarted("r", 12, 5, "f", ("a", "b"), 0),
    e.BranchJoined("r", 13, 5, "j", "a", ""),
    e.JoinCompleted("r", 14, 5, "j", {"a": ""}),
    e.RunCompleted("r", 15, 5, []),
    e.RunFailed("r", 16, 5, Failure("C"), "a"),
    e.RunCancelled("r", 17, 5, "why", "who"),
    e.RunRetried("r", 18, 5, ("a",), "who"),
]


@pytest.mark.parametrize("event", ALL_EVENTS, ids=lambda one: type(one).__name__)
def test_an_event_comes_back_as_it_went(event: e.AnyEvent) -> None:
    data = e.encode(event)
    assert e.decode(data) == event and b"\n" not in data
    assert data.startswith(b'{"kind":"')
    with_more = data[:-1] + b',"laterField":{"x":[1]}}'
    assert e.decode(with_more) == event


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b'{"kind":"run.exploded","run":"r","seq":1,"atMs":1}',
             b'{"kind":"run.started","run":7,"seq":1,"atMs":1}', b"\xff"],
)  # fmt: skip
def test_what_is_no_event_is_refused(data: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        e.decode(data)


def test_a_state_comes_back_as_it_went() -> None:
    course = started(*PAIR, given={"x": None}, start="f")
    course.fail("a"), course.answer("b", [1])
    assert msgspec.json.decode(msgspec.json.encode(course.run), type=Run) == course.run


@pytest.mark.parametrize("event", ALL_EVENTS, ids=lambda one: type(one).__name__)
def test_no_event_comes_where_it_cannot(event: e.AnyEvent) -> None:
    course = started(*PAIR, start="f")
    before = course.run
    events: list[e.Event] = [msgspec.structs.replace(event, seq=before.seq + 2)]
    events.append(msgspec.structs.replace(event, seq=before.seq + 1, run="other"))
    if not isinstance(event, e.RunFailed | e.RunCancelled | e.RunCompleted):
        events.append(msgspec.structs.replace(event, seq=before.seq + 1))
    if isinstance(event, e.AttemptFailed | e.StepFailed | e.ChoiceTaken | e.ParallelStarted
                  | e.BranchJoined | e.JoinCompleted | e.AttemptLate):  # fmt: skip
        events.pop()  # these could come now
    for one in events:
        with pytest.raises(OutOfPlace):
            evolve(before, one)
    course.cancel()
    if not isinstance(event, e.AttemptLate):
        with pytest.raises(OutOfPlace):
            evolve(course.run, msgspec.structs.replace(event, seq=course.run.seq + 1))
    assert course.run == fold(course.history())


def test_a_log_with_a_gap_is_refused() -> None:
    course = started(*PAIR, start="f")
    history = course.history()
    for missing in range(len(history) - 1):
        with pytest.raises(OutOfPlace):
            fold(history[:missing] + history[missing + 1 :])
    with pytest.raises(OutOfPlace):
        fold([])


def test_definitions_are_what_is_stored() -> None:
    made = workflow(*PAIR, start="f")
    assert msgspec.json.decode(msgspec.json.encode(made), type=Definition) == made
