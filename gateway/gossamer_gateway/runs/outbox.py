"""Events that are still to be published, in the order of each run.

Where events are published (to Kafka), each change of a run has a row in `workflow_outbox`, which
names its events: written in the transaction that wrote them, and deleted when the publisher has
said so of all of them. Rows are the safety net: what this gateway commits for its own shards is
handed over in memory at once, and rows are read when memory may lack something: at the start, when
a shard was taken over, and when the publisher is so far behind that memory is full. What other
gateways commit for these shards is looked for every `LOOK_S`; at some of these looks all rows are
read, for a commit of this gateway may have been kept although its connection was lost. An event may
so be handed over twice, never not at all, and those of a run in their order.

Rows go a while after they might, many together: a transaction for each batch would cost more than
all the rest of the way to Kafka. What a crash leaves of them is published once more.
"""

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import trio

from gossamer_gateway.runs.log import Entry
from gossamer_gateway.runs.news import LOOK_S, News
from gossamer_gateway.runs.store import of_shards, shard_of
from gossamer_gateway.storage import Rows, Storage, Write

HANDED_MAX = 10_000
"""Events in memory that are handed over or about to be."""

READ_MAX = 500
"""Rows in one go."""

WHOLE_LOOK_EVERY = 20
"""Looks at a shared storage, of which one reads this gateway's own rows as well."""

Named = tuple[str, int]
"""An event by its run and number. A row has the name of its first event."""


class Outbox:
    """What is to be published by this gateway.

    Args:
        shards: gives those that this gateway sees to, now.
        writer: this gateway, as its rows name it.
    """

    def __init__(
        self, storage: Storage, news: News, shards: Callable[[], Collection[int]], writer: int
    ) -> None:
        self._storage = storage
        self._news = news
        self._shards = shards
        self._writer = writer
        self._ready: deque[Entry] = deque()
        self._handed: dict[Named, Named] = {}  # ready, or given out and not done: their rows
        self._left: dict[Named, int] = {}  # events of each row that are not done; 0: it may go
        self._done: list[Named] = []  # rows that may go
        self._has_done = trio.Event()
        self._gone: set[Named] = set()  # rows that went while rows were being read
        self._looked_s = -float("inf")
        self._looks = 0
        self._is_looking = False
        self._behind = True  # rows hold what memory doesn't
        self._is_again = False  # and they came to do so while they were being read

    def look_again(self) -> None:
        """A shard was taken over: its rows are read next."""
        self._behind = self._is_again = True
        self._news.ring()

    def add(self, entries: Sequence[Entry]) -> None:
        """A change of a run that was committed here. Never waits."""
        if self._behind and not self._is_looking:
            return
        if shard_of(entries[0].run) in self._shards():
            self._hand((entries[0].run, entries[0].seq), entries)
        if len(self._handed) > HANDED_MAX:
            self._drop()

    def _hand(self, row: Named, entries: Sequence[Entry]) -> None:
        if row not in self._left:
            self._left[row] = len(entries)
            self._ready.extend(entries)
            self._handed.update(((one.run, one.seq), row) for one in entries)

    async def next(self, limit: int = READ_MAX) -> list[Entry]:
        """Waits for events to publish; each is told `done` afterwards, or all of them `undone`.

        Those of one row are given together: what is left in memory may be dropped at any time, and
        then a row of which a part is under way could not be told of.

        Args:
            limit: about so many; more by what the last row has.

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
                given = [self._ready.popleft() for _ in range(count)]
                last = self._row_of(given[-1])
                while self._ready and self._row_of(self._ready[0]) == last:
                    given.append(self._ready.popleft())
                return given
            with trio.move_on_after(LOOK_S):
                await rung.wait()

    def _row_of(self, one: Entry) -> Named:
        return self._handed[one.run, one.seq]

    def done(self, entries: Iterable[Entry]) -> None:
        """They are published and acknowledged: `remove` may take their rows. Never waits."""
        for one in entries:
            row = self._handed.pop((one.run, one.seq), None)
            if row is None:
                continue
            self._left[row] -= 1
            if self._left[row] == 0:
                self._done.append(row)
        if self._done:
            self._has_done.set()

    async def wait_done(self) -> None:
        """Waits until there are rows to remove."""
        await self._has_done.wait()

    async def remove(self) -> None:
        """Removes the rows of what is done.

        Raises: StorageFailed; they are removed with the next ones, then.
        """
        if not self._done:
            return
        going, self._done, self._has_done = self._done, [], trio.Event()
        try:
            await self._storage.submit(lambda rows, _: delete(rows, going))
        except BaseException:
            self._done = going + self._done
            self._has_done.set()
            raise
        if self._is_looking:
            self._gone.update(going)
        for row in going:
            self._left.pop(row, None)

    def undone(self) -> None:
        """Something could not be published: all that is not `done` is handed over again."""
        self._handed.clear()
        self._ready.clear()
        self._left = dict.fromkeys(self._done, 0)
        self._behind = True
        self._news.ring()

    def _drop(self) -> None:
        """What was not given out yet is read from rows again."""
        for one in self._ready:
            row = self._handed.pop((one.run, one.seq))
            self._left.pop(row, None)
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
        self._looks += 1
        is_whole = self._behind or self._looks % WHOLE_LOOK_EVERY == 0
        limits = dict.fromkeys(self._shards(), 0)
        for shard in limits:
            limits[shard] = max(1, READ_MAX // len(limits))
        for run, _ in self._left:  # they still have their rows, in front of the others
            if (shard := shard_of(run)) in limits:
                limits[shard] += 1
        # What is committed meanwhile comes by memory; some of it may come by both.
        self._is_looking, self._is_again = True, False
        but = None if is_whole else self._writer
        try:
            found, is_all = await self._storage.submit(lambda rows, _: read(rows, limits, but))
        finally:
            self._is_looking = False
            gone, self._gone = self._gone, set()
        came: dict[Named, list[Entry]] = {}
        while self._ready:
            one = self._ready.popleft()
            row = self._handed.pop((one.run, one.seq))
            self._left.pop(row, None)
            came.setdefault(row, []).append(one)
        is_all = is_all and not self._is_again
        self._behind = not is_all
        if is_all:  # what memory has besides stands behind it
            found |= {row: entries for row, entries in came.items() if row not in found}
        if not is_whole:
            # Of a run, others may have gone on where this gateway's own rows end, or before them.
            found = dict(sorted(found.items())) if is_all else {}
        for row, entries in found.items():
            if row not in gone:
                self._hand(row, entries)


def read(
    rows: Rows, limits: Mapping[int, int], but: int | None = None
) -> tuple[dict[Named, list[Entry]], bool]:
    """Rows with their events, those of each run in order, and whether these are all.

    Args:
        limits: at most so many rows of each shard.
        but: rows of this writer are left out.
    """
    part = (
        "SELECT * FROM (SELECT o.position, o.run, o.seq AS first, e.seq, data FROM"
        " (SELECT position, run, seq, events FROM workflow_outbox"
        " WHERE shard = ? AND writer <> ? ORDER BY position LIMIT ?) AS o"
        " JOIN workflow_events AS e"
        " ON e.run = o.run AND e.seq >= o.seq AND e.seq < o.seq + o.events) AS s{}"
    )
    values = [(shard, -1 if but is None else but, limit) for shard, limit in limits.items()]
    found: dict[Named, list[Entry]] = {}
    for _, run, first, seq, data in sorted(of_shards(rows, part, values)):
        found.setdefault((run, first), []).append(Entry(run, seq, data))
    counts = Counter(shard_of(run) for run, _ in found)
    return found, all(counts[shard] < limit for shard, limit in limits.items())


def delete(rows: Rows, named: Sequence[Named]) -> None:
    """Removes rows."""
    rows.together(Write("DELETE FROM workflow_outbox WHERE run = ? AND seq = ?", named))
