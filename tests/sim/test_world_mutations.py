"""Breaking the cores on purpose breaks a rule of the worlds, within some seeds.

A world that does not notice a defect of `defects` would not notice a real one. Each is looked for
in worlds of the plan that makes it likely, and the seed that shows it is printed.
"""

import pytest
from tests.sim import defects

from gossamer_mesh.testing.lease_checks import InvariantBroken
from gossamer_mesh.testing.world import World
from gossamer_mesh.testing.world_plans import plan_of

SEEDS_MAX = 80
"""Worlds within which a defect must have shown itself: three times what any has needed."""

CASES = (
    (defects.fencing, "late-reports"),
    (defects.credit_spent_twice, "late-reports"),
    (defects.slots_offered_twice, "late-reports"),
    (defects.slots_below_none, "late-reports"),
    (defects.ids_repeated, "late-reports"),
    (defects.lost_holders_not_missed, "late-reports"),
    (defects.topics_confused, "late-reports"),
    (defects.tombstones, "broken-streams"),
    (defects.outcomes_not_repeated, "broken-streams"),
    (defects.regrant_limit, "poison"),
    (defects.losses_forgotten, "poisoned-claimers"),
    (defects.mirror_ignored, "lost-claimers"),
    (defects.mirror_silent, "lost-claimers"),
    (defects.inherited_not_released, "lost-claimers"),
    (defects.silent_holders_believed, "lost-claimers"),
    (defects.releases_repeated, "lost-claimers"),
    (defects.kept_not_spared, "lost-claimers"),
    (defects.locks_not_searched, "unread-polls"),
    (defects.only_heirs_search, "unread-polls"),
    (defects.signatures, "liars"),
    (defects.old_words, "liars"),
    (defects.refutation, "restarts"),
    (defects.suspicion, "restarts"),
    (defects.timer_spins, "usual"),
)
"""With the plan of the worlds that show each."""

FIRST: dict[defects.Defect, int] = {defects.inherited_not_released: 20}
"""The seed to begin with where many worlds do not show a defect."""


@pytest.mark.parametrize(("defect", "plan"), CASES, ids=lambda one: getattr(one, "__name__", one))
def test_a_defect_is_caught_and_its_seed_told(
    defect: defects.Defect,
    plan: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    defect(monkeypatch)
    with pytest.raises(
        InvariantBroken, match=r"^seed \d+ at \d+ ms: .*; replay: python -m"
    ) as told:
        first = FIRST.get(defect, 0)
        for seed in range(first, first + SEEDS_MAX):
            World(seed, None, plan_of(plan)).run()
    with capsys.disabled():
        print(f"\n{getattr(defect, '__name__')}: {told.value}")  # noqa: B009
