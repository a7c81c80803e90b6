"""The hand-over: a claimer that lives but has lost its engine gives its leases to its heir.

Others reach the engine, so another claims by now; but the locks of what this one granted lapse, and
outcomes that come to it go nowhere. Rules:

1. It hands over when it does not reach the engine, another claims, and both have lasted for a
   heartbeat: an engine that restarts is out of everybody's reach, and within a heartbeat the heir,
   which asks the engine itself when it begins to claim, has said so.
2. It offers leases (`HandOver`) as the mirror tells them, with the outcomes that the engine has not
   answered. What no holder has answered for yet stays, until it is something else: `accept_ms`.
3. Only what the heir says that it has taken (`TakenOver`) is dropped, if it is still as it was
   offered. One offer is under way at a time; without an answer it is made again each heartbeat, to
   whoever is the heir then. So a lost message costs a heartbeat, and a lease always has one claimer
   at least; for a moment it may have two, which the holder decides and the engine survives.
4. An heir that does not reach the engine either says nothing. It takes leases over as from a dead
   claimer, but tells the holders who handed them over, or they would stay with it, as it lives.
5. What was dropped is remembered with its heir: a holder that still names it, or sends its outcome,
   is told to `Yield` it to the heir.

This is the side of the claimer that gives; `inheriting` has the other.
"""

from gossamer_mesh.leases import lease as states
from gossamer_mesh.leases.config import LeaseConfig
from gossamer_mesh.leases.mirroring import ROWS_MAX, HandOver
from gossamer_mesh.leases.standby import RECEIPT_BYTES_MAX, row_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gossamer_mesh.leases.lease import Lease
    from gossamer_mesh.leases.lease_id import LeaseId
    from gossamer_mesh.leases.mirroring import Row


class HandOverSender:
    """What is offered, and when.

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
        self._due_ms = 0
        self._offered: dict[LeaseId, str] = {}

    def set_heir(self, member_id: "str | None", now_ms: int) -> None:
        """Says who is to get the leases; None while this claimer is to keep them."""
        if member_id != self.heir:
            self.heir = member_id
            self._due_ms = now_ms + self._config.heartbeat_ms
            self._offered = {}

    def get_timer(self) -> "int | None":
        """When `next_message` may have something to say; None for never."""
        return None if self.heir is None else self._due_ms

    def next_message(self, leases: "dict[str, Lease]", now_ms: int) -> "HandOver | None":
        """What to offer the heir now, None for nothing."""
        if self.heir is None or now_ms < self._due_ms:
            return None
        self._due_ms = now_ms + self._config.heartbeat_ms
        self._offered = {}
        rows: list[Row] = []
        outcomes: list[bytes | None] = []
        size_bytes = 0
        for key in sorted(leases):
            one = leases[key]
            if not one.may("yield"):
                continue
            if len(rows) == ROWS_MAX or size_bytes > RECEIPT_BYTES_MAX:
                break
            row = row_of(one, now_ms)
            if one.successor is not None:
                row.receipt = one.successor.receipt  # the engine knows the job by the newest lock
            outcome = one.outcome if one.state == states.REPORTING else None
            rows.append(row)
            outcomes.append(outcome)
            size_bytes += len(row.receipt) + len(outcome or b"")
            self._offered[one.id] = one.state
        return HandOver(self._group, self._session, rows, outcomes) if rows else None

    def take_answer(self, leases: "list[LeaseId]", now_ms: int) -> "list[LeaseId]":
        """The heir has these. Returns those that were offered; the next offer may go out."""
        taken = [one for one in leases if one in self._offered]
        if taken:
            self._due_ms = now_ms
        return taken

    def is_as_offered(self, one: "Lease") -> bool:
        """Whether the heir knows all that there is to know of a lease."""
        return self._offered.get(one.id) == one.state
