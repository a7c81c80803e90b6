"""Whole meshes that restart at once, with seeds gone, clocks in the past and stale words about."""

import pytest

from gossamer_mesh.swim.codec import GOSSIP
from gossamer_mesh.swim.config import Config
from gossamer_mesh.swim.events import IdentityTaken, MemberEvent
from gossamer_mesh.testing.cluster import Cluster, Process, SharedCodec


def restart_all(cluster: Cluster, *, with_snapshots: bool) -> None:
    """Everyone at once, by a clock that is back where it was at the first start. With snapshots no
    seed is known to anyone any more."""
    up = cluster.up()
    snapshots = {process.id: process.swim.snapshot() for process in up}
    for process in up:
        process.crash()
    for process in up:
        process.start(
            [] if with_snapshots else cluster.seeds,
            snapshot=snapshots[process.id] if with_snapshots else b"",
        )


@pytest.mark.parametrize(("size", "with_snapshots"), [(12, True), (12, False), (150, True)])
def test_a_mass_restart_into_the_past_with_stale_words_about(
    size: int, with_snapshots: bool
) -> None:
    """memberlist #311: after a restart of all, old words are newer than what anyone says now."""
    # Of many only what matters here: few probes, little gossip.
    slow = {"probe_interval_ms": 10_000, "probe_timeout_ms": 5_000, "retransmit_multiplier": 1}
    cluster = Cluster(size, size, Config(**slow if size > 100 else {}))
    cluster.start_agreed()
    for turn in range(3):
        for process in cluster.processes[turn::3]:
            process.set_tags(bytes((turn,)))
    cluster.run(3_000)
    said = {process.id: process.swim.own.incarnation for process in cluster.processes}
    stale = [process.swim.own.claim for process in cluster.processes]
    restart_all(cluster, with_snapshots=with_snapshots)
    if with_snapshots:
        for process in cluster.processes:
            assert process.swim.own.incarnation > said[process.id]
    # What was on its way, or held back by one who was cut off, arrives now, many times.
    anyone = f"{size + 1:032x}"
    codec = SharedCodec(cluster, anyone)
    for turn in range(10):
        cluster.run(700)
        listener = cluster.processes[cluster.rng.below(size)]
        for first in range(0, size, 4):
            part = stale[first : first + 4]
            data = codec.encode(GOSSIP, anyone, turn, target="", address=None, updates=part)
            listener.swim.receive_datagram(data, ("10.255.0.1", 1), cluster.clock.now_ms)
        listener.pump()
    cluster.run_until_agreed(120_000, step_ms=1_000)
    cluster.run(10_000)
    assert cluster.disagreement() == ""
    for process in cluster.processes:
        assert process.swim.own.incarnation > said[process.id]


@pytest.mark.parametrize("seed", range(6))
def test_two_processes_of_one_identity_come_to_rest(seed: int) -> None:
    cluster = Cluster(seed, 6)
    original, twin = cluster.processes[4], cluster.processes[5]
    twin.id = original.id
    for process in cluster.processes[:5]:
        process.start(cluster.seeds)
    cluster.run_until_agreed(20_000)
    twin.start(cluster.seeds)
    cluster.run(30_000)
    yielded = [process for process in (original, twin) if has_yielded(process)]
    assert len(yielded) == 1
    stays = twin if yielded == [original] else original
    assert yielded[0].session < stays.session
    yielded[0].crash()
    cluster.run_until_agreed(20_000)
    # They argued for some rounds of gossip, no longer.
    changes = [len(process.events) for process in cluster.processes[:4]]
    cluster.run(60_000)
    assert [len(process.events) for process in cluster.processes[:4]] == changes


@pytest.mark.parametrize("seed", range(6))
def test_a_restarted_process_is_never_taken_for_a_twin(seed: int) -> None:
    cluster = Cluster(seed, 6)
    cluster.network.delay_ms = (1, 400)
    cluster.network.loss_percent = 20
    cluster.network.duplicate_percent = 20
    cluster.start()
    for _ in range(12):
        again = cluster.processes[cluster.rng.below(6)]
        again.set_tags(bytes((cluster.rng.below(256),)))
        cluster.run(cluster.rng.below(900))
        again.crash()
        again.start(cluster.seeds, incarnation=cluster.rng.below(3))
        cluster.run(cluster.rng.below(3_000))
    assert not any(has_yielded(process) for process in cluster.processes)


def has_yielded(process: Process) -> bool:
    return any(isinstance(event, IdentityTaken) for _, event in process.events)


def test_a_member_that_moves_is_found_at_its_new_address() -> None:
    cluster = Cluster(3, 6)
    cluster.start()
    cluster.run_until_agreed(20_000)
    mover = cluster.processes[5]
    mover.crash()
    mover.address = ("10.77.0.1", 7946)
    mover.start(cluster.seeds)
    cluster.run_until_agreed(30_000)
    for process in cluster.processes[:5]:
        held = process.swim.member(mover.id)
        assert held is not None
        assert held.address == mover.address
        kinds = [
            event.kind
            for _, event in process.events
            if isinstance(event, MemberEvent) and event.member.id == mover.id
        ]
        assert kinds[-1] in ("joined", "cleared")
