"""The WASM host: loads services' modules and runs jobs in them.

    async with WasmHost(cache_dir) as host:
        worker = await host.load(spec, grant)
        outcome = await worker.run(job, deadline_ms=30_000, context=context)

A job never makes the trio loop wait: it is encoded, run and decoded on a thread of `pool`, and the
outcomes of all jobs that end meanwhile come back in one turn of the loop. Jobs of a dense service
go on to `dense`, by turns where they have a key. `run` raises nothing but
`Cancelled`; the guest of a cancelled job is stopped and its thread goes on with the next job.
Without a loop, `with WasmHost(...)` gives `load_blocking` and `run_blocking` alone.
"""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

import trio
from wasmtime import Linker

from gossamer_node.errors import ServiceError
from gossamer_node.jobs import Failed, Job, Outcome
from gossamer_node.keyed.key import Key
from gossamer_node.keyed.runs import Done, Granted, Known
from gossamer_node.proto import load_schema
from gossamer_node.service.secrets import blacked_out
from gossamer_node.service.spec import Grant, ServiceSpec
from gossamer_node.wasm.asking import job1
from gossamer_node.wasm.asking.io_loop import IoLoop
from gossamer_node.wasm.asking.kv import Kv
from gossamer_node.wasm.asking.lines import Lines
from gossamer_node.wasm.asking.operations import OPERATIONS
from gossamer_node.wasm.engine import INSTANCES_MAX, MEMORY_BYTES_LIMIT, Engines, HostEngine
from gossamer_node.wasm.envelope import EnvelopeError, decode_outcome, encode_job
from gossamer_node.wasm.fastcall import TABLE_ELEMENTS_MAX
from gossamer_node.wasm.guest import Guest, size_text
from gossamer_node.wasm.living.capacity import Gauge, cost_of
from gossamer_node.wasm.living.dense import DenseWork, Given
from gossamer_node.wasm.living.measuring import measure
from gossamer_node.wasm.living.residents import Residents, Shape
from gossamer_node.wasm.living.states import Kept, States
from gossamer_node.wasm.loading.footprint import Footprint, footprint
from gossamer_node.wasm.loading.module import (
    PAGE_BYTES,
    Form,
    WorkerModule,
    compile_worker,
    make_linker,
    read_module,
)
from gossamer_node.wasm.pool import WorkerThreads, has_stack_for, with_stack
from gossamer_node.wasm.run import Detached, JobContext, Operation, Run, Stop, Surroundings
from gossamer_node.wasm.tasks import Returns, Task
from gossamer_node.wasm.watchdog import Watchdog

if TYPE_CHECKING:
    from gossamer_node.keyed.moving import Moving

JOBS_MAX = 4_096
"""In the host at once, waiting or running; `run` waits for a place beyond that."""

SWITCH_S = 0.001
"""After so long a thread that runs Python gives way to one that waits (`sys.setswitchinterval`).
With Python's own 5 ms the loop was twice as late beside guests whose answers take long to read; no
fewer jobs ended per second."""

PROBE_MS_MAX = 5_000
"""For a new module to initialise and to say its ABI version, within the service's own limit."""

PROBES_MAX = 3
"""How often it may try when it was late: a machine that stood still meanwhile refuses nothing."""


_log = logging.getLogger("gossamer.wasm")

T = TypeVar("T")


class WasmHost:
    """Engines, threads and caches that all workers of a node share."""

    def __init__(
        self,
        cache_dir: Path,
        *,
        threads: int | None = None,
        operations: Mapping[str, Operation] = OPERATIONS,
        states_file: Path | None = None,
        kv_file: Path | None = None,
        gauge: Gauge | None = None,
        node_id: str = "",
    ) -> None:
        """Args:
        cache_dir: for compiled modules; made when missing, and safe to delete.
        threads: jobs that run at once, those that wait for I/O or take long not counted;
            default: one for each core.
        operations: what workers may call; an SDK's tests put scripted ones here.
        states_file: for what workers keep for their keys, made with the first such service; by
            default it lasts as long as the host.
        kv_file: for what services keep under their keys, as `states_file`.
        gauge: measures what the machine has room for.
        node_id: under which states are written; empty for a host by itself.
        """
        self.operations = operations
        self._cache = cache_dir
        self._engines = Engines()
        self._linkers: dict[HostEngine, tuple[Linker, list[object]]] = {}
        self._lock = threading.Lock()
        self.closing = False
        self._threads = threads or len(os.sched_getaffinity(0))
        self._states_file = states_file
        self._node_id = node_id
        self._states: States | None = None
        self._kv_file = kv_file
        self._kv: Kv | None = None
        self._gauge = gauge or Gauge(measure, time.monotonic)
        self._workers: list[Worker] = []
        self.moving: Moving | None = None

    def __enter__(self) -> Self:
        self.pool = WorkerThreads(self._threads)
        self.io = IoLoop()
        self.watchdog = Watchdog()
        self.residents = Residents(self._gauge)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop what runs, fail what waits, and wait for the threads."""
        self.closing = True
        self.watchdog.close()
        self.io.close()
        self.pool.close()
        self.residents.close()
        if self._states is not None:
            self._states.close()
        if self._kv is not None:
            self._kv.close()

    async def __aenter__(self) -> Self:
        self.__enter__()
        self.returns = Returns(trio.lowlevel.current_trio_token())
        self.places = trio.Semaphore(JOBS_MAX)
        self._switched_s = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_S)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Here, in the loop, so that no `run` submits to threads that have gone.
        self.closing = True
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self.__exit__, kind, error, trace)
        sys.setswitchinterval(self._switched_s)

    async def load(self, spec: ServiceSpec, grant: Grant) -> "Worker":
        """Compile a service's module, or take it from the cache, and see that it starts.

        Raises: ServiceError, one sentence with the module's path.
        """
        return await trio.to_thread.run_sync(self.load_blocking, spec, grant)

    def load_blocking(self, spec: ServiceSpec, grant: Grant) -> "Worker":
        """`load` on the caller's thread."""
        path = spec.module
        if path is None:
            raise ServiceError(
                f"The service {spec.name} names no module; add `module:` to {spec.path}."
            )
        if spec.limits.memory_bytes_max > MEMORY_BYTES_LIMIT:
            raise ServiceError(
                f"The memory limit of {spec.name} is more than a module can have; "
                f"choose one up to {size_text(MEMORY_BYTES_LIMIT)} in {spec.path}."
            )
        wasm = read_module(path)
        engine = self._engines.get(spec.limits.stack_bytes_max, spec.profile)
        with self._lock:
            if engine not in self._linkers:
                self._linkers[engine] = make_linker(engine)
            linker, _ = self._linkers[engine]
        module = compile_worker(path, wasm, engine, linker, self._cache)
        if module.memory_bytes_min > spec.limits.memory_bytes_max:
            raise ServiceError(
                f"The module {path} begins with {size_text(module.memory_bytes_min)} of memory, "
                f"its limit is {size_text(spec.limits.memory_bytes_max)}; "
                f"raise the limit in {spec.path} or build the module smaller."
            )
        is_dense = spec.profile == "dense"
        if is_dense:
            _check_dense(spec, module)
        worker = Worker(self, spec, grant, engine, module, self._open_kv() if grant.kv else None)
        worker.on_a_stack(worker.check_abi)
        if is_dense:
            worker.dense = self._dense(spec, module, footprint(wasm))
        self._workers.append(worker)
        return worker

    async def unload(self, worker: "Worker") -> None:
        """Let a service go that has no job any more: its live instances, and its compiled code."""
        self._workers.remove(worker)
        if worker.dense is not None:
            await trio.to_thread.run_sync(self.residents.end, worker.dense.residency)

    def capacity(self) -> dict[str, str]:
        """How many instances this host holds of each profile, and which limit says so."""
        tight = self.residents.room(cost_of(PAGE_BYTES))
        pooled = self._engines.can_pool()
        return {
            "fast": f"{INSTANCES_MAX} at once",
            "fast_limit": "a pool of slots for each stack limit"
            if pooled
            else "the address space has no room for a pool, so each is made anew",
            "dense": f"{self.residents.live + tight.count} of one page",
            "dense_limit": tight.why,
        }

    def statistics(self) -> dict[str, int]:
        """Services that are loaded; instances that live; keys whose instance is parked."""
        dense = [worker.dense for worker in self._workers if worker.dense is not None]
        return {
            "registered": len(self._workers),
            "live": self.residents.live,
            "parked": sum(one.parked() for one in dense),
        }

    def lines_dropped(self) -> int:
        """Lines that workers logged beyond their bounds."""
        return sum(worker.lines.dropped for worker in self._workers)

    def open_states(self) -> States:
        """The states of this node; the file is opened, or made, when it is first wanted."""
        with self._lock:
            if self._states is None:
                self._states = States(self._states_file, self._node_id)
            return self._states

    def has_states(self) -> bool:
        """Whether there are states of an earlier run."""
        return self._states_file is not None and self._states_file.exists()

    def is_busy(self, key: Key) -> bool:
        """Whether a job of a key is under way."""
        return any(
            one.dense.turns.has(key)
            for one in self._workers
            if one.dense is not None and one.spec.name == key.service
        )

    def _open_kv(self) -> Kv:
        with self._lock:
            if self._kv is None:
                self._kv = Kv(self._kv_file)
            return self._kv

    def _dense(self, spec: ServiceSpec, module: WorkerModule, beside: Footprint) -> DenseWork:
        states = self.open_states()
        shape = Shape(
            module.linked,
            cost_of(module.memory_bytes_min, beside.table_elements, beside.entities),
            memory_bytes_min=module.memory_bytes_min,
            memory_bytes_max=spec.limits.memory_bytes_max,
            # Nobody counts what tables grow to.
            table_elements_max=min(TABLE_ELEMENTS_MAX, max(beside.table_elements, default=0)),
        )
        residency = self.residents.open(spec.name, spec.living, shape)
        return DenseWork(spec, residency, states)


def _check_dense(spec: ServiceSpec, module: WorkerModule) -> None:
    if module.form is Form.COMMAND:
        raise ServiceError(
            f"The module {spec.module} is a WASI command, which ends with its job; write "
            f"`profile: fast` in {spec.path}, or build a job1 module."
        )
    if module.memory_bytes_min > spec.living.memory_bytes:
        raise ServiceError(
            f"The module {spec.module} begins with {size_text(module.memory_bytes_min)} of "
            f"memory, and its instances are let go past {size_text(spec.living.memory_bytes)}; "
            f"raise `dense.memory` in {spec.path} or build the module smaller."
        )


class Worker:
    """A service's module, ready to run jobs. Made by `WasmHost.load`."""

    def __init__(
        self,
        host: WasmHost,
        spec: ServiceSpec,
        grant: Grant,
        engine: HostEngine,
        module: WorkerModule,
        kv: Kv | None,
    ) -> None:
        self.spec = spec
        self.grant = grant
        self.dense: DenseWork | None = None
        self.form = module.form
        self.lines = Lines()
        self._host = host
        self._module = module
        self._fits_here = has_stack_for(spec.limits.stack_bytes_max)
        is_command = module.form is Form.COMMAND
        self._alone = Surroundings(
            spec,
            grant,
            engine,
            host.io,
            host.operations,
            nullcontext,
            is_command,
            lines=self.lines,
            kv=kv,
            schema=load_schema(spec),
        )
        pool = host.pool
        self._pooled = replace(self._alone, blocked=pool.blocked, calling=pool.calling)

    async def run(self, job: Job, *, deadline_ms: int, context: JobContext) -> Outcome:
        """Work a job: in a fresh instance, or as `dense` has it.

        Args:
            deadline_ms: time left for the job, its wait for a thread included; the service's own
                time limit counts from when it begins to run.
            context: what the job may ask of its holder; called from other threads.

        Returns: what the worker answered, or Failed with what it did instead. A cancelled run stops
        the guest, whose effects outside may have happened.
        """
        host = self._host
        if host.closing:
            return _stopping()
        due_s = time.monotonic() + deadline_ms / 1000
        dense = self.dense
        key = dense.key(job) if dense is not None else None
        if isinstance(key, Failed):
            return key
        try:
            host.places.acquire_nowait()
        except trio.WouldBlock:
            await host.places.acquire()
        try:
            if dense is not None and key is not None:
                moving = host.moving
                if moving is not None and not moving.is_alone(key):
                    return await self._run_in_turn(moving, dense, key, job, context, due_s)
            task = Task(self, job, context, due_s, host.returns, key)
            if dense is None or key is None:
                host.pool.submit(task.work)
            elif not dense.turns.enter(key, lambda: host.pool.submit(task.work)):
                return dense.too_many(key, job)
            outcome = await task.outcome()
            if key is not None and host.moving is not None and not host.moving.is_alone(key):
                host.moving.walk()  # others came while it ran
            return outcome
        finally:
            host.places.release()

    async def _run_in_turn(
        self,
        moving: "Moving",
        dense: DenseWork,
        key: Key,
        job: Job,
        context: JobContext,
        due_s: float,
    ) -> Outcome:
        """Work a job whose key other nodes have a say in: its home gives the turn, and keeps."""
        left_ms = max(0, int((due_s - time.monotonic()) * 1000))
        number, told = await moving.enter(key, job, left_ms, self.spec.living.waiting)
        if isinstance(told, Known):
            return decode_outcome(told.outcome)
        if not isinstance(told, Granted):
            return dense.not_kept(key, job, told, moving.named)
        given = Given(Kept(told.version, told.state))
        is_over = False
        try:
            # A job from before this node had met others may still be at work.
            turn = trio.Event()
            token = trio.lowlevel.current_trio_token()
            if not dense.turns.enter(key, lambda: token.run_sync_soon(turn.set)):
                return dense.too_many(key, job)
            is_sound = False
            try:
                with trio.CancelScope(shield=True):
                    await turn.wait()
                outcome = await self._work_given(job, key, context, due_s, given)
                if given.left is None or isinstance(outcome, Failed):
                    is_sound = True
                    return outcome
                is_over = True
                done = await moving.keep(number, *given.left)
                if not isinstance(done, Done):
                    return dense.not_kept(key, job, done, moving.named)
                dense.residency.saw(key, done.version)
                is_sound = True
                return outcome
            finally:
                if not is_sound:
                    # Its memory has seen a job that the key's state has not, or may not have.
                    dense.residency.let_go(key)
                dense.turns.leave(key)
        finally:
            if not is_over:
                moving.leave(number)

    async def _work_given(
        self, job: Job, key: Key, context: JobContext, due_s: float, given: Given
    ) -> Outcome:
        """On a thread of the pool; returns when that is through with it, cancelled or not."""
        host = self._host
        task = Task(self, job, context, due_s, host.returns, key, given)
        host.pool.submit(task.work)
        try:
            return await task.outcome()
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await task.through.wait()
            raise

    def run_blocking(self, job: Job, *, deadline_ms: int, context: JobContext) -> Outcome:
        """`run` on the caller's thread."""
        due_s = time.monotonic() + deadline_ms / 1000
        dense = self.dense
        key = dense.key(job) if dense is not None else None
        if isinstance(key, Failed):
            return key
        if dense is not None and key is not None:
            turn = threading.Event()
            if not dense.turns.enter(key, turn.set):
                return dense.too_many(key, job)
            turn.wait()
        try:
            return self.on_a_stack(
                lambda: self.execute(job, key, context, due_s, self._alone, lambda run: None)
            )
        finally:
            if dense is not None and key is not None:
                dense.turns.leave(key)

    def on_a_stack(self, work: Callable[[], T]) -> T:
        """Run it on this thread, or on one whose stack is large enough for the guest's."""
        return work() if self._fits_here else with_stack(work)

    def execute(
        self,
        job: Job,
        key: Key | None,
        context: JobContext,
        due_s: float,
        around: Surroundings | None,
        started: Callable[[Run], None],
        given: Given | None = None,
    ) -> Outcome:
        """Encode, run and decode on this thread.

        Args:
            key: whose turn it is.
            given: by the key's home, where another node has a say in it.
            due_s: on `time.monotonic`'s clock.
            around: None on a thread of the pool.
            started: given the run before its guest begins, to interrupt it by.
        """
        outcome = self._execute(job, key, context, due_s, around or self._pooled, started, given)
        secrets = self._alone.secrets.values
        if secrets and isinstance(outcome, Failed):
            message, details = (
                blacked_out(one, secrets) for one in (outcome.message, outcome.details)
            )
            return replace(outcome, message=message, details=details)
        return outcome

    def _execute(
        self,
        job: Job,
        key: Key | None,
        context: JobContext,
        due_s: float,
        around: Surroundings,
        started: Callable[[Run], None],
        given: Given | None,
    ) -> Outcome:
        if self._host.closing:
            return _stopping()
        now_s = time.monotonic()
        limit_ms = self.spec.limits.time_ms_max
        left_ms = int((due_s - now_s) * 1000)
        if left_ms <= 0:
            return Failed("The job's time was over before a thread of this node was free for it.")
        limit_ms = min(limit_ms, left_ms)

        def begin(data: bytes) -> Guest:
            deadline_s = now_s + limit_ms / 1000
            run = Run(around, context, deadline_s=deadline_s, stdin=data)
            started(run)
            return Guest(self._module, self._host.watchdog, run, limit_ms)

        if self.dense is not None:
            return self.dense.execute(job, key, limit_ms, begin, around.blocked, given)
        try:
            data = encode_job(job, deadline_ms=limit_ms, encoding=self.spec.encoding)
        except EnvelopeError as error:
            return Failed(f"The job's variables could not be given to the worker: they {error}.")
        return begin(data).work(data)

    def check_abi(self) -> None:
        """Start the module once and ask for its ABI version. Raises ServiceError."""
        limit_ms = min(self.spec.limits.time_ms_max, PROBE_MS_MAX)
        for _ in range(PROBES_MAX):
            run = Run(self._alone, Detached(), deadline_s=time.monotonic() + limit_ms / 1000)
            answer = Guest(self._module, self._host.watchdog, run, limit_ms).probe()
            if run.stopped is not Stop.TIME:
                break
        path = self.spec.module
        if isinstance(answer, Failed):
            raise ServiceError(
                f"The module {path} cannot be started: {answer.message} "
                f"({answer.details.splitlines()[0]})"
            )
        major, minor = answer >> 16, answer & 0xFFFF
        if self.form is Form.JOB1 and major != job1.MAJOR:
            raise ServiceError(
                f"The module {path} speaks version {major}.{minor} of the worker ABI, "
                f"this node {job1.MAJOR}; build it with an SDK for job{job1.MAJOR}."
            )


def _stopping() -> Failed:
    return Failed("The node stopped before the job began.")
