"""wasmtime engines, as this node configures them.

Profile *fast*: a pool of instances that keeps its pages between jobs, copy-on-write images and
guard pages, so that a fresh instance for every job is cheap (14 µs against 37 without the pool,
measured for a 1 KiB job on x86-64). Features that not every host of job1 offers are off: a module
that loads here loads everywhere. The stack limit belongs to an engine, so services that differ in
it get engines of their own; `Engines` keeps one for each.
"""

import importlib.metadata
import mmap
import platform
import threading
from dataclasses import dataclass

from wasmtime import Config, Engine
from wasmtime import _ffi as ffi

from gossamer_node.errors import ServiceError
from gossamer_node.wasm.fastcall import TABLE_ELEMENTS_MAX, TABLES_MAX

INSTANCES_MAX = 40
"""Live at once on one engine: the threads of the pool, and a few that run by themselves."""

STACK_BYTES_MIN = 16 * 2**10
STACK_BYTES_MAX = 4 * 2**20
"""Half of a pool thread's (`pool.THREAD_STACK_BYTES`); host functions use the rest."""

MEMORY_BYTES_LIMIT = 4 * 2**30
"""What a 32-bit memory can have at most; also the address space that each slot reserves."""

_KEEP_RESIDENT_BYTES = 64 * 2**10
"""Of each slot, zeroed by hand between jobs rather than given back: measured to be worth it."""

_SLOT_BYTES = MEMORY_BYTES_LIMIT + 64 * 2**20
"""Address space of a slot with its guards."""

_INSTANCE_BYTES_MAX = 4 * 2**20
"""Book-keeping of one instance; wasmtime's 1 MiB is short for 43,000 functions and more."""


@dataclass(frozen=True, slots=True)
class HostEngine:
    """An engine, and the text that says how it is configured: part of the cache's key."""

    engine: Engine
    configuration: str


class Engines:
    """The engines of one host, by stack limit. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_stack: dict[int, HostEngine] = {}

    def get(self, stack_bytes: int) -> HostEngine:
        """The engine whose guests have that much stack. Raises ServiceError out of bounds."""
        if not STACK_BYTES_MIN <= stack_bytes <= STACK_BYTES_MAX:
            raise ServiceError(
                f"A stack limit of {stack_bytes} bytes is not possible here; "
                f"choose one from {STACK_BYTES_MIN} to {STACK_BYTES_MAX}."
            )
        with self._lock:
            engine = self._by_stack.get(stack_bytes)
            if engine is None:
                engine = self._by_stack[stack_bytes] = _make(stack_bytes)
            return engine


def _make(stack_bytes: int) -> HostEngine:
    config = Config()
    config.epoch_interruption = True
    config.max_wasm_stack = stack_bytes
    config.wasm_threads = False
    config.wasm_memory64 = False
    config.wasm_multi_memory = False
    config.wasm_gc = False
    config.wasm_relaxed_simd = False
    pooled = _reservable(INSTANCES_MAX * _SLOT_BYTES)
    if pooled:
        _use_pool(config)
    version = importlib.metadata.version("wasmtime")
    configuration = (
        f"wasmtime {version} {platform.system()} {platform.machine()} "
        f"epochs stack={stack_bytes} pool={pooled}"
    )
    return HostEngine(Engine(config), configuration)


def _reservable(size: int) -> bool:
    # wasmtime aborts the process when it cannot reserve its pool (a small address space, as on some
    # ARM kernels, or ulimit -v), so it is tried here first. What nobody may touch costs no memory.
    try:
        mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=0).close()
    except (OSError, ValueError, OverflowError):
        return False
    return True


def _use_pool(config: Config) -> None:
    # `Config` has no property for it; the calls are bound all the same.
    pool = ffi.wasmtime_pooling_allocation_config_new()
    for name, value in {
        "total_core_instances": INSTANCES_MAX,
        "total_memories": INSTANCES_MAX,
        "total_tables": INSTANCES_MAX * TABLES_MAX,
        "max_tables_per_module": TABLES_MAX,
        "table_elements": TABLE_ELEMENTS_MAX,
        "max_core_instance_size": _INSTANCE_BYTES_MAX,
        "linear_memory_keep_resident": _KEEP_RESIDENT_BYTES,
        "table_keep_resident": _KEEP_RESIDENT_BYTES,
    }.items():
        getattr(ffi, f"wasmtime_pooling_allocation_config_{name}_set")(pool, value)
    ffi.wasmtime_pooling_allocation_strategy_set(config.ptr(), pool)
    ffi.wasmtime_pooling_allocation_config_delete(pool)
