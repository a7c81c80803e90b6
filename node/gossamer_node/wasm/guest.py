"""Runs one job in one instance, and says in plain words how it ended when it ended badly.

`work` makes a fresh instance and leaves nothing of it; `work_in` uses one that lives on. Both are
total: trap, endless loop, memory bomb, exhausted stack, lying pointers and a failing host function
all come back as `Failed`. What the worker did is in the message, for the person who
reads the incident; where it did it (service, step, stack trace) is in the details.
"""

import logging
from collections.abc import Callable
from typing import TypeVar

from wasmtime import TrapCode

from gossamer_node.jobs import Failed, Outcome
from gossamer_node.wasm import fastcall
from gossamer_node.wasm.envelope import decode_outcome
from gossamer_node.wasm.fastcall import Instance, OutOfRange, Trapped
from gossamer_node.wasm.loading.module import PAGE_BYTES, Form, WorkerModule
from gossamer_node.wasm.run import Exit, OutputTooLarge, Run, Stop, current
from gossamer_node.wasm.watchdog import Watchdog

_U32 = 0xFFFFFFFF

DETAILS_CHARACTERS_MAX = 4_000
"""Of a guest's stack trace; Camunda 7 keeps more, an incident's reader needs less."""

_log = logging.getLogger("gossamer.wasm")

_TRAPS = {
    TrapCode.STACK_OVERFLOW.value: "used up its stack of {stack}",
    TrapCode.MEMORY_OUT_OF_BOUNDS.value: "read or wrote outside its memory",
    TrapCode.TABLE_OUT_OF_BOUNDS.value: "read or wrote outside a table",
    TrapCode.INDIRECT_CALL_TO_NULL.value: "called a function that is not there",
    TrapCode.BAD_SIGNATURE.value: "called a function by a wrong type",
    TrapCode.INTEGER_OVERFLOW.value: "had an integer overflow",
    TrapCode.INTEGER_DIVISION_BY_ZERO.value: "divided an integer by zero",
    TrapCode.BAD_CONVERSION_TO_INTEGER.value: "made an integer of a number that is none",
    TrapCode.UNREACHABLE.value: "stopped itself (an abort, a panic or a failed assertion)",
}
"""The other codes belong to features that are off."""

T = TypeVar("T")


class _Lie(Exception):
    """The guest gave something that cannot be; the text is a clause."""


def size_text(size: int) -> str:
    """A size for a person: whole MiB or KiB where it is one."""
    for unit, name in ((2**20, "MiB"), (2**10, "KiB")):
        if size >= unit and size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} bytes"


def _range_clause(error: OutOfRange) -> str:
    return f"gave the host a range that is not its own: {error}"


class Guest:
    """One job in one instance: `work` it, or `probe` which ABI the module speaks."""

    def __init__(self, module: WorkerModule, watchdog: Watchdog, run: Run, limit_ms: int) -> None:
        """Args: limit_ms: what `run.deadline_s` was made of, for the message."""
        self._module = module
        self._watchdog = watchdog
        self._run = run
        self._limit_ms = limit_ms
        self._step = "its start function"
        self._memory: fastcall.Memory | None = None

    def work(self, data: bytes) -> Outcome:
        """The outcome of a job whose input envelope is `data`."""
        if self._module.form is Form.COMMAND:
            return self._live(self._command)
        answer = self._live(lambda instance: self._handle(instance, data))
        return answer if isinstance(answer, Failed) else decode_outcome(answer)

    def work_in(
        self, instance: Instance, data: bytes, *, begun: bool, reset: bool
    ) -> bytes | Failed:
        """A job in an instance that stays open: the answer as it is, for the caller to decode.

        Args:
            begun: whether it has worked before.
            reset: whether it is to drop what the last job left, if it knows how to.
        """

        def body(instance: Instance) -> bytes:
            if begun:
                self._resume(instance, reset)
            else:
                self._start(instance)
                instance.keep()
            return self._exchange(instance, data)

        return self._within(instance, body)

    @property
    def memory_bytes(self) -> int:
        """How large the instance's linear memory is; 0 before it began."""
        return self._memory.size if self._memory is not None else 0

    def probe(self) -> int | Failed:
        """What `job_abi` says, 0 for a command; Failed when it does not get there."""
        return self._live(self._abi)

    def _live(self, body: Callable[[Instance], T]) -> T | Failed:
        memory_bytes_max = self._run.around.spec.limits.memory_bytes_max
        with Instance(self._module.linked, memory_bytes_max=memory_bytes_max) as instance:
            return self._within(instance, body)

    def _within(self, instance: Instance, body: Callable[[Instance], T]) -> T | Failed:
        run = self._run
        current.run = run
        fastcall.interruption.asked = self._interrupted
        # After the store has its epoch deadline, so that no advance of the epoch is missed.
        self._watchdog.add(run)
        try:
            return body(instance)
        except (Trapped, OutOfRange, _Lie) as ending:
            return self._failed(ending)
        finally:
            self._watchdog.discard(run)
            run.end()

    def _interrupted(self) -> bool:
        return self._run.stopped is not None

    def _start(self, instance: Instance) -> None:
        if self._run.stopped is not None:
            raise Trapped(None, "interrupted before it began")
        instance.instantiate()
        self._memory = instance.memory()
        if self._module.has_initialize:
            self._step = "_initialize"
            instance.call(b"_initialize")

    def _resume(self, instance: Instance, reset: bool) -> None:
        if self._run.stopped is not None:
            raise Trapped(None, "interrupted before it began")
        self._memory = instance.memory()
        if reset and self._module.has_reset:
            self._step = "reset"
            instance.call(b"reset")

    def _abi(self, instance: Instance) -> int:
        self._start(instance)
        if self._module.form is Form.COMMAND:
            return 0
        self._step = "job_abi"
        return instance.call(b"job_abi") & _U32

    def _handle(self, instance: Instance, data: bytes) -> bytes:
        self._start(instance)
        return self._exchange(instance, data)

    def _exchange(self, instance: Instance, data: bytes) -> bytes:
        self._step = "alloc"
        pointer = instance.call(b"alloc", len(data)) & _U32
        memory = self._memory
        assert memory is not None
        if pointer == 0:
            raise _Lie(f"had no room for an input of {size_text(len(data))}")
        memory.write(pointer, data)
        self._step = "handle"
        answer = instance.call(b"handle", pointer, len(data))
        length = answer & _U32
        limit = self._run.around.spec.limits.output_bytes_max
        if length > limit:
            raise _Lie(
                f"answered an outcome of {length} bytes, more than its limit of {size_text(limit)}"
            )
        return memory.read(answer >> 32, length)

    def _command(self, instance: Instance) -> Outcome:
        code = 0
        try:
            self._start(instance)
            self._step = "_start"
            instance.call(b"_start")
        except Trapped:
            if not isinstance(self._run.failure, Exit):
                raise
            code = self._run.failure.code
        if code == 0:
            return decode_outcome(bytes(self._run.stdout))
        tail = bytes(self._run.stderr_tail).decode("utf-8", "replace").strip()
        last_line = tail.splitlines()[-1] if tail else ""
        return Failed(
            last_line or f"The worker exited with code {code} and wrote nothing to standard error.",
            details=tail,
        )

    def _failed(self, ending: Exception) -> Failed:
        clause = self._clause(ending)
        spec = self._run.around.spec
        where = f"{spec.name} {spec.version}, in {self._step}"
        trace = str(ending)[:DETAILS_CHARACTERS_MAX]
        return Failed(f"The worker {clause}.", details=f"{where}\n{trace}")

    def _clause(self, ending: Exception) -> str:
        run, limits = self._run, self._run.around.spec.limits
        if run.stopped is Stop.TIME:
            return f"ran longer than its limit of {self._limit_ms} ms and was stopped"
        if run.stopped is Stop.CANCELLED:
            return "was stopped because its job was cancelled"
        if not isinstance(ending, Trapped):
            return _range_clause(ending) if isinstance(ending, OutOfRange) else str(ending)
        if run.failure is not None:
            return self._host_clause(run.failure)
        if ending.code is None:
            # Instantiation failed: most often the memory or table limit.
            return f"could not be started: {ending.text.splitlines()[0]}"
        clause = _TRAPS.get(ending.code, "trapped").format(stack=size_text(limits.stack_bytes_max))
        if self._memory_was_full():
            clause += f"; its memory had reached its limit of {size_text(limits.memory_bytes_max)}"
        return clause

    def _memory_was_full(self) -> bool:
        limit = self._run.around.spec.limits.memory_bytes_max
        return self._memory is not None and self._memory.size + PAGE_BYTES > limit

    def _host_clause(self, failure: BaseException) -> str:
        if isinstance(failure, OutOfRange):
            return _range_clause(failure)
        if isinstance(failure, Exit):
            return f"called proc_exit with code {failure.code}, which a job1 module must not"
        if isinstance(failure, OutputTooLarge):
            limit = size_text(self._run.around.spec.limits.output_bytes_max)
            return f"wrote more than its limit of {limit} to standard output"
        if not isinstance(failure, Exception):
            raise failure
        _log.error("a host function failed", exc_info=failure)
        return "was ended because the host failed to serve it; the node's log says why"
