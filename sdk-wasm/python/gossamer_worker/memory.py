"""What this worker did and how far it has read: pure, without clock or lock.

Kafka delivers at least once: after a rebalance, a restart of the broker or a commit that was lost,
a job comes again. `Memory` knows by their idempotency keys the jobs that are at work and those that
were done lately; a redelivery gets the same answer, and the handler does not run twice here. It
is lost with the process: what must be done once for ever needs the key, where the effect is.

`Offsets` says how far a partition may be committed: as far as all is finished without a gap.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from gossamer_worker.messages import Outcome

KEYS_MAX = 10_000
"""Jobs whose outcome is remembered."""

BYTES_MAX = 32 * 1_048_576
"""Of the outcomes that are remembered."""

Ticket = TypeVar("Ticket")
"""Whatever the caller knows a delivery by."""

RUN = "run"
WAIT = "wait"


@dataclass
class _Work(Generic[Ticket]):
    attempt: int
    waiting: list[tuple[int, Ticket]] = field(default_factory=list)


class Memory(Generic[Ticket]):
    """Jobs at work, and the outcomes of recent ones."""

    def __init__(self, keys_max: int = KEYS_MAX, bytes_max: int = BYTES_MAX) -> None:
        self._keys_max = keys_max
        self._bytes_max = bytes_max
        self._bytes = 0
        self._work: dict[str, _Work[Ticket]] = {}
        self._done: OrderedDict[str, tuple[int, Outcome, int]] = OrderedDict()

    def take(self, key: str, attempt: int, ticket: Ticket) -> Outcome | str:
        """What becomes of a delivery: `RUN`, `WAIT`, or the outcome that is to be sent again."""
        work = self._work.get(key)
        if work is not None:
            work.waiting.append((attempt, ticket))
            return WAIT
        outcome = self._known(key, attempt)
        if outcome is None:
            self._work[key] = _Work(attempt)
            return RUN
        return outcome

    def done(self, key: str, outcome: Outcome) -> list[tuple[Ticket, Outcome | None]]:
        """Keeps how the job at work ended.

        Returns: What becomes of those that waited for it: an outcome to send, or None: it is to be
        run (and is at work from now on).
        """
        work = self._work.pop(key)
        self._keep(key, work.attempt, outcome)
        then: list[tuple[Ticket, Outcome | None]] = []
        for attempt, ticket in work.waiting:
            taken = self.take(key, attempt, ticket)
            if isinstance(taken, Outcome):
                then.append((ticket, taken))
            elif taken == RUN:
                then.append((ticket, None))
        # The order of those that wait anew is kept, for `take` appended them to the new work.
        return then

    def drop(self, key: str) -> int:
        """Forgets a job that was to be run and never began. Returns: How many waited for it."""
        return len(self._work.pop(key).waiting)

    def _known(self, key: str, attempt: int) -> Outcome | None:
        if key not in self._done:
            return None
        known, outcome, _ = self._done[key]
        if outcome.completed or attempt <= known:
            self._done.move_to_end(key)
            return outcome
        return None

    def _keep(self, key: str, attempt: int, outcome: Outcome) -> None:
        self._forget(key)
        size_bytes = len(outcome.text.encode())
        self._done[key] = (attempt, outcome, size_bytes)
        self._bytes += size_bytes
        while len(self._done) > self._keys_max or self._bytes > self._bytes_max:
            self._forget(next(iter(self._done)))

    def _forget(self, key: str) -> None:
        found = self._done.pop(key, None)
        if found is not None:
            self._bytes -= found[2]


class Offsets:
    """How far a partition may be committed, since it was given to this worker."""

    def __init__(self) -> None:
        self._unfinished: set[int] = set()
        self._next = 0

    def begin(self, offset: int) -> None:
        """A job came."""
        self._unfinished.add(offset)
        self._next = max(self._next, offset + 1)

    def skip(self, offset: int) -> None:
        """A message came that is nothing to do."""
        self._next = max(self._next, offset + 1)

    def finish(self, offset: int) -> None:
        """What became of a job is at Kafka, for good."""
        self._unfinished.discard(offset)

    @property
    def position(self) -> int:
        """The offset before which all is finished."""
        return min(self._unfinished, default=self._next)
