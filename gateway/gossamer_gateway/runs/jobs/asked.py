"""Which queues workers ask for, and when they last did: so that a run can say why nothing happens.

An action that nobody asks for is mostly a misspelt one, or a worker that is down. What is asked
here is remembered at once, and every `WRITE_MS` in the rows, for the other gateways and for the
time after a restart. The newest of both counts; a queue that is in neither was never asked for.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from gossamer_gateway.storage import Rows, Storage

SCHEMA = """
CREATE TABLE IF NOT EXISTS workflow_asked (
    queue TEXT NOT NULL PRIMARY KEY,
    at_ms INTEGER NOT NULL       -- when a worker last asked for its jobs, or somewhat before
);
"""

WRITE_MS = 10_000
"""Between two writes of a queue that is asked for all the time."""

SILENT_MS = 60_000
"""Who asks polls again within this, whatever client it is; longer, and nobody asks."""

QUEUES_MAX = 10_000
"""Remembered in memory; the names come from outside. Beyond it the one that was asked for longest
ago is written once more at its next time."""

KEPT_MS = 7 * 24 * 3_600_000
SWEPT_MAX = 500


class Asked:
    """When each queue was last asked for."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._known: OrderedDict[str, tuple[int, int]] = OrderedDict()  # asked, written

    def note(self, queues: Iterable[str], now_ms: int) -> list[str]:
        """They are asked for. Gives those that ought to be written down now."""
        due = []
        for queue in queues:
            _, written_ms = self._known.pop(queue, (0, 0))
            if now_ms - written_ms >= WRITE_MS:
                due.append(queue)
                written_ms = now_ms
            self._known[queue] = (now_ms, written_ms)
        while len(self._known) > QUEUES_MAX:
            self._known.popitem(last=False)
        return due

    async def last(self, queues: Iterable[str]) -> Mapping[str, int]:
        """When each was last asked for, in ms since 1970; those that ever were."""
        wanted = list(queues)

        def read(rows: Rows, _now_ms: int) -> dict[str, int]:
            found: dict[str, int] = {}
            for queue in wanted:
                row = rows.execute(
                    "SELECT at_ms FROM workflow_asked WHERE queue = ?", (queue,)
                ).fetchone()
                if row:
                    found[queue] = row[0]
            return found

        found = await self._storage.submit(read)
        for queue in wanted:
            if queue in self._known:
                found[queue] = max(self._known[queue][0], found.get(queue, 0))
        return found

    async def write(self, queues: Iterable[str]) -> None:
        """Writes down that these are asked for now."""
        all_queues = sorted(queues)

        def write(rows: Rows, now_ms: int) -> None:
            rows.executemany(
                "INSERT INTO workflow_asked (queue, at_ms) VALUES (?, ?)"
                " ON CONFLICT (queue) DO UPDATE SET at_ms = excluded.at_ms",
                [(one, now_ms) for one in all_queues],
            )

        await self._storage.submit(write)


def sweep(rows: Rows, now_ms: int) -> int:
    """Forgets queues that nobody has asked for in days."""
    return rows.execute(
        "DELETE FROM workflow_asked WHERE queue IN"
        " (SELECT queue FROM workflow_asked WHERE at_ms < ? LIMIT ?)",
        (now_ms - KEPT_MS, SWEPT_MAX),
    ).rowcount
