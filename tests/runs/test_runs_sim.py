"""Worlds of runs in virtual time; one fresh seed each time, printed if it fails."""

import random

import pytest
from tests.runs.sim_runs import Sim

SEEDS = [1, 2, 3, random.SystemRandom().randrange(10**9)]


@pytest.mark.parametrize("seed", SEEDS, ids=["1", "2", "3", "fresh"])
def test_nothing_is_lost_and_nothing_counts_twice(seed: int) -> None:
    world = Sim(seed)
    try:
        world.play()
    except BaseException as error:
        error.add_note(f"python -m tests.runs.sim_runs {seed}")
        raise
    assert world.seen["AttemptLate"] and world.seen["FailedOver"] and world.seen["RunRetried"]
    assert world.seen["died before the disk"] and world.seen["died after the disk"]
