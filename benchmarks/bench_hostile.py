"""What guests that attack cost everybody else: the attacks of tests/hostile, measured.

    python -m benchmarks.bench_hostile [--seconds 5] [--jobs 100000] [--kills 200]

Three tables: how long past its deadline each endless guest ran; resident memory while so many
hostile jobs end, in both profiles; and, while attackers of each kind run without pause, how long
another service's jobs take and how late the trio loop is, beside the same with nobody there and
with as many that mean well. Each with how late a process was meanwhile that only sleeps.
"""

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import trio
from benchmarks.bystander import TICK_S, Bystander
from tests.hostile.attacks import ATTACKS, LATE, LOOP_MS, LOOPS, Attack
from tests.hostile.services import DEADLINE_MS, DONE, GOOD, JOB, PROFILES, limits_of, run, service
from tests.hostile.siege import has

from gossamer_node.jobs import Failed
from gossamer_node.service.spec import Grant, Limits, Profile
from gossamer_node.wasm import Detached, WasmHost, Worker
from gossamer_node.wasm.host import SWITCH_S

ATTACKERS = 4
"""Twice as many as cores here: there is always one that waits for a place."""

KILLERS = 2

MACHINE = "a process that only sleeps, meanwhile"

PAUSE_S = 0.005

LOUD = (
    "floods the log",
    "writes to all the memory that it may have",
    "exhausts its stack",
    "traps",
    "answers a million values",
    "answers a million msgpack lists",
)
"""Of those that end by themselves, those that are worst for others."""

MIB = 2**20


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


class Services:
    """Modules of attacks as services of one host."""

    def __init__(self, host: WasmHost, folder: Path) -> None:
        self._host = host
        self._folder = folder
        self._number = 0

    def load(self, attack: Attack, profile: Profile, limits: Limits | None = None) -> Worker:
        self._number += 1
        path = self._folder / f"{self._number}.wasm"
        path.write_bytes(attack.module())
        spec = service(path, profile, limits or limits_of(attack))
        return self._host.load_blocking(spec, Grant())


def lateness_ms(worker: Worker, count: int) -> list[float]:
    """Of so many kills, on `KILLERS` threads at once: from the deadline to the outcome."""
    late: list[float] = []

    def one() -> None:
        for _ in range(count // KILLERS):
            began_s = time.perf_counter()
            outcome = run(worker)
            late.append((time.perf_counter() - began_s) * 1_000 - LOOP_MS)
            assert isinstance(outcome, Failed) and outcome.message == LATE, outcome

    threads = [threading.Thread(target=one) for _ in range(KILLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return late


def kills(services: Services, count: int) -> None:
    print(f"\nEnded past their deadline of {LOOP_MS} ms, {KILLERS} at once, {count} of each; ms")
    print(f"{'attack':<58}{'profile':<9}{'p50':>8}{'p99':>8}{'worst':>8}")
    every: list[float] = []
    with Bystander() as bystander:
        for name, attack in LOOPS.items():
            for profile in PROFILES:
                late = lateness_ms(services.load(attack, profile), count)
                every += late
                figures = (statistics.median(late), percentile(late, 0.99), max(late))
                print(f"{name:<58}{profile:<9}" + "".join(f"{one:>8.1f}" for one in figures))
    figures = (statistics.median(every), percentile(every, 0.99), max(every))
    print(f"{'all':<67}" + "".join(f"{one:>8.1f}" for one in figures))
    figures = (bystander.p99_ms, bystander.worst_ms)
    print(f"{MACHINE:<75}" + "".join(f"{one:>8.1f}" for one in figures), flush=True)


def memory(services: Services, jobs: int) -> None:
    workers = [
        services.load(attack, profile)
        for attack in ATTACKS.values()
        if attack.ends
        for profile in PROFILES
    ]
    print(f"\nAfter hostile jobs, {len(workers)} services in turn, none of them endless")
    print(f"{'jobs':>9}{'MiB resident':>14}{'mappings':>10}{'threads':>9}{'files':>7}")
    for number in range(jobs + 1):
        if number in (len(workers) * 2, jobs // 10, jobs // 2, jobs):
            now = has()
            print(
                f"{number:>9,}{now.resident_bytes / MIB:>14.1f}{now.mappings:>10}"
                f"{now.threads:>9}{now.descriptors:>7}",
                flush=True,
            )
        run(workers[number % len(workers)])


class Watch:
    """A bystander's jobs and the loop's lateness, for some seconds."""

    def __init__(self) -> None:
        self.job_ms: list[float] = []
        self.loop_ms: list[float] = []
        self.attacks = 0

    async def work(self, worker: Worker) -> None:
        while True:
            began_s = time.perf_counter()
            outcome = await worker.run(JOB, deadline_ms=DEADLINE_MS, context=Detached())
            self.job_ms.append((time.perf_counter() - began_s) * 1_000)
            assert outcome == DONE, outcome
            await trio.sleep(PAUSE_S)

    async def tick(self) -> None:
        while True:
            began_s = time.perf_counter()
            await trio.sleep(TICK_S)
            self.loop_ms.append((time.perf_counter() - began_s - TICK_S) * 1_000)

    async def attack(self, worker: Worker) -> None:
        while True:
            await worker.run(JOB, deadline_ms=DEADLINE_MS, context=Detached())
            self.attacks += 1


async def watched(good: Worker, attackers: Sequence[Worker], seconds: float) -> Watch:
    watch = Watch()
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch.work, good)
            nursery.start_soon(watch.tick)
            for worker in attackers:
                nursery.start_soon(watch.attack, worker)
    return watch


async def neighbours(folder: Path, seconds: float) -> None:
    print(f"\nAnother service's jobs and the trio loop's lateness, {seconds:.0f} s each; ms")
    print(
        f"{'beside':<58}{'jobs/s':>8}{'job p50':>9}{'p99':>7}{'loop p99':>10}{'worst':>7}"
        f"{'sleeper p99':>13}{'worst':>7}"
    )
    async with WasmHost(folder / "cache", threads=os.cpu_count()) as host:
        services = Services(host, folder)
        good = services.load(GOOD, "fast", Limits(time_ms_max=DEADLINE_MS))
        crowd: dict[str, list[Worker]] = {"nobody": [], "as many that mean well": [good]}
        for name in (*LOOPS, *LOUD):
            crowd[name] = [services.load(ATTACKS[name], "fast")]
        crowd["all attacks, both profiles"] = [
            services.load(attack, profile) for attack in ATTACKS.values() for profile in PROFILES
        ]
        for name, workers in crowd.items():
            attackers = workers * ATTACKERS if len(workers) == 1 else workers
            with Bystander() as bystander:
                watch = await watched(good, attackers, seconds)
            print(
                f"{name:<58}{watch.attacks / seconds:>8.0f}{statistics.median(watch.job_ms):>9.2f}"
                f"{percentile(watch.job_ms, 0.99):>7.1f}{percentile(watch.loop_ms, 0.99):>10.1f}"
                f"{max(watch.loop_ms):>7.1f}{bystander.p99_ms:>13.1f}{bystander.worst_ms:>7.1f}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="beside each kind (default 5)")
    parser.add_argument("--jobs", type=int, default=100_000, help="hostile ones (default 100000)")
    parser.add_argument("--kills", type=int, default=200, help="of each endless one (default 200)")
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trio.run(neighbours, folder, arguments.seconds)
        # As in a node, where the host runs beside a loop.
        sys.setswitchinterval(SWITCH_S)
        with WasmHost(folder / "cache") as host:
            kills(Services(host, folder), arguments.kills)
        with WasmHost(folder / "cache") as host:
            memory(Services(host, folder), arguments.jobs)
    print(f"load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
