"""Suspicions: who did not answer, and until when each may object.

Only time is kept here. A suspicion ends early when the suspect objects (a newer incarnation), or
turns into death at its deadline. How long one lasts is `config.suspicion_timeout_ms`.
"""


class Suspicions:
    """Deadlines by member id."""

    def __init__(self) -> None:
        self._deadlines_ms: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._deadlines_ms)

    def start(self, id: str, deadline_ms: int) -> None:
        """Begins, or begins again on a newer incarnation."""
        self._deadlines_ms[id] = deadline_ms

    def end(self, id: str) -> None:
        """The suspect is alive, dead or gone by another's word."""
        self._deadlines_ms.pop(id, None)

    def put_off(self, by_ms: int) -> None:
        """Moves every deadline: we were asleep and have not read the objections yet."""
        for id in self._deadlines_ms:
            self._deadlines_ms[id] += by_ms

    def timer_ms(self) -> int | None:
        """The next deadline."""
        return min(self._deadlines_ms.values()) if self._deadlines_ms else None

    def expired(self, now_ms: int) -> list[str]:
        """Suspects whose time is up, sorted; each stays until `end`."""
        return sorted(id for id in self._deadlines_ms if self._deadlines_ms[id] <= now_ms)
