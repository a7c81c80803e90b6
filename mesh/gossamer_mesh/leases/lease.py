"""The life of a lease as its claimer sees it: one table, and an illegal step raises.

    activated ─▶ WAITING ──grant──▶ GRANTED ──accept──▶ HELD ──outcome──▶ REPORTING ──settle──▶ ∅
                  │   ▲                │                  │
                  │   └──refuse, return, lose──◀──────────┤
                  │                                       └──abandon──▶ ABANDONED ──settle──▶ ∅
                  └──release──▶ RELEASING ──settle──▶ ∅

    taken over ─▶ INHERITED ──accept──▶ HELD, and whatever GRANTED may do but go back to WAITING

What HELD may do, GRANTED may do as well, and both `give_up` to REPORTING, as does WAITING where an
earlier activation has cost too many nodes already. A holder that was lost may be there after all:
until another has the lease (WAITING, ABANDONED), its `accept` and its `outcome` still count. What
was taken over has no payload, so nobody else can be granted it: where another lease is lost to
WAITING, it is released. A lease that `move`s has another claimer by now, as its holder says; one
that is handed over (`yield`) has one that has said so itself. Both leave the table without a word
to the engine. What was not answered yet, GRANTED and INHERITED, is not handed over: within
`accept_ms` it is something else.

A lease leaves the table when it is settled; then only its tombstone answers repeated outcomes.
"""

from gossamer_mesh.errors import MisuseError
from gossamer_mesh.leases.messages import LeaseId

WAITING = "waiting"
"""Activated; no holder is known to have it."""
GRANTED = "granted"
"""Sent to a holder that has not answered."""
INHERITED = "inherited"
"""Taken over from a claimer that is gone; its holder has not confirmed it."""
HELD = "held"
"""A holder runs it."""
ABANDONED = "abandoned"
"""Its holder was lost and its service waits for the engine's lock to end."""
REPORTING = "reporting"
"""Its outcome is on the way to the engine."""
RELEASING = "releasing"
"""It is on the way back to the engine, unworked."""
SETTLED = "settled"
"""The engine has answered, or another claimer answers for it; nothing more can happen."""

TRANSITIONS = {
    (WAITING, "grant"): GRANTED,
    (WAITING, "accept"): HELD,
    (WAITING, "outcome"): REPORTING,
    (WAITING, "release"): RELEASING,
    (WAITING, "give_up"): REPORTING,
    (GRANTED, "accept"): HELD,
    (GRANTED, "refuse"): WAITING,
    (GRANTED, "return"): WAITING,
    (GRANTED, "lose"): WAITING,
    (GRANTED, "abandon"): ABANDONED,
    (GRANTED, "give_up"): REPORTING,
    (GRANTED, "outcome"): REPORTING,
    (INHERITED, "accept"): HELD,
    (INHERITED, "abandon"): ABANDONED,
    (INHERITED, "give_up"): REPORTING,
    (INHERITED, "outcome"): REPORTING,
    (INHERITED, "release"): RELEASING,
    (HELD, "accept"): HELD,
    (HELD, "return"): WAITING,
    (HELD, "lose"): WAITING,
    (HELD, "abandon"): ABANDONED,
    (HELD, "give_up"): REPORTING,
    (HELD, "outcome"): REPORTING,
    (HELD, "release"): RELEASING,
    (ABANDONED, "accept"): HELD,
    (ABANDONED, "return"): WAITING,
    (ABANDONED, "outcome"): REPORTING,
    (ABANDONED, "release"): RELEASING,
    (ABANDONED, "settle"): SETTLED,
    (REPORTING, "settle"): SETTLED,
    (RELEASING, "settle"): SETTLED,
    (WAITING, "move"): SETTLED,
    (GRANTED, "move"): SETTLED,
    (INHERITED, "move"): SETTLED,
    (HELD, "move"): SETTLED,
    (ABANDONED, "move"): SETTLED,
    (WAITING, "yield"): SETTLED,
    (HELD, "yield"): SETTLED,
    (ABANDONED, "yield"): SETTLED,
    (REPORTING, "yield"): SETTLED,
    (RELEASING, "yield"): SETTLED,
}
"""(state, step) → next state."""


class Lease:
    """One activation in a claimer's table.

    Attributes:
        activation: counter of its first id; tells this activation from another.
        id: changes with every grant: a new counter is a new epoch, and fences the old holder.
        topic, receipt, payload: as activated. The payload goes when an outcome has come.
        priority: of leases that wait, the highest goes first.
        progress: thousandths and a sentence, as its holder's worker said last; None for nothing.
        inherited: another claimer granted it, and its payload never was here.
        holder: the member that has it, or had it when it was lost; None before the first grant
            and after it was given back.
        state: one of this module's states; change it by `step` alone.
        since_ms: when the state was entered.
        lock_ms: length of the engine's lock at each renewal.
        lock_end_ms: when it ends, on this member's clock.
        renew_at_ms: when to renew it.
        renewing: a renewal is on its way.
        call_waits: its report or release waits for the end of that.
        regrants: how often it was granted again because its holder was lost; in earlier activations
            too, as far as that is remembered (`losses`).
        held_end_ms: when its holder, if it has not asked for more time, is stuck; None for never.
        on_lost: `regrant` or `wait`.
        outcome: opaque, while reporting; None there means that the claimer gave up.
        reason: why it was given up or released.
        retry_at_ms: when to try the engine again, None while a call is under way.
        tries: calls that the engine did not answer.
        successor: the same job, activated anew while its outcome was on the way to the engine.
    """

    __slots__ = (
        "activation",
        "call_waits",
        "held_end_ms",
        "holder",
        "id",
        "inherited",
        "lock_end_ms",
        "lock_ms",
        "on_lost",
        "outcome",
        "payload",
        "priority",
        "progress",
        "reason",
        "receipt",
        "regrants",
        "renew_at_ms",
        "renewing",
        "retry_at_ms",
        "since_ms",
        "state",
        "successor",
        "topic",
        "tries",
    )

    def __init__(
        self,
        lease_id: LeaseId,
        topic: str,
        receipt: bytes,
        payload: bytes,
        lock_ms: int,
        lock_end_ms: int,
        on_lost: str,
        now_ms: int,
    ) -> None:
        self.id = lease_id
        self.activation = lease_id.counter
        self.topic = topic
        self.receipt = receipt
        self.payload = payload
        self.lock_ms = lock_ms
        self.lock_end_ms = lock_end_ms
        self.on_lost = on_lost
        self.priority = 0
        self.progress: tuple[int, str] | None = None
        self.inherited = False
        self.held_end_ms: int | None = None
        self.holder: str | None = None
        self.state = WAITING
        self.since_ms = now_ms
        self.renew_at_ms = lock_end_ms
        self.renewing = False
        self.call_waits = False
        self.regrants = 0
        self.outcome: bytes | None = None
        self.reason = ""
        self.retry_at_ms: int | None = None
        self.tries = 0
        self.successor: Lease | None = None

    def losses(self) -> int:
        """How often its node was lost, counting the last when nobody else has the lease yet."""
        return self.regrants + (1 if self.state == WAITING and self.holder is not None else 0)

    def may(self, step: str) -> bool:
        """Whether the table allows this step now."""
        return (self.state, step) in TRANSITIONS

    def step(self, step: str, now_ms: int) -> None:
        """Takes a step of the table.

        Raises: MisuseError, the lease unchanged, when the table has no such step.
        """
        following = TRANSITIONS.get((self.state, step))
        if following is None:
            raise MisuseError(f"{self.id!r} cannot {step} while {self.state}")
        if following != self.state:
            self.since_ms = now_ms
        self.state = following
