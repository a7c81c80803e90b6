"""wasmtime engines, as this node configures them.

Profile *fast*: a pool of instances that keeps its pages between jobs, copy-on-write images and
guard pages, so that a fresh instance for every job is cheap (14 µs against 37 without the pool,
measured for a 1 KiB job on x86-64). Profile *dense*: no address space reserved, no guards, no
copy-on-write, so that neighbouring memories are one mapping to the kernel, and 100,000 instances
live in one process where the default ends at 21,810 by an abort (`capacity` has the arithmetic).

Features that not every host of job1 offers are off: a module that loads here loads everywhere. The
stack limit belongs to an engine, so services that differ in it get engines of their own; `Engines`
keeps one for each profile and stack. wasmtime does not refuse a wrong pool, it aborts the process:
`Pool.check` refuses first, in a sentence, all that has been seen to do so.
"""

import importlib.metadata
import mmap
import platform
import threading
from dataclasses import dataclass, fields

from wasmtime import Config, Engine
from wasmtime import _ffi as ffi

from gossamer_node.errors import ServiceError
from gossamer_node.service.spec import Profile
from gossamer_node.wasm.fastcall import TABLE_ELEMENTS_MAX, TABLES_MAX
from gossamer_node.wasm.loading.advisories import refuse_known_escapes

INSTANCES_MAX = 104
"""Live at once on one fast engine: the threads of the pool, those that wait for calls, and a few
that run by themselves. A pool of them takes 6 ms to make, as one of 40 does."""

STACKS_MAX = 16
"""Different stack limits of one node: each fast engine has a pool, with mappings of its own."""

STACK_BYTES_MIN = 16 * 2**10
STACK_BYTES_MAX = 4 * 2**20
"""Half of a pool thread's (`pool.THREAD_STACK_BYTES`); host functions use the rest."""

MEMORY_BYTES_LIMIT = 4 * 2**30
"""What a 32-bit memory can have at most; also the address space that each slot reserves."""

_SLOT_BYTES = MEMORY_BYTES_LIMIT + 64 * 2**20
"""Address space of a slot with its guards."""

_POOL_COUNT_MAX = 10_000
_POOL_BYTES_MAX = 64 * 2**20
"""Far more than any use; what wasmtime multiplies by them stays within 64 bits."""


@dataclass(frozen=True, slots=True)
class Pool:
    """The fast profile's pool, in wasmtime's terms.

    Attributes:
        linear_memory_keep_resident, table_keep_resident: bytes of each slot that are zeroed by
            hand between jobs rather than given back: measured to be worth it.
        max_core_instance_size: book-keeping of one instance; wasmtime's 1 MiB is short for 43,000
            functions and more.
    """

    total_core_instances: int = INSTANCES_MAX
    total_memories: int = INSTANCES_MAX
    total_tables: int = INSTANCES_MAX * TABLES_MAX
    max_tables_per_module: int = TABLES_MAX
    table_elements: int = TABLE_ELEMENTS_MAX
    max_core_instance_size: int = 4 * 2**20
    linear_memory_keep_resident: int = 64 * 2**10
    table_keep_resident: int = 64 * 2**10

    def check(self) -> None:
        """Raises: ServiceError for what wasmtime would answer with an abort, or not at all."""
        bounds = {
            "total_core_instances": (1, _POOL_COUNT_MAX),
            "total_memories": (1, _POOL_COUNT_MAX),
            "total_tables": (1, _POOL_COUNT_MAX),
            "max_tables_per_module": (1, self.total_tables),
            "table_elements": (1, 10_000_000),
            "max_core_instance_size": (4_096, _POOL_BYTES_MAX),
            "linear_memory_keep_resident": (0, _POOL_BYTES_MAX),
            "table_keep_resident": (0, _POOL_BYTES_MAX),
        }
        for name, (least, most) in bounds.items():
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise ServiceError(
                    f"A pool of instances cannot have {name} = {value!r}; "
                    f"choose a whole number from {least} to {most}."
                )

    @property
    def address_bytes(self) -> int:
        """What it reserves, above what it needs: tables count 16 bytes an element."""
        return (
            self.total_memories * _SLOT_BYTES
            + self.total_tables * 16 * self.table_elements
            + self.total_core_instances * self.max_core_instance_size
        )


@dataclass(frozen=True, slots=True)
class HostEngine:
    """An engine, and the text that says how it is configured: part of the cache's key.

    Attributes:
        pooled: whether its instances come from a pool.
    """

    engine: Engine
    configuration: str
    profile: Profile
    stack_bytes: int
    pooled: bool


class Engines:
    """The engines of one host, by stack limit and profile. Safe to use from several threads."""

    def __init__(self, pool: Pool | None = None) -> None:
        """Args: pool: of the fast profile.

        Raises: ServiceError for one that cannot be; NodeError for a wasmtime that is not safe.
        """
        self._lock = threading.Lock()
        self._pool = pool or Pool()
        self._pool.check()
        refuse_known_escapes()
        self._made: dict[tuple[int, Profile], HostEngine] = {}

    def get(self, stack_bytes: int, profile: Profile = "fast") -> HostEngine:
        """The engine whose guests have that much stack.

        Raises: ServiceError, out of bounds or for one stack limit too many.
        """
        if not STACK_BYTES_MIN <= stack_bytes <= STACK_BYTES_MAX:
            raise ServiceError(
                f"A stack limit of {stack_bytes} bytes is not possible here; "
                f"choose one from {STACK_BYTES_MIN} to {STACK_BYTES_MAX}."
            )
        with self._lock:
            engine = self._made.get((stack_bytes, profile))
            if engine is None:
                if len({stack for stack, _ in self._made} | {stack_bytes}) > STACKS_MAX:
                    raise ServiceError(
                        f"The services of a node have {STACKS_MAX} different stack limits at most; "
                        f"give this one, of {stack_bytes} bytes, the limit of another."
                    )
                engine = self._made[stack_bytes, profile] = _make(stack_bytes, profile, self._pool)
            return engine

    def can_pool(self) -> bool:
        """Whether the address space has room for one more pool now."""
        return _reservable(self._pool.address_bytes)


def engine_like(profile: Profile, stack_bytes: int, *, pooled: bool) -> HostEngine:
    """Another engine of the same configuration, for a process that only compiles."""
    return _configured(stack_bytes, profile, Pool() if pooled else None)


def _make(stack_bytes: int, profile: Profile, pool: Pool) -> HostEngine:
    pooled = profile == "fast" and _reservable(pool.address_bytes)
    return _configured(stack_bytes, profile, pool if pooled else None)


def _configured(stack_bytes: int, profile: Profile, pool: Pool | None) -> HostEngine:
    config = Config()
    config.epoch_interruption = True
    config.max_wasm_stack = stack_bytes
    # Of stacks that are not used here; wasmtime ends the process where the other is larger.
    ffi.wasmtime_config_async_stack_size_set(config.ptr(), STACK_BYTES_MAX)
    config.wasm_threads = False
    config.wasm_memory64 = False
    config.wasm_multi_memory = False
    config.wasm_gc = False
    config.wasm_exceptions = False
    config.wasm_relaxed_simd = False
    if pool is not None:
        memory = "pool"
        _use_pool(config, pool)
    else:
        # Also for a fast profile without room for a pool: 4 GiB for each instance would have none.
        memory = "reservation=0 guard=0 growth=0 cow=False"
        config.memory_reservation = 0
        config.memory_guard_size = 0
        config.memory_reservation_for_growth = 0
        config.memory_init_cow = False
    version = importlib.metadata.version("wasmtime")
    configuration = (
        f"wasmtime {version} {platform.system()} {platform.machine()} "
        f"{profile} epochs stack={stack_bytes} {memory}"
    )
    return HostEngine(Engine(config), configuration, profile, stack_bytes, pool is not None)


def _reservable(size: int) -> bool:
    # wasmtime aborts the process when it cannot reserve its pool (a small address space, as on some
    # ARM kernels, or ulimit -v), so it is tried here first. What nobody may touch costs no memory.
    try:
        mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=0).close()
    except (OSError, ValueError, OverflowError):
        return False
    return True


def _use_pool(config: Config, settings: Pool) -> None:
    # `Config` has no property for it; the calls are bound all the same.
    pool = ffi.wasmtime_pooling_allocation_config_new()
    for field in fields(settings):
        set_field = getattr(ffi, f"wasmtime_pooling_allocation_config_{field.name}_set")
        set_field(pool, getattr(settings, field.name))
    ffi.wasmtime_pooling_allocation_strategy_set(config.ptr(), pool)
    ffi.wasmtime_pooling_allocation_config_delete(pool)
