"""Long polls: a worker waits for jobs of its queues, and gets them when some are free.

A poll looks at once; where nothing is free it waits. Of those that wait for the same queues one
alone is woken by what becomes free, looks, and then the next: so a thousand idle workers of one
action cost a commit no more than one does. They take turns in the order in which they came.

A poll whose client went away locks nothing: what was locked for it in that very moment is freed
again. A lock that runs out frees its job by itself.
"""

import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

import trio

from gossamer_gateway.errors import Overloaded
from gossamer_gateway.runs.engine import Engine
from gossamer_gateway.runs.jobs.asked import Asked
from gossamer_gateway.runs.store import Job

WAITING_MAX = 10_000
"""Polls that may wait at once: each is an open connection, and the door bounds a client's."""


def is_of_provider(queue: str) -> bool:
    """Whether a queue has calls of a cloud's functions, which are no worker's."""
    return queue.startswith("provider:")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Polls:
    """All fetches of a gateway, waiting or not.

    Attributes:
        waiting: how many wait.
        fetched: jobs handed out since the start.
    """

    def __init__(self, engine: Engine, asked: Asked, clock: Callable[[], int] = _now_ms) -> None:
        self.waiting = 0
        self.fetched = 0
        self._engine = engine
        self._asked = asked
        self._clock = clock
        self._turns: dict[frozenset[str], tuple[trio.Lock, list[None]]] = {}
        self._scopes: set[trio.CancelScope] = set()
        self._stopped = False

    def stop(self) -> None:
        """Answers all waiting polls, and those to come, at once."""
        self._stopped = True
        for scope in self._scopes:
            scope.cancel()

    async def fetch(
        self, worker: str, queues: Iterable[str], *, jobs_max: int, lock_ms: int, wait_ms: int
    ) -> list[Job]:
        """Locks jobs, waiting up to `wait_ms` for the first.

        Raises: Overloaded when too many polls wait already.
        """
        deadline = trio.current_time() + wait_ms / 1_000
        wanted = sorted(set(queues))
        due = self._asked.note(wanted, self._clock())
        if due:
            await self._asked.write(due)
        jobs = await self._look(worker, wanted, jobs_max, lock_ms)
        if jobs or wait_ms <= 0 or self._stopped:
            return jobs
        if self.waiting >= WAITING_MAX:
            raise Overloaded(f"{WAITING_MAX} requests wait for jobs already; try again later")
        self.waiting += 1
        try:
            return await self._wait(worker, wanted, jobs_max, lock_ms, deadline)
        finally:
            self.waiting -= 1

    async def _wait(
        self, worker: str, queues: Sequence[str], jobs_max: int, lock_ms: int, deadline: float
    ) -> list[Job]:
        async with self._turn(queues, deadline) as has_turn:
            # Having one's turn late, one looks first: more may be free than the one before took.
            while has_turn and not self._stopped:
                jobs = await self._look(worker, queues, jobs_max, lock_ms)
                if jobs or trio.current_time() >= deadline:
                    return jobs
                with self._until(deadline):
                    await self._engine.wait_free(queues, deadline)
        return []

    @asynccontextmanager
    async def _turn(self, queues: Sequence[str], deadline: float) -> AsyncIterator[bool]:
        key = frozenset(queues)
        lock, users = self._turns.setdefault(key, (trio.Lock(), []))
        users.append(None)
        has_turn = False
        try:
            with self._until(deadline):
                await lock.acquire()
                has_turn = True
            yield has_turn
        finally:
            if has_turn:
                lock.release()
            users.pop()
            if not users:
                del self._turns[key]

    @contextmanager
    def _until(self, deadline: float) -> Iterator[None]:
        """A block that ends at a deadline, or when all polls are to end."""
        with trio.CancelScope(deadline=deadline) as scope:
            self._scopes.add(scope)
            try:
                yield
            finally:
                self._scopes.discard(scope)

    async def _look(
        self, worker: str, queues: Sequence[str], jobs_max: int, lock_ms: int
    ) -> list[Job]:
        with trio.CancelScope(shield=True):
            jobs = await self._engine.fetch(queues, worker, jobs_max=jobs_max, lock_ms=lock_ms)
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
        except trio.Cancelled:
            await self._give_back(worker, jobs)
            raise
        self.fetched += len(jobs)
        return jobs

    async def _give_back(self, worker: str, jobs: Iterable[Job]) -> None:
        with trio.CancelScope(shield=True):
            for one in jobs:
                await self._engine.release(one.run, one.step, one.attempt, worker)
