"""Defects on purpose: what a careless change could leave behind, each in a few lines.

The simulations must notice each of them: leases alone (`test_leases_sim`, `test_takeover_sim`) and
whole worlds (`test_world_mutations`). Each takes a `MonkeyPatch` and breaks the core through it.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from gossamer_mesh.leases import granting, takeover
from gossamer_mesh.leases.claimer import Claimer
from gossamer_mesh.leases.credit import HolderView
from gossamer_mesh.leases.handover import HandOverSender
from gossamer_mesh.leases.holder import Holder
from gossamer_mesh.leases.lease import Lease
from gossamer_mesh.leases.messages import Inherit, LeaseId, OutcomeReport
from gossamer_mesh.leases.mirroring import Row
from gossamer_mesh.leases.reclaiming import Searches
from gossamer_mesh.leases.standby import MirrorSender, Standby
from gossamer_mesh.leases.tombstones import Tombstones
from gossamer_mesh.leases.work import EngineWork, Release
from gossamer_mesh.swim import protocol
from gossamer_mesh.swim.asking import Asking
from gossamer_mesh.swim.codec import Codec
from gossamer_mesh.swim.joining import Joining
from gossamer_mesh.swim.protocol import Swim

if TYPE_CHECKING:
    from gossamer_mesh.leases.messages import Message

Defect = Callable[[pytest.MonkeyPatch], None]

# --- leases


def fencing(patch: pytest.MonkeyPatch) -> None:
    """Outcomes of a lease count, whichever holder had it before."""
    receive = Claimer._receive_outcome

    def unfenced(self: Claimer, sender: str, report: OutcomeReport, now_ms: int) -> None:
        one = self._table.get(report.lease.key)
        if one is not None and one.may("outcome"):
            self._take_outcome(one, report.outcome, now_ms)
        else:
            receive(self, sender, report, now_ms)

    patch.setattr(Claimer, "_receive_outcome", unfenced)


def regrant_limit(patch: pytest.MonkeyPatch) -> None:
    """A poison job walks through the mesh."""
    lose = Claimer._lose

    def forgetful(self: Claimer, one: Lease, now_ms: int) -> None:
        one.regrants = 0
        lose(self, one, now_ms)

    patch.setattr(Claimer, "_lose", forgetful)


def losses_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A job that killed its claimer is counted from none by the next."""
    enter = Claimer._enter

    def fresh(self: Claimer, one: Lease, now_ms: int) -> None:
        one.regrants = 0
        enter(self, one, now_ms)

    patch.setattr(Claimer, "_enter", fresh)


def tombstones(patch: pytest.MonkeyPatch) -> None:
    """A repeated outcome is no longer known."""
    patch.setattr(Tombstones, "put", lambda self, lease, result: None)


def credit_spent_twice(patch: pytest.MonkeyPatch) -> None:
    """Grants on their way are not taken from the offer."""
    patch.setattr(HolderView, "credit", lambda self: self._slots_free)


def slots_offered_twice(patch: pytest.MonkeyPatch) -> None:
    """A slot with a job in it is offered."""
    patch.setattr(Holder, "slots_free", lambda self: self._slots)


def slots_below_none(patch: pytest.MonkeyPatch) -> None:
    """A holder offers fewer slots than none."""
    patch.setattr(Holder, "slots_free", lambda self: self._slots - 2 * len(self._running))


def ids_repeated(patch: pytest.MonkeyPatch) -> None:
    """A lease id comes again."""

    def next_id(self: Claimer, key: str) -> LeaseId:
        self._counter += 1
        return LeaseId(self.group, key, self._member_id, 0, 1, 1)

    patch.setattr(Claimer, "_next_id", next_id)


def outcomes_not_repeated(patch: pytest.MonkeyPatch) -> None:
    """An outcome that was lost on its way is not sent again."""
    send = Holder._send
    sent: set[tuple[int, LeaseId]] = set()

    def once(self: Holder, to: str, message: "Message") -> None:
        if isinstance(message, OutcomeReport):
            if (self._session, message.lease) in sent:
                return
            sent.add((self._session, message.lease))
        send(self, to, message)

    patch.setattr(Holder, "_send", once)


def lost_holders_not_missed(patch: pytest.MonkeyPatch) -> None:
    """A dead or silent holder keeps its leases."""
    patch.setattr(Claimer, "_lose_all", lambda self, member_ids, now_ms: None)


def topics_confused(patch: pytest.MonkeyPatch) -> None:
    """A holder gets a job that it has no service for."""
    patch.setattr(granting, "choose", lambda holders, *rest: min(holders, default=None))


# --- the take-over of leases


def mirror_ignored(patch: pytest.MonkeyPatch) -> None:
    """The heir does nothing with what it knows."""
    patch.setattr(Standby, "take", lambda self, member_id, now_ms: [])


def mirror_silent(patch: pytest.MonkeyPatch) -> None:
    """The claimer tells its heir nothing."""
    patch.setattr(MirrorSender, "get_timer", lambda self: None)


def inherited_not_renewed(patch: pytest.MonkeyPatch) -> None:
    """What was taken over keeps the age that its lock has."""
    inherit = takeover.inherit

    def unhurried(row: Row, lock_end_ms: int, now_ms: int) -> Lease:
        one = inherit(row, lock_end_ms, now_ms)
        one.renew_at_ms = lock_end_ms
        return one

    patch.setattr(takeover, "inherit", unhurried)


def inherited_not_released(patch: pytest.MonkeyPatch) -> None:
    """What no holder has waits for its lock."""
    decide = takeover.decide

    def idle(row: Row, lock_end_ms: int, alive: set[str], now_ms: int) -> str:
        step = decide(row, lock_end_ms, alive, now_ms)
        return takeover.SKIP if step in (takeover.RELEASE, takeover.LOSE) else step

    patch.setattr(takeover, "decide", idle)


def silent_holders_believed(patch: pytest.MonkeyPatch) -> None:
    """What nobody confirms stays with its holder, dead or not."""
    lose = Claimer._lose

    def trusting(self: Claimer, one: Lease, now_ms: int) -> None:
        if not one.inherited:
            lose(self, one, now_ms)

    patch.setattr(Claimer, "_lose", trusting)


def releases_repeated(patch: pytest.MonkeyPatch) -> None:
    """A job that is back at the engine is given back again, whoever has it by then."""
    settle = Claimer.handle_settled

    def deaf(
        self: Claimer, work: EngineWork, result: str | None, now_ms: int, retry_after_ms: int = 0
    ) -> None:
        settle(self, work, None if isinstance(work, Release) else result, now_ms, retry_after_ms)

    patch.setattr(Claimer, "handle_settled", deaf)


def locks_not_searched(patch: pytest.MonkeyPatch) -> None:
    """The engine is not asked what the polls of the dead have locked."""
    patch.setattr(Searches, "begin", lambda self, claimer, session, has_picture, now_ms: None)


def only_heirs_search(patch: pytest.MonkeyPatch) -> None:
    """Where the heir died as well, nobody asks."""
    patch.setattr(Searches, "expect", lambda self, claimer, session, now_ms: None)


def kept_not_spared(patch: pytest.MonkeyPatch) -> None:
    """What a holder has for a claimer that it still sees is taken for nobody's."""
    patch.setattr(Searches, "spare", lambda self, lease_id, holder, now_ms: None)


# --- leases passed on


def never_handed_over(patch: pytest.MonkeyPatch) -> None:
    """A claimer that lost its engine keeps its leases."""
    patch.setattr(HandOverSender, "get_timer", lambda self: None)
    patch.setattr(HandOverSender, "next_message", lambda self, leases, now_ms: None)


def taken_over_unasked(patch: pytest.MonkeyPatch) -> None:
    """The heir does not say that the old claimer agrees, so holders stay with that one."""
    receive = Holder._receive_inherit

    def unheard(self: Holder, sender: str, inherit: Inherit) -> None:
        receive(self, sender, Inherit(inherit.lease))

    patch.setattr(Holder, "_receive_inherit", unheard)
    patch.setattr(Holder, "_receive_yield", lambda self, sender, message: None)


def handed_over_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Holders that have not heard of the heir yet are told that their leases are void."""
    put = Tombstones.put
    members = ("m0", "m1", "m2", "m3")

    def put_no_word(self: Tombstones, lease: LeaseId, word: str) -> None:
        if word not in members:
            put(self, lease, word)

    patch.setattr(Claimer, "_moved_to", lambda self, lease_id: "")
    patch.setattr(Tombstones, "put", put_no_word)


# --- membership


def refutation(patch: pytest.MonkeyPatch) -> None:
    """A member does not object when it is called dead."""
    patch.setattr(Swim, "_hear_of_self", lambda self, update: None)


def signatures(patch: pytest.MonkeyPatch) -> None:
    """What anybody says of anybody counts."""
    patch.setattr(Codec, "is_proved", lambda self, update: True)


def old_words(patch: pytest.MonkeyPatch) -> None:
    """The last word wins, not the newest."""
    patch.setattr(protocol, "supersedes", lambda *incarnations_and_states: True)


def suspicion(patch: pytest.MonkeyPatch) -> None:
    """Who does not answer is never called dead."""
    patch.setattr(Swim, "_pass_verdict", lambda self, state, id: None)


def ties_ignored(patch: pytest.MonkeyPatch) -> None:
    """Two processes of one member have claimed the same incarnation, and nobody asks which is."""
    patch.setattr(Asking, "which_claim", lambda self, member, claim, now_ms: None)


def timer_spins(patch: pytest.MonkeyPatch) -> None:
    """What is due is not done, and so is due again at once, for ever."""
    patch.setattr(Joining, "_run_reconnect", lambda self, now_ms: None)
