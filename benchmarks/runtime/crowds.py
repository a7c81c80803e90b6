"""Many jobs under trio at once: what each costs, how long one waits, how late the loop is.

Beside it the same with wasmtime's own API on trio's own threads (`trio.to_thread`, as many), which
is what one would write: there a long job holds its thread, and short ones stand behind it.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import trio
from benchmarks.bystander import TICK_S, Bystander
from benchmarks.runtime.guests import Guests
from benchmarks.runtime.ways import DEADLINE_MS, JOB, Convenient, Way, of_json, percentile

from gossamer_node.jobs import Completed
from gossamer_node.service.spec import Grant, Limits, ServiceSpec
from gossamer_node.wasm import Detached, WasmHost

THREADS = 2
IN_FLIGHT = 64
LONG = 4
PAUSE_S = 0.005

Run = Callable[[], Awaitable[object]]


@dataclass(slots=True)
class Crowd:
    """What was seen.

    Attributes:
        jobs: short ones that ended, those of the probe left out; `long_jobs`: long ones.
        probe_ms: how long a short job took that came alone, now and then.
        loop_ms: how late the loop's timer was.
        machine_ms: how late a process was that only sleeps, p99 and worst.
    """

    seconds: float
    cpu_s: float = 0.0
    jobs: int = 0
    long_jobs: int = 0
    probe_ms: list[float] = field(default_factory=list)
    loop_ms: list[float] = field(default_factory=list)
    machine_ms: tuple[float, float] = (0.0, 0.0)

    def row(self) -> dict[str, float]:
        """Figures for a table."""
        probe, loop = sorted(self.probe_ms), sorted(self.loop_ms)
        return {
            "jobs_per_s": self.jobs / self.seconds,
            "cpu_us": self.cpu_s / self.jobs * 1e6 if self.jobs else 0.0,
            "long_per_s": self.long_jobs / self.seconds,
            "cores": self.cpu_s / self.seconds,
            "probe_p50_ms": percentile(probe, 0.5),
            "probe_p99_ms": percentile(probe, 0.99),
            "loop_p99_ms": percentile(loop, 0.99),
            "loop_worst_ms": loop[-1],
            "machine_p99_ms": self.machine_ms[0],
            "machine_worst_ms": self.machine_ms[1],
        }


async def watch(
    seconds: float, short: Run, long: Run, *, in_flight: int = 0, long_ones: int = 0
) -> Crowd:
    """Keep so many short and long jobs under way, and look on."""
    crowd = Crowd(seconds)

    async def work() -> None:
        while True:
            await short()
            crowd.jobs += 1

    async def work_long() -> None:
        while True:
            await long()
            crowd.long_jobs += 1

    async def probe() -> None:
        while True:
            began_s = time.perf_counter()
            try:
                await short()
            finally:
                # One that the end of the scene cut short counts, too: it took as long at least.
                crowd.probe_ms.append((time.perf_counter() - began_s) * 1_000)
            await trio.sleep(PAUSE_S)

    async def tick() -> None:
        while True:
            began_s = time.perf_counter()
            await trio.sleep(TICK_S)
            crowd.loop_ms.append((time.perf_counter() - began_s - TICK_S) * 1_000)

    with Bystander() as bystander:
        before_s = time.process_time()
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                for task in (probe, tick, *[work] * in_flight, *[work_long] * long_ones):
                    nursery.start_soon(task)
        crowd.cpu_s = time.process_time() - before_s
    crowd.machine_ms = (bystander.p99_ms, bystander.worst_ms)
    return crowd


SCENES = {
    "nobody": (0, 0),
    f"{IN_FLIGHT} short jobs at any time": (IN_FLIGHT, 0),
    f"{LONG} long jobs at any time": (0, LONG),
    "both": (IN_FLIGHT, LONG),
}


async def ours(guests: Guests, folder: Path, threads: int, seconds: float) -> dict[str, Crowd]:
    """Every scene, in one host."""
    async with WasmHost(folder / "cache", threads=threads) as host:

        async def runner(module: Path) -> Run:
            spec = ServiceSpec(
                folder / "service.yaml",
                module.stem,
                "1.0.0",
                module=module,
                limits=Limits(time_ms_max=DEADLINE_MS),
            )
            worker = await host.load(spec, Grant())

            async def run() -> None:
                outcome = await worker.run(JOB, deadline_ms=DEADLINE_MS, context=Detached())
                assert isinstance(outcome, Completed), outcome

            return run

        short, long = await runner(guests.short), await runner(guests.long)
        return {
            name: await watch(seconds, short, long, in_flight=in_flight, long_ones=long_ones)
            for name, (in_flight, long_ones) in SCENES.items()
        }


async def plain(guests: Guests, threads: int, seconds: float) -> dict[str, Crowd]:
    """The same on trio's threads."""
    limiter = trio.CapacityLimiter(threads)

    def runner(way: Way) -> Run:
        return lambda: trio.to_thread.run_sync(way, limiter=limiter)

    short = runner(of_json(Convenient(guests.short).run))
    long = runner(of_json(Convenient(guests.long).run))
    return {
        name: await watch(seconds, short, long, in_flight=in_flight, long_ones=long_ones)
        for name, (in_flight, long_ones) in SCENES.items()
    }
