"""Two members of one name. Nothing but an event follows: ids count, names are for people."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gossamer_mesh.swim.members import Member

PAIRS_MAX = 1_024
"""Pairs told; whoever has not understood by then is told no more."""


class Names:
    """Who has which name, among those present."""

    def __init__(self) -> None:
        self._ids: dict[str, list[str]] = {}
        self._told: set[tuple[str, str]] = set()

    def follow(self, before: "Member | None", after: "Member | None") -> str | None:
        """A member came, changed or went; returns the id of another of its name, once a pair."""
        old = before.profile.name if before is not None and before.is_present else ""
        new = after.profile.name if after is not None and after.is_present else ""
        if old == new:
            return None
        if before is not None and old:
            self._ids[old].remove(before.id)
            if not self._ids[old]:
                del self._ids[old]
        if after is None or not new:
            return None
        others = self._ids.get(new, [])
        self._ids[new] = others + [after.id]
        if not others or len(self._told) >= PAIRS_MAX:
            return None
        pair = (min(others[0], after.id), max(others[0], after.id))
        if pair in self._told:
            return None
        self._told.add(pair)
        return others[0]
