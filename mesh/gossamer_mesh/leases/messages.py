"""What claimers and holders say to each other, and its plain form on the wire.

A message is a list: its kind, then its fields in the order of the class. Lists, strings, integers
and bytes only, so msgpack carries them and a reader of the next version may append fields: what is
beyond the known ones is ignored. `from_plain` is total: any value gives a message or None.

Claimer to holder: Grant, Settled, Revoke. Holder to claimer: Offer, Heartbeat, Accept, Refuse,
OutcomeReport, HandBack, Prolong.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

TOPICS_MAX = 1_024
"""Topics that one heartbeat may name."""

HOLDINGS_MAX = 16_384
"""Leases that one heartbeat may name."""

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


def in_order(leases: "Iterable[LeaseId]") -> list[LeaseId]:
    """Sorted by all their parts: tables keep no order on a microcontroller."""
    return sorted(leases, key=LeaseId.to_plain)


class TopicTerms:
    """What a holder says of a topic that it serves.

    Attributes:
        name: the topic.
        lock_ms: the engine lock that its service asks for.
        variables: names to fetch, sorted; None for all.
        on_lost: `regrant` or `wait`, when the holder is lost.
        retries: tries of a job whose engine never gave a count.
        backoff_ms: wait between tries.
        warm: whether the holder has the service's module ready, as it has worked lately.
    """

    __slots__ = ("backoff_ms", "lock_ms", "name", "on_lost", "retries", "variables", "warm")

    def __init__(
        self,
        name: str,
        lock_ms: int,
        variables: "list[str] | None" = None,
        on_lost: str = "regrant",
        retries: int = 3,
        backoff_ms: int = 1_000,
        warm: bool = False,
    ) -> None:
        self.name = name
        self.lock_ms = lock_ms
        self.variables = variables
        self.on_lost = on_lost
        self.retries = retries
        self.backoff_ms = backoff_ms
        self.warm = warm

    def to_plain(self) -> "list[Any]":
        return [
            self.name,
            self.lock_ms,
            self.variables,
            self.on_lost,
            self.retries,
            self.backoff_ms,
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
    """

    __slots__ = ("group", "leases", "sequence", "session", "topics")
    kind = "heartbeat"

    def __init__(
        self,
        group: str,
        session: int,
        sequence: int,
        topics: "list[TopicTerms]",
        leases: "list[LeaseId]",
    ) -> None:
        self.group = group
        self.session = session
        self.sequence = sequence
        self.topics = topics
        self.leases = leases

    def to_plain(self) -> "list[Any]":
        return [
            self.kind,
            self.group,
            self.session,
            self.sequence,
            [one.to_plain() for one in self.topics],
            [one.to_plain() for one in self.leases],
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


class Prolong:
    """The worker asks for a lock of `lock_ms` from now on, renewed at that length."""

    __slots__ = ("lease", "lock_ms")
    kind = "prolong"

    def __init__(self, lease: LeaseId, lock_ms: int) -> None:
        self.lease = lease
        self.lock_ms = lock_ms

    def to_plain(self) -> "list[Any]":
        return [self.kind, self.lease.to_plain(), self.lock_ms]


_ABOUT_LEASE = {one.kind: one for one in (Accept, Refuse, HandBack, Settled, Revoke)}

if TYPE_CHECKING:
    Message = Offer | Heartbeat | Grant | OutcomeReport | Prolong | _AboutLease


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
        lease = _lease_id(fields[0]) if len(fields) >= 2 else None
        if lease is None or not _is_name(fields[1]):
            return None
        return _ABOUT_LEASE[kind](lease, fields[1])
    if kind == Offer.kind:
        if len(fields) >= 7 and _is_name(fields[0]) and _are_counts(fields[1:7]):
            return Offer(*fields[:7])
    elif kind == Heartbeat.kind:
        return _heartbeat(fields)
    elif kind == Grant.kind:
        return _grant(fields)
    elif kind == OutcomeReport.kind:
        return _outcome(fields)
    elif kind == Prolong.kind:
        lease = _lease_id(fields[0]) if len(fields) >= 2 else None
        if lease is not None and _are_counts(fields[1:2]):
            return Prolong(lease, fields[1])
    return None


def _grant(fields: "list[Any]") -> "Grant | None":
    if len(fields) < 5:
        return None
    lease = _lease_id(fields[0])
    if lease is None or not _is_name(fields[1]) or not _are_counts(fields[2:3]):
        return None
    if not isinstance(fields[3], bytes) or not isinstance(fields[4], bytes):
        return None
    return Grant(lease, *fields[1:5])


def _outcome(fields: "list[Any]") -> "OutcomeReport | None":
    if len(fields) < 4:
        return None
    lease = _lease_id(fields[0])
    if lease is None or not _is_name(fields[1]):
        return None
    if not isinstance(fields[2], bytes) or not isinstance(fields[3], bytes):
        return None
    return OutcomeReport(lease, *fields[1:4])


def _heartbeat(fields: "list[Any]") -> "Heartbeat | None":
    if len(fields) < 5 or not _is_name(fields[0]) or not _are_counts(fields[1:3]):
        return None
    if not isinstance(fields[3], list) or not isinstance(fields[4], list):
        return None
    if len(fields[3]) > TOPICS_MAX or len(fields[4]) > HOLDINGS_MAX:
        return None
    topics = [_topic(one) for one in fields[3]]
    leases = [_lease_id(one) for one in fields[4]]
    known_topics = [one for one in topics if one is not None]
    known_leases = [one for one in leases if one is not None]
    if len(known_topics) != len(topics) or len(known_leases) != len(leases):
        return None
    return Heartbeat(fields[0], fields[1], fields[2], known_topics, known_leases)


def _topic(value: "Any") -> "TopicTerms | None":
    if not isinstance(value, list) or len(value) < 7:
        return None
    name, lock_ms, variables, on_lost, retries, backoff_ms, warm = value[:7]
    if not _is_name(name) or not _are_counts([lock_ms, retries, backoff_ms]):
        return None
    if variables is not None and not (
        isinstance(variables, list)
        and len(variables) <= TOPICS_MAX
        and all(_is_name(one) for one in variables)
    ):
        return None
    if on_lost not in ("regrant", "wait") or not isinstance(warm, bool):
        return None
    return TopicTerms(name, lock_ms, variables, on_lost, retries, backoff_ms, warm)


def _lease_id(value: "Any") -> "LeaseId | None":
    if not isinstance(value, list) or len(value) < 6:
        return None
    if not (_is_name(value[0]) and _is_name(value[1]) and _is_name(value[2])):
        return None
    if not _are_counts(value[3:6]):
        return None
    return LeaseId(*value[:6])


def _is_name(value: "Any") -> bool:
    return isinstance(value, str) and len(value) <= NAME_LENGTH_MAX


def _are_counts(values: "list[Any]") -> bool:
    """Whether all are integers from 0 to 2**63 - 1; a bool is not a count."""
    return all(
        isinstance(one, int) and not isinstance(one, bool) and 0 <= one < 2**63 for one in values
    )
