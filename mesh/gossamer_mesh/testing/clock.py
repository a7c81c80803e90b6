"""Virtual time: things happen in the order of their moments, at once, without waiting."""

import heapq

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class VirtualClock:
    """Runs callbacks at their moments. Two of one moment run in the order in which they came."""

    def __init__(self) -> None:
        self.now_ms = 0
        self._serial = 0
        self._due: list[tuple[int, int, Callable[[], None]]] = []

    def call_at(self, at_ms: int, action: "Callable[[], None]") -> None:
        """`action` runs at `at_ms`, or at once if that is over."""
        self._serial += 1
        heapq.heappush(self._due, (max(at_ms, self.now_ms), self._serial, action))

    def run_until(self, end_ms: int) -> None:
        """Runs what is due up to and including `end_ms`; then that is the time."""
        while self._due and self._due[0][0] <= end_ms:
            self.now_ms, _, action = heapq.heappop(self._due)
            action()
        self.now_ms = end_ms
