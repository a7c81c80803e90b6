"""c. Live members called dead because somebody's CPU stalls: plain SWIM beside ours."""

from functools import partial
from pathlib import Path

from benchmarks.mesh.charts import Chart, Series
from benchmarks.mesh.formed import formed, in_children, settle
from benchmarks.mesh.report import Cell, Goal, Part, Say, Table

from gossamer_mesh.swim.config import Config
from gossamer_mesh.swim.rng import Rng
from gossamer_mesh.testing.cluster import Cluster, Process
from gossamer_mesh.testing.network import Network

Address = tuple[str, int]

NAME = "stalls"
TITLE = "False deaths with stalled CPUs"
HOW = """
A share of the members stalls for a random time, again and again: 128 ms to 32 s, then runs for 1
ms to 1 s, both log-uniform, as in Lifeguard's experiments (arXiv 1707.00788 §V). Counted is each
time that a member hears that a *healthy* one (which never stalls) died. *Blocked* is that paper's
anomaly: a stalled member's timers go on, but nothing it sends leaves and nothing that comes is
read until the stall is over. *Paused* is a stopped process: nothing runs; afterwards it reads
what waits in its socket before it looks at its timers, as our driver does. Plain SWIM is the same
code with the second asking of others, local health, confirmations, the buddy rule, doubt of deaths
and the stall rule off by configuration, in the same simulator with the same seeds; in *paused* it
profits from the driver's order of reading, too.
"""
SEED = 3_000
STALL_MS = (128, 32_768)
RUN_MS = (1, 1_024)
PLAIN = {
    "awareness_max": 1,
    "buddy_system": 0,
    "deaths_are_doubted": 0,
    "gossip_to_dead_ms": 0,
    "indirect_rounds": 1,
    "stall_ms": 0,
    "suspicion_confirmations": 0,
    "suspicion_max_multiplier": 1,
}
"""Configuration of plain SWIM; its suspicions last as long as ours last at least."""

SIZES = {
    # (members, stalled members, length of a run, runs)
    "full": (128, (4, 8, 16, 32), 60_000, 1),
    "quick": (64, (8,), 60_000, 1),
    "tiny": (10, (2,), 5_000, 1),
}
MARGIN_MS = 15_000
"""After the last stall has begun, for what is under way."""


def run(scale: str, say: Say, folder: Path) -> Part:
    """Measures."""
    del folder
    size, shares, length_ms, runs = SIZES[scale]
    kinds = {
        "plain SWIM": formed(size, SEED, say, Config(**PLAIN)),
        "ours": formed(size, SEED, say),
    }
    tasks = [
        partial(_stall_some, cluster, SEED + number, stalled, length_ms, how)
        for how in ("blocked", "paused")
        for stalled in shares
        for cluster in kinds.values()
        for number in range(runs)
    ]
    found = iter(in_children(tasks, say, "stalled members"))
    minutes = runs * length_ms / 60_000
    table = Table(
        f"Deaths heard of healthy members, {size} members, {minutes:g} minutes",
        ["anomaly", "stalled", "plain SWIM", "ours", "ratio", "at healthy, plain", "ours", "ratio"],
        note="at healthy: heard by members that never stall themselves. A ratio beside 0 of ours "
        "is that to 1: at least.",
    )
    series: dict[str, list[list[float | None]]] = {}
    ratios = []
    for how in ("blocked", "paused"):
        sums = [0, 0]
        for stalled in shares:
            counts = []
            for name in kinds:
                runs_found = [next(found) for _ in range(runs)]
                counts.append([sum(one[column] for one in runs_found) for column in (0, 1)])
                series.setdefault(f"{name}, {how}", []).append(
                    [100 * stalled / size, counts[-1][0] / minutes]
                )
            (plain, plain_healthy), (own, own_healthy) = counts
            sums = [sums[0] + plain, sums[1] + own]
            row: list[Cell] = [how, stalled, plain, own, plain / max(1, own)]
            row += [plain_healthy, own_healthy, plain_healthy / max(1, own_healthy)]
            table.rows.append(row)
        ratios.append(sums[0] / max(1, sums[1]))
        table.rows.append([how, "all", *sums, ratios[-1], None, None, None])
    goals = [
        Goal("False deaths, plain SWIM ÷ ours (blocked)", 50, "×", ratios[0], at_least=True),
    ]
    chart = Chart(
        "Deaths heard of healthy members",
        "% of the members stall",
        "per minute",
        [Series(name, points, dashed="plain" in name) for name, points in series.items()],
        log_y=True,
    )
    return Part(NAME, TITLE, HOW, [SEED], [table], goals, [chart])


class HeldNetwork(Network):
    """A network on which all traffic of some members waits, then goes on in order."""

    def __init__(self, of: Network) -> None:
        self.__dict__.update(of.__dict__)
        self._held_ms: dict[Address, int] = {}

    def hold(self, address: Address, until_ms: int) -> None:
        self._held_ms[address] = max(until_ms, self._held_ms.get(address, 0))

    def send(self, data: bytes, source: Address, destination: Address) -> None:
        until_ms = self._held_ms.get(source, 0)
        if until_ms > self._clock.now_ms:
            self._clock.call_at(until_ms, lambda: self.send(data, source, destination))
        else:
            super().send(data, source, destination)

    def send_stream_frame(
        self, data: bytes, source: Address, destination: Address, sender_id: str
    ) -> None:
        until_ms = self._held_ms.get(source, 0)
        if until_ms > self._clock.now_ms:
            self._clock.call_at(
                until_ms, lambda: self.send_stream_frame(data, source, destination, sender_id)
            )
        else:
            super().send_stream_frame(data, source, destination, sender_id)

    def _deliver(self, data: bytes, source: Address, destination: Address) -> None:
        until_ms = self._held_ms.get(destination, 0)
        if until_ms > self._clock.now_ms:
            self._clock.call_at(until_ms, lambda: self._deliver(data, source, destination))
        else:
            super()._deliver(data, source, destination)

    def _deliver_stream_frame(
        self, data: bytes, source: Address, destination: Address, sender_id: str
    ) -> None:
        until_ms = self._held_ms.get(destination, 0)
        if until_ms > self._clock.now_ms:
            self._clock.call_at(
                until_ms,
                lambda: self._deliver_stream_frame(data, source, destination, sender_id),
            )
        else:
            super()._deliver_stream_frame(data, source, destination, sender_id)


def _stall_some(
    cluster: Cluster, seed: int, stalled: int, length_ms: int, how: str
) -> tuple[int, int]:
    """Deaths of healthy members that all heard, and that healthy ones heard."""
    rng = settle(cluster, seed)
    network = HeldNetwork(cluster.network)
    cluster.network = network
    end_ms = cluster.clock.now_ms + length_ms
    numbers = rng.sample([process.number for process in cluster.processes], stalled)
    for process in cluster.processes:
        process.events.clear()
    for number in numbers:
        process = cluster.processes[number - 1]
        cluster.clock.call_at(
            cluster.clock.now_ms + _log_uniform(rng, RUN_MS),
            partial(_stall, cluster, network, process, rng, how, end_ms),
        )
    cluster.run(length_ms + MARGIN_MS)
    unhealthy = {cluster.processes[number - 1].id for number in numbers}
    everywhere = at_healthy = 0
    for process in cluster.processes:
        deaths = sum(1 for _, id in process.deaths() if id not in unhealthy)
        everywhere += deaths
        at_healthy += 0 if process.id in unhealthy else deaths
    return everywhere, at_healthy


def _stall(
    cluster: Cluster, network: HeldNetwork, process: Process, rng: Rng, how: str, end_ms: int
) -> None:
    now_ms = cluster.clock.now_ms
    if now_ms >= end_ms:
        return
    stall_ms = min(_log_uniform(rng, STALL_MS), end_ms - now_ms)
    if how == "paused":
        process.stall(stall_ms)
    else:
        network.hold(process.address, now_ms + stall_ms)
    cluster.clock.call_at(
        now_ms + stall_ms + _log_uniform(rng, RUN_MS),
        partial(_stall, cluster, network, process, rng, how, end_ms),
    )


def _log_uniform(rng: Rng, bounds: tuple[int, int]) -> int:
    """Between two powers of two, each doubling as likely as the next."""
    least, most = bounds
    doublings = (most // least).bit_length() - 1
    low = least << rng.below(doublings)
    return low + rng.below(low)
