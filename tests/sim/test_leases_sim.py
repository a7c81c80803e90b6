"""Claimers and holders in virtual time: the rules hold, and breaking the code breaks the rules.

One seed again, step by step: `python -m gossamer_mesh.testing.lease_model SEED`.
"""

from collections import Counter

import pytest
from tests.sim import defects

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


@pytest.mark.parametrize(
    "defect",
    [
        defects.fencing,
        defects.regrant_limit,
        defects.tombstones,
        defects.credit_spent_twice,
        defects.slots_offered_twice,
        defects.slots_below_none,
        defects.ids_repeated,
        defects.outcomes_not_repeated,
        defects.lost_holders_not_missed,
    ],
    ids=lambda defect: defect.__name__,
)
def test_broken_code_is_caught(monkeypatch: pytest.MonkeyPatch, defect: defects.Defect) -> None:
    defect(monkeypatch)
    with pytest.raises(InvariantBroken, match=r"^seed \d+ at \d+ ms: .*; replay: python -m"):
        for seed in range(SEEDS_TO_CATCH_MAX):
            LeaseModel(seed).run()
