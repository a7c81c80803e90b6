"""What a node says of the demand that it sees, and what it does about it.

Once a second it looks at the groups that it claims for: demand and capacity (`leases.demand`), and
how near their claimer is to its limit, which decides how many parts there are (`leases.parts`).
What it tells changes seldom, so gossip stays quiet. The signal of all groups, as their claimers
tell it, is for `status` and the metrics, and moves the instances of services that have a range.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gossamer_mesh.drivers import Member
from gossamer_mesh.leases.claimer import Claimer
from gossamer_mesh.leases.demand import Demand, desired
from gossamer_mesh.leases.parts import Parts, load
from gossamer_node.work.electing import Claim, Election, claims_of, engine_of, group_of

LOAD_MS = 5_000
"""Over which a claimer's load is taken: some polls, so that one large answer is no peak."""


@dataclass(slots=True)
class _Group:
    demand: Demand = field(default_factory=Demand)
    parts: Parts = field(default_factory=Parts)
    load: int = 0
    since_ms: int = 0
    jobs: int = 0
    bytes_moved: int = 0


@dataclass(frozen=True, slots=True)
class Signal:
    """An engine's demand and capacity in jobs, over all its parts."""

    demand: int
    capacity: int

    @property
    def desired(self) -> int:
        """The slots that would serve it well."""
        return desired(self.demand)


class Signals:
    """The signals of the groups that this member claims for."""

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}
        self._parts: dict[str, int] = {}

    def parts(self) -> Mapping[str, int]:
        """Into how many parts each engine's topics are split, as far as this member has heard."""
        return self._parts

    def follow(self, engine: str, parts: int) -> None:
        """Takes over what the claimer of part 0 says."""
        self._parts[engine] = parts

    def look(
        self, claimers: Mapping[str, tuple[Claimer, bool]], members: Mapping[str, int], now_ms: int
    ) -> bool:
        """Takes a sample.

        Args:
            claimers: those of elected groups, and whether their polls come back full.
            members: how many reach each engine.
            now_ms: any clock that does not go back.

        Returns: whether there is something new to tell the mesh.
        """
        self._groups = {
            group: self._groups.get(group) or _Group(since_ms=now_ms) for group in claimers
        }
        changed = False
        for group, (claimer, hot) in claimers.items():
            ours = self._groups[group]
            states = [one.state for one in claimer.leases()]
            running = states.count("held") + states.count("granted")
            waiting = states.count("waiting")
            capacity = running + waiting + claimer.credit()
            changed |= ours.demand.note(running, waiting, hot, capacity, now_ms)
            if now_ms >= ours.since_ms + LOAD_MS:
                _measure(ours, claimer, now_ms)
            engine = engine_of(group)
            if group == group_of(engine):
                before = self._parts.get(engine, 1)
                after = ours.parts.decide(before, ours.load, members.get(engine, 1), now_ms)
                self._parts[engine] = after
                changed |= after != before
        return changed

    def claim(self, group: str, term: int) -> Claim:
        """What to tell of a group that this member claims for."""
        parts = self._parts.get(engine_of(group), 1)
        ours = self._groups.get(group)
        return Claim(term, parts, *ours.demand.told) if ours else Claim(term, parts)

    def load(self, group: str) -> int:
        """How near the group's claimer is to its limit, in thousandths."""
        ours = self._groups.get(group)
        return ours.load if ours else 0


def _measure(ours: _Group, claimer: Claimer, now_ms: int) -> None:
    counts = claimer.statistics()
    passed_ms = now_ms - ours.since_ms
    ours.load = load(
        counts["activated"] - ours.jobs, counts["bytes_moved"] - ours.bytes_moved, passed_ms
    )
    ours.since_ms, ours.jobs = now_ms, counts["activated"]
    ours.bytes_moved = counts["bytes_moved"]


def signals_told(
    members: Sequence[Member], elected: Mapping[str, Election], own: Mapping[str, Claim]
) -> dict[str, Signal]:
    """The signal of each engine, as the claimers of its parts tell it.

    Args:
        members: everybody who is there.
        elected: who claims.
        own: what this member tells; its tags may not say so yet.
    """
    said = {member.id: claims_of(member) for member in members}
    found: dict[str, Signal] = {}
    for group, one in elected.items():
        claim = own.get(group) or said.get(one.claimer, {}).get(group)
        if claim is not None:
            before = found.get(engine_of(group), Signal(0, 0))
            found[engine_of(group)] = Signal(
                before.demand + claim.demand, before.capacity + claim.capacity
            )
    return found
