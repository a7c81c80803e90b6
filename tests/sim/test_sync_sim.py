"""Tables come together by comparison alone: gossip off, half of all datagrams lost, sides parted.

Gossip is switched off by keeping the queue of waiting updates empty; all else is the real core.
"""

import pytest

from gossamer_mesh.swim.broadcast import Broadcasts
from gossamer_mesh.swim.config import Config
from gossamer_mesh.testing.cluster import Cluster

SLOW_PROBES = {"probe_interval_ms": 20_000, "probe_timeout_ms": 5_000}
"""Where only comparisons are looked at, probes would take most of the time."""


@pytest.fixture
def no_gossip(monkeypatch: pytest.MonkeyPatch) -> None:
    def put(self: Broadcasts, subject: str, update: bytes) -> None:
        pass

    monkeypatch.setattr(Broadcasts, "put", put)


def meshed(seed: int, size: int, **tuning: int) -> Cluster:
    """A mesh that agrees; its members start one after the other."""
    cluster = Cluster(seed, size, Config(**tuning))
    for process in cluster.processes:
        process.start(cluster.seeds, tags=bytes(60))
        cluster.run(20)
    cluster.run_until_agreed(60_000)
    return cluster


def total(cluster: Cluster, name: str) -> int:
    return sum(process.swim.statistics().get(name, 0) for process in cluster.up())


@pytest.mark.usefixtures("no_gossip")
@pytest.mark.parametrize(("seed", "size", "loss_percent"), [(1, 10, 0), (2, 40, 50), (3, 300, 0)])
def test_without_gossip_tables_still_come_together(seed: int, size: int, loss_percent: int) -> None:
    cluster = Cluster(seed, size, Config(**SLOW_PROBES))
    for process in cluster.processes:
        process.start(cluster.seeds, tags=bytes(60))
    cluster.run(5_000)
    cluster.network.loss_percent = loss_percent
    cluster.processes[0].set_tags(b"news")
    # Rounds of comparison until one member's word has reached everyone, and some to spare.
    rounds = 6 + 2 * len(bin(size))
    cluster.run_until_agreed(rounds * 30_000, step_ms=5_000)


@pytest.mark.parametrize("seed", range(2))
def test_half_of_all_datagrams_lost_and_tables_hold_all_news(seed: int) -> None:
    """Nobody is called dead in the meantime only because probes are slow here; see SWIM's tests."""
    cluster = meshed(seed, 60, probe_interval_ms=60_000, probe_timeout_ms=30_000)
    cluster.network.loss_percent = 50
    for process in cluster.processes[::7]:
        process.set_tags(b"news")
    cluster.run_until_agreed(240_000, step_ms=1_000)


@pytest.mark.parametrize(("seed", "size"), [(1, 30), (2, 50)])
def test_sides_of_a_partition_compare_and_agree(seed: int, size: int) -> None:
    cluster = meshed(seed, size)
    half = size // 2
    cluster.part(cluster.processes[:half], cluster.processes[half:])
    cluster.run(90_000)
    cluster.processes[0].set_tags(b"here")
    cluster.processes[-1].set_tags(b"there")
    deaths_before = [len(process.deaths()) for process in cluster.processes]
    cluster.network.heal()
    cluster.run_until_agreed(180_000, step_ms=1_000)
    # A death that comes with a table is asked about before it is believed.
    assert [len(process.deaths()) for process in cluster.processes] == deaths_before


@pytest.mark.parametrize(
    ("lost", "size", "formed_ms"), [("send", 8, 120_000), ("send_stream_frame", 20, 60_000)]
)
def test_a_mesh_forms_and_heals_where_only_streams_or_only_datagrams_pass(
    lost: str, size: int, formed_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(4, size)
    monkeypatch.setattr(cluster.network, lost, lambda *_: None)
    cluster.start()
    cluster.run_until_agreed(formed_ms, step_ms=1_000)
    cluster.part(cluster.processes[:4], cluster.processes[4:])
    cluster.run(60_000)
    cluster.network.heal()
    cluster.run_until_agreed(120_000, step_ms=1_000)


def test_an_idle_mesh_compares_in_few_bytes() -> None:
    cluster = meshed(5, 60)
    cluster.run(60_000)
    differing = total(cluster, "syncs_differing")
    network = cluster.network
    before = network.carried, network.carried_bytes, network.stream_carried
    cluster.run(60_000)
    assert total(cluster, "syncs_differing") == differing
    assert network.stream_carried == before[2]
    datagrams, length = network.carried - before[0], network.carried_bytes - before[1]
    # 41 bytes of seal and 28 of IP and UDP for each.
    assert (length + 69 * datagrams) / 60 / 60 < 600


def test_a_newcomer_gets_a_large_table_at_once() -> None:
    cluster = meshed(9, 70)
    newcomer = cluster.processes[-1]
    newcomer.crash()
    cluster.run(30_000)
    newcomer.start(cluster.seeds)
    cluster.run(1_000)
    assert len(newcomer.view()) == 70
    # What the mesh told it, the mesh knows.
    assert newcomer.swim.statistics()["broadcasts_waiting"] <= 2
