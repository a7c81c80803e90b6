"""How a node of a world asks its engines for work: the lanes of long polls of the node's driver.

An engine that takes a whole group of topics has one lane, another has one for each topic; a lane
has one poll under way, and they take turns. All polls together never ask for more than the holders
offered. A poll waits no longer than this member has claimed, and is never cancelled. An engine that
does not answer is asked again with growing pauses, and after some of them this member says that it
cannot reach it.
"""

from gossamer_mesh.testing.world_electing import engine_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gossamer_mesh.leases.claimer import Claimer
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
        self._promised: dict[tuple[str, str], int] = {}
        self._polled: dict[tuple[str, str], int] = {}
        self._polls = 0
        self._window: dict[tuple[str, str], int] = {}
        self._elected_ms: dict[str, int] = {}
        self._failures: dict[str, int] = {}

    def poll(self) -> None:
        """Starts the polls that there is credit for."""
        process = self._process
        for group in sorted(process.claimers):
            claimer = process.claimers[group]
            if not claimer.elected:
                self._elected_ms.pop(group, None)
                continue
            self._elected_ms.setdefault(group, process.now_ms())
            if claimer.credit() > self._promised_by(group):
                self._poll_group(claimer)

    def _promised_by(self, group: str) -> int:
        return sum(self._promised[lane] for lane in self._promised if lane[0] == group)

    def _poll_group(self, claimer: "Claimer") -> None:
        engine = self._process.world.engines[engine_of(claimer.group)]
        served = [one.name for one in claimer.topics()]
        lanes = [(claimer.group, name) for name in ([""] if engine.takes_groups else served)]
        free_lanes = [lane for lane in lanes if lane not in self._promised]
        # Who waited longest is first, or with few slots a topic would never have its turn.
        for _, lane in sorted([(self._polled.get(lane, 0), lane) for lane in free_lanes]):
            name = lane[1]
            topics = [one for one in served if name in ("", one) and claimer.credit(one)]
            free = claimer.credit() - self._promised_by(claimer.group)
            jobs_max = min(free, claimer.credit(name or None))
            if name:
                jobs_max = min(jobs_max, self._window.get(lane, 1))
            if topics and jobs_max > 0:
                self._poll_lane(claimer, lane, topics, jobs_max)

    def _poll_lane(
        self, claimer: "Claimer", lane: "tuple[str, str]", topics: "list[str]", jobs_max: int
    ) -> None:
        process = self._process
        group = claimer.group
        name = engine_of(group)
        asked_ms = process.now_ms()
        wait_ms = min(WAIT_MS_MAX, max(WAIT_MS_MIN, asked_ms - self._elected_ms[group]))
        self._promised[lane] = jobs_max
        self._polls += 1
        self._polled[lane] = self._polls

        def answer(jobs: "Jobs | None") -> None:
            if jobs is None:
                self._pause(name, lane)
                return
            del self._promised[lane]
            self._failures.pop(name, None)
            process.set_reachable(name, True)
            if not jobs:
                self._window[lane] = 1
            elif len(jobs) >= jobs_max:
                self._window[lane] = jobs_max * 2
            process.work.take_jobs(claimer, jobs, asked_ms)

        engine = process.world.engines[name]
        engine.poll(
            topics, jobs_max, wait_ms, process, lambda jobs: process.post(lambda: answer(jobs))
        )

    def _pause(self, name: str, lane: "tuple[str, str]") -> None:
        """The lane stays taken until the pause is over."""
        failures = self._failures.get(name, 0) + 1
        self._failures[name] = failures
        if failures == FAILURES_BEFORE_UNREACHABLE:
            self._process.set_reachable(name, False)
        self._promised[lane] = 0
        pause_ms = min(PAUSE_MS_MAX, 100 * 2 ** min(failures, 10))
        self._process.after(pause_ms, lambda: self._end_pause(lane))

    def _end_pause(self, lane: "tuple[str, str]") -> None:
        del self._promised[lane]
