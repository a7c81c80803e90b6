"""The ways to run a job, one after another on one thread, and how they are measured.

Every job has a fresh instance, in every way. Extism's are as its documentation has them: a plug-in
made of the module's bytes for each job, with Extism's cache of compiled code on, and none of the
limits that the others have set; and, faster, made of a module that was compiled before.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import extism
import wasmtime
from extism.extism import CompiledPlugin

from gossamer_node.jobs import Completed, Job, JobRef
from gossamer_node.service.spec import Limits
from gossamer_node.variables import Variables
from gossamer_node.wasm import Detached, Worker, fastcall
from gossamer_node.wasm.engine import Engines
from gossamer_node.wasm.envelope import input_map

MEMORY_BYTES = 16 * 2**20
TURN_S = 0.1
DEADLINE_MS = 600_000

JOB = Job(
    JobRef("camunda8", "2251799813685262", "create-booking", "bench", retries=3),
    Variables({"guest": "Ada", "nights": 3, "note": "x" * 700}),
    lock_ms=30_000,
    process_id="HotelReservationProcess",
)

Way = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one job: µs by the clock, in the middle and at worst but for one in a hundred; of CPU."""

    p50_us: float
    p99_us: float
    cpu_us: float


def percentile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def measure(ways: Mapping[str, Way], seconds: float) -> dict[str, Cost]:
    """Each way's cost, over so many seconds each, by turns."""
    times_us: dict[str, list[float]] = {name: [] for name in ways}
    cpu_s = dict.fromkeys(ways, 0.0)
    for one in ways.values():
        one()
    for _ in range(max(1, round(seconds / TURN_S))):
        for name, one in ways.items():
            before_s = time.process_time()
            end_s = time.perf_counter() + TURN_S
            now_s = 0.0
            while now_s < end_s:
                began_s = time.perf_counter()
                one()
                now_s = time.perf_counter()
                times_us[name].append((now_s - began_s) * 1e6)
            cpu_s[name] += time.process_time() - before_s
    costs = {}
    for name, values in times_us.items():
        values.sort()
        costs[name] = Cost(
            percentile(values, 0.5), percentile(values, 0.99), cpu_s[name] / len(values) * 1e6
        )
    return costs


def written_job() -> bytes:
    return json.dumps(input_map(JOB, deadline_ms=DEADLINE_MS)).encode()


def of_json(run: Callable[[bytes], bytes]) -> Way:
    """A whole job as a program of one's own would have it: from a map to a map, by JSON."""

    def one() -> object:
        return json.loads(run(written_job()))["completed"]["variables"]

    return one


def extism_from_bytes(module: Path) -> Callable[[bytes], bytes]:
    wasm = module.read_bytes()

    def run(data: bytes) -> bytes:
        with extism.Plugin(wasm) as plugin:
            return bytes(plugin.call("handle", data))

    return run


def extism_compiled(module: Path) -> Callable[[bytes], bytes]:
    compiled = CompiledPlugin(module.read_bytes())

    def run(data: bytes) -> bytes:
        with extism.Plugin(compiled) as plugin:
            return bytes(plugin.call("handle", data))

    return run


class Convenient:
    """wasmtime's own Python API, with the limits that this host has."""

    def __init__(self, module: Path) -> None:
        config = wasmtime.Config()
        config.epoch_interruption = True
        self._engine = wasmtime.Engine(config)
        compiled = wasmtime.Module.from_file(self._engine, str(module))
        self._linked = wasmtime.Linker(self._engine).instantiate_pre(compiled)

    def instantiate(self) -> tuple[wasmtime.Store, wasmtime.Instance]:
        store = wasmtime.Store(self._engine)
        store.set_limits(memory_size=MEMORY_BYTES)
        store.set_epoch_deadline(1)
        return store, self._linked.instantiate(store)

    def run(self, data: bytes) -> bytes:
        store, instance = self.instantiate()
        exports = instance.exports(store)
        memory, alloc, handle = exports["memory"], exports["alloc"], exports["handle"]
        assert isinstance(memory, wasmtime.Memory)
        assert isinstance(alloc, wasmtime.Func)
        assert isinstance(handle, wasmtime.Func)
        pointer = alloc(store, len(data))
        memory.write(store, data, pointer)
        answer = handle(store, pointer, len(data))
        start = answer >> 32
        return bytes(memory.read(store, start, start + (answer & 0xFFFFFFFF)))


class Prepared:
    """This host's prepared calls alone, in the engine that it uses."""

    def __init__(self, module: Path) -> None:
        engine = Engines().get(Limits().stack_bytes_max).engine
        compiled = wasmtime.Module.from_file(engine, str(module))
        pre = wasmtime.Linker(engine).instantiate_pre(compiled)
        self._linked = fastcall.Linked(engine, pre)

    def instantiate(self) -> None:
        with fastcall.Instance(self._linked, memory_bytes_max=MEMORY_BYTES) as instance:
            instance.instantiate()

    def run(self, data: bytes) -> bytes:
        with fastcall.Instance(self._linked, memory_bytes_max=MEMORY_BYTES) as instance:
            instance.instantiate()
            memory = instance.memory()
            pointer = instance.call(b"alloc", len(data)) & 0xFFFFFFFF
            memory.write(pointer, data)
            answer = instance.call(b"handle", pointer, len(data))
            return memory.read(answer >> 32, answer & 0xFFFFFFFF)


def whole(worker: Worker) -> Way:
    """A job through the host, on this thread."""

    def one() -> object:
        outcome = worker.run_blocking(JOB, deadline_ms=DEADLINE_MS, context=Detached())
        assert isinstance(outcome, Completed), outcome
        return outcome.variables.values

    return one
