"""When a claim loop keeps streams beside its polls, and what becomes of what they bring."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
import trio
import trio.testing

from gossamer_mesh.leases.lanes import Lanes
from gossamer_node.engines.port import (
    STREAM_MS_MAX,
    WAIT_MS_MAX,
    StreamingEngine,
    TopicRequest,
)
from gossamer_node.errors import EngineUnavailable
from gossamer_node.jobs import Job, JobRef
from gossamer_node.variables import Variables
from gossamer_node.work.claiming import now_ms
from gossamer_node.work.pushing import REOPEN_MS, REOPEN_MS_MAX, STREAMS_MAX, Pushing

A = TopicRequest("a")


def job(key: str) -> Job:
    return Job(JobRef("source", key, "a", "w"), Variables(), 30_000)


class Source:
    """Pushes what it is given; one job is always on its way when a stream is ceased."""

    def __init__(self) -> None:
        self.opened: list[float] = []
        self.open = 0
        self.fails = False
        self.send, self.receive_end = trio.open_memory_channel[Job](10)

    @asynccontextmanager
    async def stream(self, topic: TopicRequest, *, worker_id: str) -> AsyncIterator["Source"]:
        await trio.lowlevel.checkpoint()
        self.opened.append(trio.current_time())
        if self.fails:
            raise EngineUnavailable("it is down")
        self.open += 1
        try:
            yield self
        finally:
            self.open -= 1

    async def receive(self) -> list[Job]:
        return [await self.receive_end.receive()]

    async def cease(self) -> list[Job]:
        await trio.lowlevel.checkpoint()
        return [job("late")]


class Desk:
    def __init__(self) -> None:
        self.source = Source()
        self.taken: list[str] = []
        self.pushing = Pushing(self.source, "source", "w", self.take, now_ms)

    def take(self, jobs: list[Job]) -> None:
        self.taken += [one.ref.key for one in jobs]


async def test_jobs_are_taken_as_they_come_and_what_was_on_its_way_too(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    desk = Desk()
    assert isinstance(desk.source, StreamingEngine)
    (stream,) = desk.pushing.turn_to([A])
    nursery.start_soon(stream)
    assert desk.pushing.topics() == ["a"] and not desk.pushing.turn_to([A])
    for key in "123":
        await desk.source.send.send(job(key))
        await trio.testing.wait_all_tasks_blocked()
    assert desk.taken == ["1", "2", "3"]
    assert not desk.pushing.turn_to([A])
    await trio.testing.wait_all_tasks_blocked()
    assert desk.source.open == 1
    assert not desk.pushing.turn_to([])
    await trio.testing.wait_all_tasks_blocked()
    assert desk.source.open == 0 and desk.taken == ["1", "2", "3", "late"]


async def open_again(desk: Desk) -> None:
    """Runs a stream of A as soon as one may be opened."""
    while True:
        for stream in desk.pushing.turn_to([A]):
            await stream()
            return
        look_ms = desk.pushing.next_look_ms()
        assert look_ms is not None
        await trio.sleep((look_ms - now_ms()) / 1_000)


async def test_a_stream_opens_again_after_a_pause_which_grows_while_it_fails(
    autojump_clock: trio.testing.MockClock,
) -> None:
    desk = Desk()
    desk.source.fails = True
    for _ in range(8):
        await open_again(desk)
    pauses_ms = [round((b - a) * 1_000) for a, b in pairwise(desk.source.opened)]
    assert pauses_ms == [min(REOPEN_MS << n, REOPEN_MS_MAX) for n in range(1, 8)]
    assert desk.pushing.next_look_ms() is not None and not desk.pushing.topics()
    # Another topic's stream waits for none of this, and long after nothing is remembered.
    (other,) = desk.pushing.turn_to([TopicRequest("b")])
    await other()
    await trio.sleep(2 * REOPEN_MS_MAX / 1_000)
    assert desk.pushing.next_look_ms() is None
    desk.source.opened.clear()
    for _ in range(2):
        await open_again(desk)
    assert desk.source.opened[1] - desk.source.opened[0] == pytest.approx(2 * REOPEN_MS / 1_000)


async def test_a_stream_is_followed_by_the_next_before_it_is_old(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    desk = Desk()
    for number in range(3):
        (stream,) = desk.pushing.turn_to([A])
        begun_s = trio.current_time()
        await stream()
        assert trio.current_time() - begun_s == pytest.approx(STREAM_MS_MAX / 1_000)
        assert desk.taken == ["late"] * (number + 1)


async def test_other_terms_end_the_stream_and_the_number_is_bounded(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    desk = Desk()
    (stream,) = desk.pushing.turn_to([A])
    nursery.start_soon(stream)
    await trio.testing.wait_all_tasks_blocked()
    other = TopicRequest("a", lock_ms=5_000)
    assert not desk.pushing.turn_to([other])
    await trio.testing.wait_all_tasks_blocked()
    assert desk.source.open == 0 and not desk.pushing.turn_to([other])
    await trio.sleep(REOPEN_MS / 1_000)
    many = [other, *(TopicRequest(f"t{number}") for number in range(STREAMS_MAX))]
    streams = desk.pushing.turn_to(many)
    assert len(streams) == STREAMS_MAX == len(desk.pushing.topics())
    for stream in streams:
        nursery.start_soon(stream)
    await trio.testing.wait_all_tasks_blocked()
    assert desk.source.open == STREAMS_MAX
    assert not desk.pushing.turn_to([])
    await trio.testing.wait_all_tasks_blocked()
    assert desk.source.open == 0


@pytest.mark.parametrize("topics_max", [1, None])
def test_lanes_know_which_topics_are_more_than_there_are_slots_for(topics_max: int | None) -> None:
    lanes = Lanes(topics_max, WAIT_MS_MAX)
    open_jobs: dict[str, int] = {}
    for _ in range(9):
        credit = 8 - sum(open_jobs.values())
        if credit <= 0:
            break
        for poll in lanes.plan({"a": credit, "b": credit}, credit, open_jobs, 0):
            brought = {"a": poll.jobs_max} if "a" in poll.topics else {}
            if brought:
                open_jobs["a"] = open_jobs.get("a", 0) + poll.jobs_max
            lanes.end(poll, brought)
    lanes.plan({"a": 1, "b": 1}, 1, {"a": 7}, 0)
    assert lanes.is_crowded_by("a") and not lanes.is_crowded_by("b")
