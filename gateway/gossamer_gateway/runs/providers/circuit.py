"""When to leave a provider alone: a circuit breaker. Pure; times are milliseconds.

Closed, calls pass and are counted in a window. When at least `FAILURES_MIN` of them have failed by
the provider's fault, and they are at least `FAILED_SHARE` of all, it opens: calls are refused for
`OPEN_MS`, so that what goes elsewhere goes at once and what comes back is not met by a crowd. Then
it is half open: one call at a time may try. If that is well, it closes; if not, it opens for twice
as long as before, `OPEN_MS_MAX` at most. Beside a probe that takes longer than `PROBE_MS`, as a
function may, another may try, and from then on only that one's word counts. (M. Nygard, Release
It!, "Circuit Breaker"; the window with a share and a least number of calls is what resilience4j
does by count.)
"""

from collections import deque
from enum import Enum

WINDOW_MS = 30_000
SLOT_MS = 1_000
"""The window moves by these."""

FAILURES_MIN = 5
"""Fewer are chance."""

FAILED_SHARE = 0.5

OPEN_MS = 10_000
OPEN_MS_MAX = 60_000

PROBE_MS = 60_000

WAIT_MS = 1_000
"""What is refused beside a probe may ask again after this."""


class State(Enum):
    """Where a circuit is."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Word(Enum):
    """What a circuit is told."""

    GOOD = "good"
    """A call that came through."""
    BAD = "bad"
    """One that failed, and with it there are too many in the window."""
    TIME = "time"
    """It was open for as long as it was to be."""


NEXT: dict[tuple[State, Word], State] = {
    (State.CLOSED, Word.GOOD): State.CLOSED,
    (State.CLOSED, Word.BAD): State.OPEN,
    (State.OPEN, Word.TIME): State.HALF_OPEN,
    (State.OPEN, Word.GOOD): State.OPEN,  # calls from before; only a probe's word counts
    (State.OPEN, Word.BAD): State.OPEN,
    (State.HALF_OPEN, Word.GOOD): State.CLOSED,
    (State.HALF_OPEN, Word.BAD): State.OPEN,
}


class Circuit:
    """Of one provider in one region."""

    def __init__(self) -> None:
        self.state = State.CLOSED
        self._slots: deque[list[int]] = deque()  # [slot, calls, failures], the oldest first
        self._open_ms = OPEN_MS
        self._until_ms = 0
        self._term = 0  # one for each change of state: what was asked before it has no say
        self._probe_ms: int | None = None

    def ask(self, now_ms: int) -> int | None:
        """Whether a call may be made: a ticket for `tell`, or None: not now."""
        if self.state is State.OPEN and now_ms >= self._until_ms:
            self._move(Word.TIME)
        if self.state is State.OPEN:
            return None
        if self.state is State.HALF_OPEN:
            if self._probe_ms is not None and now_ms < self._probe_ms + PROBE_MS:
                return None
            self._term += 1  # of two probes, the later one's word counts
            self._probe_ms = now_ms
        return self._term

    def tell(self, ticket: int, now_ms: int, *, good: bool) -> None:
        """How a call ended."""
        if ticket != self._term or self.state is State.OPEN:
            return
        if self.state is State.HALF_OPEN:
            if good:
                self._move(Word.GOOD)
                self._open_ms = OPEN_MS
            else:
                self._open(now_ms)
            return
        self._count(now_ms, good)
        calls = sum(one[1] for one in self._slots)
        failures = sum(one[2] for one in self._slots)
        if failures >= FAILURES_MIN and failures >= FAILED_SHARE * calls:
            self._open(now_ms)

    def forget(self, ticket: int) -> None:
        """A call was given up by us, and says nothing of the provider."""
        if ticket == self._term and self.state is State.HALF_OPEN:
            self._probe_ms = None

    def wait_ms(self, now_ms: int) -> int:
        """After how long it is of use to ask again."""
        if self.state is State.OPEN:
            return max(0, self._until_ms - now_ms)
        return 0 if self.state is State.CLOSED else WAIT_MS

    def _count(self, now_ms: int, good: bool) -> None:
        slot = now_ms // SLOT_MS
        while self._slots and self._slots[0][0] <= slot - WINDOW_MS // SLOT_MS:
            self._slots.popleft()
        if not self._slots or self._slots[-1][0] < slot:
            self._slots.append([slot, 0, 0])
        self._slots[-1][1] += 1
        self._slots[-1][2] += not good

    def _open(self, now_ms: int) -> None:
        self._move(Word.BAD)
        self._until_ms = now_ms + self._open_ms
        self._open_ms = min(self._open_ms * 2, OPEN_MS_MAX)

    def _move(self, word: Word) -> None:
        self.state = NEXT[self.state, word]
        self._term += 1
        self._probe_ms = None
        self._slots.clear()
