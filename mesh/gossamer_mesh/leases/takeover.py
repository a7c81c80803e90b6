"""What becomes of the leases of a claimer that is gone: decided here, done by the claimer.

Its heir has the picture that `standby` keeps. The locks are still held at the engine under the
worker id of the dead claimer, and the receipts name it, so whoever has them can renew, settle and
release.

    its holder lives      INHERITED under the id that it has, renewed at once; the holder is asked
    its holder is gone    lost, as with a living claimer: released, given up, or left alone
    nobody has it         released: active again at the engine at once
    left alone            stays so until its lock ends
    given up              given up again

The holder alone says who answers for its lease (`Inherited`, `Keep`, `Refuse`). So a claimer that
only seemed dead keeps what its holders think that it has, and no lease has two claimers for long.
"""

from gossamer_mesh.leases import lease as states
from gossamer_mesh.leases.lease import Lease
from gossamer_mesh.leases.mirroring import FREE, GIVEN_UP, LEFT_ALONE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gossamer_mesh.leases.lease_id import LeaseId
    from gossamer_mesh.leases.mirroring import Row

ASK = "ask"
LOSE = "lose"
RELEASE = "release"
ABANDON = "abandon"
GIVE_UP = "give_up"
SKIP = "skip"
"""What to do with a row."""


def decide(row: "Row", lock_end_ms: int, alive: "set[str]", now_ms: int) -> str:
    """What to do with a lease of a claimer that is gone.

    Args:
        row: as the claimer told it last.
        lock_end_ms: when the engine's lock ends, as far as that is known.
        alive: members that live, this one included.
    """
    if row.standing == GIVEN_UP:
        return GIVE_UP
    has_ended = lock_end_ms <= now_ms
    if row.standing == LEFT_ALONE:
        return SKIP if has_ended else ABANDON
    if row.standing == FREE:
        return SKIP if has_ended else RELEASE
    if row.holder in alive:
        return ASK  # also when the lock has ended: the engine says whether it still counts
    return SKIP if has_ended else LOSE


def losses_of(row: "Row", known: int, alive: "set[str]") -> int:
    """How often the nodes that had the job were lost, this row's holder included.

    Args:
        row: as its claimer told it last.
        known: of earlier losses, as we know them.
        alive: members that live.
    """
    is_lost = row.holder != "" and (row.standing == FREE or row.holder not in alive)
    return max(row.regrants, known) + (1 if is_lost else 0)


def inherit(row: "Row", lock_end_ms: int, now_ms: int) -> Lease:
    """A lease from what its claimer told of it."""
    one = _inherited(row.lease, row.topic, row.receipt, row.lock_ms, lock_end_ms, now_ms)
    one.on_lost = row.on_lost
    one.regrants = row.regrants
    return one


def inherit_from_holder(
    lease_id: "LeaseId", topic: str, receipt: bytes, lock_ms: int, on_lost: str, now_ms: int
) -> Lease:
    """A lease from what its holder tells: its lock is of unknown age."""
    one = _inherited(lease_id, topic, receipt, lock_ms, now_ms, now_ms)
    one.on_lost = on_lost
    return one


def _inherited(
    lease_id: "LeaseId", topic: str, receipt: bytes, lock_ms: int, lock_end_ms: int, now_ms: int
) -> Lease:
    one = Lease(lease_id, topic, receipt, b"", lock_ms, lock_end_ms, "regrant", now_ms)
    one.state = states.INHERITED
    one.inherited = True
    one.renew_at_ms = now_ms
    return one
