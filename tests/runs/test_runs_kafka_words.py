"""Messages as their page shows them, dead letters, and runs replayed from what came."""

import json
import re
from pathlib import Path
from random import Random

import pytest
from tests.runs.kafka_world import definition
from tests.runs.test_runs_events import ALL_EVENTS

from gossamer_gateway.runs import strict
from gossamer_gateway.runs.kafka import topics
from gossamer_gateway.runs.kafka.bus import Received
from gossamer_gateway.runs.kafka.replay import Replay
from gossamer_gateway.runs.kafka.results import GROUP
from gossamer_gateway.runs.kafka.words import dead_letter, event_message, job_message
from gossamer_gateway.runs.model import deciding
from gossamer_gateway.runs.model import events as e
from gossamer_gateway.runs.model.deciding import Answer
from gossamer_gateway.runs.model.events import Event
from gossamer_gateway.runs.model.flow import Flow
from gossamer_gateway.runs.model.run import Run, evolve, fold
from gossamer_gateway.runs.results import read_result
from gossamer_gateway.runs.store import Job

PAGE = (Path(__file__).parents[2] / "docs/reference/workflow-topics.md").read_text("utf-8")
SHOWN = dict(re.findall(r"```json (\w+)\n(.*?)\n```", PAGE, re.DOTALL))


def test_a_job_is_as_its_page_shows_it() -> None:
    job = Job("4f0c…", "order", "charge", 1, "charge-card", {"amount": 12}, 1795316491878, 0)
    message = job_message(job)
    assert json.loads(message.value or b"") == json.loads(SHOWN["job"])
    assert (message.topic, message.key) == ("workflow-jobs", "4f0c…".encode())
    line = next(one for one in PAGE.split("\n\n") if one.startswith("Headers, so that"))
    assert {name for name, _ in message.headers} == set(re.findall(r"`([\w-]+)`", line))


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_results_are_read_as_their_page_shows_them(status: str) -> None:
    shown = json.loads(SHOWN[status])
    result = read_result(strict.read(SHOWN[status].encode()))
    assert (result.run, result.answer.step) == (shown["run"], shown["step"])
    assert result.answer.attempt == shown["attempt"]
    assert result.answer.output == shown.get("output")
    if status == "failed":
        failure = result.answer.failure
        assert failure is not None
        assert (failure.code, failure.retryable) == ("CardRefused", False)


def test_the_page_has_all_topics_and_their_partitions() -> None:
    for one in topics.topics(5):
        kept = "7 days" if one.retention_ms == topics.WORK_RETENTION_MS else "`retention_days`"
        assert f"| `{one.name}` | {one.partitions} | {kept} |" in PAGE
        assert one.settings["cleanup.policy"] == "delete"
        assert f"max.message.bytes={one.settings['max.message.bytes']}" in PAGE
    assert f"`{GROUP}`" in PAGE


@pytest.mark.parametrize("event", ALL_EVENTS, ids=lambda one: type(one).__name__)
def test_an_event_is_published_as_it_is_stored(event: Event) -> None:
    message = event_message(event)
    assert message.value == e.encode(event)
    assert (message.key, message.at_ms) == (event.run.encode(), event.at_ms)
    kind = json.loads(message.value)["kind"]
    assert dict(message.headers) == {
        "form": b"1", "kind": kind.encode(), "seq": str(event.seq).encode()
    }  # fmt: skip


def test_a_dead_letter_is_the_message_and_why() -> None:
    headers = (("reason", b"a liar's"), ("mine", b"\xff"), ("none", None))
    came = Received("workflow-results", 3, 77, b"k", b"v", headers, -1)
    made = dead_letter("dead", came, "x" * 5_000 + "\ud800")
    assert (made.key, made.value, made.at_ms) == (b"k", b"v", 0)
    assert dict(made.headers) == {
        "reason": b"x" * 1_000, "topic": b"workflow-results", "partition": b"3", "offset": b"77",
        "mine": b"\xff", "none": None,
    }  # fmt: skip


def history(run: str, random: Random) -> list[Event]:
    """Of a run of three steps with failures in between."""
    flow = Flow(definition())
    events: list[Event] = deciding.trigger(flow, run, {"n": 1}, 10)
    state: Run = fold(events)

    def add(more: list[Event]) -> None:
        nonlocal state
        for one in more:
            state = evolve(state, one)
        events.extend(more)

    add(deciding.start(flow, state, 11))
    now = 12
    while not state.status.has_ended:
        now += 60_000
        open_steps = [id for id, one in state.steps.items() if one.status.is_open]
        step = open_steps[0]
        if random.random() < 0.3:
            add(deciding.due(flow, state, now, lambda: 0.5))
        else:
            said = Answer(step, state.steps[step].attempt, {"by": step})
            add(deciding.answer(flow, state, said, now, lambda: 0.5))
    return events


@pytest.mark.parametrize("seed", range(20))
def test_what_comes_twice_and_in_parts_makes_the_same_runs(seed: int) -> None:
    random = Random(seed)
    histories = {f"run-{n}": history(f"run-{n}", random) for n in range(5)}
    left = {run: list(events) for run, events in histories.items()}
    replay = Replay()
    repeated = 0
    while left:
        run = random.choice(sorted(left))
        replay.take(e.encode(left[run].pop(0)))
        if not left[run]:
            del left[run]
        if random.random() < 0.4:
            again = random.choice(sorted(histories))
            sent = len(histories[again]) - len(left.get(again, ()))
            if sent:
                replay.take(e.encode(histories[again][random.randrange(sent)]))
                repeated += 1
    assert {one.id: one for one in replay.runs()} == {
        run: fold(events) for run, events in histories.items()
    }
    assert (replay.duplicates, replay.unread, list(replay.gaps())) == (repeated, 0, [])
    assert replay.events == sum(map(len, histories.values()))


@pytest.mark.parametrize("seed", range(10))
def test_order_is_mended_and_gaps_are_named(seed: int) -> None:
    random = Random(seed)
    events = history("run", random)
    shuffled = random.sample(events, len(events))
    replay = Replay()
    for one in shuffled:
        replay.take(e.encode(one))
    assert replay.runs() == [fold(events)]
    missing = random.randrange(1, len(events) - 1)
    replay = Replay()
    for one in events[:missing] + events[missing + 1 :]:
        replay.take(e.encode(one))
    assert replay.runs() == [fold(events[:missing])]
    assert [str(one) for one in replay.gaps()] == [f"run run: event {missing + 1} is missing"]


def test_junk_and_other_runs_are_passed_over() -> None:
    replay = Replay("mine")
    for data in (b"", b"{}", b'{"kind":"run.of.tomorrow","run":"mine","seq":1,"atMs":1}', b"\xff"):
        assert replay.take(data) is None
    assert replay.unread == 4
    assert replay.take(e.encode(e.RunTriggered("other", 1, 1, "w", 1))) is None
    assert replay.runs() == []


def test_events_that_do_not_follow_end_a_run_and_say_so() -> None:
    replay = Replay()
    for one in (e.RunTriggered("r", 1, 1, "w", 1), e.RunTriggered("r", 2, 2, "w", 1)):
        replay.take(e.encode(one))
    (gap,) = replay.gaps()
    assert "event 2 does not follow" in str(gap)
    assert [one.seq for one in replay.runs()] == [1]
