"""A claimer is lost in virtual time: nothing waits for the engine's lock, and broken code shows.

One seed again, step by step: `python -m gossamer_mesh.testing.lease_takeover SEED`.
"""

from collections import Counter

import pytest
from tests.sim import defects

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


@pytest.mark.parametrize(
    "defect",
    [
        defects.never_handed_over,
        defects.taken_over_unasked,
        defects.handed_over_forgotten,
        defects.mirror_ignored,
        defects.mirror_silent,
        defects.inherited_not_renewed,
        defects.inherited_not_released,
        defects.silent_holders_believed,
        defects.releases_repeated,
    ],
    ids=lambda defect: defect.__name__,
)
def test_a_broken_take_over_is_caught(
    monkeypatch: pytest.MonkeyPatch, defect: defects.Defect
) -> None:
    defect(monkeypatch)
    with pytest.raises(InvariantBroken, match=r"^seed \d+ at \d+ ms: .*; replay: python -m"):
        for seed in range(SEEDS_TO_CATCH_MAX):
            TakeOverModel(seed).run()
