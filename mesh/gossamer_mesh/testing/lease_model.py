"""A mesh of claimers and holders in virtual time, with everything that can go wrong.

One seed makes one run: members with claimers and holders, an engine with real engines' weak checks,
streams that break, datagrams that come twice or late, partitions, crashes and restarts, pauses of a
member that then acts on what it believed before, views of the membership that lag and disagree,
engine calls without an answer. After the trouble the mesh is left alone until every job is done.
`LeaseModel.run` raises `InvariantBroken`, with the seed in it, as soon as one of these fails:

1. Each report carries the outcome of the very lease that it names, and a claimer reports no lease
   of its own but the last that it granted for the job. (That only one completion of a job counts
   is then up to the engine.)
2. A claimer has no more grants on their way to a holder than the holder's newest offer said, and no
   holder offers what it does not have.
3. No holder runs or keeps more than its bounds.
4. One activation is granted three times at most, not counting grants that were given back.
5. No lease id is granted twice, and no holder runs one twice.
6. A claimer that has settled a lease never reports it again, nor calls it stale; nor does it give
   back a job again that the engine has taken back.
7. At the end every job is done, every claimer's table is empty, and no holder keeps anything.

Replay one seed, with every step in words: `python -m gossamer_mesh.testing.lease_model SEED`.
"""

import sys
from functools import partial
from heapq import heappop
from typing import TYPE_CHECKING

from gossamer_mesh.testing.lease_checks import InvariantBroken
from gossamer_mesh.testing.lease_mesh import NEWS_MS_MAX, LeaseMesh, Process

if TYPE_CHECKING:
    pass

CHAOS_MS = 30_000
"""How long things go wrong."""
QUIET_MS_MAX = 300_000
"""How long the mesh may take to finish after that: some lock cycles for each retry."""


class LeaseModel(LeaseMesh):
    """One run.

    Args:
        seed: decides everything.
        trace: takes each step in words; None for none.
    """

    replay = "gossamer_mesh.testing.lease_model"

    # --- the run

    def run(self) -> None:
        """Runs to the end. Raises InvariantBroken."""
        for member_id in self._member_ids:
            self._start(member_id, set(self._member_ids))
        self._plan()
        try:
            self._run_queue()
        except InvariantBroken as broken:
            raise InvariantBroken(
                f"seed {self.seed} at {self._now_ms} ms: {broken}; "
                f"replay: python -m {self.replay} {self.seed}"
            ) from None
        for process in self._processes.values():
            for claimer in process.claimers.values():
                self.counts.update(claimer.statistics())

    def _plan(self) -> None:
        """Says what is to happen, and when."""
        rng = self._rng
        self._luck_end_ms = CHAOS_MS
        topics = [topic for group in self._groups.values() for topic in group]
        for number in range(rng.randint(5, 25)):
            key = f"j{number}"
            topic = rng.choice(topics)
            retries = rng.choice([1, 3, 3])
            self._at(rng.randrange(CHAOS_MS), partial(self._engine.add, key, topic, retries))
            if rng.random() < 0.04:
                self._poison[key] = rng.choice([1, 5])
        for _ in range(rng.randint(0, 8)):
            trouble = rng.choice(
                [
                    self._crash_one,
                    self._crash_one,
                    self._pause_one,
                    self._pause_one,
                    self._partition,
                    self._break_streams,
                    self._break_streams,
                    self._stop_one,
                    self._doubt_one,
                    self._engine_outage,
                    self._cut_one,
                    self._cut_one,
                ]
            )
            self._at(rng.randrange(CHAOS_MS), trouble)
        self._at(CHAOS_MS + NEWS_MS_MAX, self._calm)

    def _run_queue(self) -> None:
        while self._now_ms < self._work_ms() or not self._is_quiet():
            if self._now_ms > self._last_ms():
                raise InvariantBroken(f"not quiet at the end: {self._leftovers()}")
            self._now_ms, _, action = heappop(self._queue)
            action()

    def _work_ms(self) -> int:
        """Until then there is something to come."""
        return CHAOS_MS

    def _last_ms(self) -> int:
        """When everything must have come to an end."""
        return CHAOS_MS + NEWS_MS_MAX + QUIET_MS_MAX

    def _is_quiet(self) -> bool:
        return (
            all(job.done for job in self._engine.jobs.values())
            and all(process.alive for process in self._processes.values())
            and not self._leftovers()
        )

    # --- trouble

    def _pick(self) -> Process | None:
        up = [one for _, one in sorted(self._processes.items()) if one.alive and not one.paused]
        return self._rng.choice(up) if up else None

    def _crash_one(self) -> None:
        process = self._pick()
        if process is not None:
            self._crash(process)

    def _crash(self, process: Process) -> None:
        if not process.alive:
            return
        self._say(f"{process.member_id} crashes")
        self.counts["crashes"] += 1
        process.alive = False
        self._cut_streams(process.member_id)
        self._spread(process.member_id, alive=False)
        member_id = process.member_id
        self._after(self._rng.randrange(100, 8_000), lambda: self._restart(member_id))

    def _pause_one(self) -> None:
        process = self._pick()
        if process is not None:
            self._say(f"{process.member_id} pauses")
            self.counts["pauses"] += 1
            process.paused = True
            if self._rng.random() < 0.5:
                self._spread(process.member_id, alive=False)
            self._after(self._rng.randrange(2_000, 20_000), lambda: self._resume(process))

    def _resume(self, process: Process) -> None:
        if not process.paused:
            return
        self._say(f"{process.member_id} goes on")
        process.paused = False
        self._spread(process.member_id, alive=True)
        if self._rng.random() < 0.5:
            self._drive(process)
        backlog, process.backlog = process.backlog, []
        for action in backlog:
            self._post(process, action)
        self._drive(process)

    def _partition(self) -> None:
        """Two sides; sometimes only one direction, or one pair, is cut."""
        self.counts["partitions"] += 1
        side = set(self._rng.sample(self._member_ids, self._rng.randint(1, len(self._member_ids))))
        one_way = self._rng.random() < 0.3
        cut = {
            (one, other)
            for one in self._member_ids
            for other in self._member_ids
            if (one in side and other not in side)
            or (not one_way and other in side and one not in side)
        }
        self._say(f"partition: {sorted(side)}{' one way' if one_way else ''}")
        self._network.cut(cut)
        if self._rng.random() < 0.7:
            for one, other in sorted(cut):
                pause_ms = self._rng.randrange(1_000, NEWS_MS_MAX)
                self._after(pause_ms, partial(self._tell, other, one, False))
        self._after(self._rng.randrange(1_000, 20_000), lambda: self._heal(cut))

    def _heal(self, cut: set[tuple[str, str]]) -> None:
        self._say("heal")
        self._network.heal(cut)
        for one, other in sorted(cut):
            pause_ms = self._rng.randrange(100, 3_000)
            self._after(pause_ms, partial(self._tell, other, one, True))

    def _break_streams(self) -> None:
        self._say("streams break")
        self._cut_streams(self._rng.choice(self._member_ids))

    def _stop_one(self) -> None:
        """A graceful stop: no more work, then what still runs is handed back, then gone."""
        process = self._pick()
        if process is None or process.draining:
            return
        self._stop(process)

    def _stop(self, process: Process) -> None:
        self._say(f"{process.member_id} stops")
        self.counts["stops"] += 1
        self._post(process, lambda: self._drain(process))
        self._after(3_000, lambda: self._post(process, lambda: self._hand_back(process)))
        self._after(6_000, lambda: self._crash(process))

    def _doubt_one(self) -> None:
        """One member takes another that lives for dead, for a while."""
        one, other = self._rng.choice(self._member_ids), self._rng.choice(self._member_ids)
        if one != other:
            self._tell(one, other, False)
            self._after(self._rng.randrange(500, 10_000), lambda: self._tell(one, other, True))

    def _engine_outage(self) -> None:
        self._say("the engine is down")
        self._engine_down_ms = self._now_ms + self._rng.randrange(1_000, 20_000)

    def _cut_one(self) -> None:
        """One member reaches the engine no more, for a while."""
        self.counts["links cut"] += 1
        member_id = self._rng.choice(self._member_ids)
        self._cut_link(member_id)
        self._after(self._rng.randrange(500, 20_000), lambda: self._mend_link(member_id))

    def _calm(self) -> None:
        """The end of all trouble: everybody is up, and knows everybody."""
        self._say("calm")
        self._network.heal()
        self._poison.clear()
        self._engine_down_ms = 0
        for member_id in sorted(self._links_cut):
            self._mend_link(member_id)
        for member_id in self._member_ids:
            process = self._processes[member_id]
            self._resume(process)
            if process.draining and process.alive:
                self._crash(process)
            self._restart(member_id)
        for pause_ms in (100, NEWS_MS_MAX + 3_000):  # before, and after all news that is under way
            for one in self._member_ids:
                for other in self._member_ids:
                    if one != other:
                        self._after(pause_ms, partial(self._tell, one, other, True))


def main(arguments: list[str]) -> int:
    """Replays seeds; with one seed alone, tells each step."""
    seeds = [int(one) for one in arguments]
    for seed in seeds:
        LeaseModel(seed, print if len(seeds) == 1 else None).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
