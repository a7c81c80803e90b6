"""Rule 1 of the port, once for all adapters: a long poll runs to its end, whoever goes away.

On both Camundas a poll whose connection is cut still locks the next job, for nobody, for its
whole lock time. So the request is shielded; a caller that was cancelled meanwhile waits for the
rest of the poll, and what it brought is released before the cancellation goes on.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio

from gossamer_node.engines.port import Settlement
from gossamer_node.errors import EngineError, EngineUnavailable
from gossamer_node.jobs import Job, JobRef

POLL_GRACE_MS = 10_000
"""How long past its own end a poll may stay unanswered before it counts as broken."""

_Poll = Callable[[], Awaitable[list[Job]]]
_Release = Callable[[JobRef], Awaitable[Settlement]]


class Polls:
    """The open polls of one engine, at most `polls_max` at a time; more wait their turn."""

    def __init__(self, peer: str, polls_max: int) -> None:
        self._peer = peer
        self._limiter = trio.CapacityLimiter(polls_max)
        self._open = 0
        self._closing = False
        self._ended = trio.Event()

    async def run(self, poll: _Poll, release: _Release) -> list[Job]:
        """Runs `poll` to its end and returns its jobs, or releases them if we were cancelled."""
        self._open += 1
        try:
            async with self._limiter:
                if self._closing:
                    raise EngineUnavailable(f"{self._peer} was closed; open it again to ask it.")
                with trio.CancelScope(shield=True):
                    jobs = await poll()
                try:
                    await trio.lowlevel.checkpoint_if_cancelled()
                except trio.Cancelled:
                    with trio.CancelScope(shield=True):
                        await _release_all(jobs, release)
                    raise
                return jobs
        finally:
            self._open -= 1
            if self._closing and not self._open:
                self._ended.set()

    async def drain(self) -> None:
        """Lets no new poll begin and waits, shielded, for the end of the open ones."""
        self._closing = True
        if self._open:
            with trio.CancelScope(shield=True):
                await self._ended.wait()


async def _release_all(jobs: list[Job], release: _Release) -> None:
    async def one(job: Job) -> None:
        with suppress(EngineError):  # Then its lock ends by itself.
            await release(job.ref)

    async with trio.open_nursery() as nursery:
        for job in jobs:
            nursery.start_soon(one, job)
