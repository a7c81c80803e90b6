"""Long polls: a worker waits for tasks of its topics, and is woken when one becomes free.

A poll looks, then sleeps until a commit has freed a task of its topics, a lock or back-off among
them runs out (Camunda 7 sleeps through that), its time is up or the engine stops. It listens
before it looks, so no task slips between. A poll whose client went away locks nothing: what it
locked in that very moment is freed again (Camunda 7 leaves it locked for nobody).
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

import trio

from gossamer_gateway.embedded.engine import Engine, LockedTask, TopicFetch
from gossamer_gateway.errors import Overloaded, UnknownTask
from gossamer_gateway.storage.committer import Committer

ASLEEP_MAX = 200
"""Polls that may wait at once; Camunda 7's queue for them holds as many."""


class Polls:
    """All fetches of one engine, waiting or not."""

    def __init__(self, engine: Engine, committer: Committer, clock: Callable[[], int]) -> None:
        self._engine = engine
        self._committer = committer
        self._clock = clock
        self._listeners: dict[str, set[trio.Event]] = {}
        self._asleep = 0
        self._stopped = False

    def wake(self, topics: Iterable[str]) -> None:
        """Tells that tasks of these topics may be free."""
        for topic in topics:
            for event in self._listeners.get(topic, ()):
                event.set()

    def stop(self) -> None:
        """Answers all waiting polls, and those to come, at once."""
        self._stopped = True
        self.wake(list(self._listeners))

    async def fetch(
        self, worker_id: str, topics: Sequence[TopicFetch], *, tasks_max: int, wait_ms: int
    ) -> list[LockedTask]:
        """Locks tasks, waiting up to `wait_ms` for the first.

        Raises: Overloaded when too many polls wait already; BadRequest.
        """
        deadline = trio.current_time() + wait_ms / 1000
        names = {fetch.topic for fetch in topics}
        while True:
            event = trio.Event()
            for name in names:
                self._listeners.setdefault(name, set()).add(event)
            try:
                locked, unlock_ms = await self._look(worker_id, topics, tasks_max)
                if locked or self._stopped or trio.current_time() >= deadline:
                    return locked
                await self._sleep(event, deadline, unlock_ms)
            finally:
                self._forget(names, event)

    async def _sleep(self, event: trio.Event, deadline: float, unlock_ms: int | None) -> None:
        if self._asleep >= ASLEEP_MAX:
            raise Overloaded(
                "At the moment the server has to handle too many requests at the same time. "
                "Please try again later."
            )
        if unlock_ms is not None:
            unlocks_in_s = max(0, unlock_ms - self._clock()) / 1000
            deadline = min(deadline, trio.current_time() + unlocks_in_s)
        self._asleep += 1
        try:
            with trio.move_on_at(deadline):
                await event.wait()
        finally:
            self._asleep -= 1

    def _forget(self, names: Iterable[str], event: trio.Event) -> None:
        for name in names:
            listeners = self._listeners[name]
            listeners.discard(event)
            if not listeners:
                del self._listeners[name]

    async def _look(
        self, worker_id: str, topics: Sequence[TopicFetch], tasks_max: int
    ) -> tuple[list[LockedTask], int | None]:
        def look(now_ms: int) -> tuple[list[LockedTask], int | None]:
            locked = self._engine.fetch_and_lock(
                worker_id, topics, tasks_max=tasks_max, now_ms=now_ms
            )
            return locked, None if locked else self._engine.next_unlock_ms(topics, now_ms)

        with trio.CancelScope(shield=True):
            locked, unlock_ms = await self._committer.submit(look)
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await self._give_back(locked)
            raise
        return locked, unlock_ms

    async def _give_back(self, locked: Sequence[LockedTask]) -> None:
        def unlock(_now_ms: int) -> None:
            for entry in locked:
                with suppress(UnknownTask):
                    if self._engine.task(entry.task.id) == entry.task:  # else it has moved on
                        self._engine.unlock(entry.task.id)

        if locked:
            await self._committer.submit(unlock)
