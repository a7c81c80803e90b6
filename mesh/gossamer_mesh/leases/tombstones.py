"""What became of leases that are settled, so that a repeated outcome gets the same answer; or where
leases went that were handed over.

Bounded, and the oldest goes first, the same one on every platform: maps keep no order on a
microcontroller. A forgotten tombstone costs one more question to the engine, never a second effect.
"""

from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gossamer_mesh.leases.messages import LeaseId


class Tombstones:
    """The last `kept_max` leases that have left a table, each with a word on it."""

    def __init__(self, kept_max: int) -> None:
        self._kept_max = kept_max
        self._results: dict[LeaseId, str] = {}
        self._order: deque[LeaseId] = deque((), kept_max)

    def put(self, lease: "LeaseId", result: str) -> None:
        """Remembers how a lease ended; the newest word of a lease counts."""
        if lease in self._results:
            self._results[lease] = result
            return
        if len(self._order) == self._kept_max:
            del self._results[self._order.popleft()]
        self._order.append(lease)
        self._results[lease] = result

    def get(self, lease: "LeaseId") -> "str | None":
        """How it ended; None when it was never settled here, or long ago."""
        return self._results.get(lease)
