"""The engines of a world: their jobs behind a network, as claimers meet them.

A call takes its time, and may be lost before or after the engine has acted, so its caller may never
know. A long poll waits at the engine until there is a job; whoever asked may be gone by then, and
the job stays locked for nobody until the lock ends. What locks and outcomes mean is `lease_engine`.
"""

from gossamer_mesh.leases.work import Extend, Release, Report
from gossamer_mesh.testing.lease_engine import COMPLETED, EXTENDED, FAILED, RELEASED, EngineModel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gossamer_mesh.leases.work import EngineWork
    from gossamer_mesh.testing.lease_engine import EngineJob
    from gossamer_mesh.testing.world import World
    from gossamer_mesh.testing.world_process import Process

    Jobs = list[EngineJob]
    Asker = tuple[Process, str, int]
    """A claimer of a process, by its group, and an activation in its table."""

LOOK_MS = 200
"""How often a waiting poll looks for a job."""


class WorldEngine:
    """One engine.

    Args:
        name: as members announce it.
        checks_worker_id: Camunda 7, which also takes a whole group of topics in one poll. Otherwise
            Camunda 8: nothing is checked, and a poll is for one topic.
        topics: that its jobs have.
        lock_ms: of every activation.

    Attributes:
        releasing: jobs that are being given back, by calls that have not arrived yet.
    """

    def __init__(
        self, world: "World", name: str, checks_worker_id: bool, topics: "list[str]", lock_ms: int
    ) -> None:
        self.name = name
        self.topics = topics
        self.takes_groups = checks_worker_id
        # A process has one worker id here, so an engine in parts cannot tell whose a lock is.
        self.tells_locked = checks_worker_id and not world.plan.has_parts()
        self.lock_ms = lock_ms
        self.model = EngineModel(checks_worker_id, 1_000)
        self.down_until_ms = 0
        self.releasing: set[str] = set()
        self._freed_by: dict[str, Asker | None] = {}
        self._world = world

    def is_down(self) -> bool:
        """Whether nothing reaches it."""
        return self._world.clock.now_ms < self.down_until_ms

    def probe(self, answer: "Callable[[bool], None]") -> None:
        """Asks who it is; False: no answer."""
        self._world.after(self._way_ms(), lambda: answer(not self.is_down()))

    def poll(
        self,
        topics: "list[str]",
        jobs_max: int,
        wait_ms: int,
        process: "Process",
        answer: "Callable[[Jobs | None], None]",
    ) -> None:
        """A long poll. `answer` gets the jobs, locked; None when the engine did not answer."""
        world = self._world

        def reply(jobs: "Jobs | None") -> None:
            world.after(self._way_ms(), lambda: answer(jobs))

        def look(end_ms: int) -> None:
            now_ms = world.clock.now_ms
            if self.is_down():
                reply(None)
                return
            if process.is_over and world.plan.forgets_dead:
                return
            worker_id = process.worker_id
            jobs = self.model.activate(set(topics), jobs_max, self.lock_ms, worker_id, now_ms)
            for job in jobs:
                world.kills.note_locked(job.key)
                world.note(f"{self.name} locks {job.key} for {worker_id}")
            if jobs or now_ms >= end_ms:
                reply(jobs)
            else:
                world.after(LOOK_MS, lambda: look(end_ms))

        way_ms = self._way_ms()
        world.after(way_ms, lambda: look(world.clock.now_ms + wait_ms))

    def call(
        self, work: "EngineWork", process: "Process", answer: "Callable[[str | None], None]"
    ) -> None:
        """Does what a claimer asks; `answer` gets the word, None where nobody knows."""
        world = self._world
        luck = world.rng.below(100) if world.is_troubled else 100

        if isinstance(work, Release):
            self.releasing.add(work.lease.key)

        def act() -> None:
            self.releasing.discard(work.lease.key)
            result = None
            if luck >= 3 and not self.is_down():
                free_at_ms = self.model.jobs[work.lease.key].free_at_ms
                result = self.model.call(work, world.clock.now_ms)
                self._check(work, result)
                if isinstance(work, Extend):
                    self._check_order(work, process, free_at_ms)
            heard = None if luck < 6 else result
            if not isinstance(work, Extend):
                # Who has not heard that it gave a job back asks once more.
                is_heard = heard in (FAILED, RELEASED)
                self._freed_by[work.lease.key] = _asker(process, work) if is_heard else None
            kind = type(work).__name__
            world.note(f"{self.name} {kind} {work.lease!r}: {result}, heard {heard}")
            world.after(self._way_ms(), lambda: answer(heard))

        slow = world.rng.below(100) < 5 and world.is_troubled
        world.after(3_000 if slow else self._way_ms(), act)

    def locked_by(self, worker_id: str, answer: "Callable[[Jobs | None], None]") -> None:
        """What a worker id has locked; None: the engine did not answer."""
        world = self._world

        def look() -> None:
            jobs = None
            if not self.is_down():
                jobs = self.model.locked_by(worker_id, world.clock.now_ms)
            world.after(self._way_ms(), lambda: answer(jobs))

        world.after(self._way_ms(), look)

    def left(self) -> "list[str]":
        """Jobs that nobody has done yet."""
        return [repr(job) for _, job in sorted(self.model.jobs.items()) if not job.done]

    def _check(self, work: "EngineWork", result: str) -> None:
        world = self._world
        if isinstance(work, Report):
            world.count(f"reported {result}")
            if result == FAILED:
                world.kills.note_failed(work.lease.key)
            job = self.model.jobs[work.lease.key]
            if job.completed > 1:
                world.broken(f"{work.lease!r} completes {job.key} a second time")
            if result == COMPLETED:
                world.check_effect(work)
        elif isinstance(work, Extend) and result != EXTENDED:
            world.count("locks lost")
        elif result == RELEASED:
            world.kills.note_freed(work.lease.key)

    def _check_order(self, work: "EngineWork", process: "Process", free_at_ms: int) -> None:
        """A renewal locks for nobody what it finds given back: no claimer may do that to itself,
        unless it has the job anew.

        It cannot know of what another has sent that had the lease before it: then a job waits for
        its lock. Where locks outlast the world, it is taken off again.

        Args:
            free_at_ms: until when the job was not to be had, before this call.
        """
        job = self.model.jobs[work.lease.key]
        freed_by = self._freed_by.get(job.key)
        if job.locked_ms is not None or job.free_at_ms <= free_at_ms or freed_by is None:
            return
        if freed_by == _asker(process, work):
            self._world.broken(f"{job!r} was given back, then renewed, by one claimer")
        self._world.count("late renewals")
        if self.lock_ms > self._world.plan.quiet_ms_max:
            job.free_at_ms = free_at_ms

    def _way_ms(self) -> int:
        return 1 + self._world.rng.below(40)


def _asker(process: "Process", work: "EngineWork") -> "Asker":
    return (process, work.lease.group, work.activation)


def worker_id_of(number: int, session: int) -> str:
    """Under which a process of a member locks jobs."""
    return f"g-{number}-{session}"
