"""What a job in a fresh WebAssembly instance costs, and against what.

    python benchmarks/bench_wasm_job.py [--seconds 2]

Four ways in the same process, with the same echo guest and a job of 1 KiB of JSON: wasmtime's own
API; this host's prepared calls alone; a whole job (encode, run, decode) on one thread; and whole
jobs through the host under trio, many at a time. Prints µs per job, jobs per second and the ratio
to wasmtime's own API.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import trio
import wasmtime

from gossamer_node.jobs import Completed, Job, JobRef
from gossamer_node.service.spec import Grant, Limits, ServiceSpec
from gossamer_node.variables import Variables
from gossamer_node.wasm import Detached, WasmHost, fastcall
from gossamer_node.wasm.engine import Engines
from gossamer_node.wasm.envelope import encode_job

ECHO = Path(__file__).parents[1] / "tests" / "node" / "wasm" / "wat" / "echo.wat"
MEMORY_BYTES = 16 * 2**20
BATCH = 2_000
JOB = Job(
    JobRef("camunda8", "2251799813685262", "create-booking", "bench", retries=3),
    Variables({"guest": "Ada", "nights": 3, "note": "x" * 700}),
    lock_ms=30_000,
    process_id="HotelReservationProcess",
)


def measure(one: Callable[[], object], seconds: float) -> float:
    """Median µs of a call, over batches of ten."""
    one()
    times_us = []
    end_s = time.perf_counter() + seconds
    while time.perf_counter() < end_s:
        began_s = time.perf_counter()
        for _ in range(10):
            one()
        times_us.append((time.perf_counter() - began_s) * 1e5)
    return statistics.median(times_us)


def convenient(wasm: bytes, data: bytes) -> Callable[[], object]:
    """The same job as one would write it with wasmtime's own API, limits included."""
    config = wasmtime.Config()
    config.epoch_interruption = True
    engine = wasmtime.Engine(config)
    linked = wasmtime.Linker(engine).instantiate_pre(wasmtime.Module(engine, wasm))

    def one() -> bytes:
        store = wasmtime.Store(engine)
        store.set_limits(memory_size=MEMORY_BYTES)
        store.set_epoch_deadline(1)
        exports = linked.instantiate(store).exports(store)
        memory, alloc, handle = exports["memory"], exports["alloc"], exports["handle"]
        assert isinstance(memory, wasmtime.Memory)
        assert isinstance(alloc, wasmtime.Func)
        assert isinstance(handle, wasmtime.Func)
        pointer = alloc(store, len(data))
        memory.write(store, data, pointer)
        answer = handle(store, pointer, len(data))
        start = answer >> 32
        return bytes(memory.read(store, start, start + (answer & 0xFFFFFFFF)))

    return one


def prepared(wasm: bytes, data: bytes) -> Callable[[], object]:
    """The same job through `fastcall`, in the engine that the host uses."""
    engine = Engines().get(Limits().stack_bytes_max)
    module = wasmtime.Module(engine.engine, wasm)
    linked = fastcall.Linked(engine.engine, wasmtime.Linker(engine.engine).instantiate_pre(module))

    def one() -> bytes:
        with fastcall.Instance(linked, memory_bytes_max=MEMORY_BYTES) as instance:
            instance.instantiate()
            memory = instance.memory()
            pointer = instance.call(b"alloc", len(data)) & 0xFFFFFFFF
            memory.write(pointer, data)
            answer = instance.call(b"handle", pointer, len(data))
            return memory.read(answer >> 32, answer & 0xFFFFFFFF)

    return one


async def batches(spec: ServiceSpec, cache: Path, threads: int, seconds: float) -> float:
    """Median µs per job, with `BATCH` jobs given to the host at once."""
    times_us = []
    async with WasmHost(cache, threads=threads) as host:
        worker = await host.load(spec, Grant())

        async def one() -> None:
            outcome = await worker.run(JOB, deadline_ms=600_000, context=Detached())
            assert isinstance(outcome, Completed)

        end_s = time.perf_counter() + seconds
        while not times_us or time.perf_counter() < end_s:
            began_s = time.perf_counter()
            async with trio.open_nursery() as nursery:
                for _ in range(BATCH):
                    nursery.start_soon(one)
            times_us.append((time.perf_counter() - began_s) / BATCH * 1e6)
    return statistics.median(times_us)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="for each way (default 2)")
    seconds = parser.parse_args().seconds
    wasm = bytes(wasmtime.wat2wasm(ECHO.read_text()))
    data = encode_job(JOB, deadline_ms=10_000, encoding="json")
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        (here / "echo.wasm").write_bytes(wasm)
        spec = ServiceSpec(here / "service.yaml", "echo", "1.0.0", module=here / "echo.wasm")
        rows = {
            "instance, wasmtime's own API": measure(convenient(wasm, data), seconds),
            "instance, prepared calls": measure(prepared(wasm, data), seconds),
        }
        with WasmHost(here / "cache") as host:
            worker = host.load_blocking(spec, Grant())
            rows["whole job, one thread"] = measure(
                lambda: worker.run_blocking(JOB, deadline_ms=600_000, context=Detached()), seconds
            )
        for threads in (1, 2):
            rows[f"whole job under trio, {threads} thread(s)"] = trio.run(
                batches, spec, here / "cache", threads, seconds
            )
    base_us = next(iter(rows.values()))
    print(f"{len(data)} bytes of input; a fresh instance for every job; medians")
    print(f"{'way':<34}{'µs/job':>9}{'jobs/s':>10}{'ratio':>8}")
    for name, us in rows.items():
        print(f"{name:<34}{us:>9.1f}{1e6 / us:>10.0f}{base_us / us:>8.1f}")


if __name__ == "__main__":
    main()
