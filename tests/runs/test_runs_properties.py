"""What holds of all definitions and all histories, tried on many made at random."""

import random
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.runs.runs_world import Course, definition_of, expected, result_of

from gossamer_gateway.runs.model import deciding
from gossamer_gateway.runs.model import events as e
from gossamer_gateway.runs.model.definition import Definition
from gossamer_gateway.runs.model.events import Failure
from gossamer_gateway.runs.model.problems import DefinitionRefused
from gossamer_gateway.runs.model.reading import as_written, read_definition, read_object
from gossamer_gateway.runs.model.run import OutOfPlace, Run, Status, StepStatus, evolve, fold

rngs = st.randoms(use_true_random=False)

BLAMES = ("worker", "function", "provider", "time", "definition", "?")


def answer_well(course: Course, step: str) -> None:
    course.answer(step, result_of(step, course.run.steps[step].input))


def say_anything(course: Course, rng: random.Random) -> None:
    """One word of all that a run may be told, likely or not."""
    at_work = course.at_work()
    known = list(course.run.steps) or ["s0"]
    word = rng.random()
    if word < 0.4 and at_work:
        answer_well(course, rng.choice(at_work)[0])
    elif word < 0.6 and at_work:
        failure = Failure("F", "m", rng.choice(BLAMES), rng.random() < 0.8)
        course.fail(rng.choice(at_work)[0], failure)
    elif word < 0.75:  # any attempt, of now, before or never
        step = rng.choice([*known, "nothing"])
        course.said(deciding.Answer(step, rng.randint(-1, 9), {"n": 1}))
    elif word < 0.85:
        course.wait(rng.choice([0, 1, 50, 1_000, 100_000, -1_000]))
    elif word < 0.9 and course.run.due_ms is not None:
        course.wait()
    elif word < 0.93:
        course.crash()
    elif word < 0.98:
        course.retry()
    elif word < 0.985:
        course.cancel()
    else:
        course.start()


def finish(course: Course) -> None:
    """All workers answer, all clocks run: it must come to its end."""
    course.start()
    for _ in range(3_000):
        if course.run.status is Status.FAILED:
            course.retry()
        if course.run.status is not Status.RUNNING:
            return
        if course.at_work():
            answer_well(course, course.at_work()[0][0])
        else:
            course.wait()
    raise AssertionError(f"it does not end: {course.run}")


@settings(max_examples=150, deadline=None)
@given(rngs, st.integers(0, 60), st.integers(0, 9))
def test_whatever_is_said_a_run_holds_together_and_ends(
    rng: random.Random, words: int, n: int
) -> None:
    definition = definition_of(rng)
    course = Course(definition, {"n": n}, chance=rng.choice([0.0, 0.5, 0.999]))
    for _ in range(words):
        say_anything(course, rng)
    assert fold(course.history()) == course.run
    finish(course)
    assert fold(course.history()) == course.run
    assert msgspec.json.decode(msgspec.json.encode(course.run), type=Run) == course.run
    if course.run.status is Status.COMPLETED:
        output, outputs = expected(definition, {"n": n})
        given_by = {id: one.output for id, one in course.run.steps.items()}
        if all(_is_plain(one) for one in course.history()):
            assert (course.run.output, given_by) == (output, outputs)


def _is_plain(event: e.AnyEvent) -> bool:
    """Whether an event is none by which a run may give something else than `expected`."""
    return not (isinstance(event, e.StepCompleted) and "by" not in str(event.output))


@settings(max_examples=100, deadline=None)
@given(rngs, st.integers(0, 9))
def test_the_order_of_answers_changes_nothing(rng: random.Random, n: int) -> None:
    definition = definition_of(rng)
    output, outputs = expected(definition, {"n": n})
    for _ in range(2):
        course = Course(definition, {"n": n})
        course.start()
        while course.run.status is Status.RUNNING:
            answer_well(course, rng.choice(course.at_work())[0])
        assert course.run.output == output
        assert {id: one.output for id, one in course.run.steps.items()} == outputs


@settings(max_examples=100, deadline=None)
@given(rngs)
def test_a_definition_survives_being_written(rng: random.Random) -> None:
    definition = definition_of(rng)
    assert read_object(as_written(definition)) == definition
    assert read_definition(msgspec.json.encode(as_written(definition))) == definition
    assert msgspec.json.decode(msgspec.json.encode(definition), type=Definition) == definition


@settings(max_examples=60, deadline=None)
@given(rngs, st.data())
def test_a_log_that_was_tampered_with_is_refused_or_a_run(
    rng: random.Random, data: st.DataObject
) -> None:
    """A swapped, doubled or missing event raises OutOfPlace, and nothing else does."""
    course = Course(definition_of(rng, 8), {"n": 1})
    course.start()
    for _ in range(10):
        say_anything(course, rng)
    history: list[Any] = course.history()
    for _ in range(data.draw(st.integers(1, 3))):
        one = data.draw(st.sampled_from(history))
        at = data.draw(st.integers(1, len(history)))
        history.insert(at, one)
    history = [msgspec.structs.replace(one, seq=n) for n, one in enumerate(history, 1)]
    try:
        run = fold(history)
    except OutOfPlace:
        return
    assert run.seq == len(history)


@settings(max_examples=40, deadline=None)
@given(rngs)
def test_a_state_is_never_changed_in_place(rng: random.Random) -> None:
    course = Course(definition_of(rng, 12), {"n": 1})
    course.start()
    for _ in range(20):
        say_anything(course, rng)
    run: Run | None = None
    states: list[tuple[Run, bytes]] = []
    for event in course.history():
        run = evolve(run, event)
        states.append((run, msgspec.json.encode(run)))
    for state, as_it_was in states:
        assert msgspec.json.encode(state) == as_it_was
    assert all(one.status is not StepStatus.RUNNING or one.due_ms for one in state.steps.values())


# fmt: off
JUNK: list[Any] = [
    None, 0, -1, 1.5, "", "x", "$.x", "$.steps.s1", [], {}, [None], True, 2**70, float("nan"),
    "\ud800", {"next": "s1"}, ["s1", "s2"], "TASK", "JOIN", 10**9,
]
# fmt: on


def spoil(written: Any, rng: random.Random) -> None:
    """Puts something else somewhere, or takes something away; most often another step's id."""
    ids = [step["id"] for step in written["steps"]]
    holders: list[tuple[Any, Any]] = []

    def gather(value: Any) -> None:
        for name, one in value.items() if isinstance(value, dict) else enumerate(value):
            holders.append((value, name))
            if isinstance(one, dict | list):
                gather(one)

    gather(written)
    branches = [step.get("branches") for step in written["steps"]]
    links = [
        (value, name)
        for value, name in holders
        if name in ("next", "default", "startAt") or (isinstance(name, int) and value in branches)
    ]
    holder, name = rng.choice(links if links and rng.random() < 0.7 else holders)
    fate = rng.random()
    if fate < 0.6:
        holder[name] = rng.choice(ids)
    elif fate < 0.8:
        holder[name] = rng.choice(JUNK)
    elif isinstance(holder, dict):
        del holder[name]


@settings(max_examples=150, deadline=None)
@given(rngs, st.integers(1, 3))
def test_a_spoiled_definition_is_refused_or_can_be_run(rng: random.Random, times: int) -> None:
    written = as_written(definition_of(rng, 8))
    for _ in range(times):
        spoil(written, rng)
        steps = written.get("steps")
        if not (isinstance(steps, list) and steps):
            break
        if not all(isinstance(step, dict) and "id" in step for step in steps):
            break
    try:
        definition = read_object(written)
    except DefinitionRefused as refused:
        assert all(one.message and one.message.isprintable() for one in refused.problems)
        return
    assert read_object(as_written(definition)) == definition
    for n in (0, 3, 7):
        course = Course(definition, {"n": n})
        course.start()
        for _ in range(200):
            if course.run.status is not Status.RUNNING:
                break
            if course.at_work():
                answer_well(course, rng.choice(course.at_work())[0])
            else:
                course.wait()
        assert course.run.status.has_ended
        if course.run.failure is None:
            assert course.run.output == expected(definition, {"n": n})[0]
        else:  # the template or choice of somebody who asks for what is not there
            assert course.run.failure.code in ("MappingFailed", "NoChoice", "Timeout")
