"""How a node of a world asks its engines for work: as the node's driver does, on `leases.lanes`.

A poll waits no longer than this member has claimed, and is never cancelled. An engine that does not
answer is asked again with growing pauses, and after some of them this member says that it cannot
reach it.
"""

from gossamer_mesh.leases.lanes import Lanes
from gossamer_mesh.testing.world_electing import engine_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gossamer_mesh.leases.claimer import Claimer
    from gossamer_mesh.leases.lanes import Poll
    from gossamer_mesh.testing.world_engine import Jobs
    from gossamer_mesh.testing.world_process import Process

WAIT_MS_MIN = 250
WAIT_MS_MAX = 10_000
FAILURES_BEFORE_UNREACHABLE = 3
PAUSE_MS_MAX = 5_000


class Claiming:
    """The polls of one process."""

    def __init__(self, process: "Process") -> None:
        self._process = process
        self._lanes: dict[str, Lanes] = {}
        self._looks_ms: dict[str, int] = {}
        self._elected_ms: dict[str, int] = {}
        self._failures: dict[str, int] = {}

    def poll(self) -> None:
        """Starts the polls that there is credit for."""
        now_ms = self._process.now_ms()
        for group in sorted(self._process.claimers):
            claimer = self._process.claimers[group]
            lanes = self._lanes.get(group)
            if lanes is None:
                takes_groups = self._process.world.engines[engine_of(group)].takes_groups
                lanes = self._lanes[group] = Lanes(None if takes_groups else 1, WAIT_MS_MAX)
            lanes.rest()
            if not claimer.elected:
                self._elected_ms.pop(group, None)
                continue
            self._elected_ms.setdefault(group, now_ms)
            credit = claimer.credit()
            if credit > lanes.promised():
                credits = {one.name: claimer.credit(one.name) for one in claimer.topics()}
                for poll in lanes.plan(credits, credit, claimer.open_jobs(), now_ms):
                    self._run_poll(claimer, lanes, poll)
                self._look_later(group, lanes.next_look_ms())

    def _look_later(self, group: str, look_ms: "int | None") -> None:
        """Wakes the process in time, once for each time that is due."""
        if look_ms is not None and look_ms != self._looks_ms.get(group):
            self._looks_ms[group] = look_ms
            self._process.after(max(0, look_ms - self._process.now_ms()), lambda: None)

    def _run_poll(self, claimer: "Claimer", lanes: Lanes, poll: "Poll") -> None:
        process = self._process
        name = engine_of(claimer.group)
        asked_ms = process.now_ms()
        elected_for_ms = asked_ms - self._elected_ms[claimer.group]
        wait_ms = min(poll.wait_ms, max(WAIT_MS_MIN, elected_for_ms))

        def answer(jobs: "Jobs | None") -> None:
            if jobs is None:
                process.after(self._pause_ms(name), lambda: lanes.end(poll, None))
                return
            self._failures.pop(name, None)
            process.set_reachable(name, True)
            brought: dict[str, int] = {}
            for job in jobs:
                brought[job.topic] = brought.get(job.topic, 0) + 1
            process.work.take_jobs(claimer, jobs, asked_ms)
            lanes.end(poll, brought)

        process.world.engines[name].poll(
            list(poll.topics),
            poll.jobs_max,
            wait_ms,
            process,
            lambda jobs: process.post(lambda: answer(jobs)),
        )

    def _pause_ms(self, name: str) -> int:
        """After one more poll without an answer."""
        failures = self._failures.get(name, 0) + 1
        self._failures[name] = failures
        if failures == FAILURES_BEFORE_UNREACHABLE:
            self._process.set_reachable(name, False)
        pause_ms: int = min(PAUSE_MS_MAX, 100 * 2 ** min(failures, 10))
        return pause_ms
