"""A claimer is lost, and nobody may wait for the engine's locks: how `lease_model` checks recovery.

The same members as in `lease_model`, but the engine's locks last ten minutes, and the only trouble
is that a claimer is lost: alone, with a holder, before or together with its standby, by a stop in
good order, or by a restart that nobody notices; or that it lives and loses its engine, for a while
or for good. Beside the rules of `lease_model`:

8. What a living member knew of when the claimer was lost, by its mirror or as its holder, is worked
   long before the lock ends. What nobody knew of was activated a moment before.
9. A lease that was taken over, and that a holder may have, is renewed at once.
10. A claimer that has lost its engine, while its heir has not, keeps no lease for long, and no
    worker is stopped for it: who ran a job when the link broke ends it.

A job that nobody can know of is freed at the engine by hand, and this engine, unlike real ones,
does not lock another for a poll whose asker is dead: only the lock's end brings back either.
Replay one seed, step by step: `python -m gossamer_mesh.testing.lease_takeover SEED`.
"""

import sys
from collections.abc import Callable
from functools import partial

from gossamer_mesh.leases import lease as states
from gossamer_mesh.leases.claimer import Claimer
from gossamer_mesh.leases.holder import Acknowledged, Cancel, Run
from gossamer_mesh.leases.lease import Lease
from gossamer_mesh.leases.placement import rank
from gossamer_mesh.leases.work import EngineWork, Extend
from gossamer_mesh.testing.lease_checks import InvariantBroken
from gossamer_mesh.testing.lease_mesh import NEWS_MS_MAX, Process
from gossamer_mesh.testing.lease_model import LeaseModel
from gossamer_mesh.testing.lease_network import LeaseNetwork

LOCK_MS = 600_000
RECOVERY_MS_MAX = 120_000
"""From the last loss to the end of all work: detection, accept, three runs of 40 s at most, two of
them for nothing."""
RENEWED_MS_MAX = 1_000
"""From a take-over to the renewal."""
UNSEEN_MS_MAX = 250
"""A job that was activated longer ago than this has been mirrored: the answer's way (80 ms), the
mirror's pause and its way, three times."""
HANDED_MS_MAX = 8_000
"""From the loss of the engine, or from the lease's begin, to the end of the hand-over: the claimer
finds out (2 s), waits a heartbeat, has its last grants answered or lost (3 s), offers twice."""
CALL_MS_MAX = 3_100
"""The slowest call to the engine, with its answer."""
WAYS = (
    "alone",
    "with a holder",
    "before its standby",
    "with its standby",
    "stops",
    "restarts",
    "loses its engine",
)


class TakeOverModel(LeaseModel):
    """One run.

    Args:
        seed: decides everything.
        trace: takes each step in words; None for none.
    """

    replay = "gossamer_mesh.testing.lease_takeover"

    def __init__(self, seed: int, trace: Callable[[str], None] | None = None) -> None:
        super().__init__(seed, trace, lock_ms=LOCK_MS, can_wait=False, members_min=3)
        self.way = WAYS[seed % len(WAYS)]
        self._network = LeaseNetwork(self._rng, datagrams=False)
        self._reach = {group: set(self._member_ids) for group in self._groups}
        self._polls_outlive = False
        self._taken_ms: dict[tuple[int, int], int] = {}
        self._renewed: set[tuple[int, int]] = set()
        self._last_loss_ms = 0
        self._cut_ms: int | None = None
        self._seen_ms: dict[tuple[int, int], int] = {}
        self._forgiving = self.way in ("before its standby", "with its standby")

    def _plan(self) -> None:
        """Jobs all the time; one loss in the middle of them."""
        topics = [topic for group in self._groups.values() for topic in group]
        for number in range(30):
            at_ms = self._rng.randrange(12_000)
            retries = self._rng.choice([1, 3, 3])
            topic = self._rng.choice(topics)
            self._at(at_ms, partial(self._engine.add, f"j{number}", topic, retries))
        self._at(self._rng.randrange(4_000, 12_000), self._lose)

    def _work_ms(self) -> int:
        return 14_000

    def _last_ms(self) -> int:
        return self._last_loss_ms + RECOVERY_MS_MAX

    def _lose(self) -> None:
        """The claimer of the first group is lost, in the way of this run."""
        ranked = rank("e/a", self._member_ids)
        claimer, standby = self._processes[ranked[0]], self._processes[ranked[1]]
        self.counts[self.way] += 1
        if self.way == "stops":
            self._last_loss_ms = self._now_ms + 6_000
            self._stop(claimer)
            return
        if self.way == "loses its engine":
            self._last_loss_ms = self._cut_ms = self._now_ms
            self._cut_link(ranked[0])
            if self._rng.random() < 0.5:
                mended_ms = self._rng.randrange(500, 20_000)
                self._after(mended_ms, lambda: self._mend_link(ranked[0]))
            return
        if self.way == "restarts":
            self._die(claimer, is_noticed=False)
            self._after(self._rng.randrange(200, 900), lambda: self._restart(ranked[0]))
            return
        if self.way == "with a holder":
            others = [one for one in self._member_ids if one not in ranked[:2]]
            for one in others[:1]:
                self._die(self._processes[one])
        if self.way == "with its standby":
            self._die(standby)
        if self.way == "before its standby":
            self._after(self._rng.randrange(1, 12_000), lambda: self._die(standby))
        self._die(claimer)

    def _drive(self, process: Process) -> None:
        super()._drive(process)
        if process.alive:
            for claimer in process.claimers.values():
                for one in claimer.leases():
                    if one.inherited and one.state in (states.INHERITED, states.HELD):
                        self._check_renewed(process, one)
                    if process.member_id in self._links_cut:
                        self._check_handed(process, one)

    def _check_renewed(self, process: Process, one: Lease) -> None:
        """Rule 9."""
        name = (process.session, one.activation)
        taken_ms = self._taken_ms.setdefault(name, self._now_ms)
        if name not in self._renewed and self._now_ms - taken_ms > RENEWED_MS_MAX:
            raise InvariantBroken(f"{process.member_id} took over {one.id!r} and did not renew it")

    def _check_handed(self, process: Process, one: Lease) -> None:
        """Rule 10, the claimer's half."""
        seen_ms = self._seen_ms.setdefault((process.session, one.activation), self._now_ms)
        kept_ms = self._now_ms - max(seen_ms, self._cut_ms or 0)
        if kept_ms > HANDED_MS_MAX:
            raise InvariantBroken(f"{process.member_id} keeps {one.id!r}, and has no engine")

    def _handle_holder_event(self, process: Process, event: Run | Cancel | Acknowledged) -> None:
        """Rule 10, the holder's half. Workers that ask for short locks may lose them, also here."""
        by_engine = isinstance(event, Cancel) and event.reason.startswith("the engine")
        if isinstance(event, Cancel) and self._cut_ms is not None and not by_engine:
            raise InvariantBroken(f"{process.member_id} stops {event.lease!r}: {event.reason}")
        super()._handle_holder_event(process, event)

    def _call_engine(self, process: Process, claimer: Claimer, work: EngineWork) -> None:
        if isinstance(work, Extend):
            self._renewed.add((process.session, work.activation))
        super()._call_engine(process, claimer, work)

    def _crash(self, process: Process) -> None:
        """The end of a stop in good order."""
        self._die(process)

    def _die(self, process: Process, *, is_noticed: bool = True) -> None:
        if not process.alive:
            return
        self._last_loss_ms = self._now_ms
        self._say(f"{process.member_id} is lost ({self.way})")
        process.alive = False
        self._cut_streams(process.member_id)
        if is_noticed:
            self._spread(process.member_id, alive=False)
            member_id = process.member_id
            self._after(NEWS_MS_MAX + 2_000, lambda: self._restart(member_id))
        self._free_unknown()
        if self._forgiving:
            # A renewal of the dead may have been under way.
            self._after(CALL_MS_MAX, self._free_unknown)

    def _free_unknown(self) -> None:
        """Frees what no living member knows of; it must be news, unless the standby died, too."""
        known: set[str] = set()
        for process in self._processes.values():
            if process.alive:
                known |= {lease.key for lease in process.holder.leases()}
                for claimer in process.claimers.values():
                    known |= {one.id.key for one in claimer.leases()}
                    known |= {lease.key for lease in claimer.mirrored()}
        for job in self._engine.jobs.values():
            locked_ms = job.free_at_ms - LOCK_MS  # or renewed, or far back, after a failure
            if job.done or locked_ms < 0 or job.key in known:
                continue
            if not self._forgiving and self._now_ms - locked_ms > UNSEEN_MS_MAX:
                raise InvariantBroken(f"nobody knew of {job!r}, locked at {locked_ms} ms")
            self.counts["unseen"] += 1
            job.free_at_ms = self._now_ms


def main(arguments: list[str]) -> int:
    """Replays seeds; with one seed alone, tells each step."""
    seeds = [int(one) for one in arguments]
    for seed in seeds:
        TakeOverModel(seed, print if len(seeds) == 1 else None).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
