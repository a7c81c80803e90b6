"""A claimer's leases, with what must follow each change of one: indexes, timers, the mirror.

Every step, every change of a holder and every end of a lease goes through here, so that the leases
that wait, the leases of each holder, each lease's next due time and the standby's picture are
never behind. What a step means is the claimer's business.
"""

from gossamer_mesh.leases import lease as states
from gossamer_mesh.leases.config import LeaseConfig
from gossamer_mesh.leases.timers import Timers
from gossamer_mesh.leases.tombstones import Tombstones

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gossamer_mesh.leases.lease import Lease
    from gossamer_mesh.leases.standby import MirrorSender

LEASE = "lease"
"""What a timer is for."""


class LeaseTable:
    """The open leases of one claimer.

    Args:
        config: bounds and intervals.
        mirror: is told the key of each lease that changed.

    Attributes:
        settled: how leases ended that did.
        moved: of leases that another claimer answers for by now, which; empty: not known.
    """

    def __init__(self, config: LeaseConfig, mirror: "MirrorSender") -> None:
        self._config = config
        self._mirror = mirror
        self._of: dict[str, dict[str, Lease]] = {}
        self.leases: dict[str, Lease] = {}
        self.waiting: dict[str, Lease] = {}
        self.settled = Tombstones(config.settled_kept_max)
        self.moved = Tombstones(config.settled_kept_max)
        self.timers = Timers()
        self.grace_end_ms: int | None = None

    def get(self, key: str) -> "Lease | None":
        """The open lease of a job."""
        return self.leases.get(key)

    def of(self, member_id: str) -> "list[Lease]":
        """The leases that this member has, or had when it was lost."""
        theirs = self._of.get(member_id, {})
        return [theirs[key] for key in sorted(theirs)]

    def all_waiting(self) -> "list[Lease]":
        """The leases that no holder has, by key: maps keep no order on a microcontroller."""
        return [self.waiting[key] for key in sorted(self.waiting)]

    def put(self, one: "Lease") -> None:
        """Takes a lease in."""
        self.leases[one.id.key] = one
        if one.state == states.WAITING:
            self.waiting[one.id.key] = one
        self.arm(one)
        self._mirror.note(one.id.key)

    def step(self, one: "Lease", step: str, now_ms: int) -> None:
        """Takes a step of the lease's table."""
        one.step(step, now_ms)
        if one.state == states.WAITING:
            self.waiting[one.id.key] = one
        else:
            self.waiting.pop(one.id.key, None)
        self.arm(one)
        self._mirror.note(one.id.key)

    def assign(self, one: "Lease", member_id: "str | None") -> None:
        """Changes its holder."""
        if one.holder is not None:
            theirs = self._of[one.holder]
            del theirs[one.id.key]
            if not theirs:
                del self._of[one.holder]
        one.holder = member_id
        if member_id is not None:
            self._of.setdefault(member_id, {})[one.id.key] = one
        self._mirror.note(one.id.key)

    def renewed(self, one: "Lease", lock_end_ms: int) -> None:
        """The engine keeps its lock until then."""
        one.lock_end_ms = lock_end_ms
        self._mirror.note(one.id.key)

    def pass_on(self, one: "Lease", step: str, member_id: str, now_ms: int) -> None:
        """Another claimer answers for it: it leaves without a word to the engine."""
        self.step(one, step, now_ms)
        self.forget(one, None)
        self.moved.put(one.id, member_id)

    def forget(self, one: "Lease", result: "str | None") -> None:
        """Takes it out. A tombstone stays, to answer repeats, unless `result` is None."""
        key = one.id.key
        del self.leases[key]
        self.waiting.pop(key, None)
        self.timers.set((LEASE, key), None)
        self.assign(one, None)
        if result is not None:
            self.settled.put(one.id, result)

    # --- time

    def arm(self, one: "Lease") -> None:
        """Sets its timer to the earliest thing that is to be done about it."""
        due: list[int] = []
        if one.state in (states.GRANTED, states.INHERITED):
            due.append(self.accept_end_ms(one))
        elif one.state == states.WAITING:
            due.append(one.since_ms + self._config.waiting_ms)
        elif one.state == states.ABANDONED:
            due.append(one.lock_end_ms)
        elif one.state == states.HELD and one.held_end_ms is not None:
            due.append(self.judged_ms(one.held_end_ms))
        if one.retry_at_ms is not None:
            due.append(one.retry_at_ms)
        if self.is_renewable(one):
            due.append(one.renew_at_ms)
        self.timers.set((LEASE, one.id.key), min(due) if due else None)

    def accept_end_ms(self, one: "Lease") -> int:
        """When a holder that has not answered has lost it."""
        return self.judged_ms(one.since_ms + self._config.accept_ms)

    def judged_ms(self, due_ms: int) -> int:
        """When to conclude from somebody's silence: not while we may have unread messages."""
        return due_ms if self.grace_end_ms is None else max(due_ms, self.grace_end_ms)

    def is_renewable(self, one: "Lease") -> bool:
        """A lock is kept for whoever works or is about to; an adopted outcome has none to keep."""
        if one.renewing or one.lock_ms == 0:
            return False
        return one.state in (states.WAITING, states.GRANTED, states.INHERITED, states.HELD) or (
            one.state == states.REPORTING and one.retry_at_ms is not None
        )
