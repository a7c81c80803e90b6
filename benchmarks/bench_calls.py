"""What a call of another service costs: on the same node, and over the mesh to another process.

A guest calls a service again and again in one job; the called one answers at once, in a fresh
instance for each call. Beside it, the same service's jobs given to the host directly, one after the
other: the difference is what the call itself costs, from thread to loop to thread and back, and
over TLS on loopback. The median of several jobs; beside the time that passed, the CPU that this
process took, as others share this machine.

    python benchmarks/bench_calls.py [--calls 500] [--jobs 9]
"""

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio
from wasmtime import wat2wasm

from gossamer_mesh.drivers import MeshConfig, open_mesh
from gossamer_mesh.identity import Identity
from gossamer_mesh.keyring import Keyring
from gossamer_node.jobs import Completed, Job, JobRef
from gossamer_node.service.spec import Grant, Limits, ServiceSpec
from gossamer_node.variables import Variables
from gossamer_node.wasm import Detached, WasmHost
from gossamer_node.work.context import LeaseContext, no_lock
from gossamer_node.work.executing import Executor
from gossamer_node.work.leasing import Leasing

KEY = bytes(range(32))
TIME_MS = 3_600_000
REQUEST = '{"service":"price","variables":{"night":3}}'
DONE = '{"completed":{"variables":{"euros":95}}}'

_PRICE = """(module
  (memory (export "memory") 1)
  (data (i32.const 16) "%(done)s")
  (func (export "job_abi") (result i32) (i32.const 65536))
  (func (export "alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "handle") (param i32 i32) (result i64)
    (i64.or (i64.shl (i64.const 16) (i64.const 32)) (i64.const %(length)d))))"""

_CALLER = """(module
  (import "job1" "call" (func $call (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "%(done)s")
  (data (i32.const 256) "service.call")
  (data (i32.const 512) "%(request)s")
  (func (export "job_abi") (result i32) (i32.const 65536))
  (func (export "alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "handle") (param i32 i32) (result i64)
    (local $left i32)
    (local.set $left (i32.const %(calls)d))
    (loop $again
      (if (i32.lt_s (call $call (i32.const 256) (i32.const 12) (i32.const 512)
                                (i32.const %(request_length)d)) (i32.const 0))
        (then unreachable))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $again (local.get $left)))
    (i64.or (i64.shl (i64.const 16) (i64.const 32)) (i64.const %(length)d))))"""


def module(text: str, calls: int = 0) -> bytes:
    parts = {
        "done": DONE.replace('"', '\\"'),
        "length": len(DONE),
        "request": REQUEST.replace('"', '\\"'),
        "request_length": len(REQUEST),
        "calls": calls,
    }
    return bytes(wat2wasm(text % parts))


def spec(folder: Path, name: str, wasm: bytes) -> ServiceSpec:
    file = folder / f"{name}.wasm"
    file.write_bytes(wasm)
    limits = Limits(time_ms_max=TIME_MS)
    return ServiceSpec(folder / "service.yaml", name, "1.0.0", module=file, limits=limits)


class Taken:
    """Seconds on the clock, and of CPU of this process."""

    def __init__(self, clock_s: float | None = None, cpu_s: float | None = None) -> None:
        self.clock_s = time.perf_counter() if clock_s is None else clock_s
        self.cpu_s = time.process_time() if cpu_s is None else cpu_s

    def until_now(self) -> "Taken":
        now = Taken()
        return Taken(now.clock_s - self.clock_s, now.cpu_s - self.cpu_s)


def show(what: str, taken: Sequence[Taken], calls: int) -> None:
    """A line: the median of several jobs, by call."""
    clock_s = statistics.median(one.clock_s for one in taken)
    cpu_s = statistics.median(one.cpu_s for one in taken)
    print(f"{what:34} {clock_s / calls * 1e6:6.0f} µs, {cpu_s / calls * 1e6:6.0f} µs of CPU here")


@dataclass
class Member:
    """A node as far as calls go."""

    leasing: Leasing
    executor: Executor
    host: WasmHost
    node_id: str
    address: tuple[str, int]
    folder: Path

    async def add(self, name: str, wasm: bytes, grant: Grant) -> None:
        one = spec(self.folder, name, wasm)
        self.executor.put(one, await self.host.load(one, grant))

    async def work(self, name: str) -> "Taken":
        """What a job takes."""
        served = self.executor.callee(name)
        assert served is not None
        job = Job(JobRef("bench", "job", name, ""), Variables(), TIME_MS)
        context = LeaseContext(no_lock, job, self.leasing.calling)
        began = Taken()
        outcome = await self.executor.call(served, served.places.line_up(), job, context, TIME_MS)
        assert isinstance(outcome, Completed), outcome
        return began.until_now()


@asynccontextmanager
async def member(folder: Path, seeds: tuple[tuple[str, int], ...] = ()) -> AsyncIterator[Member]:
    folder.mkdir(exist_ok=True)
    config = MeshConfig(identity=Identity.generate(), keyring=Keyring((KEY,)), seeds=seeds)
    async with (
        WasmHost(folder / "cache") as host,
        open_mesh(config) as mesh,
        trio.open_nursery() as nursery,
    ):
        executor = Executor()
        leasing = Leasing(mesh, {}, executor, slots=32, claims=False)
        await nursery.start(leasing.run)
        yield Member(leasing, executor, host, mesh.node_id, mesh.address, folder)
        nursery.cancel_scope.cancel()


async def serve(folder: Path, seed: tuple[str, int]) -> None:
    async with member(folder, (seed,)) as one:
        await one.add("price", module(_PRICE), Grant())
        await trio.sleep_forever()


def other(folder: Path, seed: tuple[str, int]) -> None:
    trio.run(serve, folder, seed)


async def directly(one: Member, calls: int, jobs: int) -> list[Taken]:
    """The service's jobs, given to the host without a call."""
    price = await one.host.load(spec(one.folder, "direct", module(_PRICE)), Grant())
    job = Job(JobRef("bench", "job", "price", ""), Variables({"night": 3}), TIME_MS)
    taken = []
    for _ in range(jobs):
        began = Taken()
        for _ in range(calls):
            await price.run(job, deadline_ms=TIME_MS, context=Detached())
        taken.append(began.until_now())
    return taken


async def measure(folder: Path, calls: int, jobs: int) -> None:
    async with member(folder / "one") as one:
        show("a job given to the host directly", await directly(one, calls, jobs), calls)
        await one.add("caller", module(_CALLER, calls), Grant(calls=("price",)))
        await one.add("price", module(_PRICE), Grant())
        show("a call on the same node", [await one.work("caller") for _ in range(jobs)], calls)
        one.executor.remove("price")
        process = multiprocessing.get_context("spawn").Process(
            target=other, args=(folder / "two", one.address), daemon=True
        )
        process.start()
        try:
            mesh = one.leasing._mesh
            while len(mesh.members()) < 2:  # noqa: ASYNC110 - another process tells nobody
                await trio.sleep(0.1)
            (there,) = [each.id for each in mesh.members() if each.id != one.node_id]
            one.leasing.calling.find = lambda _service, _version: [there]
            await trio.sleep(2.0)  # it loads the service
            show("a call of another node", [await one.work("caller") for _ in range(jobs)], calls)
        finally:
            process.kill()


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=500, help="in one job; 1,000 at most")
    parser.add_argument("--jobs", type=int, default=9)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trio.run(measure, Path(folder), chosen.calls, chosen.jobs)


if __name__ == "__main__":
    main()
