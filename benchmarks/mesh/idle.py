"""d. What an idle node sends and computes."""

import math
import time
from functools import partial
from pathlib import Path

from benchmarks.mesh import herd
from benchmarks.mesh.charts import Chart, Series
from benchmarks.mesh.formed import formed, in_children, settle
from benchmarks.mesh.report import Goal, Part, Say, Table

from gossamer_mesh.seal import OVERHEAD_BYTES
from gossamer_mesh.testing.cluster import Cluster

NAME = "idle"
TITLE = "What an idle node costs"
HOW = """
Nobody comes, goes or says anything new; what remains is probes and anti-entropy. Simulated rows
count every frame that the real cores send over some minutes of virtual time: as datagrams, sealed
(41 bytes each) and with IPv4 and UDP headers (28); as streams, with what opening one costs
(`idle.STREAM_BYTES`, an estimate). The CPU of simulated rows is that of the core alone. The real
rows are processes with the real driver in a network namespace of their own: the loopback's own
counters, and each process's CPU clock. memberlist is worked out from its defaults: a ping and an
ack a second, and full-table exchanges over TCP at its scaled interval, 100 bytes a member.
"""
SEED = 4_000
SIZES = {
    # N: (seconds of virtual time, runs)
    "full": {10: (600, 2), 100: (200, 2), 1_000: (60, 2)},
    "quick": {10: (300, 1), 100: (60, 1)},
    "tiny": {10: (10, 1)},
}
PROCESSES = {"full": (30, 60.0), "quick": (12, 10.0), "tiny": (3, 1.0)}
"""How many, and for how many seconds."""

HEADERS_BYTES = 28
STREAM_BYTES = 3_400
"""Of one short-lived TLS 1.3 stream with both certificates, beside what it carries, in both
directions together: estimated, not measured. An idle mesh that agrees opens none."""

BOUNDS = {100: 600.0, 1_000: 2_000.0}


def run(scale: str, say: Say, folder: Path) -> Part:
    """Measures."""
    table = Table(
        "One idle node",
        ["N", "how", "frames/s", "datagram B/s", "stream B/s", "B/s in all", "CPU ms/s"],
        note="Bytes that a node sends; it receives as many. CPU of a whole process beside that of "
        "the core alone.",
    )
    goals = []
    own: list[list[float | None]] = []
    peer: list[list[float | None]] = []
    for size, (length_s, runs) in SIZES[scale].items():
        cluster = formed(size, 1_000 + size, say)
        tasks = [partial(_count, cluster, SEED + number, length_s) for number in range(runs)]
        found = in_children(tasks, say, f"idle mesh of {size:,}")
        frames, datagram, stream, cpu = (
            sum(one[column] for one in found) / runs for column in range(4)
        )
        table.rows.append([size, "simulated", frames, datagram, stream, datagram + stream, cpu])
        table.rows.append([size, "memberlist, by formula", *memberlist(size), None])
        own.append([size, datagram + stream])
        peer.append([size, sum(memberlist(size)[1:3])])
        if size in BOUNDS:
            goals.append(Goal(f"Idle bytes at {size:,}", BOUNDS[size], "B/s", datagram + stream))
    members, idle_s = PROCESSES[scale]
    told = herd.run(members=members, kills=0, idle_s=idle_s, folder=folder, say=say)
    table.rows.append(
        [members, "real processes", None, None, None, told.bytes_per_s, told.cpu_ms_per_s[1]]
    )
    table.rows.sort(key=lambda row: (row[0], row[1] != "simulated", row[1]))
    chart = Chart(
        "What an idle node sends",
        "members",
        "bytes a second, headers included",
        [Series("gossamer", own), Series("memberlist", peer, dashed=True)],
        [[bound, f"goal at {size:,}"] for size, bound in BOUNDS.items()],
        log_x=True,
        log_y=True,
    )
    return Part(NAME, TITLE, HOW, [SEED], [table], goals, [chart])


def memberlist(size: int) -> tuple[float, float, float, float]:
    """Frames, datagram bytes, stream bytes and all bytes a second, by its defaults.

    Each second a node sends a ping and answers one, about 80 bytes each with 29 of seal. Every
    interval (30 s, scaled beyond 32 members: `pushPullScale`) it sends its table to one member, and
    as often another asks for it.
    """
    datagram = 2 * (80 + 29 + HEADERS_BYTES)
    scale = 1.0 if size <= 32 else math.ceil(math.log2(size) - math.log2(32)) + 1.0
    stream = 2 * 100 * size / (30 * scale)
    return 2.0, datagram, stream, datagram + stream


def _count(cluster: Cluster, seed: int, length_s: int) -> tuple[float, float, float, float]:
    """Frames, datagram bytes, stream bytes and CPU milliseconds, per member and second."""
    settle(cluster, seed)
    network = cluster.network
    before = (network.carried, network.carried_bytes)
    streams = (network.stream_carried, network.stream_carried_bytes)
    began_s = time.process_time()
    cluster.run(length_s * 1_000)
    cpu_s = time.process_time() - began_s
    share = len(cluster.processes) * length_s
    frames = network.carried - before[0]
    sent = network.carried_bytes - before[1] + frames * (OVERHEAD_BYTES + HEADERS_BYTES)
    stream_frames = network.stream_carried - streams[0]
    streamed = network.stream_carried_bytes - streams[1] + stream_frames * STREAM_BYTES // 2
    return (
        (frames + stream_frames) / share,
        sent / share,
        streamed / share,
        cpu_s / share * 1_000,
    )
