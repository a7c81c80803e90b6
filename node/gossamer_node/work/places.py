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

_WAITS, _IN, _ASIDE, _GONE = "waits", "in", "aside", "gone"


class Places:
    """The places of one service; to be used in the node's loop alone.

    Args:
        total: how many there are.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._taken = 0
        self._back: deque[Place] = deque()
        self._new: deque[Place] = deque()

    def set_total(self, total: int) -> None:
        """How many there are from now on; those that are taken beyond stay taken until free."""
        self._total = total
        self._admit()

    def has_room(self) -> bool:
        """Whether a job that comes now would not have to wait."""
        return self._taken < self._total

    def line_up(self) -> "Place":
        """A place, or one's turn for one: `enter` it, and `leave` it in any case."""
        place = Place(self)
        self._new.append(place)
        self._admit()
        return place

    def _come_back(self, place: "Place") -> None:
        self._back.append(place)
        self._admit()

    def _free(self) -> None:
        self._taken -= 1
        self._admit()

    def _withdraw(self, place: "Place") -> None:
        for queue in (self._back, self._new):
            if place in queue:
                queue.remove(place)

    def _admit(self) -> None:
        while self._taken < self._total and (self._back or self._new):
            self._taken += 1
            (self._back or self._new).popleft()._admitted()


class Place:
    """One job's place, from `Places.line_up` to `leave`."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._state = _WAITS
        self._turn = trio.Event()

    async def enter(self) -> None:
        """Returns when the place is this job's."""
        await self._turn.wait()

    def step_aside(self) -> None:
        """The job waits for a call: its place is another's."""
        if self._state == _IN:
            self._state = _ASIDE
            self._turn = trio.Event()
            self._places._free()

    async def come_back(self) -> None:
        """Waits for a place again, before all that have not begun. One that has left has none."""
        if self._state == _ASIDE:
            self._state = _WAITS
            self._places._come_back(self)
            await self._turn.wait()

    def leave(self) -> None:
        """The job has ended, wherever it was."""
        if self._state == _IN:
            self._places._free()
        elif self._state == _WAITS:
            self._places._withdraw(self)
        self._state = _GONE
        self._turn.set()

    def _admitted(self) -> None:
        self._state = _IN
        self._turn.set()
