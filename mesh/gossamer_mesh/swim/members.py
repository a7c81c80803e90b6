"""The table of members: who is known, in which state, and what was said of them.

A `Member` is never changed, only replaced, so an event may carry it. Members that are gone stay as
tombstones for a while. Which word wins is `state.supersedes`; what follows from it is `protocol`'s.
"""

from gossamer_mesh.swim.codec import Profile, Update
from gossamer_mesh.swim.digest import Digest
from gossamer_mesh.swim.state import ALIVE, DEAD, PRESENT, SUSPECT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from gossamer_mesh.swim.rng import Rng

    Address = tuple[str, int]
    T = TypeVar("T", str, tuple[int, str])

DRAWN_WHOLE_MAX = 16
"""Up to so many members are drawn by shuffling all; of more, some are picked at random."""

DRAWS_EACH = 8
"""Picks for each member that is drawn, before it is given up."""


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

    __slots__ = ("claim", "id", "incarnation", "profile", "since_ms", "state", "verdict")

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
        return [self.verdict, self.claim] if self.verdict else []


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
    """All that is known, by id; the node itself included.

    Two orders are kept up to date, because neither a change nor a frame may cost a sorting of all:
    the present by id, the gone by the time they went.

    Args:
        own_id: the node's own, which is never drawn.
    """

    def __init__(self, own_id: str) -> None:
        self._own_id = own_id
        self._by_id: dict[str, Member] = {}
        self.digest = Digest()
        self._present: list[str] = []
        self._gone: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, id: str) -> Member | None:
        return self._by_id.get(id)

    def is_present(self, id: str) -> bool:
        member = self._by_id.get(id)
        return member is not None and member.is_present

    def put(self, member: Member) -> None:
        before = self._by_id.get(member.id)
        self._by_id[member.id] = member
        self._digest(before, member)
        if before is not None and not before.is_present:
            del self._gone[_place_of(self._gone, (before.since_ms, before.id))]
        if not member.is_present:
            entry = (member.since_ms, member.id)
            self._gone.insert(_place_of(self._gone, entry), entry)
        was_present = before is not None and before.is_present
        if member.is_present and not was_present:
            self._present.insert(_place_of(self._present, member.id), member.id)
        elif was_present and not member.is_present:
            del self._present[_place_of(self._present, member.id)]

    def present(self) -> list[str]:
        """Ids of those that are alive or suspected, sorted. Not to be changed by the caller."""
        return self._present

    def peer_count(self) -> int:
        """How many are present besides the node itself."""
        return len(self._present) - (1 if self.is_present(self._own_id) else 0)

    def gone(self) -> list[Member]:
        """Tombstones, the oldest first."""
        return [self._by_id[id] for _, id in self._gone]

    def gone_count(self) -> int:
        return len(self._gone)

    def has_gone_since(self, since_ms: int) -> bool:
        """Whether anybody went at this moment or later."""
        return bool(self._gone) and self._gone[-1][0] >= since_ms

    def ids(self) -> list[str]:
        """Everyone's ids, sorted."""
        return sorted(self._by_id)

    def draw(
        self,
        rng: "Rng",
        count: int,
        *,
        is_wanted: "Callable[[Member], bool]",
        gone_since_ms: int | None = None,
    ) -> list[Member]:
        """At most `count` different members at random that `is_wanted`, the node itself never.

        Args:
            gone_since_ms: those that went at this moment or later may be drawn, too.
        """
        first_gone = len(self._gone)
        if gone_since_ms is not None:
            first_gone = _place_of(self._gone, (gone_since_ms, ""))
        size = len(self._present) + len(self._gone) - first_gone
        drawn: list[Member] = []
        if size <= DRAWN_WHOLE_MAX:
            places = list(range(size))
            rng.shuffle(places)
        else:
            # Where nearly nobody is wanted, too few is better than a search of all.
            places = [rng.below(size) for _ in range(count * DRAWS_EACH)]
        for place in places:
            if len(drawn) == count:
                break
            if place < len(self._present):
                id = self._present[place]
            else:
                id = self._gone[first_gone + place - len(self._present)][1]
            member = self._by_id[id]
            if id != self._own_id and member not in drawn and is_wanted(member):
                drawn.append(member)
        return drawn

    def forget_surplus(self, before_ms: int, gone_max: int) -> list[str]:
        """Drops tombstones from before a moment, and the oldest beyond a number; returns them."""
        forgotten = []
        while self._gone:
            # Who leaves stays in its own table until it is gone for good.
            place = 1 if self._gone[0][1] == self._own_id else 0
            if place == len(self._gone):
                break
            since_ms, id = self._gone[place]
            if since_ms >= before_ms and len(self._gone) <= gone_max:
                break
            del self._gone[place]
            del self._by_id[id]
            forgotten.append(id)
        return forgotten

    def forget(self, id: str) -> None:
        """Drops what is known of a member, present or gone."""
        member = self._by_id.pop(id)
        self._digest(member, None)
        if member.is_present:
            del self._present[_place_of(self._present, id)]
        else:
            del self._gone[_place_of(self._gone, (member.since_ms, id))]

    def _digest(self, before: Member | None, after: Member | None) -> None:
        old = before.incarnation if before is not None and before.is_present else None
        new = after.incarnation if after is not None and after.is_present else None
        if old == new:
            return
        if before is not None and old is not None:
            self.digest.toggle(before.id, old)
        if after is not None and new is not None:
            self.digest.toggle(after.id, new)


def _place_of(items: "list[T]", item: "T") -> int:
    """Where `item` is or belongs in a sorted list."""
    low, high = 0, len(items)
    while low < high:
        middle = (low + high) // 2
        if items[middle] < item:
            low = middle + 1
        else:
            high = middle
    return low
