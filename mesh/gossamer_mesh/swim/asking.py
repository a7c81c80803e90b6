"""Questions to a member itself, where only its own word can settle what others say of it.

A ping carries what we hold, for objection: our verdict, where others hold the member alive; our
claim of it, where others hold another one of the same incarnation. Such claims are of two processes
of one member, neither of which knew the other's: after a restart without a snapshot, an incarnation
may be reached again. Neither claim supersedes the other, so without a question each would stay
where it is, for ever. One question to a member in a probe interval.
"""

from gossamer_mesh.swim.codec import PING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gossamer_mesh.swim.codec import Codec, Update
    from gossamer_mesh.swim.config import Config
    from gossamer_mesh.swim.members import Member
    from gossamer_mesh.swim.outbox import Outbox


class Asking:
    """When each member was asked last, as long as it is in the table."""

    def __init__(
        self,
        *,
        config: "Config",
        codec: "Codec",
        outbox: "Outbox",
        next_sequence: "Callable[[], int]",
        count: "Callable[[str], None]",
    ) -> None:
        self._config = config
        self._codec = codec
        self._outbox = outbox
        self._next_sequence = next_sequence
        self._count = count
        self._asked_at_ms: dict[str, int] = {}

    def whether_alive(self, member: "Member", now_ms: int) -> None:
        """Someone holds alive whom we hold gone: the ping carries our verdict."""
        if self._may_ask(member.id, now_ms):
            self._outbox.send(
                PING, member.address, member.id, self._next_sequence(), target=member.id
            )

    def which_claim(self, member: "Member", claim: "Update", now_ms: int) -> None:
        """Someone holds another claim of the same incarnation: the ping, to where that one says
        that the member is, carries ours. Who holds ours will ask at the other address."""
        profile = claim.profile
        if profile is None or claim.encoded == member.claim:
            return
        if not self._codec.is_proved(claim) or not self._may_ask(member.id, now_ms):
            return
        self._count("claims_tied")
        self._outbox.put(
            PING, (profile.host, profile.port), member.id, self._next_sequence(), [member.claim]
        )

    def forget(self, id: str) -> None:
        """It left the table, or came back to it."""
        self._asked_at_ms.pop(id, None)

    def _may_ask(self, id: str, now_ms: int) -> bool:
        asked_ms = self._asked_at_ms.get(id)
        if asked_ms is not None and now_ms - asked_ms < self._config.probe_interval_ms:
            return False
        self._asked_at_ms[id] = now_ms
        return True
