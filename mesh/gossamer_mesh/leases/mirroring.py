"""What a claimer tells its heir of its table, or hands over to it, and the plain form on the wire.

As in `messages`: lists, strings, integers and bytes only, further fields ignored, and any value
gives a message or None.
"""

from gossamer_mesh.leases.lease_id import are_counts, is_name, read_all, read_lease_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gossamer_mesh.leases.lease_id import LeaseId

    Loss = tuple[str, int, int]
    """A job that is at the engine: key, how often its node was lost, kept for so many ms more."""

ROWS_MAX = 512
"""Leases that one message may name."""

FREE, TAKEN, LEFT_ALONE, GIVEN_UP = "free", "taken", "left alone", "given up"
STANDINGS = (FREE, TAKEN, LEFT_ALONE, GIVEN_UP)
"""Nobody has it; `holder` has it, or its outcome; its holder was lost and its lock is to end by
itself; the claimer was reporting a failure of its own."""


class Row:
    """One lease of a claimer's table, as its standby needs it: no payload.

    Attributes:
        lease, topic, receipt: as granted.
        holder: the member that has it; empty when none has.
        standing: one of `STANDINGS`.
        regrants: how often it was granted again because its holder was lost.
        lock_ms: length of the engine's lock at each renewal.
        remaining_ms: of the lock, counted from the receipt of the message.
        on_lost: `regrant` or `wait`.
    """

    __slots__ = (
        "holder",
        "lease",
        "lock_ms",
        "on_lost",
        "receipt",
        "regrants",
        "remaining_ms",
        "standing",
        "topic",
    )

    def __init__(
        self,
        lease: "LeaseId",
        topic: str,
        receipt: bytes,
        holder: str,
        standing: str,
        regrants: int,
        lock_ms: int,
        remaining_ms: int,
        on_lost: str,
    ) -> None:
        self.lease = lease
        self.topic = topic
        self.receipt = receipt
        self.holder = holder
        self.standing = standing
        self.regrants = regrants
        self.lock_ms = lock_ms
        self.remaining_ms = remaining_ms
        self.on_lost = on_lost

    def to_plain(self) -> "list[Any]":
        return [
            self.lease.to_plain(),
            self.topic,
            self.receipt,
            self.holder,
            self.standing,
            self.regrants,
            self.lock_ms,
            self.remaining_ms,
            self.on_lost,
        ]


class Mirror:
    """What has changed in a claimer's table, for its standby.

    Attributes:
        session: of the claimer's process.
        run: counts the full pictures of the session; 0 is none.
        sequence: within the run, from 0: a message that is not the next shows a gap.
        rows: leases that are new or have changed.
        gone: keys of leases that have left the table.
        losses: of jobs that went back to the engine after their nodes were lost: the count, in
            place of a row.
    """

    __slots__ = ("gone", "group", "losses", "rows", "run", "sequence", "session")
    kind = "mirror"

    def __init__(
        self,
        group: str,
        session: int,
        run: int,
        sequence: int,
        rows: "list[Row]",
        gone: "list[str]",
        losses: "list[Loss] | None" = None,
    ) -> None:
        self.group = group
        self.session = session
        self.run = run
        self.sequence = sequence
        self.rows = rows
        self.gone = gone
        self.losses: list[Loss] = losses or []

    def to_plain(self) -> "list[Any]":
        return [
            self.kind,
            self.group,
            self.session,
            self.run,
            self.sequence,
            [one.to_plain() for one in self.rows],
            self.gone,
            [list(one) for one in self.losses],
        ]


class AboutMirror:
    """A message about one run of a mirror."""

    __slots__ = ("group", "run", "session")
    kind = ""

    def __init__(self, group: str, session: int, run: int) -> None:
        self.group = group
        self.session = session
        self.run = run

    def to_plain(self) -> "list[Any]":
        return [self.kind, self.group, self.session, self.run]


class MirrorAsk(AboutMirror):
    """The standby has not got all of this run: it wants a full picture."""

    __slots__ = ()
    kind = "mirror_ask"


class MirrorEnd(AboutMirror):
    """The member is the standby no more: it forgets what it was told."""

    __slots__ = ()
    kind = "mirror_end"


class HandOver:
    """A claimer that does not reach the engine any more asks its heir to answer for leases.

    Attributes:
        session: of the claimer's process.
        rows: the leases.
        outcomes: of each row, the outcome that the engine has not answered; None for none.
    """

    __slots__ = ("group", "outcomes", "rows", "session")
    kind = "hand_over"

    def __init__(
        self, group: str, session: int, rows: "list[Row]", outcomes: "list[bytes | None]"
    ) -> None:
        self.group = group
        self.session = session
        self.rows = rows
        self.outcomes = outcomes

    def to_plain(self) -> "list[Any]":
        return [
            self.kind,
            self.group,
            self.session,
            [one.to_plain() for one in self.rows],
            self.outcomes,
        ]


class TakenOver:
    """The heir answers for these leases from now on. `session`: of the process that asked it to."""

    __slots__ = ("group", "leases", "session")
    kind = "taken_over"

    def __init__(self, group: str, session: int, leases: "list[LeaseId]") -> None:
        self.group = group
        self.session = session
        self.leases = leases

    def to_plain(self) -> "list[Any]":
        return [self.kind, self.group, self.session, [one.to_plain() for one in self.leases]]


ABOUT_MIRROR = {one.kind: one for one in (MirrorAsk, MirrorEnd)}


def read_about_mirror(kind: str, fields: "list[Any]") -> "AboutMirror | None":
    """Reads the fields of a MirrorAsk or MirrorEnd; None when they are of another form."""
    if len(fields) < 3 or not is_name(fields[0]) or not are_counts(fields[1:3]):
        return None
    return ABOUT_MIRROR[kind](*fields[:3])


def read_mirror(fields: "list[Any]") -> "Mirror | None":
    """Reads the fields of a Mirror; None when they are of another form."""
    if len(fields) < 7 or not is_name(fields[0]) or not are_counts(fields[1:4]):
        return None
    rows = read_all(fields[4], _row, ROWS_MAX)
    losses = read_all(fields[6], _loss, ROWS_MAX)
    gone = fields[5]
    if rows is None or losses is None or not isinstance(gone, list) or len(gone) > ROWS_MAX:
        return None
    if not all(is_name(one) for one in gone):
        return None
    return Mirror(fields[0], fields[1], fields[2], fields[3], rows, gone, losses)


def read_hand_over(fields: "list[Any]") -> "HandOver | None":
    """Reads the fields of a HandOver; None when they are of another form."""
    if len(fields) < 4 or not is_name(fields[0]) or not are_counts(fields[1:2]):
        return None
    rows = read_all(fields[2], _row, ROWS_MAX)
    outcomes = fields[3]
    if rows is None or not isinstance(outcomes, list) or len(outcomes) != len(rows):
        return None
    if not all(one is None or isinstance(one, bytes) for one in outcomes):
        return None
    return HandOver(fields[0], fields[1], rows, outcomes)


def read_taken_over(fields: "list[Any]") -> "TakenOver | None":
    """Reads the fields of a TakenOver; None when they are of another form."""
    if len(fields) < 3 or not is_name(fields[0]) or not are_counts(fields[1:2]):
        return None
    leases = read_all(fields[2], read_lease_id, ROWS_MAX)
    return None if leases is None else TakenOver(fields[0], fields[1], leases)


def _loss(value: "Any") -> "Loss | None":
    if not isinstance(value, list) or len(value) < 3:
        return None
    if not is_name(value[0]) or not are_counts(value[1:3]):
        return None
    return (value[0], value[1], value[2])


def _row(value: "Any") -> "Row | None":
    if not isinstance(value, list) or len(value) < 9:
        return None
    lease, topic, receipt, holder, standing, regrants, lock_ms, remaining_ms, on_lost = value[:9]
    lease_id = read_lease_id(lease)
    if lease_id is None or not is_name(topic) or not is_name(holder):
        return None
    if not isinstance(receipt, bytes) or not are_counts([regrants, lock_ms, remaining_ms]):
        return None
    if standing not in STANDINGS or on_lost not in ("regrant", "wait"):
        return None
    return Row(lease_id, topic, receipt, holder, standing, regrants, lock_ms, remaining_ms, on_lost)
