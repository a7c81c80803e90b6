"""Suspicions: who did not answer, who says so, and until when each suspect may object.

A suspicion begins long, for its accuser may be the slow one, and gets shorter with everyone else
who finds the same by a probe of its own (Lifeguard, LHA-Suspicion, §IV.B):

    timeout(n) = max - (max - min) · log(n + 1) ÷ log(k + 1)

for n of k confirmations, so the first counts most and the k-th leaves the least time. It ends
early when the suspect objects (a newer incarnation), or turns into death at its deadline.
"""

from gossamer_mesh.swim.config import (
    Config,
    confirmations_wanted,
    log10_hundredths,
    suspicion_timeout_ms,
)


def timeout_ms(confirmed: int, wanted: int, least_ms: int, greatest_ms: int) -> int:
    """How long a suspicion lasts, from its beginning (memberlist `remainingSuspicionTime`).

    Args:
        confirmed: members besides the accuser that found the same.
        wanted: with so many it lasts the least; none wanted: it does from the beginning.
    """
    if confirmed >= wanted:
        return least_ms
    span_ms = greatest_ms - least_ms
    part = span_ms * log10_hundredths(confirmed + 1) // log10_hundredths(wanted + 1)
    return greatest_ms - part


class Suspicions:
    """Deadlines by member id.

    Args:
        config: how long they last.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._running: dict[str, _Suspicion] = {}
        self._next_ms: int | None = None

    def __len__(self) -> int:
        return len(self._running)

    def start(self, id: str, by: str, member_count: int, now_ms: int) -> None:
        """Begins, or begins again on a newer incarnation; `by` is the accuser."""
        self.end(id)
        least_ms = suspicion_timeout_ms(self._config, member_count)
        greatest_ms = least_ms * self._config.suspicion_max_multiplier
        wanted = confirmations_wanted(self._config, member_count)
        suspicion = _Suspicion(by, wanted, least_ms, greatest_ms, now_ms)
        self._running[id] = suspicion
        self._hasten(suspicion.deadline_ms())

    def confirm(self, id: str, by: str) -> bool:
        """`by` found the same by itself; False when that is not new, or not wanted any more."""
        suspicion = self._running.get(id)
        if suspicion is None or not suspicion.confirm(by):
            return False
        self._hasten(suspicion.deadline_ms())
        return True

    def shorten(self, id: str) -> int | None:
        """Somebody's time for it is up already: it lasts the least. Returns the deadline."""
        suspicion = self._running.get(id)
        if suspicion is None:
            return None
        suspicion.shorten()
        self._hasten(suspicion.deadline_ms())
        return suspicion.deadline_ms()

    def end(self, id: str) -> None:
        """The suspect is alive, dead or gone by another's word."""
        suspicion = self._running.pop(id, None)
        if suspicion is not None and suspicion.deadline_ms() == self._next_ms:
            self._find_next()

    def put_off(self, by_ms: int) -> None:
        """Moves every deadline: we were asleep and have not read the objections yet."""
        for id in self._running:
            self._running[id].start_ms += by_ms
        self._find_next()

    def timer_ms(self) -> int | None:
        """The next deadline."""
        return self._next_ms

    def expired(self, now_ms: int) -> list[str]:
        """Suspects whose time is up, sorted; each stays until `end`."""
        if self._next_ms is None or self._next_ms > now_ms:
            return []
        return sorted(id for id in self._running if self._running[id].deadline_ms() <= now_ms)

    def _hasten(self, deadline_ms: int) -> None:
        if self._next_ms is None or deadline_ms < self._next_ms:
            self._next_ms = deadline_ms

    def _find_next(self) -> None:
        deadlines = [each.deadline_ms() for each in self._running.values()]
        self._next_ms = min(deadlines) if deadlines else None


class _Suspicion:
    def __init__(
        self, by: str, wanted: int, least_ms: int, greatest_ms: int, start_ms: int
    ) -> None:
        self._said_by = [by]
        self._wanted = wanted
        self._least_ms = least_ms
        self._greatest_ms = greatest_ms
        self._length_ms = timeout_ms(0, wanted, least_ms, greatest_ms)
        self.start_ms = start_ms

    def deadline_ms(self) -> int:
        return self.start_ms + self._length_ms

    def shorten(self) -> None:
        self._wanted = 0
        self._length_ms = self._least_ms

    def confirm(self, by: str) -> bool:
        if len(self._said_by) > self._wanted or by in self._said_by:
            return False
        self._said_by.append(by)
        confirmed = len(self._said_by) - 1
        self._length_ms = timeout_ms(confirmed, self._wanted, self._least_ms, self._greatest_ms)
        return True
