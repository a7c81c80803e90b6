"""The mirror: what a claimer's heir knows of its table, so that a death costs no engine lock.

A claimer has one heir: its standby, the next in the ranking; or, once it claims no more, whoever
claims now. Rules:

1. The claimer tells its heir each lease that is new, has changed or is gone: key, holder, receipt,
   lock, no payload. At most one message each `mirror_ms`; what changed and changed back in between
   is not told. A lease that is granted, worked and settled within that costs nothing at all.
2. Messages count up within a run. The first of a run begins a full picture: the heir forgets
   everything before it. A message that is not the next shows a gap; the heir asks for a new run, at
   most once a heartbeat. An empty message each heartbeat, until one after the last lease has gone,
   shows a gap at the end as well. Nothing is acknowledged; an empty table costs one message.
3. Of a lease that went back to the engine after nodes that had it were lost, the count stays
   (`losses`), and is told in place of its end.
4. A member that is the heir no more is told to forget. If that is lost, its picture is of locks
   that end, and what it did with them would cost a run, never a job.

Both sides are pure. `takeover` says what the heir does with its picture.
"""

from gossamer_mesh.leases import lease as states
from gossamer_mesh.leases import takeover
from gossamer_mesh.leases.config import LeaseConfig
from gossamer_mesh.leases.lease_id import in_order
from gossamer_mesh.leases.losses import Losses
from gossamer_mesh.leases.messages import HOLDINGS_MAX
from gossamer_mesh.leases.mirroring import (
    FREE,
    GIVEN_UP,
    LEFT_ALONE,
    ROWS_MAX,
    TAKEN,
    Mirror,
    MirrorAsk,
    MirrorEnd,
    Row,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gossamer_mesh.leases.lease import Lease
    from gossamer_mesh.leases.lease_id import LeaseId
    from gossamer_mesh.leases.mirroring import AboutMirror, Loss

    Orphan = tuple[Row, int]
    """A row and the end of its lock."""

    Told = tuple[int, str | None, str, int, int, int, int]
    """Of a lease, what makes a new row when it changes."""

MIRRORS_MAX = 4
"""Claimers of one group that a member mirrors at once. Two is usual while a claim passes on."""

RECEIPT_BYTES_MAX = 2**18
"""Receipts in one message, unless a single one is larger."""


OPENINGS = 3
"""Messages of a run at least, a heartbeat apart. The heir of a claimer that has no leases learns by
them which process it is, and the first may be lost with a stream that is not open yet."""


class MirrorSender:
    """The claimer's side.

    Args:
        group: the claim group.
        session: of the claimer's process.
        config: bounds and intervals.
    """

    def __init__(self, group: str, session: int, config: LeaseConfig) -> None:
        self.heir: str | None = None
        self._group = group
        self._session = session
        self._config = config
        self._run = 0
        self._run_ms = 0
        self._sequence = 0
        self._sent_ms: int | None = None
        self._has_said_all = True
        self._told: dict[str, Told] = {}
        self._changed: set[str] = set()

    def set_heir(self, member_id: "str | None", keys: "list[str]", now_ms: int) -> "str | None":
        """Says who is to know the table. Returns the one to be told to forget it, if any."""
        former = self.heir
        if member_id == former:
            return None
        self.heir = member_id
        self._begin(keys, now_ms)
        return former

    def end(self) -> MirrorEnd:
        """What the former heir is told."""
        return MirrorEnd(self._group, self._session, self._run)

    def ask(self, sender: str, ask: MirrorAsk, keys: "list[str]", now_ms: int) -> None:
        """The heir misses a part of the run."""
        if sender != self.heir or (ask.session, ask.run) != (self._session, self._run):
            return
        if now_ms - self._run_ms >= self._config.heartbeat_ms:
            self._begin(keys, now_ms)

    def note(self, key: str) -> None:
        """Something about the lease of this job may have changed."""
        if self.heir is not None:
            self._changed.add(key)

    def get_timer(self) -> "int | None":
        """When `next_message` has something to say; None for never."""
        if self.heir is None or (self._has_said_all and not self._changed):
            return None
        if self._sent_ms is None:
            return self._run_ms
        pause_ms = self._config.mirror_ms if self._changed else self._config.heartbeat_ms
        return self._sent_ms + pause_ms

    def next_message(
        self, leases: "dict[str, Lease]", losses: "Losses", now_ms: int
    ) -> "Mirror | None":
        """What to tell the heir now, None for nothing. One call gives one message at most."""
        due_ms = self.get_timer()
        if due_ms is None or due_ms > now_ms:
            return None
        rows: list[Row] = []
        gone: list[str] = []
        lost: list[Loss] = []
        size_bytes = 0
        for key in sorted(self._changed):
            one = leases.get(key)
            if len(rows) + len(gone) + len(lost) == ROWS_MAX or size_bytes > RECEIPT_BYTES_MAX:
                break
            self._changed.discard(key)
            if one is None:
                was_told = self._told.pop(key, None) is not None
                count = losses.get(key, now_ms)
                if count:
                    lost.append((key, count, losses.remaining_ms(key, now_ms)))
                elif was_told:
                    gone.append(key)
                continue
            standing = standing_of(one)
            told = (
                one.activation,
                one.holder,
                standing,
                one.id.counter,
                one.lock_ms,
                one.lock_end_ms,
                one.regrants,
            )
            if self._told.get(key) != told:
                self._told[key] = told
                rows.append(row_of(one, now_ms))
                size_bytes += len(one.receipt)
        quiet = self._sent_ms is not None and now_ms < self._sent_ms + self._config.heartbeat_ms
        if (quiet or self._has_said_all) and not rows and not gone and not lost:
            return None
        nothing_to_add = not rows and not gone and not lost and not self._told
        self._has_said_all = nothing_to_add and self._sequence + 1 >= OPENINGS
        self._sent_ms = now_ms
        self._sequence += 1
        sequence = self._sequence - 1
        return Mirror(self._group, self._session, self._run, sequence, rows, gone, lost)

    def _begin(self, keys: "list[str]", now_ms: int) -> None:
        """A new run: everything is to be told."""
        self._run += 1
        self._run_ms = now_ms
        self._sequence = 0
        self._sent_ms = None
        self._told = {}
        self._changed = set(keys) if self.heir is not None else set()
        # The first messages go out also when they are empty: they tell of a process that is new.
        self._has_said_all = self.heir is None


class _Picture:
    """What is known of one claimer's table."""

    __slots__ = ("heard_ms", "losses", "next_sequence", "rows", "run", "session")

    def __init__(self, session: int, run: int, config: LeaseConfig, now_ms: int) -> None:
        self.session = session
        self.run = run
        self.next_sequence = 0
        self.heard_ms = now_ms
        self.rows: dict[str, tuple[Row, int]] = {}  # by key: with the end of the lock
        self.losses = Losses(config)


class Standby:
    """The heir's side: pictures of other claimers of the same group.

    Args:
        group: the claim group.
        config: bounds and intervals.
        losses: this member's own; gets what a claimer that is gone remembered.
    """

    def __init__(self, group: str, config: LeaseConfig, losses: "Losses") -> None:
        self._group = group
        self._config = config
        self._losses = losses
        self._pictures: dict[str, _Picture] = {}
        self._asked_ms: dict[str, int] = {}

    def receive(
        self, sender: str, message: Mirror, now_ms: int
    ) -> "tuple[MirrorAsk | None, list[Orphan]]":
        """Takes a part of a picture.

        Returns: what to ask the sender for, if anything; and the rows of a process of the sender
            that has ended, as another speaks now.
        """
        orphans: list[Orphan] = []
        picture = self._pictures.get(sender)
        if picture is not None and picture.session != message.session:
            orphans = self.take(sender, now_ms)
            picture = None
        if message.sequence == 0 and (picture is None or message.run > picture.run):
            picture = _Picture(message.session, message.run, self._config, now_ms)
            self._pictures[sender] = picture
            self._make_room(sender)
        if picture is None or message.run > picture.run:
            return self._ask(sender, message, now_ms), orphans
        if message.run < picture.run or message.sequence < picture.next_sequence:
            return None, orphans  # late or twice
        if message.sequence > picture.next_sequence:
            return self._ask(sender, message, now_ms), orphans
        picture.next_sequence += 1
        picture.heard_ms = now_ms
        for key in message.gone:
            picture.rows.pop(key, None)
            picture.losses.forget(key)
            self._losses.forget(key)
        for key, count, remaining_ms in message.losses:
            picture.rows.pop(key, None)
            end_ms = now_ms + min(remaining_ms, self._config.losses_kept_ms)
            picture.losses.keep(key, min(count, self._config.regrants_max), end_ms, now_ms)
        for row in message.rows:
            if row.lease.group == self._group and len(picture.rows) < HOLDINGS_MAX:
                picture.rows[row.lease.key] = (row, now_ms + row.remaining_ms)
                picture.losses.forget(row.lease.key)
        return None, orphans

    def receive_end(self, sender: str, message: "AboutMirror") -> None:
        """The sender has another heir."""
        picture = self._pictures.get(sender)
        if picture is not None and picture.session == message.session:
            del self._pictures[sender]

    def take(self, member_id: str, now_ms: int) -> "list[Orphan]":
        """What is known of a claimer that is gone, by key; taken once. Its losses are ours now."""
        picture = self._pictures.pop(member_id, None)
        self._asked_ms.pop(member_id, None)
        if picture is None:
            return []
        self._losses.add(picture.losses, now_ms)
        return [picture.rows[key] for key in sorted(picture.rows)]

    def void(self, key: str) -> None:
        """The engine has given the job out anew: what others said of it was of an older lock."""
        for picture in self._pictures.values():
            picture.rows.pop(key, None)

    def session_of(self, member_id: str) -> "int | None":
        """The process of a claimer whose table is mirrored here; None when it is not."""
        picture = self._pictures.get(member_id)
        return None if picture is None else picture.session

    def keys(self) -> "list[str]":
        """Jobs of others that are mirrored here, sorted."""
        return sorted({key for one in self._pictures.values() for key in one.rows})

    def losses_of(self, key: str, now_ms: int) -> int:
        """How often a job's node was lost, as other claimers say that gave it back, or will."""
        most = 0
        for picture in self._pictures.values():
            most = max(most, picture.losses.get(key, now_ms))
            known = picture.rows.get(key)
            if known is not None and known[0].standing == FREE:
                most = max(most, takeover.losses_of(known[0], 0, set()))
        return min(most, self._config.regrants_max)

    def leases(self) -> "list[LeaseId]":
        """Leases of others that are mirrored here, in order."""
        rows = [row[0] for one in self._pictures.values() for row in one.rows.values()]
        return in_order([row.lease for row in rows])

    def _ask(self, sender: str, message: Mirror, now_ms: int) -> "MirrorAsk | None":
        asked_ms = self._asked_ms.get(sender)
        if asked_ms is not None and now_ms - asked_ms < self._config.heartbeat_ms:
            return None
        if asked_ms is None and len(self._asked_ms) >= MIRRORS_MAX:
            self._asked_ms = {}
        self._asked_ms[sender] = now_ms
        return MirrorAsk(self._group, message.session, message.run)

    def _make_room(self, newest: str) -> None:
        """An empty picture goes, or the one that was added to least lately."""
        if len(self._pictures) > MIRRORS_MAX:
            others = sorted(
                (len(one.rows) > 0, one.heard_ms, member_id)
                for member_id, one in self._pictures.items()
                if member_id != newest
            )
            del self._pictures[others[0][2]]


def standing_of(one: "Lease") -> str:
    """What an heir must know of a lease's state."""
    if one.state in (states.WAITING, states.RELEASING):
        return FREE
    if one.state == states.ABANDONED:
        return LEFT_ALONE
    return TAKEN if one.holder is not None else GIVEN_UP


def row_of(one: "Lease", now_ms: int) -> Row:
    """A lease as an heir needs it."""
    return Row(
        one.id,
        one.topic,
        one.receipt,
        one.holder or "",
        standing_of(one),
        one.regrants,
        one.lock_ms,
        max(0, one.lock_end_ms - now_ms),
        one.on_lost,
    )
