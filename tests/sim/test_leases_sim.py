"""Claimers and holders in virtual time: the rules hold, and breaking the code breaks the rules.

One seed again, step by step: `python -m gossamer_mesh.testing.lease_model SEED`.
"""

from collections import Counter
from collections.abc import Callable

import pytest

from gossamer_mesh.leases.claimer import Claimer
from gossamer_mesh.leases.credit import HolderView
from gossamer_mesh.leases.holder import Holder
from gossamer_mesh.leases.lease import Lease
from gossamer_mesh.leases.messages import LeaseId, OutcomeReport
from gossamer_mesh.leases.tombstones import Tombstones
from gossamer_mesh.testing.lease_checks import InvariantBroken
from gossamer_mesh.testing.lease_model import LeaseModel

SEEDS = 700
SEEDS_TO_CATCH_MAX = 700
"""Runs within which a broken rule must have shown itself."""


def test_rules_hold_and_every_path_is_met() -> None:
    counts: Counter[str] = Counter()
    for seed in range(SEEDS):
        model = LeaseModel(seed)
        model.run()
        counts.update(model.counts)
    # A model in which nothing goes wrong would prove nothing.
    met = (
        "crashes",
        "pauses",
        "partitions",
        "stops",
        "regranted",
        "adopted",
        "given up",
        "handed_over",
    )
    told = ("told completed", "told failed", "told gone", "told stale", "told released")
    assert {path: counts[path] for path in (*met, *told, "cancelled") if not counts[path]} == {}


def test_seed_decides_everything() -> None:
    traces: list[list[str]] = []
    for _ in range(2):
        steps: list[str] = []
        LeaseModel(11, steps.append).run()
        traces.append(steps)
    assert traces[0] == traces[1]
    assert len(traces[0]) > 20


def _accept_outcomes_of_any_id(monkeypatch: pytest.MonkeyPatch) -> None:
    receive = Claimer._receive_outcome

    def unfenced(self: Claimer, sender: str, report: OutcomeReport, now_ms: int) -> None:
        one = self._table.get(report.lease.key)
        if one is not None and one.may("outcome"):
            self._take_outcome(one, report.outcome, now_ms)
        else:
            receive(self, sender, report, now_ms)

    monkeypatch.setattr(Claimer, "_receive_outcome", unfenced)


def _grant_without_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    lose = Claimer._lose

    def forgetful(self: Claimer, one: Lease, now_ms: int) -> None:
        one.regrants = 0
        lose(self, one, now_ms)

    monkeypatch.setattr(Claimer, "_lose", forgetful)


def _forget_tombstones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tombstones, "put", lambda self, lease, result: None)


def _spend_credit_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HolderView, "credit", lambda self: self._slots_free)


def _offer_slots_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Holder, "slots_free", lambda self: self._slots)


def _offer_negative_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Holder, "slots_free", lambda self: self._slots - 2 * len(self._running))


def _repeat_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    def next_id(self: Claimer, key: str) -> LeaseId:
        self._counter += 1
        return LeaseId(self.group, key, self._member_id, 0, 1, 1)

    monkeypatch.setattr(Claimer, "_next_id", next_id)


def _send_outcomes_once(monkeypatch: pytest.MonkeyPatch) -> None:
    send = Holder._send_outcome

    def once(self: Holder, held: object, now_ms: int) -> None:
        if getattr(held, "tries") == 0:  # noqa: B009 (the class is private)
            send(self, held, now_ms)  # type: ignore[arg-type]

    monkeypatch.setattr(Holder, "_send_outcome", once)


def _never_miss_a_holder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Claimer, "_lose_all", lambda self, member_ids, now_ms: None)


@pytest.mark.parametrize(
    "break_rule",
    [
        _accept_outcomes_of_any_id,
        _grant_without_limit,
        _forget_tombstones,
        _spend_credit_twice,
        _offer_slots_in_use,
        _offer_negative_slots,
        _repeat_ids,
        _send_outcomes_once,
        _never_miss_a_holder,
    ],
)
def test_broken_code_is_caught(
    monkeypatch: pytest.MonkeyPatch, break_rule: Callable[[pytest.MonkeyPatch], None]
) -> None:
    break_rule(monkeypatch)
    with pytest.raises(InvariantBroken, match=r"^seed \d+ at \d+ ms: .*; replay: python -m"):
        for seed in range(SEEDS_TO_CATCH_MAX):
            LeaseModel(seed).run()
