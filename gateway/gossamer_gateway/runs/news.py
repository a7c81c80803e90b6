"""Who waits is woken when something was committed here: for jobs, for events, for the clock.

What other gateways of a shared storage commit tells nobody; so who waits there looks again after
`LOOK_S` as well.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Sequence
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


QUEUES_MAX = 10_000
"""Queues whose last ring is remembered."""


class QueueNews:
    """A bell for each queue of jobs. For one trio loop.

    Attributes:
        number: of the last ring, of whatever queue. Who looked when it was this has seen all that
            was rung for until then.
    """

    def __init__(self) -> None:
        self.number = 0
        self._waiting: dict[str, set[trio.Event]] = {}
        self._rung: OrderedDict[str, int] = OrderedDict()
        self._forgotten = 0

    def ring(self, queues: Collection[str]) -> None:
        """Wakes all who wait for one of these."""
        if not queues:
            return
        self.number += 1
        for queue in queues:
            self._rung[queue] = self.number
            self._rung.move_to_end(queue)
            for event in self._waiting.get(queue, ()):
                event.set()
        while len(self._rung) > QUEUES_MAX:
            _, self._forgotten = self._rung.popitem(last=False)

    def rung_since(self, queues: Iterable[str], number: int) -> bool:
        """Whether it was rung for one of these after that; or may have been, long ago."""
        return any(self._rung.get(one, self._forgotten) > number for one in queues)

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
