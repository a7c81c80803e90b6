"""Who waits is woken when something was committed here: for jobs, for events, for the clock.

What other gateways of a shared storage commit tells nobody; so who waits there looks again after
`LOOK_S` as well.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import trio

LOOK_S = 0.25
"""Between two looks at a shared storage."""


class News:
    """A bell. For one trio loop."""

    def __init__(self) -> None:
        self._rung = trio.Event()
        self._is_taken = False

    def ring(self) -> None:
        """Wakes all who wait, or are about to: who has taken `next` may still be looking."""
        if self._is_taken:
            self._rung.set()
            self._rung, self._is_taken = trio.Event(), False

    @property
    def next(self) -> trio.Event:
        """Is set at the next ring. Take it before you look, and you miss nothing."""
        self._is_taken = True
        return self._rung


class QueueNews:
    """A bell for each queue of jobs. For one trio loop."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[trio.Event]] = {}

    def ring(self, queues: Iterable[str]) -> None:
        """Wakes all who wait for one of these."""
        for queue in queues:
            for event in self._waiting.get(queue, ()):
                event.set()

    @contextmanager
    def waiting(self, queues: Sequence[str]) -> Iterator[trio.Event]:
        """An event that is set at the next ring for one of these, from now on."""
        event = trio.Event()
        for queue in queues:
            self._waiting.setdefault(queue, set()).add(event)
        try:
            yield event
        finally:
            for queue in set(queues):
                self._waiting[queue].discard(event)
                if not self._waiting[queue]:
                    del self._waiting[queue]
