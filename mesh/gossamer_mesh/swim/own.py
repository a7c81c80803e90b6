"""What this member says of itself, and what it answers to what others say of it.

Only a member raises its own incarnation. It does when it has something new to say, and when it
hears something of itself that is not true any more: a verdict, or the claim of another process of
its identity. That other process is in most cases the one before a restart, and silent. But a key
file may be copied, and two live processes would object to each other for ever. A claim names the
session that it overrules, and sessions are drawn at random when a process starts: one that ended
before ours began cannot name ours, so who does is alive. Then the lower session yields.
"""

from gossamer_mesh.swim.codec import INCARNATION_MAX
from gossamer_mesh.swim.members import member_of
from gossamer_mesh.swim.state import DEAD, SUSPECT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gossamer_mesh.swim.codec import Codec, Profile, Update
    from gossamer_mesh.swim.members import Member, Members

SILENCE = "silence"
OBJECT = "object"
YIELD = "yield"


class Own:
    """This member's words on itself.

    Raises:
        MisuseError: the profile or the incarnation is out of bounds.
    """

    def __init__(
        self,
        *,
        codec: "Codec",
        members: "Members",
        count: "Callable[[str], None]",
        incarnation: int,
        profile: "Profile",
        now_ms: int,
    ) -> None:
        self._codec = codec
        self._members = members
        self._count = count
        self._overruled = 0
        self.say(incarnation, profile, now_ms)

    @property
    def member(self) -> "Member":
        """This member as its table has it."""
        own = self._members.get(self._codec.own_id)
        assert own is not None
        return own

    def say(self, incarnation: int, profile: "Profile", now_ms: int) -> "Update":
        """Puts a claim into the table; returns it, to be told to all."""
        claim = self._codec.claim(min(incarnation, INCARNATION_MAX), profile, self._overruled)
        self._members.put(member_of(claim, profile, now_ms))
        return claim

    def answer_to(self, update: "Update") -> str:
        """What to do about a word on ourselves."""
        own = self.member
        if update.incarnation < own.incarnation or update.encoded == own.claim:
            return SILENCE
        if update.state in (SUSPECT, DEAD) and update.incarnation > own.incarnation:
            # Nobody signed for that incarnation; who knows a claim of ours brings it along.
            self._count("verdicts_ahead")
            return SILENCE
        if not self._codec.is_proved(update):
            self._count("claims_forged")
            return SILENCE
        if update.profile is not None and self._is_yielding_to(update, update.profile):
            return YIELD
        self._count("refutations")
        return OBJECT

    def _is_yielding_to(self, update: "Update", other: "Profile") -> bool:
        own = self.member.profile
        self._overruled = other.session
        if update.overruled != own.session:
            return False
        self._count("identity_conflicts")
        # Copies of a running machine have one session, but hardly one address.
        ours = (own.session, own.host, own.port)
        return ours < (other.session, other.host, other.port)
