"""Where one claimer becomes the limit: its CPU by job and by payload byte.

One process claims and holds nothing; two more hold and work, over the real mesh on loopback. The
jobs come from a source inside the claimer's process, so what is measured is the claimer's own
part: to pack a job, grant it, carry it over TLS, take the outcome. An engine's HTTP comes on top.
The figure that counts is CPU time, as other processes share this machine.

    python benchmarks/bench_claimer.py [--seconds 4]
"""

import argparse
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path

import trio

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.node.source_engine import SourceEngine

from gossamer_mesh.drivers import MeshConfig, open_mesh
from gossamer_mesh.identity import Identity
from gossamer_node.jobs import Completed, Job, Outcome
from gossamer_node.service.spec import ServiceSpec, Topic
from gossamer_node.wasm import JobContext
from gossamer_node.work.executing import Executor
from gossamer_node.work.leasing import Leasing

KEY = bytes(range(32))
HOLDERS = 2
SLOTS = 128
SIZES = (100, 10_000, 100_000, 1_000_000)


class Echo:
    """Done at once."""

    async def run(self, job: Job, *, deadline_ms: int, context: JobContext) -> Outcome:
        await trio.lowlevel.checkpoint()
        return Completed()


def spec() -> ServiceSpec:
    return ServiceSpec(name="s", version="1", path=Path(), topics=(Topic("t"),), concurrency=SLOTS)


async def hold(seed: tuple[str, int]) -> None:
    settings = MeshConfig(identity=Identity.generate(), key=KEY, seeds=(seed,))
    async with open_mesh(settings) as mesh, trio.open_nursery() as nursery:
        leasing = Leasing(mesh, {}, Executor([(spec(), Echo())]), slots=SLOTS, claims=False)
        await nursery.start(leasing.run)
        await trio.sleep_forever()


def holder(seed: tuple[str, int]) -> None:
    trio.run(hold, seed)


async def claim(size_bytes: int, seconds: float) -> tuple[float, float, int]:
    """CPU and wall seconds, and jobs."""
    engine = SourceEngine(payload="x" * size_bytes)
    settings = MeshConfig(identity=Identity.generate(), key=KEY)
    async with open_mesh(settings) as mesh, trio.open_nursery() as nursery:
        leasing = Leasing(mesh, {engine.name: engine}, Executor([]), slots=1, claims=True)
        await nursery.start(leasing.run)
        processes = [
            multiprocessing.get_context("spawn").Process(
                target=holder, args=(mesh.address,), daemon=True
            )
            for _ in range(HOLDERS)
        ]
        for process in processes:
            process.start()

        async def feed() -> None:
            while True:
                engine.add("t", max(0, 512 - engine.waiting()))
                await trio.sleep(0.02)

        nursery.start_soon(feed)
        while len(engine.completed) < 200:  # noqa: ASYNC110 - the processes begin when they do
            await trio.sleep(0.05)
        cpu_s, wall_s, jobs = time.process_time(), time.monotonic(), len(engine.completed)
        await trio.sleep(seconds)
        cpu_s, wall_s = time.process_time() - cpu_s, time.monotonic() - wall_s
        jobs = len(engine.completed) - jobs
        for process in processes:
            process.terminate()
        nursery.cancel_scope.cancel()
    return cpu_s, wall_s, jobs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4)
    seconds = parser.parse_args().seconds
    print("payload B   jobs/s   claimer's CPU ms/job   of one core: jobs/s   MB/s")
    for size_bytes in SIZES:
        with tempfile.TemporaryDirectory():
            cpu_s, wall_s, jobs = trio.run(claim, size_bytes, seconds)
        by_core = jobs / cpu_s
        print(
            f"{size_bytes:9}  {jobs / wall_s:7.0f}  {cpu_s / jobs * 1e3:21.2f}"
            f"  {by_core:19.0f}  {by_core * size_bytes / 1e6:6.1f}"
        )


if __name__ == "__main__":
    main()
