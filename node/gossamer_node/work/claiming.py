"""How a claimer asks its engine for work: lanes of long polls, paid for with credits.

An engine that takes a whole group of topics in one call (Camunda 7) has one lane; one that takes a
single topic a call (Camunda 8) has a lane for each. Rules:

1. A poll is never larger than the credits that no other poll has been promised, so all polls
   together never ask for more than the holders offered.
2. A lane's window starts at one and doubles while polls come back full; an empty poll closes it to
   one again. So an idle topic ties up one credit, and a busy one gets the rest in a few polls.
3. A poll is never cancelled half way: a lane is told to stop, and ends when its poll has.
4. A poll waits no longer than this member has claimed: while a mesh starts, and the claim passes
   from node to node, nobody is left with a long poll that brings jobs which another should have.
5. An engine that does not answer is asked again with growing pauses, up to `PAUSE_MS_MAX`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import trio

from gossamer_mesh.leases.claimer import Claimer
from gossamer_mesh.leases.messages import TopicTerms
from gossamer_node import logs
from gossamer_node.engines.port import WAIT_MS_MAX, Engine, TopicRequest
from gossamer_node.errors import EngineError, EngineUnavailable
from gossamer_node.jobs import Job

log = logs.get("claiming")

PAUSE_MS_MAX = 5_000
"""Longest pause between two calls to an engine that does not answer."""

JOBS_PER_POLL_MAX = 256
"""More in one answer only delays the first of them; both Camundas answer this many in well under
a second."""

WAIT_MS_MIN = 250
"""The first poll of a new claimer."""

FAILURES_BEFORE_UNREACHABLE = 3
"""Failed polls in a row before this member says that it cannot reach the engine, so that another
claims. One may be a restart of the engine; three pauses are more than half a second."""


class Lane:
    """Polls for one list of topics, one poll at a time."""

    def __init__(self) -> None:
        self.window_jobs = 1
        self.promised_jobs = 0
        self.stopped = False

    def note_poll(self, asked_jobs: int, brought_jobs: int) -> None:
        """Adapts the window to what a poll brought (rule 2)."""
        if brought_jobs == 0:
            self.window_jobs = 1
        elif brought_jobs >= asked_jobs:
            self.window_jobs = min(JOBS_PER_POLL_MAX, max(self.window_jobs, asked_jobs) * 2)


@dataclass(slots=True)
class ClaimCounts:
    """What a claim loop did, for the status."""

    polls: int = 0
    jobs: int = 0
    failures: int = 0


class ClaimLoop:
    """Keeps one claimer supplied from one engine.

    Args:
        engine: whom to ask.
        claimer: whose credits to spend.
        worker_id: under which the engine locks the jobs.
        take: gets the jobs of a poll, with the poll's start in trio's milliseconds.
        set_reachable: is told when the engine stops answering, and when it answers again.
    """

    def __init__(
        self,
        engine: Engine,
        claimer: Claimer,
        worker_id: str,
        take: Callable[[list[Job], int], None],
        set_reachable: Callable[[bool], None],
    ) -> None:
        self._engine = engine
        self._claimer = claimer
        self._worker_id = worker_id
        self._take = take
        self._set_reachable = set_reachable
        self._lanes: dict[str, Lane] = {}
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

    def polls_open(self) -> int:
        """Polls under way; each may still bring jobs."""
        return sum(1 for one in self._lanes.values() if one.promised_jobs)

    async def run(self) -> None:
        """Runs lanes for the topics that the mesh serves, until `stop`."""
        async with trio.open_nursery() as nursery:
            while not self._stopping:
                changed = self._changed
                wanted = self._wanted_lanes()
                for name in wanted:
                    if name not in self._lanes:
                        self._lanes[name] = Lane()
                        nursery.start_soon(self._run_lane, name, self._lanes[name])
                for name, lane in self._lanes.items():
                    lane.stopped = name not in wanted
                await changed.wait()

    def _wanted_lanes(self) -> list[str]:
        """Lanes by name: the topic, or the empty name for the whole group."""
        if not self._claimer.elected:
            self._elected_ms = None
            return []
        if self._elected_ms is None:
            self._elected_ms = now_ms()
        topics = self._claimer.topics()
        if not topics:
            return []
        if self._engine.topics_per_activation_max is None:
            return [""]
        return [one.name for one in topics]

    async def _run_lane(self, name: str, lane: Lane) -> None:
        while not (lane.stopped or self._stopping):
            changed = self._changed
            topics = self._topics_of(name)
            jobs_max = self._room(name, lane)
            if not topics or jobs_max == 0:
                await changed.wait()
                continue
            lane.promised_jobs = jobs_max
            try:
                brought = await self._poll(topics, jobs_max)
            finally:
                lane.promised_jobs = 0
            if brought is not None:
                lane.note_poll(jobs_max, brought)
        del self._lanes[name]
        # The topic may have come back while the last poll ran.
        self.wake()

    def _topics_of(self, name: str) -> list[TopicTerms]:
        return [
            one
            for one in self._claimer.topics()
            if (name in ("", one.name)) and self._claimer.credit(one.name)
        ]

    def _room(self, name: str, lane: Lane) -> int:
        """How many jobs this lane may ask for now (rules 1 and 2)."""
        promised = sum(one.promised_jobs for one in self._lanes.values())
        credit = min(self._claimer.credit() - promised, self._claimer.credit(name or None))
        window_jobs = JOBS_PER_POLL_MAX if name == "" else lane.window_jobs
        return max(0, min(credit, window_jobs))

    async def _poll(self, topics: list[TopicTerms], jobs_max: int) -> int | None:
        """One long poll. Returns how many jobs it brought, None when the engine did not answer."""
        requests = [
            TopicRequest(
                one.name, one.lock_ms, None if one.variables is None else tuple(one.variables)
            )
            for one in topics
        ]
        started_ms = now_ms()
        elected_for_ms = 0 if self._elected_ms is None else started_ms - self._elected_ms
        wait_ms = min(WAIT_MS_MAX, max(WAIT_MS_MIN, elected_for_ms))
        self.counts.polls += 1
        try:
            jobs = await self._engine.activate(
                requests, jobs_max=jobs_max, wait_ms=wait_ms, worker_id=self._worker_id
            )
        except EngineError as error:
            await self._pause(error)
            return None
        self._failed_polls = 0
        self._set_reachable(True)
        self.counts.jobs += len(jobs)
        if jobs:
            self._take(jobs, started_ms)
        return len(jobs)

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
        with trio.move_on_after(pause_ms / 1_000):
            while not self._stopping:
                await self._changed.wait()


def now_ms() -> int:
    """Trio's clock in whole milliseconds: what the cores take as `now_ms`."""
    return math.floor(trio.current_time() * 1_000)
