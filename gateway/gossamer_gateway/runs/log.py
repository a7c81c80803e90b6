"""All events of all runs in one order, to be followed from any point: nothing skipped or doubled.

`Log` is the port; here is its form over rows, `runs/kafka` has one over a topic. A cursor is a
text that only the log that gave it can read.

**Why the order of rows is not enough.** Of two transactions on PostgreSQL, the one that took the
lower numbers from a sequence may commit last; who has read on to the higher ones by then never sees
the lower. Three ways out were thought through. A counter row for each shard, raised in the same
transaction, makes those that share a shard commit in turn; but commands here run on snapshots, so
the second does not wait its turn, it is taken back and runs again, and as a group holds runs of all
shards, two gateways would be in each other's way all the time. A sequencer, that numbers events
after they were committed, writes each row twice, and the log stands still when it does. So each
event carries the number of its transaction, which PostgreSQL gives at the first thing it writes:

- A reader takes only events whose transactions have numbers below the oldest that is still open
  (`transactions_settled`, of the very snapshot in which it reads). All of those are over, and all
  to come have higher numbers: what is read below that line never changes. So reading on from
  (number, position) skips nothing and doubles nothing, in whatever order others commit.
- A transaction has its snapshot before it has its number, and all changes of a run see the change
  before them. So a later event of a run has a higher number, or the same and a higher position:
  the order of each run is kept.
- Nobody waits for anybody. The price: a transaction that stays open, anywhere in that PostgreSQL,
  and has written something, holds the log's end back until it is over. It holds up who follows,
  not runs; gateways end theirs within seconds.

In a SQLite file one transaction runs after the other, so positions are enough: all have number 0.
When a dump is loaded into another PostgreSQL, whose numbers begin anew, cursors from before are of
no use; `renumber` has the events begin at 0 there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import trio

from gossamer_gateway.errors import BadRequest
from gossamer_gateway.runs.model import events as e
from gossamer_gateway.runs.model.events import Event
from gossamer_gateway.runs.news import LOOK_S, News
from gossamer_gateway.storage import Rows, Storage

SETTLING_S = 0.005
"""Between two looks when something was committed here that is not settled yet."""


class UnknownCursor(BadRequest):
    """This log never gave such a cursor."""


RENUMBERED_MAX = 5_000
"""Events of one transaction."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An event in a log.

    Attributes:
        data: as it is stored, JSON on one line.
        read: the event, where it need not be read of that.
    """

    run: str
    seq: int
    data: bytes
    read: Event | None = field(default=None, compare=False, repr=False)

    @property
    def event(self) -> Event:
        return self.read or e.decode(self.data)


class Log(Protocol):
    """The port."""

    async def start(self) -> str:
        """A cursor before all that is in it."""

    async def end(self) -> str:
        """A cursor behind all that is in it now."""

    async def read(
        self, cursor: str, limit: int, wait_s: float = 0.0
    ) -> tuple[Sequence[Entry], str]:
        """Entries behind a cursor, in order, and the cursor behind them.

        Args:
            limit: entries at most. Fewer: all that there were when the read began.
            wait_s: how long to wait for the first.

        Raises: UnknownCursor; StorageFailed or whatever else its source is away with.
        """

    def reached(self, cursor: str, goal: str) -> bool:
        """Whether all that is before `goal` is before `cursor` as well. Raises: UnknownCursor."""


class RowsLog:
    """The log in the storage.

    Args:
        news: rung when something was committed here.
    """

    def __init__(self, storage: Storage, news: News) -> None:
        self._storage = storage
        self._news = news

    async def start(self) -> str:
        return _write(0, 0)

    async def end(self) -> str:
        return await self._storage.submit(lambda rows, _: _write(*_end(rows)))

    async def read(
        self, cursor: str, limit: int, wait_s: float = 0.0
    ) -> tuple[Sequence[Entry], str]:
        number, position = _read(cursor)
        deadline = trio.current_time() + wait_s
        while True:
            rung = self._news.next
            found, unsettled = await self._storage.submit(
                lambda rows, _: _behind(rows, number, position, limit)
            )
            left_s = deadline - trio.current_time()
            if found or left_s <= 0:
                break
            with trio.move_on_after(min(left_s, self._pause_s(unsettled))):
                await rung.wait()
        if found:
            number, position = found[-1][:2]
        return [Entry(*one[2:]) for one in found], _write(number, position)

    def reached(self, cursor: str, goal: str) -> bool:
        return _read(cursor) >= _read(goal)

    def _pause_s(self, unsettled: bool) -> float:
        if unsettled:
            return SETTLING_S
        return LOOK_S if self._storage.shared else float("inf")


def _behind(
    rows: Rows, number: int, position: int, limit: int
) -> tuple[list[tuple[int, int, str, int, bytes]], bool]:
    found = rows.execute(
        "SELECT number, position, run, seq, data FROM workflow_events"
        " WHERE (number, position) > (?, ?) AND number < transactions_settled()"
        " ORDER BY number, position LIMIT ?",
        (number, position, limit),
    ).fetchall()
    if found:
        return found, False
    more = rows.execute(
        "SELECT 1 FROM workflow_events WHERE (number, position) > (?, ?) LIMIT 1",
        (number, position),
    ).fetchone()
    return [], more is not None


def _end(rows: Rows) -> tuple[int, int]:
    found = rows.execute(
        "SELECT number, position FROM workflow_events WHERE number < transactions_settled()"
        " ORDER BY number DESC, position DESC LIMIT 1"
    ).fetchone()
    return found or (0, 0)


def renumber(rows: Rows, _now_ms: int) -> bool:
    """Has events begin at 0 whose numbers are of another PostgreSQL: none here is so high yet.

    True: there are more of them.
    """
    (number,) = rows.execute("SELECT transaction_number()").fetchone()
    changed = rows.execute(
        "UPDATE workflow_events SET number = 0 WHERE position IN"
        " (SELECT position FROM workflow_events WHERE number > ? LIMIT ?)",
        (number, RENUMBERED_MAX),
    )
    return changed.rowcount == RENUMBERED_MAX


def _write(number: int, position: int) -> str:
    return f"r{number}.{position}"


def _read(cursor: str) -> tuple[int, int]:
    head, _, tail = cursor[1:].partition(".")
    if cursor[:1] != "r" or not (_is_number(head) and _is_number(tail)):
        raise UnknownCursor(f"{cursor[:100]!r} is no cursor of this log; begin at its start")
    return int(head), int(tail)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19
