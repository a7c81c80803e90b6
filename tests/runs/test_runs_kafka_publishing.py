"""What the publisher does with events that came before their predecessors. No broker, no rows."""

from collections import deque
from collections.abc import Sequence
from typing import Any, cast

import pytest
import trio
import trio.testing

from gossamer_gateway.runs.kafka.bus import Message, Sender
from gossamer_gateway.runs.kafka.publisher import Publisher
from gossamer_gateway.runs.log import Entry
from gossamer_gateway.runs.model import events as e
from gossamer_gateway.runs.outbox import Outbox


def entry(run: str, seq: int) -> Entry:
    return Entry(run, seq, e.encode(e.RunStarted(run, seq, 1)))


class Scripted:
    """An outbox that hands over what a test says, and a broker that takes all."""

    def __init__(self, *batches: list[Entry]) -> None:
        self._batches = deque(batches)
        self.sent: list[tuple[str, int]] = []
        self.removed_early: list[tuple[str, int]] = []
        self.undones = 0
        self.is_empty = trio.Event()

    async def next(self, _limit: int) -> list[Entry]:
        if not self._batches:
            self.is_empty.set()
            await trio.sleep_forever()
        return self._batches.popleft()

    def done(self, entries: Sequence[Entry]) -> None:
        named = [(one.run, one.seq) for one in entries]
        self.removed_early += [one for one in named if one not in self.sent]

    async def wait_done(self) -> None:
        await trio.sleep_forever()

    async def remove(self) -> None:
        pass

    def undone(self) -> None:
        self.undones += 1

    async def send(self, messages: Sequence[Message]) -> list[None]:
        await trio.testing.wait_all_tasks_blocked()
        for one in messages:
            event = e.decode(one.value or b"")
            self.sent.append((event.run, event.seq))
        return [None] * len(messages)


async def published(script: Scripted) -> list[tuple[str, int]]:
    publisher = Publisher(
        cast("Any", None), cast("Outbox", script), cast("Sender", script), bool, shared=True
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(publisher.run)
        await script.is_empty.wait()
        nursery.cancel_scope.cancel()
    return script.sent


async def test_a_run_that_came_too_early_holds_up_no_other() -> None:
    early = entry("early", 5)
    script = Scripted([early, entry("other", 1)], [early])
    assert await published(script) == [("other", 1), ("early", 5)]
    assert script.undones == 1


async def test_however_many_come_too_early_each_is_asked_for_once() -> None:
    # Each look at the rows finds one more whose predecessor another gateway has published.
    runs = [entry(f"r{number}", 7) for number in range(50)]
    script = Scripted(*([runs[at], *runs[max(0, at - 1) : at]] for at in range(50)), runs[-1:])
    assert await published(script) == [(f"r{number}", 7) for number in range(50)]
    assert script.undones == 50


async def test_the_predecessor_that_the_rows_had_goes_first() -> None:
    late = [entry("a", 1), entry("a", 2), entry("a", 3)]
    script = Scripted(late[2:], late)
    assert await published(script) == [("a", 1), ("a", 2), ("a", 3)]


async def test_what_comes_again_is_sent_once() -> None:
    both = [entry("a", 1), entry("a", 2)]
    assert await published(Scripted(both, both, both[1:])) == [("a", 1), ("a", 2)]


async def test_rows_go_when_kafka_has_what_they_say() -> None:
    """They are all that there is after a crash."""
    script = Scripted([entry("a", 1), entry("b", 1)], [entry("a", 2)], [entry("b", 2)])
    assert len(await published(script)) == 4
    assert script.removed_early == []


async def test_an_event_that_cannot_be_read_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    script = Scripted([Entry("a", 1, b"?"), entry("b", 1)], [entry("a", 2)])
    assert await published(script) == [("b", 1), ("a", 2)]
    assert [one.message for one in caplog.records] == ["an event is left out"]
