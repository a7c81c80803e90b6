"""a. How long until a crash is known to everyone."""

from functools import partial
from pathlib import Path

from benchmarks.mesh import herd, rumour
from benchmarks.mesh.charts import Chart, Series
from benchmarks.mesh.formed import formed, in_children, settle
from benchmarks.mesh.report import Cell, Goal, Part, Say, Table, number, percentile

from gossamer_mesh.testing.cluster import Cluster

NAME = "detection"
TITLE = "From a crash to dead everywhere"
HOW = """
A member is gone without a word; the time runs until the *last* of all others has declared it dead
or heard so. N = 10, 100 and 1,000 run the real cores with full tables in virtual time, 1 to 5 ms
a datagram; one crash a run, at 1,000 twelve, 700 ms apart. 10,000 run in the reduced model of
`rumour.py`: all 10,000 members, but of each table only the entry of the one that crashed; the
rows "model" at smaller N show how near it comes to the full simulation. The 30 are real processes
with the real driver on loopback (UDP sealed, TLS, the clock of the machine), killed by SIGKILL
one after another. memberlist: its LAN defaults and formulas in the same reduced model. The goal
is about one crash. What is slow about the slowest is that nobody happens to ask the dead one: each
member asks one other a second, in an order of its own, so for t seconds none of 99 asks it with
chance e^-t. At `c9efd26` that was 4.4 s in the slowest of the hundred crashes at 100, and at most
2.3 s in the others; then comes the time to object, 3 s in all but one of them (5 s).
"""
GAP_MS = 700
"""Between two crashes of one run."""

SETTLE_MS = 20_000
"""After the last one: nobody may take longer."""

SEED = 1_000
SIZES = {
    # N: (trials, crashes in each)
    "full": {10: (60, 1), 100: (100, 1), 1_000: (2, 12)},
    "quick": {10: (12, 1), 100: (24, 1)},
    "tiny": {10: (2, 1)},
}
MODELS = {
    # N: trials; of ours and of memberlist
    "full": {10: 200, 100: 100, 1_000: 40, 10_000: 12},
    "quick": {10: 50, 100: 30, 1_000: 4},
    "tiny": {10: 3},
}
KILLS = {"full": (30, 12), "quick": (12, 4), "tiny": (3, 1)}
"""Real processes, and how many of them are killed."""

BOUNDS_S = {100: 6.0, 1_000: 8.0}


def run(scale: str, say: Say, folder: Path) -> Part:
    """Measures. `folder` is for the logs of processes."""
    table = Table(
        "Seconds from a crash until N members know",
        ["N", "how", "crashes", "first p50", "everywhere p50", "p99", "slowest"],
        note="first: when the first member calls it dead. p99 by nearest rank: with fewer than 100 "
        "crashes it is the slowest.",
    )
    goals: list[Goal] = []
    series: dict[str, list[list[float | None]]] = {
        "simulated": [],
        "model": [],
        "memberlist, model": [],
    }
    seeds = []
    for size, (trials, crashes) in SIZES[scale].items():
        cluster = formed(size, SEED + size, say)
        seeds.append(SEED + size)
        tasks = [partial(_crash_some, cluster, SEED + turn, crashes) for turn in range(trials)]
        found = in_children(tasks, say, f"crashes among {size:,}")
        times = [one for trial in found for one in trial]
        row = _row(size, "simulated in full", times)
        table.rows.append(row)
        series["simulated"].append([size, number(row[4])])
        if size in BOUNDS_S:
            goals.append(_goal(size, row))
    for size, trials in MODELS[scale].items():
        for name, terms in (
            ("model", rumour.ours(size - 1)),
            ("memberlist, model", rumour.memberlist(size - 1)),
        ):
            tasks = [
                partial(_crash_in_model, terms, SEED + turn, -(-trials // 4)) for turn in range(4)
            ]
            found = in_children(tasks, say, f"{name} of {size:,}")
            row = _row(size, name, [one for trial in found for one in trial])
            table.rows.append(row)
            series[name].append([size, number(row[4])])
    members, kills = KILLS[scale]
    told = herd.run(members=members, kills=kills, idle_s=0, folder=folder, say=say)
    table.rows.append(_row(members, "real processes", [(one[0], one[1]) for one in told.kills_s]))
    table.rows.sort(key=lambda row: (row[0], row[1]))
    chart = Chart(
        "From a crash to dead everywhere",
        "members",
        "seconds, p50",
        [Series(name, points, dashed=name != "simulated") for name, points in series.items()],
        [[8.0, "goal at 1,000: 8 s"], [6.0, "goal at 100: 6 s"]],
        log_x=True,
    )
    return Part(NAME, TITLE, HOW, [SEED, *seeds], [table], goals, [chart])


def _goal(size: int, row: list[Cell]) -> Goal:
    return Goal(f"Dead everywhere at {size:,}, p99", BOUNDS_S[size], "s", number(row[5]))


def _row(size: int, how: str, times_s: list[tuple[float, float]]) -> list[Cell]:
    firsts = [first for first, _ in times_s]
    lasts = [last for _, last in times_s]
    return [
        size,
        how,
        len(lasts),
        percentile(firsts, 0.5),
        percentile(lasts, 0.5),
        percentile(lasts, 0.99),
        max(lasts, default=None),
    ]


def _crash_some(cluster: Cluster, seed: int, count: int) -> list[tuple[float, float]]:
    """(first, last) in seconds after each crash."""
    rng = settle(cluster, seed)
    victims = rng.sample([process.number for process in cluster.processes], count)
    crashed_ms = {}
    for victim in victims:
        process = cluster.processes[victim - 1]
        crashed_ms[process.id] = cluster.clock.now_ms
        process.crash()
        cluster.run(GAP_MS)
    cluster.run(SETTLE_MS)
    heard: dict[str, list[int]] = {id: [] for id in crashed_ms}
    up = cluster.up()
    for process in up:
        known: dict[str, int] = {}
        for at_ms, id in process.deaths():
            if id in crashed_ms and at_ms >= crashed_ms[id]:
                known.setdefault(id, at_ms - crashed_ms[id])
        for id, after_ms in known.items():
            heard[id].append(after_ms)
    missed = [id for id, times in heard.items() if len(times) < len(up)]
    assert not missed, f"seed {seed}: {missed} not known dead to all after {SETTLE_MS} ms"
    return [(min(times) / 1_000, max(times) / 1_000) for times in heard.values()]


def _crash_in_model(terms: rumour.Terms, seed: int, count: int) -> list[tuple[float, float]]:
    times = []
    for turn in range(count):
        known = rumour.Rumour(terms, seed * 1_000 + turn).crash()
        heard = [one for one in known if one is not None]
        assert len(heard) == len(known), f"seed {seed * 1_000 + turn}: not known to all"
        times.append((min(heard) / 1_000, max(heard) / 1_000))
    return times
