"""How a claimer keeps itself supplied from its engine: long polls, paid for with credits.

`leases.lanes` says which polls to start; here they run. Where the engine can push, `pushing` keeps
streams beside them. Rules:

1. A poll is never cancelled half way: a loop that is told to stop ends when its polls have.
2. A poll waits no longer than this member has claimed: while a mesh starts, and the claim passes
   from node to node, nobody is left with a long poll that brings jobs which another should have.
3. An engine that does not answer is asked again with growing pauses, up to `PAUSE_MS_MAX`.
"""

import math
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import trio

from gossamer_mesh.leases.claimer import Claimer
from gossamer_mesh.leases.lanes import Lanes, Poll
from gossamer_mesh.leases.messages import TopicTerms
from gossamer_node import logs
from gossamer_node.engines.port import (
    WAIT_MS_MAX,
    Capability,
    Engine,
    StreamingEngine,
    TopicRequest,
)
from gossamer_node.errors import EngineError, EngineUnavailable
from gossamer_node.jobs import Job
from gossamer_node.work.pushing import Pushing

log = logs.get("claiming")

PAUSE_MS_MAX = 5_000
"""Longest pause between two calls to an engine that does not answer."""

FIRST_LOCK_MS = 9_000
"""Longest lock that a poll or a stream asks for where the engine cannot tell what it has locked
for a claimer that died (Camunda 8); the first renewal, a third of it later, asks for the service's.
What the engine gives to a dead claimer's poll comes back after this instead of the service's lock.
So does what it pushes on a stream whose claimer is gone with its machine, until that stream's
buffers are full: an engine that only hears nothing more notices late.

Half as much again as a death takes to be known: a claimer that dies leaves two thirds at least of a
lock that it had not renewed yet, and within these its heir must have renewed it, or a job that a
living node runs is run twice. 6 s cover what was measured (2.6 s with 5 nodes, 5.6 s for 99 % with
30). A third is 3 s: quick jobs end before it and cost no call more, others one."""

TRANSIT_MS = 1_000
"""How long a job is under way at most, as a rule. A short first lock is counted from so long before
a poll's answer, not from the start of a long poll, or it would be renewed at once; and from so long
before a pushed job was here. What takes longer is renewed later by as much, with 5 s to spare."""

EARLY_MS = 500
"""Pause after a poll that should have waited, and came back soon with nothing. Long polling may be
switched off (Zeebe has an option for that); such an engine would be asked without end."""

WAIT_MS_MIN = 250
"""The first poll of a new claimer."""

FAILURES_BEFORE_UNREACHABLE = 3
"""Failed polls in a row before this member says that it cannot reach the engine, so that another
claims. One may be a restart of the engine; three pauses are more than half a second."""


@dataclass(slots=True)
class ClaimCounts:
    """What a claim loop did, for the status."""

    polls: int = 0
    jobs: int = 0
    pushed: int = 0
    failures: int = 0


class ClaimLoop:
    """Keeps one claimer supplied from one engine.

    Args:
        engine: whom to ask.
        claimer: whose credits to spend.
        worker_id: under which the engine locks the jobs.
        take: gets jobs, with a time in trio's milliseconds before which none of them was locked.
        set_reachable: is told when the engine stops answering, and when it answers again.
        watch: around each poll, given how long it may wait.
        wanted: the variables to ask for, given those that a topic names; None for all.
    """

    def __init__(
        self,
        engine: Engine,
        claimer: Claimer,
        worker_id: str,
        take: Callable[[list[Job], int], None],
        set_reachable: Callable[[bool], None],
        watch: Callable[[int], AbstractContextManager[None]],
        wanted: Callable[[Sequence[str] | None], tuple[str, ...] | None],
    ) -> None:
        self._engine = engine
        self._claimer = claimer
        self._worker_id = worker_id
        self._take = take
        self._set_reachable = set_reachable
        self._tells = Capability.LIST_LOCKED in engine.capabilities
        self._watch = watch
        self._wanted = wanted
        self._lanes = Lanes(engine.topics_per_activation_max, WAIT_MS_MAX)
        self._pushing: Pushing | None = None
        if isinstance(engine, StreamingEngine):
            self._pushing = Pushing(engine, engine.name, worker_id, self._take_pushed, now_ms)
        self._failed_polls = 0
        self._elected_ms: int | None = None
        self._changed = trio.Event()
        self._stopping = False
        self.counts = ClaimCounts()

    def wake(self) -> None:
        """Credits, topics or the election may have changed."""
        self._changed.set()
        self._changed = trio.Event()

    def stop(self) -> None:
        """Starts no further poll; `run` returns when those under way have ended."""
        self._stopping = True
        self.wake()

    def streams_open(self) -> int:
        """Topics of which the engine pushes jobs."""
        return 0 if self._pushing is None else len(self._pushing.topics())

    def polls_open(self) -> int:
        """Polls under way; each may still bring jobs."""
        return self._lanes.polls_open()

    def is_hot(self) -> bool:
        """Whether the engine probably has more than the mesh has slots for."""
        return self._claimer.elected and self._lanes.is_hot()

    async def run(self) -> None:
        """Polls for the topics that the mesh serves, until `stop`."""
        async with trio.open_nursery() as nursery:
            while not self._stopping:
                changed = self._changed
                polls, streamed = self._plan()
                for poll in polls:
                    nursery.start_soon(self._run_poll, poll)
                looks_ms = [self._lanes.next_look_ms()]
                if self._pushing is not None:
                    for stream in self._pushing.turn_to(streamed):
                        nursery.start_soon(self._run_stream, stream)
                    looks_ms.append(self._pushing.next_look_ms())
                look_ms = min((one for one in looks_ms if one is not None), default=None)
                pause_s = math.inf if look_ms is None else max(0, look_ms - now_ms()) / 1_000
                with trio.move_on_after(pause_s):
                    await changed.wait()
            if self._pushing is not None:
                self._pushing.turn_to([])

    def _plan(self) -> tuple[list[Poll], list[TopicRequest]]:
        """The polls to start now, and the topics that a stream should be open for."""
        self._lanes.rest()
        if not self._claimer.elected:
            self._elected_ms = None
            return [], []
        if self._elected_ms is None:
            self._elected_ms = now_ms()
        credit = self._claimer.credit()
        if credit <= self._lanes.promised():
            return [], []  # as a rule, where there is much to do: this is asked at every change
        terms = self._claimer.topics()
        credits = {one.name: self._claimer.credit(one.name) for one in terms}
        open_jobs = self._claimer.open_jobs()
        polls = self._lanes.plan(credits, credit, open_jobs, now_ms())
        if credit <= self._lanes.promised():
            return polls, []
        slots = credit + sum(open_jobs.values())
        return polls, [
            self._request(one)
            for one in terms
            if credits[one.name] > 0
            and open_jobs.get(one.name, 0) * len(terms) <= slots
            and not self._lanes.is_crowded_by(one.name)
        ]

    async def _run_stream(self, stream: Callable[[], Awaitable[None]]) -> None:
        await stream()
        self.wake()

    def _take_pushed(self, jobs: list[Job]) -> None:
        self.counts.jobs += len(jobs)
        self.counts.pushed += len(jobs)
        self._take(jobs, now_ms() - TRANSIT_MS)

    async def _run_poll(self, poll: Poll) -> None:
        brought: Counter[str] | None = None
        try:
            brought = await self._poll(poll)
        finally:
            self._lanes.end(poll, brought)
        self.wake()

    async def _poll(self, poll: Poll) -> Counter[str] | None:
        """Returns how many jobs it brought, by topic; None when the engine did not answer."""
        requests = [self._request(one) for one in self._claimer.topics() if one.name in poll.topics]
        started_ms = now_ms()
        elected_for_ms = 0 if self._elected_ms is None else started_ms - self._elected_ms
        wait_ms = min(poll.wait_ms, max(WAIT_MS_MIN, elected_for_ms))
        self.counts.polls += 1
        try:
            with self._watch(wait_ms):
                jobs = await self._engine.activate(
                    requests, jobs_max=poll.jobs_max, wait_ms=wait_ms, worker_id=self._worker_id
                )
        except EngineError as error:
            await self._pause(error)
            return None
        self._failed_polls = 0
        self._set_reachable(True)
        self.counts.jobs += len(jobs)
        ended_ms = now_ms()
        is_early = ended_ms - started_ms < wait_ms // 2
        if not self._tells and ended_ms <= started_ms + wait_ms + TRANSIT_MS:
            started_ms = max(started_ms, ended_ms - TRANSIT_MS)
        if jobs:
            self._take(jobs, started_ms)
        elif is_early:
            await self._sleep(min(EARLY_MS, wait_ms))
        return Counter(one.ref.topic for one in jobs)

    def _request(self, terms: TopicTerms) -> TopicRequest:
        """What a poll and a stream of the topic ask for."""
        return TopicRequest(
            terms.name,
            terms.lock_ms if self._tells else min(terms.lock_ms, FIRST_LOCK_MS),
            self._wanted(terms.variables),
        )

    async def _pause(self, error: EngineError) -> None:
        self._failed_polls += 1
        self.counts.failures += 1
        pause_ms = min(PAUSE_MS_MAX, 100 * 2 ** min(self._failed_polls, 10))
        if isinstance(error, EngineUnavailable) and error.retry_after_ms:
            pause_ms = min(PAUSE_MS_MAX, max(pause_ms, error.retry_after_ms))
        if self._failed_polls in (1, FAILURES_BEFORE_UNREACHABLE):
            log.warning(str(error), engine=self._engine.name, failures=self._failed_polls)
        if self._failed_polls == FAILURES_BEFORE_UNREACHABLE:
            self._set_reachable(False)
        await self._sleep(pause_ms)

    async def _sleep(self, pause_ms: int) -> None:
        """Returns sooner when the loop is to stop."""
        with trio.move_on_after(pause_ms / 1_000):
            while not self._stopping:
                await self._changed.wait()


def now_ms() -> int:
    """Trio's clock in whole milliseconds: what the cores take as `now_ms`."""
    return math.floor(trio.current_time() * 1_000)


def worker_id(member_id: str, session: int, group: str) -> str:
    """Under which a member's process locks jobs for a group. Its heir works it out alike."""
    return f"gossamer-{member_id[:8]}-{session:x}-{group.rpartition('/')[2]}"
