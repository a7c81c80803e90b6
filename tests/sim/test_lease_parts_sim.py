"""A group in parts that come and go, in many runs with everything that can go wrong."""

from collections import Counter

import pytest

from gossamer_mesh.leases.claimer import Claimer
from gossamer_mesh.testing.lease_checks import InvariantBroken
from gossamer_mesh.testing.lease_mesh import Process
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


def test_a_claimer_must_outlive_its_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """To drop it with its part would forget its leases, and grant their ids once more."""
    view_changed = PartsModel._view_changed

    def forgetful(self: PartsModel, process: Process) -> None:
        view_changed(self, process)
        for group, claimer in process.claimers.items():
            if not claimer.elected:
                process.claimers[group] = Claimer(
                    group, process.member_id, process.session, self._config
                )

    monkeypatch.setattr(PartsModel, "_view_changed", forgetful)
    with pytest.raises(InvariantBroken, match=r"replay: python -m \S+lease_parts \d+"):
        for seed in range(SEEDS):
            PartsModel(seed).run()
