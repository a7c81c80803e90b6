"""The signal to scale by: it follows the work, and it is quiet; and what is decided from it."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_mesh.leases.demand import TOLD_MS_MIN, Demand, Instances, desired, level
from gossamer_mesh.leases.parts import (
    BYTES_PER_S_MAX,
    GROW_MS,
    JOBS_PER_S_MAX,
    PARTS_MAX,
    SHRINK_MS,
    Parts,
    load,
)
from gossamer_mesh.leases.placement import spread


def play(demand: Demand, seconds: int, now_ms: int, running: int, **rest: int) -> int:
    """So many equal samples. Returns how often the told changed."""
    hot, capacity = bool(rest.get("hot")), rest.get("capacity", 32)
    return sum(
        demand.note(running, rest.get("waiting", 0), hot, capacity, now_ms + 1_000 * second)
        for second in range(seconds)
    )


def test_it_follows_a_burst_in_seconds_and_a_lull_in_half_a_minute() -> None:
    demand = Demand()
    play(demand, 20, 0, 4)
    assert demand.told == (4, 32)
    play(demand, 10, 20_000, 32)
    assert demand.told[0] >= 28
    play(demand, 10, 30_000, 0)
    assert demand.told[0] > 16
    play(demand, 200, 40_000, 0)
    assert demand.told == (0, 32)


def test_full_polls_count_half_as_much_again() -> None:
    demand = Demand()
    play(demand, 20, 0, 32, hot=1)
    assert demand.told == (48, 32) and desired(48) == 60


@pytest.mark.parametrize("seed", range(20))
def test_what_is_told_changes_seldom_and_only_when_it_matters(seed: int) -> None:
    rng = random.Random(seed)
    demand = Demand()
    play(demand, 60, 0, 20)
    # The same work, as it comes: now a few more, now a few less.
    changes = sum(
        demand.note(rng.randint(17, 23), 0, False, 32, 60_000 + 1_000 * second)
        for second in range(600)
    )
    assert changes <= 2, seed
    wild = Demand()
    told_ms = [
        1_000 * second
        for second in range(600)
        if wild.note(rng.choice([0, 100]), 0, rng.random() < 0.5, 100, 1_000 * second)
    ]
    pauses = [later - sooner for sooner, later in itertools.pairwise(told_ms)]
    assert min(pauses, default=TOLD_MS_MIN) >= TOLD_MS_MIN, seed


@given(st.integers(0, 2**20), st.integers(0, 2**20))
def test_levels_are_near_and_in_order(one: int, other: int) -> None:
    assert one <= level(one) <= one + max(1, one // 8)
    assert level(level(one)) == level(one)
    assert (one <= other) <= (level(one) <= level(other))


def test_instances_go_up_quickly_and_down_slowly_within_their_bounds() -> None:
    instances = Instances(2, 16, 0)
    ups = [now_ms for now_ms in range(0, 60_000, 1_000) if instances.note(100, 10, now_ms)]
    assert instances.count == 16 and len(ups) == 3
    assert all(later - sooner >= Instances.UP_MS for sooner, later in itertools.pairwise(ups))
    assert not instances.note(8, 10, 100_000)  # as it should be
    downs = [now_ms for now_ms in range(100_000, 2_000_000, 1_000) if instances.note(0, 10, now_ms)]
    assert instances.count == 2 and downs[-1] - downs[0] > 10 * Instances.DOWN_MS


def test_a_mesh_of_scaled_nodes_settles_where_the_demand_is() -> None:
    """Twenty nodes see one signal, late; their slots are its capacity."""
    nodes = [Instances(1, 8, 37 * number) for number in range(20)]
    demand = Demand()
    seen = (0, 0)
    history = []
    for now_ms in range(0, 600_000, 1_000):
        capacity = sum(one.count for one in nodes)
        jobs = 60
        demand.note(min(jobs, capacity), 0, jobs > capacity, capacity, now_ms)
        for one in nodes:
            one.note(*seen, now_ms)
        if now_ms % 2_000 == 0:
            seen = demand.told
        history.append(capacity)
    assert history[60] >= 60 and 60 <= history[-1] <= 120, history[::30]
    settled = history[300:]
    assert max(settled) - min(settled) <= 25, settled


# --- parts


@given(st.integers(1, 40), st.integers(1, PARTS_MAX))
def test_members_are_spread_evenly_and_in_any_order(members: int, parts: int) -> None:
    ids = [f"{number:032x}" for number in range(members)]
    groups = [f"e/{part}" for part in range(parts)]
    found = spread(groups, ids)
    counts = [list(found.values()).count(group) for group in groups]
    assert len(found) == members and max(counts) - min(counts) <= 1
    assert spread(groups, ids[::-1]) == found


def test_few_move_when_a_member_goes_or_a_part_comes() -> None:
    ids = [f"{number:032x}" for number in range(60)]
    groups = [f"e/{part}" for part in range(3)]
    before, without = spread(groups, ids), spread(groups, ids[1:])
    assert sum(before[one] != without[one] for one in ids[1:]) <= 6
    more = spread([*groups, "e/3"], ids)
    assert sum(before[one] != more[one] for one in ids) <= 30


def play_parts(parts: Parts, count: int, total_load: int, members: int, until_ms: int) -> list[int]:
    counts = []
    for now_ms in range(0, until_ms, 1_000):
        count = parts.decide(count, total_load // count, members, now_ms)
        counts.append(count)
    return counts


def test_parts_grow_one_by_one_until_each_is_within_its_limit_and_shrink_late() -> None:
    parts = Parts()
    counts = play_parts(parts, 1, 2_500, 10, 120_000)
    assert counts[GROW_MS // 1_000 - 1] == 1 and counts[-1] == 4
    assert all(later - sooner <= 1 for sooner, later in itertools.pairwise(counts))
    counts = play_parts(Parts(), 4, 600, 10, 4 * SHRINK_MS)
    assert counts[SHRINK_MS // 1_000 - 1] == 4 and counts[-1] == 2


@given(st.integers(0, 10_000), st.integers(1, 12))
def test_a_steady_load_ends_in_a_steady_number(total_load: int, members: int) -> None:
    counts = play_parts(Parts(), 1, total_load, members, 1_500_000)
    assert len(set(counts[-300:])) == 1
    assert counts == sorted(counts)  # a growth is never taken back
    assert counts[-1] <= min(members, PARTS_MAX)


def test_no_more_parts_than_members() -> None:
    assert Parts().decide(5, 999, 3, 0) == 3
    assert Parts().decide(1, 0, 0, 0) == 1


def test_the_nearer_limit_counts() -> None:
    assert load(JOBS_PER_S_MAX * 2, 0, 2_000) == 1_000
    assert load(1, BYTES_PER_S_MAX // 2, 1_000) == 500
    assert load(0, 0, 0) == 0
