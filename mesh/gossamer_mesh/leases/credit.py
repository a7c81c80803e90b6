"""What a claimer knows of one holder: when it spoke, what it serves, how much more it takes.

An offer says how many slots are free, and up to which grant the holder had seen when it said so.
Grants beyond that mark are still to be taken from the offer, but not for ever, or each grant that a
broken stream swallows would cost a slot for good.
"""

from gossamer_mesh.leases.messages import TopicTerms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gossamer_mesh.leases.config import LeaseConfig


class HolderView:
    """One holder, as its offers and heartbeats describe it.

    Attributes:
        session: of its process.
        sequence: of its newest offer or heartbeat.
        heard_ms: when that came.
        topics: by name.
    """

    __slots__ = (
        "_bytes_free",
        "_slots_free",
        "_unseen",
        "_unseen_bytes",
        "heard_ms",
        "sequence",
        "session",
        "topics",
    )

    def __init__(self, session: int, now_ms: int) -> None:
        self.session = session
        self.sequence = -1
        self.heard_ms = now_ms
        self.topics: dict[str, TopicTerms] = {}
        self._slots_free = 0
        self._bytes_free = 0
        self._unseen: dict[int, tuple[int, int]] = {}  # counter of a grant: when, payload bytes
        self._unseen_bytes = 0

    def credit(self) -> int:
        """Jobs that it takes beyond what is on its way."""
        if self._unseen_bytes >= self._bytes_free:
            return 0
        return max(0, self._slots_free - len(self._unseen))

    def fits(self, payload_bytes: int) -> bool:
        """Whether there is credit, and room for a payload of this size."""
        return self.credit() > 0 and self._unseen_bytes + payload_bytes <= self._bytes_free

    def takes(self, payload_bytes: int, under_way_max: int) -> bool:
        """Whether it fits and may be sent now: not beside too much that is on its way."""
        return self.fits(payload_bytes) and (
            not self._unseen or self._unseen_bytes + payload_bytes <= under_way_max
        )

    def offer(self, slots_free: int, bytes_free: int, counter_seen: int, lost_ms: int) -> None:
        """It offers anew, having seen our grants up to `counter_seen`.

        A grant from `lost_ms` or before was seen, or will never be.
        """
        self._slots_free = slots_free
        self._bytes_free = bytes_free
        for counter, (sent_ms, payload_bytes) in list(self._unseen.items()):
            if counter <= counter_seen or sent_ms <= lost_ms:
                self._unseen_bytes -= payload_bytes
                del self._unseen[counter]

    def grant(self, counter: int, payload_bytes: int, now_ms: int) -> None:
        """A grant is on its way to it."""
        self._unseen[counter] = (now_ms, payload_bytes)
        self._unseen_bytes += payload_bytes

    def withdraw(self) -> None:
        """It takes nothing until its next offer: it refused, or gave no answer at all."""
        self._slots_free = 0


def merge_terms(one: TopicTerms, other: TopicTerms, config: "LeaseConfig") -> TopicTerms:
    """What two holders say of one topic, taken together, within what may be asked of an engine."""
    variables = None
    if one.variables is not None and other.variables is not None:
        variables = sorted(set(one.variables) | set(other.variables))
    lock_ms = max(one.lock_ms, other.lock_ms)
    return TopicTerms(
        one.name,
        min(max(lock_ms, config.lock_ms_min), config.lock_ms_max),
        variables,
        "wait" if "wait" in (one.on_lost, other.on_lost) else "regrant",
        max(one.retries, other.retries),
        max(one.backoff_ms, other.backoff_ms),
        max(one.held_ms_max, other.held_ms_max) if one.held_ms_max and other.held_ms_max else 0,
    )
