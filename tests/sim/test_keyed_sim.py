"""Turns and states of keys, in meshes where nodes die, restart, part and lose messages."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.sim.keyed_model import World

from gossamer_node.keyed import homes, reigns
from gossamer_node.keyed.homes import Homes
from gossamer_node.keyed.runs import Runs

SEEDS = 150
PARTED_SEEDS = 60
STALLED_SEEDS = 60
SEEDS_OF_A_DEFECT = 100

Defect = Callable[[pytest.MonkeyPatch], None]


def faults_of(seed: int, *, parts: bool = False) -> list[str]:
    world = World(seed, parts=parts)
    world.play()
    return world.check()


def test_one_turn_at_a_time_and_no_state_lost_where_nodes_die_one_by_one() -> None:
    for seed in range(SEEDS):
        faults = faults_of(seed)
        assert not faults, f"python -m tests.sim.keyed_model {seed}: {faults}"


def test_a_mesh_that_parted_goes_on_and_agrees_again() -> None:
    forks = 0
    for seed in range(PARTED_SEEDS):
        world = World(seed, parts=True)
        world.play()
        faults = world.check()
        assert not faults, f"python -m tests.sim.keyed_model {seed} --parted: {faults}"
        forks += world.forks
    assert forks, "no side worked a key that the other worked as well: the plans part nothing"


def test_what_a_node_that_stood_still_leaves_does_not_count() -> None:
    for seed in range(STALLED_SEEDS):
        world = World(seed, stalls=True)
        world.play()
        faults = world.check()
        assert not faults, f"python -m tests.sim.keyed_model {seed} --stalled: {faults}"


def test_equal_seeds_play_alike() -> None:
    first, second = World(7, parts=True), World(7, parts=True)
    for world in (first, second):
        world.play()
    assert first.completed == second.completed and first.given == second.given
    disks = [{name: node.disk for name, node in one.nodes.items()} for one in (first, second)]
    assert disks[0] == disks[1]


def hasty(patch: pytest.MonkeyPatch) -> None:
    """A home begins with the first answer."""
    agree = Homes._agree

    def begins(self: Homes, entry: Any) -> None:
        entry.circle = [one for one in entry.circle if one in entry.replies]
        agree(self, entry)

    patch.setattr(Homes, "_agree", begins)


def alone_with_it(patch: pytest.MonkeyPatch) -> None:
    """A home waits for no copy."""

    def copy(self: Homes, entry: Any) -> None:
        entry.copied_to = ""
        entry.copies.add("")
        self._settled(entry)

    patch.setattr(Homes, "_copy", copy)


def silent_about_turns(patch: pytest.MonkeyPatch) -> None:
    """Nobody tells a new home of a turn that goes on."""
    patch.setattr(Runs, "turn_of", lambda self, key: None)


def settled_for_ever(patch: pytest.MonkeyPatch) -> None:
    """A home does not notice that the mesh is another."""
    patch.setattr(Homes, "_is_stale", lambda self, entry: False)


def believes_its_own(patch: pytest.MonkeyPatch) -> None:
    """A home takes its own disk for the newest."""
    for module in (homes, reigns):
        patch.setattr(module, "newer", lambda one, other: False)


@pytest.mark.parametrize(
    "defect",
    [
        hasty,
        alone_with_it,
        silent_about_turns,
        settled_for_ever,
        believes_its_own,
    ],
    ids=lambda one: one.__name__,
)
def test_broken_code_breaks_what_must_hold(defect: Defect, monkeypatch: pytest.MonkeyPatch) -> None:
    defect(monkeypatch)
    for seed in range(SEEDS_OF_A_DEFECT):
        try:
            if faults_of(seed):
                return
        except (AssertionError, KeyError):
            return
    raise AssertionError(f"{SEEDS_OF_A_DEFECT} runs did not notice: {defect.__doc__}")
