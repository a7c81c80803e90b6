"""Events that are still to be published, in the order of each run.

Where events are published (to Kafka), each has a row in `workflow_outbox`, written in the
transaction that wrote the event, and deleted when the publisher says so. Rows are the safety net:
what this gateway commits for its own shards is handed over in memory at once, and rows are read
when memory may lack something: at the start, when a shard was taken over, when other gateways
commit for these shards (every `LOOK_S`), and when the publisher is so far behind that memory is
full. An event may so be handed over twice, never not at all, and those of a run in their order.
"""

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import trio

from gossamer_gateway.runs.log import Entry
from gossamer_gateway.runs.news import LOOK_S, News
from gossamer_gateway.runs.store import of_shards, shard_of
from gossamer_gateway.storage import Rows, Storage

HANDED_MAX = 10_000
"""Events in memory that are handed over or about to be."""

READ_MAX = 500
"""Rows in one go."""


class Outbox:
    """What is to be published by this gateway.

    Args:
        shards: gives those that this gateway sees to, now.
    """

    def __init__(self, storage: Storage, news: News, shards: Callable[[], Collection[int]]) -> None:
        self._storage = storage
        self._news = news
        self._shards = shards
        self._ready: deque[Entry] = deque()
        self._handed: dict[tuple[str, int], None] = {}  # ready, or given out and not done
        self._looked_s = -float("inf")
        self._is_looking = False
        self._gone: set[tuple[str, int]] = set()  # published while rows were being read
        self._behind = True  # rows hold what memory doesn't
        self._is_again = False  # and they came to do so while they were being read

    def look_again(self) -> None:
        """A shard was taken over: its rows are read next."""
        self._behind = self._is_again = True
        self._news.ring()

    def add(self, entries: Iterable[Entry]) -> None:
        """What was committed here. Never waits."""
        if self._behind and not self._is_looking:
            return
        mine = self._shards()
        for one in entries:
            if shard_of(one.run) in mine and (one.run, one.seq) not in self._handed:
                self._ready.append(one)
                self._handed[one.run, one.seq] = None
        if len(self._handed) > HANDED_MAX:
            self._drop()

    async def next(self, limit: int = READ_MAX) -> list[Entry]:
        """Waits for events to publish; each is told `done` afterwards, or all of them `undone`.

        Raises: StorageFailed.
        """
        while True:
            rung = self._news.next
            # Also where memory never runs empty: what others commit is in the rows alone. What is
            # in memory is read along, so the more that is, the seldomer.
            if not self._ready or self._is_time(1 + len(self._ready) / READ_MAX):
                await self._look()
            if self._ready:
                count = min(limit, len(self._ready))
                return [self._ready.popleft() for _ in range(count)]
            with trio.move_on_after(LOOK_S):
                await rung.wait()

    async def done(self, entries: Sequence[Entry]) -> None:
        """They are published and acknowledged: their rows go.

        Raises: StorageFailed; they will be handed over again, then.
        """
        named = [(one.run, one.seq) for one in entries]
        try:
            await self._storage.submit(lambda rows, _: delete(rows, named))
        finally:
            if self._is_looking:
                self._gone.update(named)
            for one in named:
                self._handed.pop(one, None)

    def undone(self) -> None:
        """Something could not be published: all that is not `done` is handed over again."""
        self._handed.clear()
        self._drop()
        self._news.ring()

    def _drop(self) -> None:
        """What was not given out yet is read from rows again."""
        for one in self._ready:
            self._handed.pop((one.run, one.seq), None)
        self._ready.clear()
        self._behind = self._is_again = True

    def _is_time(self, pauses: float = 1.0) -> bool:
        """Whether it is time to look what others have committed."""
        passed_s = trio.current_time() - self._looked_s
        return self._storage.shared and passed_s >= pauses * LOOK_S

    async def _look(self) -> None:
        if not self._behind and not self._is_time():
            return
        self._looked_s = trio.current_time()
        limits = dict.fromkeys(self._shards(), 0)
        for shard in limits:
            limits[shard] = max(1, READ_MAX // len(limits))
        for run, _ in self._handed:  # they still have their rows, in front of the others
            if (shard := shard_of(run)) in limits:
                limits[shard] += 1
        # What is committed meanwhile comes by memory; some of it may come by both.
        self._is_looking, self._is_again = True, False
        try:
            found, is_all = await self._storage.submit(lambda rows, _: read(rows, limits))
        finally:
            self._is_looking = False
            gone, self._gone = self._gone, set()
        came = {(one.run, one.seq): one for one in self._ready}
        new = [
            one for one in found
            if (one.run, one.seq) in came
            or ((one.run, one.seq) not in self._handed and (one.run, one.seq) not in gone)
        ]  # fmt: skip
        is_all = is_all and not self._is_again
        self._behind = not is_all
        if is_all:  # what memory has besides stands behind it
            known = {(one.run, one.seq) for one in found}
            new += [one for named, one in came.items() if named not in known]
        for named in came:
            del self._handed[named]
        self._ready = deque(new)
        self._handed.update(((one.run, one.seq), None) for one in new)


def read(rows: Rows, limits: Mapping[int, int]) -> tuple[list[Entry], bool]:
    """Events that are to be published, those of each run in order, and whether these are all.

    Args:
        limits: at most so many of each shard.
    """
    if not limits:
        return [], True
    part = (
        "SELECT * FROM (SELECT workflow_outbox.position, workflow_events.run, workflow_events.seq,"
        " data FROM workflow_outbox"
        " JOIN workflow_events ON workflow_events.run = workflow_outbox.run"
        " AND workflow_events.seq = workflow_outbox.seq"
        " WHERE shard = ? ORDER BY workflow_outbox.position LIMIT ?) AS s{}"
    )
    found = [Entry(*one[1:]) for one in sorted(of_shards(rows, part, list(limits.items())))]
    counts = Counter(shard_of(one.run) for one in found)
    return found, all(counts[shard] < limit for shard, limit in limits.items())


def delete(rows: Rows, named: Sequence[tuple[str, int]]) -> None:
    """Removes rows of events, by (run, seq)."""
    rows.executemany("DELETE FROM workflow_outbox WHERE run = ? AND seq = ?", named)
