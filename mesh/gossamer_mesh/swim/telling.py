"""What the owner is told: a bounded queue of events, and which change is which event."""

from gossamer_mesh.swim.conflicts import Names
from gossamer_mesh.swim.events import MemberEvent, NameTaken
from gossamer_mesh.swim.state import (
    ALIVE,
    CHANGED,
    DEAD,
    DIED,
    JOINED,
    NOTHING,
    TRANSITIONS,
    UNKNOWN,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gossamer_mesh.swim.codec import Codec
    from gossamer_mesh.swim.events import Event
    from gossamer_mesh.swim.members import Member


class Telling:
    """Events on their way to the owner."""

    def __init__(self, codec: "Codec", events_max: int, count: "Callable[[str], None]") -> None:
        self._codec = codec
        self._events_max = events_max
        self._count = count
        self._names = Names()
        self._events: list[Event] = []

    def take(self) -> "Event | None":
        """The oldest event; it waits no longer."""
        return self._events.pop(0) if self._events else None

    def tell(self, event: "Event") -> None:
        """One more; of too many the oldest is dropped."""
        if len(self._events) >= self._events_max:
            self._events.pop(0)
            self._count("events_dropped")
        self._events.append(event)

    def tell_change(self, known: "Member | None", member: "Member") -> None:
        """A word was taken that makes `known` what `member` is."""
        state = UNKNOWN if known is None else known.state
        kind = TRANSITIONS[(state, member.state)]
        if known is not None and known.is_present and member.state == ALIVE:
            if known.profile.session != member.profile.session:
                # A new process under the old id: what the old one held is lost.
                self._tell_death(known, member.since_ms)
                kind = JOINED
            elif kind == CHANGED and known.profile.same_as(member.profile):
                kind = NOTHING
        if kind != NOTHING:
            self.tell(MemberEvent(kind, member))
        self.follow_name(known, member)

    def tell_expelled(self, member: "Member", now_ms: int) -> None:
        """A member was dropped from the table, whatever it says."""
        if member.is_present:
            self._tell_death(member, now_ms)
        self.follow_name(member, None)

    def follow_name(self, known: "Member | None", member: "Member | None") -> None:
        """Tells of two members of one name."""
        namesake = self._names.follow(known, member)
        if namesake is not None and member is not None:
            self._count("names_taken")
            self.tell(NameTaken(member, namesake))

    def _tell_death(self, member: "Member", now_ms: int) -> None:
        verdict = self._codec.verdict(DEAD, member.id, member.incarnation, self._codec.own_id)
        self.tell(MemberEvent(DIED, member.after(verdict, now_ms)))
