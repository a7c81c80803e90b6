"""Who waits is woken when something was committed here: for jobs, for events, for the clock.

What other gateways of a shared storage commit tells nobody; so who waits there looks again after
`LOOK_S` as well.
"""

import trio

LOOK_S = 0.25
"""Between two looks at a shared storage."""


class News:
    """A bell. For one trio loop."""

    def __init__(self) -> None:
        self._rung = trio.Event()

    def ring(self) -> None:
        """Wakes all who wait."""
        if self._rung.statistics().tasks_waiting:
            self._rung.set()
            self._rung = trio.Event()

    @property
    def next(self) -> trio.Event:
        """Is set at the next ring. Take it before you look, and you miss nothing."""
        return self._rung
