"""What every `Log` keeps to. A test module per log has a fixture `made`, and imports the tests.

from tests.runs.durable.log_suite import *
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from random import Random
from uuid import uuid4

import pytest
import trio
from tests.patience import patience

from gossamer_gateway.errors import BadRequest
from gossamer_gateway.runs.log import Entry, Log
from gossamer_gateway.runs.model.events import Event, RunStarted, RunTriggered

__all__ = [
    "Made",
    "test_a_cursor_of_nobody_is_refused",
    "test_a_reader_waits_for_what_comes",
    "test_from_its_end_only_new_ones_are_read",
    "test_pages_of_any_size_hold_each_event_once",
    "test_who_follows_many_writers_misses_and_doubles_nothing",
]


@dataclass(frozen=True)
class Made:
    """A log, and the way in which events come into it: acknowledged when it returns."""

    log: Log
    write: Callable[[Sequence[Event]], Awaitable[None]]


def events(run: str, first: int, count: int) -> list[Event]:
    """Events of a run: the log looks at their numbers alone."""
    return [
        RunTriggered(run, seq, 5, "w", 1) if seq == 1 else RunStarted(run, seq, 5)
        for seq in range(first, first + count)
    ]


def names(entries: Sequence[Entry]) -> list[tuple[str, int]]:
    return [(one.run, one.seq) for one in entries]


async def test_pages_of_any_size_hold_each_event_once(made: Made) -> None:
    runs = [str(uuid4()) for _ in range(5)]
    for run in runs:
        await made.write(events(run, 1, 7))
    for limit in (1, 3, 7, 35, 100):
        cursor = await made.log.start()
        found: list[Entry] = []
        while True:
            entries, cursor = await made.log.read(cursor, limit, 0.5)
            assert len(entries) <= limit
            found += entries
            if len(found) >= 35:
                break
        assert sorted(names(found)) == sorted((run, seq) for run in runs for seq in range(1, 8))
        for run in runs:
            assert [one.seq for one in found if one.run == run] == list(range(1, 8))
        assert all((one.event.run, one.event.seq) == (one.run, one.seq) for one in found)
        assert await made.log.read(cursor, limit, 0.0) == ([], cursor)


async def test_from_its_end_only_new_ones_are_read(made: Made) -> None:
    run = str(uuid4())
    await made.write(events(run, 1, 2))
    cursor = await made.log.end()
    assert (await made.log.read(cursor, 10, 0.0))[0] == []
    await made.write(events(run, 3, 1))
    entries, cursor = await made.log.read(cursor, 10, 30.0)
    assert names(entries) == [(run, 3)]
    assert (await made.log.read(cursor, 10, 0.0))[0] == []


async def test_a_reader_waits_for_what_comes(made: Made) -> None:
    run = str(uuid4())
    found: list[Entry] = []

    async def read() -> None:
        found.extend((await made.log.read(await made.log.start(), 10, 60.0))[0])

    with patience():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked(0.01)
            await made.write(events(run, 1, 1))
    assert names(found) == [(run, 1)]


@pytest.mark.parametrize("junk", ["", "?", "r", "r1", "r-1.2", "r1.2.3", "ä", "r1.٣", "9" * 99])
async def test_a_cursor_of_nobody_is_refused(made: Made, junk: str) -> None:
    with pytest.raises(BadRequest):
        await made.log.read(junk, 1, 0.0)


WRITERS, ROUNDS, LENGTH = 12, 15, 3


async def test_who_follows_many_writers_misses_and_doubles_nothing(made: Made) -> None:
    seed = Random().getrandbits(32)
    random = Random(seed)
    runs = [str(uuid4()) for _ in range(WRITERS)]
    total = WRITERS * ROUNDS * LENGTH
    followed: list[list[Entry]] = [[], []]

    async def write(run: str) -> None:
        for turn in range(ROUNDS):
            await made.write(events(run, 1 + turn * LENGTH, LENGTH))

    async def follow(found: list[Entry]) -> None:
        cursor = await made.log.start()
        while len(found) < total:
            entries, cursor = await made.log.read(cursor, random.randint(1, 20), 0.2)
            found += entries

    with patience():
        async with trio.open_nursery() as nursery:
            for found in followed:
                nursery.start_soon(follow, found)
            for run in runs:
                nursery.start_soon(write, run)
    for found in followed:
        assert len(set(names(found))) == total == len(found), seed
        for run in runs:
            seqs = [one.seq for one in found if one.run == run]
            assert seqs == list(range(1, ROUNDS * LENGTH + 1)), seed
