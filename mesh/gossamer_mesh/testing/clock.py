"""Virtual time: things happen in the order of their moments, at once, without waiting."""

import heapq

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class EndlessError(Exception):
    """More happened than may."""


class VirtualClock:
    """Runs callbacks at their moments. Two of one moment run in the order in which they came.

    Args:
        steps_max: callbacks that may run in all; None for any number.
    """

    def __init__(self, steps_max: "int | None" = None) -> None:
        self.now_ms = 0
        self.steps = 0
        self._steps_max = steps_max
        self._serial = 0
        self._due: list[tuple[int, int, Callable[[], None]]] = []

    def call_at(self, at_ms: int, action: "Callable[[], None]") -> None:
        """`action` runs at `at_ms`, or at once if that is over."""
        self._serial += 1
        heapq.heappush(self._due, (max(at_ms, self.now_ms), self._serial, action))

    def run_until(self, end_ms: int) -> None:
        """Runs what is due up to and including `end_ms`; then that is the time.

        Raises:
            EndlessError: more callbacks than `steps_max` have come.
        """
        while self._due and self._due[0][0] <= end_ms:
            self.steps += 1
            if self._steps_max is not None and self.steps > self._steps_max:
                raise EndlessError(f"not at its end after {self._steps_max:,} steps")
            self.now_ms, _, action = heapq.heappop(self._due)
            action()
        self.now_ms = end_ms
