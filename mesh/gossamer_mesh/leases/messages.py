"""What claimers and holders say to each other, and its plain form on the wire.

A message is a list: its kind, then its fields in the order of the class. Lists, strings, integers
and bytes only, so msgpack carries them and a reader of the next version may append fields: what is
beyond the known ones is ignored. `from_plain` is total: any value gives a message or None.

Claimer to holder: Grant, Settled, Revoke, Inherit, Yield. Holder to claimer: Offer, Heartbeat,
Accept, Refuse, OutcomeReport, HandBack, Prolong, Inherited, Keep. What a claimer and its heir say
is in `mirroring.py`.
"""

from gossamer_mesh.leases.lease_id import NAME_LENGTH_MAX as NAME_LENGTH_MAX  # noqa: PLC0414
from gossamer_mesh.leases.lease_id import LeaseId as LeaseId  # noqa: PLC0414
from gossamer_mesh.leases.lease_id import are_counts, is_name, read_all, read_lease_id
from gossamer_mesh.leases.mirroring import (
    ABOUT_MIRROR,
    HandOver,
    Mirror,
    TakenOver,
    read_about_mirror,
    read_hand_over,
    read_mirror,
    read_taken_over,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gossamer_mesh.leases.mirroring import AboutMirror

TOPICS_MAX = 1_024
"""Topics that one heartbeat may name."""

PROGRESS_CHARS_MAX = 120
"""Of what a worker says that it does now: a line on a terminal."""

PROGRESS_MAX = 256
"""Leases of whose progress one heartbeat tells: some 40 KiB, for those who look at a status."""

HOLDINGS_MAX = 16_384
"""Leases that one heartbeat may name."""


class TopicTerms:
    """What a holder says of a topic that it serves.

    Attributes:
        name: the topic.
        lock_ms: the engine lock that its service asks for.
        variables: names to fetch, sorted; None for all.
        on_lost: `regrant` or `wait`, when the holder is lost.
        retries: tries of a job whose engine never gave a count.
        backoff_ms: wait between tries.
        held_ms_max: how long the holder may have a job, from the grant or the last `Prolong` to
            the outcome; beyond, it is stuck. 0: for ever.
        warm: whether the holder has the service's module ready, as it has worked lately.
    """

    __slots__ = (
        "backoff_ms",
        "held_ms_max",
        "lock_ms",
        "name",
        "on_lost",
        "retries",
        "variables",
        "warm",
    )

    def __init__(
        self,
        name: str,
        lock_ms: int,
        variables: "list[str] | None" = None,
        on_lost: str = "regrant",
        retries: int = 3,
        backoff_ms: int = 1_000,
        held_ms_max: int = 0,
        warm: bool = False,
    ) -> None:
        self.name = name
        self.lock_ms = lock_ms
        self.variables = variables
        self.on_lost = on_lost
        self.retries = retries
        self.backoff_ms = backoff_ms
        self.held_ms_max = held_ms_max
        self.warm = warm

    def to_plain(self) -> "list[Any]":
        return [
            self.name,
            self.lock_ms,
            self.variables,
            self.on_lost,
            self.retries,
            self.backoff_ms,
            self.held_ms_max,
            self.warm,
        ]


class Offer:
    """Credit: how many more jobs this holder takes, on any topic of its last heartbeat.

    An offer is a state, not a change: the newest `sequence` of a session replaces all before.

    Attributes:
        group: the claim group it is for.
        session: tells one run of the holder's process from the next.
        sequence: grows with every offer and heartbeat of the session.
        slots_free: jobs that it can take now.
        bytes_free: payload bytes that it can take now.
        claimer_session: the claimer's process that `counter_seen` is about, 0 for none.
        counter_seen: the highest counter of its grants that had arrived; what the claimer sent
            beyond it is still to be taken from `slots_free`.
    """

    __slots__ = (
        "bytes_free",
        "claimer_session",
        "counter_seen",
        "group",
        "sequence",
        "session",
        "slots_free",
    )
    kind = "offer"

    def __init__(
        self,
        group: str,
        session: int,
        sequence: int,
        slots_free: int,
        bytes_free: int,
        claimer_session: int,
        counter_seen: int,
    ) -> None:
        self.group = group
        self.session = session
        self.sequence = sequence
        self.slots_free = slots_free
        self.bytes_free = bytes_free
        self.claimer_session = claimer_session
        self.counter_seen = counter_seen

    def to_plain(self) -> "list[Any]":
        return [
            self.kind,
            self.group,
            self.session,
            self.sequence,
            self.slots_free,
            self.bytes_free,
            self.claimer_session,
            self.counter_seen,
        ]


class Heartbeat:
    """What a holder serves, and every lease of the group that it holds or has an outcome for.

    A lease that the claimer believes to be held and that is not named here is lost.

    Attributes:
        leases: those that this claimer answers for, as the holder sees it.
        moved: those that it answered for, until another took them over. The holder goes on.
        progress: how far workers say that they are: the place of a lease in `leases`, thousandths,
            and a sentence.
    """

    __slots__ = ("group", "leases", "moved", "progress", "sequence", "session", "topics")
    kind = "heartbeat"

    def __init__(
        self,
        group: str,
        session: int,
        sequence: int,
        topics: "list[TopicTerms]",
        leases: "list[LeaseId]",
        moved: "list[LeaseId] | None" = None,
        progress: "list[tuple[int, int, str]] | None" = None,
    ) -> None:
        self.group = group
        self.session = session
        self.sequence = sequence
        self.topics = topics
        self.leases = leases
        self.moved = moved or []
        self.progress = progress or []

    def to_plain(self) -> "list[Any]":
        return [
            self.kind,
            self.group,
            self.session,
            self.sequence,
            [one.to_plain() for one in self.topics],
            [one.to_plain() for one in self.leases],
            [one.to_plain() for one in self.moved],
            [list(one) for one in self.progress],
        ]


class Grant:
    """A job for a holder.

    Attributes:
        lease: its identity.
        topic: which of the holder's topics.
        remaining_ms: of the engine's lock, counted from the receipt; never a wall-clock date.
        receipt: opaque: what any claimer needs to settle the job with the engine.
        payload: opaque: what the worker gets.
    """

    __slots__ = ("lease", "payload", "receipt", "remaining_ms", "topic")
    kind = "grant"

    def __init__(
        self, lease: LeaseId, topic: str, remaining_ms: int, receipt: bytes, payload: bytes
    ) -> None:
        self.lease = lease
        self.topic = topic
        self.remaining_ms = remaining_ms
        self.receipt = receipt
        self.payload = payload

    def to_plain(self) -> "list[Any]":
        return [
            self.kind,
            self.lease.to_plain(),
            self.topic,
            self.remaining_ms,
            self.receipt,
            self.payload,
        ]


class OutcomeReport:
    """How a job ended. Sent until it is Settled, to whoever claims for the group now.

    Attributes:
        topic, receipt: as the grant had them, so that a claimer that never saw the lease can
            settle it.
        outcome: opaque.
    """

    __slots__ = ("lease", "outcome", "receipt", "topic")
    kind = "outcome"

    def __init__(self, lease: LeaseId, topic: str, receipt: bytes, outcome: bytes) -> None:
        self.lease = lease
        self.topic = topic
        self.receipt = receipt
        self.outcome = outcome

    def to_plain(self) -> "list[Any]":
        return [self.kind, self.lease.to_plain(), self.topic, self.receipt, self.outcome]


class _AboutLease:
    """A message that names a lease and, at most, says why.

    The reason may quote an engine, so it is cut to what the wire takes.
    """

    __slots__ = ("lease", "reason")
    kind = ""

    def __init__(self, lease: LeaseId, reason: str = "") -> None:
        self.lease = lease
        self.reason = reason[:NAME_LENGTH_MAX]

    def to_plain(self) -> "list[Any]":
        return [self.kind, self.lease.to_plain(), self.reason]


class Accept(_AboutLease):
    """The holder has the job and runs it."""

    __slots__ = ()
    kind = "accept"


class Refuse(_AboutLease):
    """The holder does not take the job; `reason` says why. It was not run."""

    __slots__ = ()
    kind = "refuse"


class HandBack(_AboutLease):
    """The holder had accepted and gives the job back without an outcome (it is stopping)."""

    __slots__ = ()
    kind = "hand_back"


class Settled(_AboutLease):
    """The claimer has dealt with the outcome: the holder forgets the lease. `reason` tells how."""

    __slots__ = ()
    kind = "settled"


class Revoke(_AboutLease):
    """The lease is void (lost to another, or taken away by the engine): the holder stops it."""

    __slots__ = ()
    kind = "revoke"


class Inherit(_AboutLease):
    """A claimer offers to answer for a lease that another granted.

    The holder answers Inherited, Keep, or Refuse when it has no such lease. The reason is the
    member that has handed the lease over, though it lives; empty when it is gone for the sender.
    """

    __slots__ = ()
    kind = "inherit"


class Yield(_AboutLease):
    """The claimer has handed the lease over: the reason is the member that answers for it now."""

    __slots__ = ()
    kind = "yield"


class Keep(_AboutLease):
    """The holder has the lease, but not from this claimer: who answers for it lives, it seems."""

    __slots__ = ()
    kind = "keep"


class Inherited:
    """The holder has the lease, and from now on this claimer answers for it.

    Attributes:
        topic, receipt: as the grant had them, for a claimer that never saw it.
    """

    __slots__ = ("lease", "receipt", "topic")
    kind = "inherited"

    def __init__(self, lease: LeaseId, topic: str, receipt: bytes) -> None:
        self.lease = lease
        self.topic = topic
        self.receipt = receipt

    def to_plain(self) -> "list[Any]":
        return [self.kind, self.lease.to_plain(), self.topic, self.receipt]


class Prolong:
    """The worker asks for a lock of `lock_ms` from now on, renewed at that length."""

    __slots__ = ("lease", "lock_ms")
    kind = "prolong"

    def __init__(self, lease: LeaseId, lock_ms: int) -> None:
        self.lease = lease
        self.lock_ms = lock_ms

    def to_plain(self) -> "list[Any]":
        return [self.kind, self.lease.to_plain(), self.lock_ms]


_ABOUT_LEASE = {
    one.kind: one for one in (Accept, Refuse, HandBack, Settled, Revoke, Inherit, Yield, Keep)
}

if TYPE_CHECKING:
    Message = (
        Offer
        | Heartbeat
        | Grant
        | OutcomeReport
        | Prolong
        | Inherited
        | _AboutLease
        | Mirror
        | AboutMirror
        | HandOver
        | TakenOver
    )


def from_plain(value: "Any") -> "Message | None":
    """Reads a message from its plain form.

    Args:
        value: anything; usually a list that msgpack unpacked.

    Returns: the message, or None when it is not one: a wrong shape, type or size.
    """
    if not isinstance(value, list) or not value or not isinstance(value[0], str):
        return None
    kind, fields = value[0], value[1:]
    if kind in _ABOUT_LEASE:
        lease = read_lease_id(fields[0]) if len(fields) >= 2 else None
        if lease is None or not is_name(fields[1]):
            return None
        return _ABOUT_LEASE[kind](lease, fields[1])
    if kind == Offer.kind:
        if len(fields) >= 7 and is_name(fields[0]) and are_counts(fields[1:7]):
            return Offer(*fields[:7])
    elif kind == Heartbeat.kind:
        return _heartbeat(fields)
    elif kind == Grant.kind:
        return _grant(fields)
    elif kind == OutcomeReport.kind:
        return _outcome(fields)
    elif kind == Inherited.kind:
        return _inherited(fields)
    elif kind == Mirror.kind:
        return read_mirror(fields)
    elif kind == HandOver.kind:
        return read_hand_over(fields)
    elif kind == TakenOver.kind:
        return read_taken_over(fields)
    elif kind in ABOUT_MIRROR:
        return read_about_mirror(kind, fields)
    elif kind == Prolong.kind:
        lease = read_lease_id(fields[0]) if len(fields) >= 2 else None
        if lease is not None and are_counts(fields[1:2]):
            return Prolong(lease, fields[1])
    return None


def _grant(fields: "list[Any]") -> "Grant | None":
    if len(fields) < 5:
        return None
    lease = read_lease_id(fields[0])
    if lease is None or not is_name(fields[1]) or not are_counts(fields[2:3]):
        return None
    if not isinstance(fields[3], bytes) or not isinstance(fields[4], bytes):
        return None
    return Grant(lease, *fields[1:5])


def _outcome(fields: "list[Any]") -> "OutcomeReport | None":
    if len(fields) < 4:
        return None
    lease = read_lease_id(fields[0])
    if lease is None or not is_name(fields[1]):
        return None
    if not isinstance(fields[2], bytes) or not isinstance(fields[3], bytes):
        return None
    return OutcomeReport(lease, *fields[1:4])


def _inherited(fields: "list[Any]") -> "Inherited | None":
    lease = read_lease_id(fields[0]) if len(fields) >= 3 else None
    if lease is None or not is_name(fields[1]) or not isinstance(fields[2], bytes):
        return None
    return Inherited(lease, *fields[1:3])


def _heartbeat(fields: "list[Any]") -> "Heartbeat | None":
    if len(fields) < 7 or not is_name(fields[0]) or not are_counts(fields[1:3]):
        return None
    topics = read_all(fields[3], _topic, TOPICS_MAX)
    leases = read_all(fields[4], read_lease_id, HOLDINGS_MAX)
    moved = read_all(fields[5], read_lease_id, HOLDINGS_MAX)
    progress = read_all(fields[6], _progress, PROGRESS_MAX)
    if topics is None or leases is None or moved is None or progress is None:
        return None
    if any(one[0] >= len(leases) for one in progress):
        return None
    return Heartbeat(fields[0], fields[1], fields[2], topics, leases, moved, progress)


def _progress(value: "Any") -> "tuple[int, int, str] | None":
    if not isinstance(value, list) or len(value) < 3 or not are_counts(value[:2]):
        return None
    if value[1] > 1_000 or not is_name(value[2]) or len(value[2]) > PROGRESS_CHARS_MAX:
        return None
    return value[0], value[1], value[2]


def _topic(value: "Any") -> "TopicTerms | None":
    if not isinstance(value, list) or len(value) < 8:
        return None
    name, lock_ms, variables, on_lost, retries, backoff_ms, held_ms_max, warm = value[:8]
    if not is_name(name) or not are_counts([lock_ms, retries, backoff_ms, held_ms_max]):
        return None
    if variables is not None and not (
        isinstance(variables, list)
        and len(variables) <= TOPICS_MAX
        and all(is_name(one) for one in variables)
    ):
        return None
    if on_lost not in ("regrant", "wait") or not isinstance(warm, bool):
        return None
    return TopicTerms(name, lock_ms, variables, on_lost, retries, backoff_ms, held_ms_max, warm)
