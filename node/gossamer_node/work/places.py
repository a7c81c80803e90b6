"""Whose turn it is in one service: so many of its jobs run here at once, in the order they came.

A job that waits for a call of another service *steps aside*: its place is free meanwhile, for any
job of the service that is here already, and above all for calls. Without that, services that call
each other could take all places and wait for each other until their time is over. With it, a taken
place always belongs to a job that does something itself, and ends or steps aside: so every job
that waits for a place gets one, however services call each other. Who comes back from a call is
served before those that have not begun, so that what was begun ends.

What stays taken while a job is aside is its slot of the node (`leases.holder`): that bounds what
engines hand out, not who may run. So a job that waits brings no further one from an engine.
"""

from collections import deque

import trio

_IN, _ASIDE, _GONE = "in", "aside", "gone"


class Places:
    """The places of one service; to be used in the node's loop alone.

    Args:
        total: how many there are.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._taken = 0
        self._back: deque[trio.Event] = deque()
        self._new: deque[trio.Event] = deque()

    def set_total(self, total: int) -> None:
        """How many there are from now on; those that are taken beyond stay taken until free."""
        self._total = total
        self._admit()

    def has_room(self) -> bool:
        """Whether a job that comes now would not have to wait."""
        return self._taken < self._total and not self._back and not self._new

    async def enter(self) -> "Place":
        """Waits for a place and takes it; the caller must `leave` it."""
        await self._take(self._new)
        return Place(self)

    async def _take(self, queue: deque[trio.Event]) -> None:
        if self._taken < self._total and not self._back and not self._new:
            self._taken += 1
            return
        turn = trio.Event()
        queue.append(turn)
        try:
            self._admit()
            await turn.wait()
        except trio.Cancelled:
            if turn.is_set():
                self._free()
            else:
                queue.remove(turn)
            raise

    def _free(self) -> None:
        self._taken -= 1
        self._admit()

    def _admit(self) -> None:
        while self._taken < self._total and (self._back or self._new):
            self._taken += 1
            (self._back or self._new).popleft().set()


class Place:
    """One job's place, from `Places.enter` to `leave`."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._state = _IN

    def step_aside(self) -> None:
        """The job waits for a call: its place is another's."""
        if self._state == _IN:
            self._state = _ASIDE
            self._places._free()

    async def come_back(self) -> None:
        """Waits for a place again, before all that have not begun. One that has left gets none."""
        if self._state != _ASIDE:
            return
        await self._places._take(self._places._back)
        if self._state == _ASIDE:
            self._state = _IN
        else:
            self._places._free()

    def leave(self) -> None:
        """The job has ended, wherever it was."""
        if self._state == _IN:
            self._places._free()
        self._state = _GONE
