"""What names a lease, and how names and numbers are read from the wire: shared by all messages."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

NAME_LENGTH_MAX = 512
"""Longest topic, key, group or reason, in characters."""


class LeaseId:
    """One activation granted to one holder: unique in the mesh, never used again.

    Attributes:
        group: the claim group, `engine/name`.
        key: the engine's job key.
        claimer: member id of the claimer that granted it.
        session: of the claimer's process. One that restarts may not have heard of its own earlier
            terms yet; its session keeps its ids apart all the same.
        term: the claimer's term, larger than every term it saw before.
        counter: counts the claimer's grants; never repeats within the session.
    """

    __slots__ = ("_parts", "claimer", "counter", "group", "key", "session", "term")

    def __init__(
        self, group: str, key: str, claimer: str, session: int, term: int, counter: int
    ) -> None:
        self.group = group
        self.key = key
        self.claimer = claimer
        self.session = session
        self.term = term
        self.counter = counter
        self._parts = (group, key, claimer, session, term, counter)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LeaseId) and self._parts == other._parts

    def __hash__(self) -> int:
        return hash(self._parts)

    def __repr__(self) -> str:
        return f"<lease {self.group} {self.key} {self.term}.{self.counter}>"

    def to_plain(self) -> "list[Any]":
        return list(self._parts)


def read_lease_id(value: "Any") -> "LeaseId | None":
    """Reads an id from its plain form; None when it is not one."""
    if not isinstance(value, list) or len(value) < 6:
        return None
    if not (is_name(value[0]) and is_name(value[1]) and is_name(value[2])):
        return None
    if not are_counts(value[3:6]):
        return None
    return LeaseId(*value[:6])


def read_all(values: "Any", read: "Callable[[Any], Any]", count_max: int) -> "list[Any] | None":
    """Reads each of a list; None when it is none, is too long, or one of them cannot be read."""
    if not isinstance(values, list) or len(values) > count_max:
        return None
    known = [read(one) for one in values]
    return None if any(one is None for one in known) else known


def is_name(value: "Any") -> bool:
    """Whether this is text of at most `NAME_LENGTH_MAX` characters."""
    return isinstance(value, str) and len(value) <= NAME_LENGTH_MAX


def are_counts(values: "list[Any]") -> bool:
    """Whether all are integers from 0 to 2**63 - 1; a bool is not a count."""
    return all(
        isinstance(one, int) and not isinstance(one, bool) and 0 <= one < 2**63 for one in values
    )
