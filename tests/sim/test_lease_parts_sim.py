"""A group in parts that come and go, in many runs with everything that can go wrong."""

from collections import Counter

import pytest

from gossamer_mesh.leases.placement import spread
from gossamer_mesh.testing import lease_parts
from gossamer_mesh.testing.lease_checks import InvariantBroken
from gossamer_mesh.testing.lease_parts import PartsModel

SEEDS = 150


def test_rules_hold_while_parts_come_and_go() -> None:
    counts: Counter[str] = Counter()
    for seed in range(SEEDS):
        model = PartsModel(seed)
        model.run()
        counts.update(model.counts)
    met = ("parts changed", "crashes", "partitions", "regranted", "adopted", "inherited")
    assert {path: counts[path] for path in met if not counts[path]} == {}


def test_credit_for_a_part_that_nobody_claims_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A holder must spread over the parts that there are, not over those that could be."""
    every = [f"e/{part}" for part in range(lease_parts.PARTS_MAX)]
    monkeypatch.setattr(lease_parts, "spread", lambda _, member_ids: spread(every, member_ids))
    with pytest.raises(InvariantBroken, match=r"replay: python -m \S+lease_parts \d+"):
        for seed in range(SEEDS):
            PartsModel(seed).run()
