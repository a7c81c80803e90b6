"""Into how many parts an engine's claim group is split, each with a claimer of its own.

Every part polls all topics; what is split are the holders, so each claimer moves the payloads of
its own holders alone. The claimer of part 0 decides, from what passes through itself: the parts
have equally many holders, so it stands for all. It grows the number when it has been near its
limit for a while, and shrinks it when the parts that would be left were far from theirs for long:
between the two lies a factor of two, so that a change never calls for its opposite.

What is through a claimer per second counts against two limits, jobs and bytes, whichever is
nearer; `mesh/LEASES.md` has the measurement that they come from.
"""

PARTS_MAX = 8
"""More claimers than this poll no engine: each costs it a poll, and Camunda 7 answers 500 past
200 waiting polls of all its clients."""

JOBS_PER_S_MAX = 300
"""Jobs that one claimer settles a second at most."""

BYTES_PER_S_MAX = 25_000_000
"""Payload and outcome bytes that pass one claimer in a second at most."""

GROW_LOAD = 700
SHRINK_LOAD = 350
"""Thousandths of the limit."""

GROW_MS = 10_000
"""So long it must be near its limit: longer than a burst of a few polls."""

SHRINK_MS = 300_000
"""So long there must be too many: to change the parts moves half of the holders."""


def load(jobs: int, bytes_moved: int, passed_ms: int) -> int:
    """What passed a claimer in some time, in thousandths of the limit."""
    passed_ms = max(1, passed_ms)
    return max(
        jobs * 1_000_000 // (JOBS_PER_S_MAX * passed_ms),
        bytes_moved * 1_000_000 // (BYTES_PER_S_MAX * passed_ms),
    )


class Parts:
    """The claimer of part 0, deciding."""

    __slots__ = ("_calm_since_ms", "_near_since_ms")

    def __init__(self) -> None:
        self._near_since_ms: int | None = None
        self._calm_since_ms: int | None = None

    def decide(self, parts: int, own_load: int, members: int, now_ms: int) -> int:
        """How many parts there are to be from now.

        Args:
            parts: how many there are.
            own_load: of part 0's claimer, as `load` gives it.
            members: that reach the engine; no member claims for two parts.
            now_ms: any clock that does not go back.
        """
        limit = max(1, min(PARTS_MAX, members))
        if parts > limit:
            return limit
        near = own_load >= GROW_LOAD and parts < limit
        calm = parts > 1 and own_load * parts < SHRINK_LOAD * (parts - 1)
        if not near:
            self._near_since_ms = None
        elif self._near_since_ms is None:
            self._near_since_ms = now_ms
        if not calm:
            self._calm_since_ms = None
        elif self._calm_since_ms is None:
            self._calm_since_ms = now_ms
        if self._near_since_ms is not None and now_ms - self._near_since_ms >= GROW_MS:
            self._near_since_ms = None
            return parts + 1
        if self._calm_since_ms is not None and now_ms - self._calm_since_ms >= SHRINK_MS:
            self._calm_since_ms = None
            return parts - 1
        return parts
