"""A claimer is lost in virtual time: nothing waits for the engine's lock, and broken code shows.

One seed again, step by step: `python -m gossamer_mesh.testing.lease_takeover SEED`.
"""

from collections import Counter
from collections.abc import Callable

import pytest

from gossamer_mesh.leases import takeover
from gossamer_mesh.leases.claimer import Claimer
from gossamer_mesh.leases.handover import HandOverSender
from gossamer_mesh.leases.holder import Holder
from gossamer_mesh.leases.lease import Lease
from gossamer_mesh.leases.lease_id import LeaseId
from gossamer_mesh.leases.messages import Inherit
from gossamer_mesh.leases.mirroring import Row
from gossamer_mesh.leases.standby import MirrorSender, Standby
from gossamer_mesh.leases.tombstones import Tombstones
from gossamer_mesh.testing.lease_checks import InvariantBroken
from gossamer_mesh.testing.lease_takeover import WAYS, TakeOverModel

SEEDS = 150
SEEDS_TO_CATCH_MAX = 60
"""Runs within which a broken rule must have shown itself."""


def test_nothing_waits_for_the_lock_and_every_path_is_met() -> None:
    counts: Counter[str] = Counter()
    for seed in range(SEEDS):
        model = TakeOverModel(seed)
        model.run()
        counts.update(model.counts)
    met = (*WAYS, "inherited", "released", "adopted", "unseen", "told completed", "cancelled")
    assert {path: counts[path] for path in met if path != "stops" and not counts[path]} == {}
    assert counts["handed_over"] > SEEDS // len(WAYS)
    assert counts["inherited"] > SEEDS  # a loss that finds nothing open would prove nothing


def _ignore_the_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Standby, "take", lambda self, member_id: [])


def _tell_no_standby(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MirrorSender, "get_timer", lambda self: None)


def _adopt_without_renewing(monkeypatch: pytest.MonkeyPatch) -> None:
    inherit = takeover.inherit

    def unhurried(row: Row, lock_end_ms: int, now_ms: int) -> Lease:
        one = inherit(row, lock_end_ms, now_ms)
        one.renew_at_ms = lock_end_ms
        return one

    monkeypatch.setattr(takeover, "inherit", unhurried)


def _never_release(monkeypatch: pytest.MonkeyPatch) -> None:
    decide = takeover.decide

    def idle(row: Row, lock_end_ms: int, alive: set[str], now_ms: int) -> str:
        step = decide(row, lock_end_ms, alive, now_ms)
        return takeover.SKIP if step in (takeover.RELEASE, takeover.LOSE) else step

    monkeypatch.setattr(takeover, "decide", idle)


def _believe_in_silent_holders(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody confirms stays with its holder, dead or not."""
    lose = Claimer._lose

    def trusting(self: Claimer, one: Lease, now_ms: int) -> None:
        if not one.inherited:
            lose(self, one, now_ms)

    monkeypatch.setattr(Claimer, "_lose", trusting)


def _never_hand_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HandOverSender, "get_timer", lambda self: None)
    monkeypatch.setattr(HandOverSender, "next_message", lambda self, leases, now_ms: None)


def _take_over_without_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    """The heir does not say that the old claimer agrees, so holders stay with that one."""

    def unheard(self: Holder, sender: str, inherit: Inherit) -> None:
        receive(self, sender, Inherit(inherit.lease))

    receive = Holder._receive_inherit
    monkeypatch.setattr(Holder, "_receive_inherit", unheard)
    monkeypatch.setattr(Holder, "_receive_yield", lambda self, sender, message: None)


def _forget_what_was_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Holders that have not heard of the heir yet are told that their leases are void."""
    monkeypatch.setattr(Claimer, "_moved_to", lambda self, lease_id: "")
    monkeypatch.setattr(Tombstones, "put", _put_no_word(Tombstones.put))


def _put_no_word(
    put: Callable[[Tombstones, LeaseId, str], None],
) -> Callable[[Tombstones, LeaseId, str], None]:
    members = ("m0", "m1", "m2", "m3")
    return lambda self, lease, word: None if word in members else put(self, lease, word)


@pytest.mark.parametrize(
    "break_rule",
    [
        _never_hand_over,
        _take_over_without_asking,
        _forget_what_was_handed_over,
        _ignore_the_mirror,
        _tell_no_standby,
        _adopt_without_renewing,
        _never_release,
        _believe_in_silent_holders,
    ],
)
def test_a_broken_take_over_is_caught(
    monkeypatch: pytest.MonkeyPatch, break_rule: Callable[[pytest.MonkeyPatch], None]
) -> None:
    break_rule(monkeypatch)
    with pytest.raises(InvariantBroken, match=r"^seed \d+ at \d+ ms: .*; replay: python -m"):
        for seed in range(SEEDS_TO_CATCH_MAX):
            TakeOverModel(seed).run()
