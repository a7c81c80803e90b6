"""The table of members: who is known, in which state, and what was said of them.

A `Member` is never changed, only replaced, so an event may carry it. Members that are gone stay as
tombstones for a while. Which word wins is `state.supersedes`; what follows from it is `protocol`'s.
"""

from gossamer_mesh.swim.codec import Profile, Update
from gossamer_mesh.swim.digest import Digest
from gossamer_mesh.swim.state import ALIVE, DEAD, GONE, PRESENT, SUSPECT

TYPE_CHECKING = False
if TYPE_CHECKING:
    Address = tuple[str, int]


class Member:
    """One member as the last update left it.

    Attributes:
        id: 32 hex digits.
        state: see `state`.
        incarnation: of the update that gave the state.
        profile: what it said of itself last.
        claim: the update that carried the profile, as bytes.
        verdict: the update that gave the state, unless that is ALIVE; else b"".
        since_ms: when it entered the state, by our clock.
    """

    def __init__(
        self,
        *,
        id: str,
        state: int,
        incarnation: int,
        profile: Profile,
        claim: bytes,
        verdict: bytes,
        since_ms: int,
    ) -> None:
        self.id = id
        self.state = state
        self.incarnation = incarnation
        self.profile = profile
        self.claim = claim
        self.verdict = verdict
        self.since_ms = since_ms

    @property
    def address(self) -> "Address":
        return (self.profile.host, self.profile.port)

    @property
    def is_present(self) -> bool:
        return self.state in PRESENT

    def after(self, update: Update, now_ms: int) -> "Member":
        """This member once a verdict on it was taken."""
        return Member(
            id=self.id,
            state=update.state,
            incarnation=update.incarnation,
            profile=self.profile,
            claim=self.claim,
            verdict=update.encoded,
            since_ms=now_ms,
        )

    def words(self) -> list[bytes]:
        """The updates that bring another table to the same state."""
        if self.state == ALIVE:
            return [self.claim]
        if self.state == SUSPECT:
            return [self.claim, self.verdict]
        return [self.claim, self.verdict] if self.state == DEAD else [self.verdict]

    def words_for_itself(self) -> list[bytes]:
        """Our verdict on the member, which it must object to, and the claim that this answers: an
        earlier process of the member may have made it."""
        return [self.claim, self.verdict] if self.verdict else []


def member_of(claim: Update, profile: Profile, now_ms: int) -> Member:
    """A member that is alive by its own word."""
    return Member(
        id=claim.id,
        state=ALIVE,
        incarnation=claim.incarnation,
        profile=profile,
        claim=claim.encoded,
        verdict=b"",
        since_ms=now_ms,
    )


class Members:
    """All that is known, by id; the node itself included."""

    def __init__(self) -> None:
        self._by_id: dict[str, Member] = {}
        self._present: list[str] | None = None
        self.digest = Digest()

    def get(self, id: str) -> Member | None:
        return self._by_id.get(id)

    def put(self, member: Member) -> None:
        before = self._by_id.get(member.id)
        self._by_id[member.id] = member
        self._digest(before, member)
        if before is None or before.is_present != member.is_present:
            self._present = None

    def present(self) -> list[str]:
        """Ids of those that are alive or suspected, sorted. Not to be changed by the caller."""
        if self._present is None:
            self._present = sorted(id for id in self._by_id if self._by_id[id].is_present)
        return self._present

    def gone(self) -> list[Member]:
        """Tombstones, the oldest first."""
        gone = [member for member in self._by_id.values() if member.state in GONE]
        return sorted(gone, key=lambda member: (member.since_ms, member.id))

    def ids(self) -> list[str]:
        """Everyone's ids, sorted."""
        return sorted(self._by_id)

    def forget(self, id: str) -> None:
        """Drops what is known of a member."""
        self._digest(self._by_id.pop(id), None)
        self._present = None

    def _digest(self, before: Member | None, after: Member | None) -> None:
        old = before.incarnation if before is not None and before.is_present else None
        new = after.incarnation if after is not None and after.is_present else None
        if old == new:
            return
        if before is not None and old is not None:
            self.digest.toggle(before.id, old)
        if after is not None and new is not None:
            self.digest.toggle(after.id, new)
