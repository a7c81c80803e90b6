"""The lease model with an engine's group in parts that come and go, on top of all its trouble.

The parts share all topics. How many there are changes, and each member hears of it in its own time,
so views of the parts differ, as those of the members do: two members may claim for one part, a
holder may give its credit to a part that is no more, and jobs of one key may be leased in two parts
at once, when the lock of one ends. All rules of `lease_model` hold.

Replay one seed, with every step in words: `python -m gossamer_mesh.testing.lease_parts SEED`.
"""

import sys
from collections.abc import Callable
from functools import partial

from gossamer_mesh.leases.placement import rank, spread
from gossamer_mesh.testing.lease_mesh import NEWS_MS_MAX, Process
from gossamer_mesh.testing.lease_model import CHAOS_MS, LeaseModel

PARTS_MAX = 3


class PartsModel(LeaseModel):
    """One run.

    Args:
        seed: decides everything.
        trace: takes each step in words; None for none.
    """

    replay = "gossamer_mesh.testing.lease_parts"

    def __init__(self, seed: int, trace: Callable[[str], None] | None = None) -> None:
        super().__init__(seed, trace)
        topics, reach = self._groups["e/a"], self._reach["e/a"]
        self._groups = {f"e/{part}": topics for part in range(PARTS_MAX)}
        self._reach = dict.fromkeys(self._groups, reach)
        self._parts = dict.fromkeys(self._member_ids, 1)
        self._serves: dict[int, list[str]] = {}

    def _plan(self) -> None:
        super()._plan()
        for _ in range(self._rng.randint(1, 6)):
            self._at(self._rng.randrange(CHAOS_MS), self._change_parts)

    def _change_parts(self) -> None:
        parts = self._rng.randint(1, PARTS_MAX)
        self._say(f"{parts} parts")
        self.counts["parts changed"] += 1
        for member_id in self._member_ids:
            pause_ms = self._rng.randrange(100, NEWS_MS_MAX)
            self._after(pause_ms, partial(self._follow, member_id, parts))

    def _follow(self, member_id: str, parts: int) -> None:
        self._parts[member_id] = parts
        process = self._processes[member_id]
        self._post(process, lambda: self._view_changed(process))

    def _calm(self) -> None:
        super()._calm()
        parts = self._rng.randint(1, PARTS_MAX)
        for member_id in self._member_ids:
            self._after(NEWS_MS_MAX, partial(self._follow, member_id, parts))

    def _view_changed(self, process: Process) -> None:
        holder = process.holder
        holder.set_members(process.view)
        reaching = sorted(process.view & self._reach["e/0"])
        claimers: dict[str, list[str]] = {}
        for group in list(self._groups)[: self._parts[process.member_id]]:
            taken = {ranked[0] for ranked in claimers.values()}
            free = [one for one in rank(group, reaching) if one not in taken]
            if free:
                claimers[group] = free
        serves = self._serves.setdefault(
            process.session,
            # The first member serves all, so that each job has a holder in the end.
            [
                topic
                for topic in self._groups["e/0"]
                if process.member_id == "m0" or self._rng.random() < 0.8
            ],
        )
        mine = spread(sorted(claimers), sorted(process.view))[process.member_id] if claimers else ""
        for group in self._groups:
            ranked = claimers.get(group, [])
            served = serves if group == mine else []
            holder.serve(group, [self._terms[topic] for topic in served])
            holder.set_claimer(group, ranked[0] if ranked else self._heir(claimers))
            if group in process.claimers:
                claimer = process.claimers[group]
                term_seen = self._rng.choice([0, self._terms_seen[group]])
                elected = bool(ranked) and ranked[0] == process.member_id
                claimer.elect(elected and not process.draining, term_seen)
                self._terms_seen[group] = max(self._terms_seen[group], claimer.term)
                others = [one for one in ranked if one != process.member_id]
                claimer.set_members(process.view, others[0] if others else None, self._now_ms)

    def _heir(self, claimers: dict[str, list[str]]) -> str | None:
        """Who gets what is left of a part that is no more."""
        return claimers["e/0"][0] if claimers else None


def main(arguments: list[str]) -> int:
    """Replays seeds; with one seed alone, tells each step."""
    seeds = [int(one) for one in arguments]
    for seed in seeds:
        PartsModel(seed, print if len(seeds) == 1 else None).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
