"""b. How long until an update has reached 99 % of the members."""

from functools import partial
from pathlib import Path

from benchmarks.mesh import rumour
from benchmarks.mesh.charts import Chart, Series
from benchmarks.mesh.formed import formed, in_children, settle
from benchmarks.mesh.report import Cell, Goal, Part, Say, Table, number, percentile

from gossamer_mesh.testing.cluster import Cluster

NAME = "spread"
TITLE = "How an update spreads"
HOW = """
One member changes its tags; the time runs until 99 % of all members hold the new ones. N = 100
and 1,000 are the real cores with full tables, 1 to 5 ms a datagram, and every datagram is lost
with 0 or 25 % chance (the loss begins two seconds before the first update, so the suspicions that
it breeds compete for room as they would); 10,000 is the reduced model of `rumour.py`, shown at
1,000 too for comparison. memberlist: its LAN defaults in the reduced model. Published for it,
derived by a simulation of its defaults: 1.4 s at 1,000 and 1.8 s with 25 % loss; ScaleCube's
emulator, 200 members, 1 % loss: 3.6 s. The model
has no competition for room in frames: take the rows simulated in full for the mesh's.
"""
SEED = 2_000
GAP_MS = 5_000
SIZES = {
    # N: (trials, updates in each)
    "full": {100: (8, 8), 1_000: (2, 4)},
    "quick": {100: (4, 5)},
    "tiny": {10: (1, 2)},
}
MODELS = {"full": {100: 60, 1_000: 40, 10_000: 12}, "quick": {1_000: 8}, "tiny": {100: 2}}
LOSSES = (0, 25)
MISSED_S = 60.0
"""Stands for an update that had not reached 99 % when the next began."""


def run(scale: str, say: Say, folder: Path) -> Part:
    """Measures."""
    del folder
    table = Table(
        "Seconds until 99 % have it",
        ["N", "loss", "how", "updates", "p50", "p99", "slowest"],
    )
    series: dict[str, list[list[float | None]]] = {}
    goals = []
    for size, (trials, updates) in SIZES[scale].items():
        cluster = formed(size, 1_000 + size, say)
        for loss in LOSSES:
            tasks = [
                partial(_update_some, cluster, SEED + turn, updates, loss) for turn in range(trials)
            ]
            found = in_children(tasks, say, f"updates among {size:,} at {loss} % loss")
            times = [one for trial in found for one in trial]
            row = _row(size, loss, "simulated in full", times)
            table.rows.append(row)
            if size == 1_000 and loss == 25:
                measured = percentile(times, 0.99)
                goals.append(
                    Goal("99 % have an update at 1,000 with 25 % loss, p99", 2, "s", measured)
                )
    for size, trials in MODELS[scale].items():
        for loss in LOSSES:
            for name, terms in (
                ("model", rumour.ours(size)),
                ("memberlist, model", rumour.memberlist(size)),
            ):
                tasks = [
                    partial(_update_in_model, terms, SEED + turn, -(-trials // 4), loss)
                    for turn in range(4)
                ]
                found = in_children(tasks, say, f"{name} of {size:,} at {loss} % loss")
                row = _row(size, loss, name, [one for trial in found for one in trial])
                table.rows.append(row)
                series.setdefault(f"{name}, {loss} % loss", []).append([size, number(row[4])])
    table.rows.sort(key=lambda row: (row[0], row[1], row[2]))
    for row in table.rows:
        row[1] = f"{row[1]} %"
    chart = Chart(
        "Until 99 % of the members have an update",
        "members",
        "seconds, p50",
        [Series(name, points, dashed="memberlist" in name) for name, points in series.items()],
        [[2.0, "goal at 1,000, 25 %"]],
        log_x=True,
    )
    return Part(NAME, TITLE, HOW, [SEED], [table], goals, [chart] if series else [])


def _row(size: int, loss: int, how: str, times_s: list[float]) -> list[Cell]:
    return [
        size,
        loss,
        how,
        len(times_s),
        percentile(times_s, 0.5),
        percentile(times_s, 0.99),
        max(times_s, default=None),
    ]


def _update_some(cluster: Cluster, seed: int, count: int, loss: int) -> list[float]:
    """Seconds of each update until 99 % of all held it."""
    rng = settle(cluster, seed)
    cluster.network.loss_percent = loss
    cluster.run(2_000)
    times = []
    for turn in range(count):
        origin = cluster.processes[rng.below(len(cluster.processes))]
        began_ms = cluster.clock.now_ms
        tags = bytes([turn]) * 8
        origin.set_tags(tags)
        wanted = -(-99 * len(cluster.processes) // 100)
        lacking = [process for process in cluster.processes if process is not origin]
        allowed = len(cluster.processes) - wanted
        after_ms = None
        while cluster.clock.now_ms - began_ms < GAP_MS:
            cluster.run(10)
            lacking = [process for process in lacking if _tags(process, origin.id) != tags]
            if after_ms is None and len(lacking) <= allowed:
                after_ms = cluster.clock.now_ms - began_ms
        times.append(MISSED_S if after_ms is None else after_ms / 1_000)
    return times


def _tags(process: object, id: str) -> bytes:
    member = process.swim.member(id)  # type: ignore[attr-defined]
    return b"" if member is None else member.profile.tags


def _update_in_model(terms: rumour.Terms, seed: int, count: int, loss: int) -> list[float]:
    times = []
    for turn in range(count):
        known = rumour.Rumour(terms, seed * 1_000 + turn, loss).update()
        heard = sorted(one for one in known if one is not None)
        wanted = -(-99 * terms.size // 100)
        times.append(heard[wanted - 1] / 1_000 if len(heard) >= wanted else MISSED_S)
    return times
