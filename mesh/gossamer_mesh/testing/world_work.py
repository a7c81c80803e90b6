"""The work of a process in a world: workers that take their time, and calls to engines.

A worker completes its job most of the time, fails it now and then, may ask for another lock,
and may kill its whole process. Its outcome names the lease that it worked under, so that one that
is reported for another lease is seen.
"""

from gossamer_mesh.leases.holder import Acknowledged, Cancel, Run
from gossamer_mesh.leases.lease_id import in_order
from gossamer_mesh.leases.work import RECLAIMED, Extend, Release, Report
from gossamer_mesh.testing.lease_checks import name_of
from gossamer_mesh.testing.lease_engine import COMPLETED, EXTENDED, FAILED
from gossamer_mesh.testing.world_electing import engine_of
from gossamer_mesh.testing.world_engine import worker_id_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gossamer_mesh.leases.claimer import Claimer
    from gossamer_mesh.leases.messages import LeaseId
    from gossamer_mesh.leases.reclaiming import Look
    from gossamer_mesh.leases.work import EngineWork
    from gossamer_mesh.testing.world_engine import Jobs
    from gossamer_mesh.testing.world_process import Process


class Work:
    """What one process works on.

    Attributes:
        running: bytes of payload by lease.
    """

    def __init__(self, process: "Process") -> None:
        self._process = process
        self._world = process.world
        self.running: dict[LeaseId, int] = {}

    def hand_back(self) -> None:
        """What still runs goes back to its claimers."""
        for lease in in_order(self.running):
            self._process.holder.hand_back(lease)
        self.running = {}

    def start(self) -> bool:
        """Starts what the machines ask for. Returns whether there was anything."""
        started = False
        for group in sorted(self._process.claimers):
            for work in self._process.claimers[group].events():
                started = True
                self._call_engine(self._process.claimers[group], work)
            for look in self._process.claimers[group].looks():
                self._look(self._process.claimers[group], look)
        for event in self._process.holder.events():
            started = True
            lease = event.lease
            if isinstance(event, Run):
                self._run_job(event)
            elif isinstance(event, Cancel):
                self._world.note(f"n{self._process.node.number} cancels {lease!r}: {event.reason}")
                self._world.count("cancelled")
                self.running.pop(lease, None)
            elif isinstance(event, Acknowledged):
                self._world.note(f"n{self._process.node.number} is told {lease!r}: {event.result}")
                self._world.count(f"told {event.result}")
                if event.result == COMPLETED:
                    self._world.check_told(lease)
        return started

    def _run_job(self, run: Run) -> None:
        world, rng, lease = self._world, self._world.rng, run.lease
        self._process.checks.check_run(lease)
        world.note(f"n{self._process.node.number} runs {lease!r}")
        world.count("runs")
        world.note_run(lease)
        self.running[lease] = len(run.payload)
        if world.poison.get(lease.key, 0) > 0:
            world.poison[lease.key] -= 1
            world.count("poisoned")
            self._process.after(1 + rng.below(500), lambda: self._die(lease))
        run_ms = 5 + rng.below(800)
        if rng.below(100) < world.plan.slow_percent:
            slow_ms = world.plan.slow_ms
            run_ms = 1_000 + rng.below(slow_ms[rng.below(len(slow_ms))])
        if rng.below(10) == 0:
            self._process.holder.prolong(lease, (0, 5_000, 60_000)[rng.below(3)])
        self._process.after(run_ms, lambda: self._finish(lease))

    def _die(self, lease: "LeaseId") -> None:
        """Killed by its job."""
        if self._world.is_troubled:
            if lease in self.running:
                self._world.kills.note_kill(lease, self._process.node)
            self._process.node.crash()
            away_ms = self._world.plan.poisoned_ms_min + self._world.rng.below(8_000)
            self._world.after(away_ms, self._process.node.start_if_down)

    def _finish(self, lease: "LeaseId") -> None:
        if lease in self.running:
            del self.running[lease]
            verb = COMPLETED if self._world.rng.below(10) else FAILED
            self._world.note(f"n{self._process.node.number} has {verb} {lease!r}")
            self._process.holder.finish(
                lease, f"{verb}|{name_of(lease)}".encode(), self._process.now_ms()
            )

    def take_jobs(self, claimer: "Claimer", jobs: "Jobs", asked_ms: int) -> None:
        """Jobs that a poll brought; their locks began after the poll did."""
        engine = self._world.engines[engine_of(claimer.group)]
        now_ms = self._process.now_ms()
        for job in jobs:
            claimer.handle_activated(
                job.key,
                job.topic,
                engine.lock_ms,
                max(asked_ms, now_ms - 1_000) + engine.lock_ms,
                f"{job.key}|{self._process.worker_id}".encode(),
                b"x" * (50 + self._world.rng.below(600)),
                now_ms,
            )

    def _look(self, claimer: "Claimer", look: "Look") -> None:
        """What is locked for a process that is gone? Only Camunda 7 can tell."""
        engine = self._world.engines[engine_of(claimer.group)]
        if not engine.tells_locked:
            claimer.handle_cannot_tell(look)
            return
        worker_id = worker_id_of(int(look.claimer, 16), look.session)

        def answer(jobs: "Jobs | None") -> None:
            locked = None
            if jobs is not None:
                locked = [(job.key, job.topic, f"{job.key}|{worker_id}".encode()) for job in jobs]
            claimer.handle_locked(look, locked, self._process.now_ms())

        engine.locked_by(worker_id, lambda jobs: self._process.post(lambda: answer(jobs)))

    def _call_engine(self, claimer: "Claimer", work: "EngineWork") -> None:
        self._process.checks.check_call(work)
        if isinstance(work, Report):
            if (
                work.lease.claimer != self._process.node.id
                or work.lease.session != self._process.session
            ):
                self._world.count("adopted")
            if work.outcome is None:
                self._world.count("given up")

        if isinstance(work, Release) and work.reason == RECLAIMED:
            self._world.check_reclaimed(work.lease)

        def answer(word: "str | None") -> None:
            if word is not None:
                self._process.checks.note_answered(work)
            if isinstance(work, Extend):
                ours = None if word is None else word == EXTENDED
                claimer.handle_extended(work, ours, self._process.now_ms())
                return
            claimer.handle_settled(work, word, self._process.now_ms())

        engine = self._world.engines[engine_of(claimer.group)]
        engine.call(work, self._process, lambda word: self._process.post(lambda: answer(word)))
