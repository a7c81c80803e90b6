"""Clusters of the real core in virtual time: what must hold, whatever a network and hosts do.

A failing test's name holds its seed; the same seed fails again. `GOSSAMER_SIM_SEEDS=200` runs more
of them. Invariants of each step are in `testing.cluster`: incarnations never go back, frames fit.
"""

import os
from statistics import median

import pytest

from gossamer_mesh.swim.events import LeaveDone, MemberEvent
from gossamer_mesh.swim.state import DEPARTED, DIED
from gossamer_mesh.testing.cluster import Cluster, Process

SEEDS = range(int(os.environ.get("GOSSAMER_SIM_SEEDS", "16")))

STALL_MS_MAX = 6_000

AGREED_WITHIN_MS = 90_000
"""After quiet returns: some rounds of reconnecting to the dead, each 10 s, one dead at a time."""


def chaos(cluster: Cluster) -> None:
    """One thing happens to somebody."""
    rng = cluster.rng
    process = cluster.processes[rng.below(len(cluster.processes))]
    happening = rng.below(8)
    if not process.is_up:
        process.start(cluster.seeds, tags=bytes((rng.below(256),)))
    elif happening == 0:
        process.crash()
    elif happening == 1:
        process.crash()
        process.start(cluster.seeds)
    elif happening == 2:
        process.stall(rng.below(STALL_MS_MAX))
    elif happening == 3:
        process.set_tags(bytes((rng.below(256), rng.below(256))))
    elif happening == 4:
        parted = cluster.processes[: 1 + rng.below(len(cluster.processes))]
        cluster.part(parted)
    elif happening == 5:
        cluster.network.heal()
    elif happening == 6:
        other = cluster.processes[rng.below(len(cluster.processes))]
        cluster.network.cut(process.address, other.address)
    else:
        process.leave()
        cluster.run(2_500)
        process.crash()


@pytest.mark.parametrize("seed", SEEDS)
def test_everyone_agrees_once_quiet_returns(seed: int) -> None:
    cluster = Cluster(seed, 3 + seed % 6)
    cluster.network.duplicate_percent = seed % 5
    cluster.start()
    for _ in range(40):
        cluster.network.loss_percent = cluster.rng.below(30)
        cluster.network.delay_ms = (1, 1 + cluster.rng.below(300))
        chaos(cluster)
        cluster.run(cluster.rng.below(12_000))
        cluster.assert_bounds()
    cluster.network.heal()
    cluster.network.loss_percent = 0
    cluster.network.delay_ms = (1, 5)
    cluster.start()
    cluster.run(STALL_MS_MAX)
    cluster.run_until_agreed(AGREED_WITHIN_MS, step_ms=1_000)
    # And it stays so: nobody is called dead, nobody argues.
    before = [len(process.events) for process in cluster.up()]
    cluster.run(60_000)
    assert [len(process.events) for process in cluster.up()] == before
    assert cluster.disagreement() == ""
    cluster.assert_bounds()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_crash_is_seen_by_all(seed: int) -> None:
    cluster = Cluster(seed, 3 + seed % 8)
    cluster.start()
    cluster.run_until_agreed(10_000)
    cluster.network.loss_percent = 10
    cluster.run(cluster.rng.below(20_000))
    victim = cluster.processes[cluster.rng.below(len(cluster.processes))]
    victim.crash()
    cluster.run_until_agreed(20_000)
    for process in cluster.up():
        assert victim.id in [id for _, id in process.deaths()]


def test_three_members_call_a_crash_dead_in_three_to_four_seconds() -> None:
    seen_ms = []
    for seed in range(100):
        cluster = Cluster(seed, 3)
        cluster.start()
        cluster.run(5_000 + cluster.rng.below(1_000))
        cluster.processes[2].crash()
        seen_ms.append(cluster.run_until_agreed(20_000, step_ms=50))
    assert min(seen_ms) >= 2_000
    assert median(seen_ms) <= 3_500
    assert max(seen_ms) <= 4_500


@pytest.mark.parametrize("seed", range(8))
def test_stalls_of_a_second_kill_nobody(seed: int) -> None:
    """A busy host of two cores stops whole processes, also several at a time."""
    cluster = Cluster(seed, 5)
    cluster.start()
    cluster.run_until_agreed(10_000)
    for _ in range(120):
        for process in cluster.up():
            if cluster.rng.below(4) == 0:
                process.stall(cluster.rng.below(1_000))
        cluster.run(1_000 + cluster.rng.below(1_500))
    assert [process.deaths() for process in cluster.up()] == [[]] * 5


@pytest.mark.parametrize("seed", range(4))
def test_loss_of_a_tenth_kills_nobody(seed: int) -> None:
    cluster = Cluster(seed, 5)
    cluster.start()
    cluster.run_until_agreed(10_000)
    cluster.network.loss_percent = 10
    cluster.run(10 * 60_000)
    assert [process.deaths() for process in cluster.up()] == [[]] * 5


@pytest.mark.parametrize("seed", range(12))
def test_both_sides_of_a_partition_find_each_other_again(seed: int) -> None:
    cluster = Cluster(seed, 8)
    cluster.start()
    cluster.run_until_agreed(10_000)
    here, there = cluster.processes[:3], cluster.processes[3:]
    cluster.part(here, there)
    cluster.run(300_000)
    assert {len(process.view()) for process in here} == {3}
    assert {len(process.view()) for process in there} == {5}
    deaths_before = [len(process.deaths()) for process in cluster.processes]
    cluster.network.heal()
    cluster.run_until_agreed(60_000)
    # Healing kills nobody: a death that comes with a table is asked about first.
    assert [len(process.deaths()) for process in cluster.processes] == deaths_before


@pytest.mark.parametrize("seed", range(12))
def test_a_restart_ends_one_life_and_begins_the_next(seed: int) -> None:
    cluster = Cluster(seed, 4)
    cluster.start()
    cluster.run_until_agreed(10_000)
    cluster.run(5_000)
    again = cluster.processes[seed % 4]
    again.set_tags(b"before")
    cluster.run(2_000)
    incarnation = again.swim.own.incarnation
    again.crash()
    again.start(cluster.seeds)
    cluster.run_until_agreed(15_000)
    assert again.swim.own.incarnation > incarnation
    for process in cluster.processes:
        if process is not again:
            kinds = kinds_of(process, again)
            assert kinds.index(DIED) < len(kinds) - 1
            assert kinds[-1] in ("joined", "cleared")


@pytest.mark.parametrize("seed", range(12))
def test_who_leaves_has_left_everywhere_and_soon(seed: int) -> None:
    cluster = Cluster(seed, 3 + seed)
    cluster.start()
    cluster.run_until_agreed(10_000)
    cluster.run(5_000)
    leaver = cluster.processes[-1]
    leaver.leave()
    cluster.run(2_000)
    assert isinstance(leaver.events[-1][1], LeaveDone)
    leaver.crash()
    cluster.run(10_000)
    for process in cluster.up():
        assert kinds_of(process, leaver)[-1] == DEPARTED
    assert cluster.disagreement() == ""


def test_a_member_who_missed_all_gossip_learns_it_from_a_table() -> None:
    cluster = Cluster(3, 4)
    cluster.start()
    cluster.run_until_agreed(10_000)
    deaf = cluster.processes[3]
    for process in cluster.processes[:3]:
        cluster.network.cut(process.address, deaf.address)
    cluster.processes[0].set_tags(b"news")
    cluster.run(1_500)
    cluster.network.heal()
    cluster.run_until_agreed(AGREED_WITHIN_MS)
    assert deaf.view()[cluster.processes[0].id][2] == b"news"


def test_meshes_that_began_apart_join_through_their_seeds() -> None:
    cluster = Cluster(5, 6)
    cluster.part(cluster.processes[:3], cluster.processes[3:])
    for process in cluster.processes[:3]:
        process.start(cluster.seeds)
    for process in cluster.processes[3:]:
        process.start([*cluster.seeds, cluster.processes[3].address])
    cluster.run(60_000)
    cluster.network.heal()
    cluster.run_until_agreed(AGREED_WITHIN_MS)


def test_a_table_of_many_datagrams_reaches_a_new_member() -> None:
    cluster = Cluster(1, 60)
    for process in cluster.processes[:-1]:
        process.start(cluster.seeds, tags=bytes(400))
    cluster.run_until_agreed(30_000)
    newcomer = cluster.processes[-1]
    newcomer.start(cluster.seeds)
    cluster.run_until_agreed(10_000)


def test_equal_seeds_give_equal_runs() -> None:
    def trace() -> tuple[int, int, list[int]]:
        cluster = Cluster(11, 6)
        cluster.network.loss_percent = 20
        cluster.start()
        cluster.run(60_000)
        network = cluster.network
        return network.carried, network.carried_bytes, [len(each.events) for each in cluster.up()]

    assert trace() == trace()


def kinds_of(process: Process, subject: Process) -> list[str]:
    return [
        event.kind
        for _, event in process.events
        if isinstance(event, MemberEvent) and event.member.id == subject.id
    ]
