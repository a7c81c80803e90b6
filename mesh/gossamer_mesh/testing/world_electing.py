"""Who claims in a world, as the node's own elections have it: by rendezvous, without a word.

Of the members that reach an engine, each of its groups (`ENGINE/0`, `ENGINE/1`, …: its parts) has a
claimer of its own, and the next in the ranking is the standby. Into how many parts an engine is
split is the world's word here; members hear of it when they next look, each at its own time.
"""

from gossamer_mesh.leases.placement import rank, spread

PARTS_MAX = 3


class Electing:
    """One look at the members.

    Args:
        said: the tags of all who are there, by id: engines that they reach, terms.
        parts: by engine.
    """

    def __init__(self, said: "dict[str, list[list[str]]]", parts: "dict[str, int]") -> None:
        self._ids = sorted(said)
        self._elected: dict[str, tuple[str | None, str | None]] = {}
        for engine in sorted(parts):
            ids = [id for id in self._ids if engine in said[id][0]]
            taken: set[str] = set()
            for part in range(min(parts[engine], len(ids))):
                group = f"{engine}/{part}"
                free = [id for id in rank(group, ids) if id not in taken]
                self._elected[group] = (free[0], free[1] if len(free) > 1 else None)
                taken.add(free[0])

    def groups(self) -> "list[str]":
        """Those that somebody claims for."""
        return sorted(self._elected)

    def elected(self, group: str) -> "tuple[str | None, str | None]":
        """A group's claimer and its standby."""
        return self._elected.get(group, (None, None))

    def serves(self, engine: str, member_id: str) -> "str | None":
        """The group of an engine that a member gives its credit to."""
        groups = [group for group in self.groups() if engine_of(group) == engine]
        if len(groups) < 2:
            return groups[0] if groups else None
        return spread(groups, self._ids)[member_id]


def engine_of(group: str) -> str:
    """The engine of a claim group."""
    return group.rpartition("/")[0]


def first_part(group: str) -> str:
    """The group of the same engine that is always there."""
    return engine_of(group) + "/0"
