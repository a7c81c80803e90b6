"""Prepared calls into the wasmtime library, for the handful that every job makes.

Why: `wasmtime`'s own API reflects on types and enumerates exports at every call. A job in a fresh
instance costs 125 µs through it and 12 to 17 here (`make bench-runtime` prints both), with the same
library and no code of ours in C. Compiling, linking and looking at modules stay with `wasmtime`'s
API. Safety rules, which this module's callers need not know because they hold inside it:

1. Nothing here checks types. `guest` calls only exports whose type `module` checked at load.
2. A 32-bit value in a raw slot leaves its upper half undefined: every one read is masked.
3. Host functions never raise into foreign code (`wasmtime` keeps such exceptions in one global,
   which threads mix up): `define` catches all and answers with a trap.
4. What may run the guest, or take long, releases the GIL (`_free`): else an endless start function
   would hold every thread. Short look-ups keep it (`_held`), so threads don't fight over it.
5. A pointer into a guest's memory is used at once: the next call may move the memory.
6. Every error and trap that comes back is owned by us, read once and deleted.
7. An `Instance` belongs to the thread that made it, is one at a time per thread, and is closed. One
   that is to live on is told so (`keep`); then other threads may use it, one at a time, with the
   lock of whoever hands it over between them. An epoch that ended while it was idle makes it ask
   `interruption` once, of the thread that uses it then.
8. What calls write into is the thread's, made once (`_Scratch`): whatever is to outlast the next
   call is copied out of it. A host function runs within a call, so it looks up into a place of its
   own.
"""

import ctypes
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, NoReturn, Self

from wasmtime import Engine, FuncType, InstancePre, Linker, ValType
from wasmtime import _ffi as ffi

_U32 = 0xFFFFFFFF
_U64 = 0xFFFFFFFFFFFFFFFF

_held_library = ctypes.PyDLL(ffi.dll._name)


def _prepare(library: ctypes.CDLL, name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    # Subscription gives a function object of our own, so wasmtime's prototypes stay as they are.
    function = library[name]
    function.restype = result
    function.argtypes = arguments
    return function


def _held(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    return _prepare(_held_library, name, result, *arguments)


def _free(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    return _prepare(ffi.dll, name, result, *arguments)


_P, _SIZE, _I64 = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64

_store_new = _held("wasmtime_store_new", _P, _P, _P, _P)
_store_context = _held("wasmtime_store_context", _P, _P)
_store_limiter = _held("wasmtime_store_limiter", None, _P, _I64, _I64, _I64, _I64, _I64)
_store_epoch_callback = _held("wasmtime_store_epoch_deadline_callback", None, _P, _P, _P, _P)
_set_epoch_deadline = _held("wasmtime_context_set_epoch_deadline", None, _P, ctypes.c_uint64)
_instance_export_get = _held(
    "wasmtime_instance_export_get", ctypes.c_bool, _P, _P, ctypes.c_char_p, _SIZE, _P
)
_memory_data = _held("wasmtime_memory_data", _P, _P, _P)
_memory_size = _held("wasmtime_memory_data_size", _SIZE, _P, _P)
_caller_export_get = _held(
    "wasmtime_caller_export_get", ctypes.c_bool, _P, ctypes.c_char_p, _SIZE, _P
)
_caller_context = _held("wasmtime_caller_context", _P, _P)
_trap_new = _held("wasmtime_trap_new", _P, ctypes.c_char_p, _SIZE)
_trap_code = _held("wasmtime_trap_code", ctypes.c_bool, _P, _P)
_trap_message = _held("wasm_trap_message", None, _P, _P)
_trap_delete = _held("wasm_trap_delete", None, _P)
_error_new = _held("wasmtime_error_new", _P, ctypes.c_char_p)
_error_message = _held("wasmtime_error_message", None, _P, _P)
_error_delete = _held("wasmtime_error_delete", None, _P)
_bytes_delete = _held("wasm_byte_vec_delete", None, _P)
_define_func = _held(
    "wasmtime_linker_define_func_unchecked",
    *(_P, _P, ctypes.c_char_p, _SIZE, ctypes.c_char_p, _SIZE, _P, _P, _P, _P),
)

_store_delete = _free("wasmtime_store_delete", None, _P)
_instantiate = _free("wasmtime_instance_pre_instantiate", _P, _P, _P, _P, _P)
_call = _free("wasmtime_func_call_unchecked", _P, _P, _P, _P, _SIZE, _P)

_EXTERN_OF = ffi.wasmtime_extern_t.of.offset
_INSTANCE_BYTES = ctypes.sizeof(ffi.wasmtime_instance_t)
_MEMORY_BYTES = ctypes.sizeof(ffi.wasmtime_memory_t)
_RAW_WORDS = ctypes.sizeof(ffi.wasmtime_val_raw_t) // 8
_CALL_VALUES_MAX = 2
"""`handle` takes two values; no export that we call has more parameters or results."""

_READ_BYTES_MAX = 2**30
"""Far more than any caller reads at once; each has a bound of its own."""

TABLE_ELEMENTS_MAX = 100_000
"""8 bytes each. Go's and RustPython's function tables have some 10,000."""
TABLES_MAX = 8


class Trapped(Exception):
    """The guest ended in a trap, or could not be instantiated.

    Attributes:
        code: wasmtime's trap code; None for a trap of the host's own, or a failed instantiation.
        text: what wasmtime says of it, the guest's stack trace included.
    """

    def __init__(self, code: int | None, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class OutOfRange(Exception):
    """A pointer and length that the guest gave don't lie within its memory."""

    def __init__(self, pointer: int, length: int, size: int) -> None:
        super().__init__(
            f"pointer {pointer} with length {length} is not within memory ({size} bytes)"
        )


def address(pointer: Any) -> int:
    """The number behind one of wasmtime's own pointers."""
    return ctypes.cast(pointer, ctypes.c_void_p).value or 0


class _Scratch:
    """What calls write into.

    Attributes:
        values: of a call, a slot of `_RAW_WORDS` each.
        trap: empty between calls; what a call leaves there, `_raise` takes away.
        instance: the handle of the one that was made last.
        exports: what was looked up last, by us and by a host function: the latter may happen while
            the former is being called.
    """

    __slots__ = (
        *("values", "values_at", "trap", "trap_at", "instance", "instance_at"),
        *("exports", "export_at", "callers_export_at"),
    )

    def __init__(self) -> None:
        words = _CALL_VALUES_MAX * _RAW_WORDS
        self.values = (ctypes.c_uint64 * words)()
        self.values_at = ctypes.addressof(self.values)
        self.trap = ctypes.c_void_p()
        self.trap_at = ctypes.addressof(self.trap)
        self.instance = ffi.wasmtime_instance_t()
        self.instance_at = ctypes.addressof(self.instance)
        self.exports = (ffi.wasmtime_extern_t * 2)()
        self.export_at, self.callers_export_at = map(ctypes.addressof, self.exports)


class _Own(threading.local):
    """One for each thread, because a thread runs one guest at a time."""

    def __init__(self) -> None:
        self.scratch = _Scratch()


_own = _Own()


def _text(take: Callable[..., Any], owner: int | None) -> str:
    vector = ffi.wasm_byte_vec_t()
    take(owner, ctypes.addressof(vector))
    try:
        return ctypes.string_at(vector.data, vector.size).decode("utf-8", "replace").rstrip("\0")
    finally:
        _bytes_delete(ctypes.addressof(vector))


def _raise(error: int | None, scratch: _Scratch) -> NoReturn:
    trap, scratch.trap.value = scratch.trap.value, None
    if trap:
        code = ctypes.c_uint8()
        known = _trap_code(trap, ctypes.addressof(code))
        text = _text(_trap_message, trap)
        _trap_delete(trap)
        raise Trapped(code.value if known else None, text)
    text = _text(_error_message, error)
    _error_delete(error)
    raise Trapped(None, text)


class Memory:
    """A guest's linear memory, by range checked copies."""

    __slots__ = ("_context", "_handle")

    def __init__(self, context: int, export_at: int) -> None:
        self._context = context
        self._handle = ctypes.string_at(export_at + _EXTERN_OF, _MEMORY_BYTES)

    @property
    def size(self) -> int:
        """In bytes, as of now."""
        return int(_memory_size(self._context, self._handle))

    def read(self, pointer: int, length: int) -> bytes:
        """A copy of the range. Raises OutOfRange."""
        self.check(pointer, length)
        if length > _READ_BYTES_MAX:
            # `string_at` takes an int: beyond 31 bits it would look for a zero byte instead.
            raise OutOfRange(pointer, length, _READ_BYTES_MAX)
        return ctypes.string_at(_memory_data(self._context, self._handle) + pointer, length)

    def write(self, pointer: int, data: bytes) -> None:
        """Copy `data` to `pointer`. Raises OutOfRange, with nothing written."""
        self.check(pointer, len(data))
        ctypes.memmove(_memory_data(self._context, self._handle) + pointer, data, len(data))

    def check(self, pointer: int, length: int) -> None:
        """Raises OutOfRange unless the range lies within memory."""
        size = _memory_size(self._context, self._handle)
        if pointer + length > size:
            raise OutOfRange(pointer, length, size)


class Linked:
    """A module ready to be instantiated, and its engine: it keeps both alive for its addresses."""

    __slots__ = ("_keep", "engine_at", "pre_at")

    def __init__(self, engine: Engine, pre: InstancePre) -> None:
        self._keep = (engine, pre)
        self.engine_at = address(engine.ptr())
        self.pre_at = address(pre.ptr())


class Instance:
    """One fresh instance in a store of its own, to be used as a context manager.

    Raises `Trapped` from `instantiate` and `call`, and leaves the instance to be closed.
    """

    __slots__ = ("_context", "_handle", "_linked", "_store")

    def __init__(
        self,
        linked: Linked,
        *,
        memory_bytes_max: int,
        table_elements_max: int = TABLE_ELEMENTS_MAX,
    ) -> None:
        """Make the store, with nothing run yet.

        Args:
            memory_bytes_max: what the one memory may grow to.
            table_elements_max: what each table may.
        """
        self._linked = linked
        # Where its handle lies: what the thread writes into, or bytes of its own (`keep`).
        self._handle: int | bytes = _own.scratch.instance_at
        self._store = _store_new(linked.engine_at, None, None)
        self._context = _store_context(self._store)
        _store_limiter(self._store, memory_bytes_max, table_elements_max, 1, TABLES_MAX, 1)
        _store_epoch_callback(self._store, _epoch_callback_at, None, None)
        # One tick: whoever increments the engine's epoch makes every guest on it ask `interrupted`.
        _set_epoch_deadline(self._context, 1)

    def instantiate(self) -> None:
        """Link and initialise it; the start function runs, if there is one."""
        scratch = _own.scratch
        error = _instantiate(
            self._linked.pre_at, self._context, scratch.instance_at, scratch.trap_at
        )
        if error or scratch.trap.value:
            _raise(error, scratch)

    def keep(self) -> None:
        """After `instantiate`: it outlives this thread's next instance, and may change threads."""
        self._handle = ctypes.string_at(_own.scratch.instance_at, _INSTANCE_BYTES)

    def memory(self) -> Memory:
        """The export `memory`, which `module` has seen to exist."""
        scratch = _own.scratch
        self._look_up(b"memory", scratch)
        return Memory(self._context, scratch.export_at)

    def call(self, name: bytes, first: int = 0, second: int = 0) -> int:
        """Call an export of type (), (i32) or (i32, i32).

        Returns: its result as unsigned 64 bits; the caller masks an i32.
        """
        scratch = _own.scratch
        self._look_up(name, scratch)
        values = scratch.values
        values[0] = first
        values[_RAW_WORDS] = second
        error = _call(
            self._context,
            scratch.export_at + _EXTERN_OF,
            scratch.values_at,
            _CALL_VALUES_MAX,
            scratch.trap_at,
        )
        if error or scratch.trap.value:
            _raise(error, scratch)
        return int(values[0])

    def _look_up(self, name: bytes, scratch: _Scratch) -> None:
        found = _instance_export_get(
            self._context, self._handle, name, len(name), scratch.export_at
        )
        assert found, name

    def close(self) -> None:
        """Free the store and all in it."""
        store, self._store = self._store, 0
        if store:
            _store_delete(store)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Interruption(threading.local):
    """Whether the guest on this thread is to stop: set by `guest`, asked at an epoch's end."""

    asked: Callable[[], bool] = staticmethod(lambda: False)


interruption = _Interruption()

_EPOCH_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p
)


def _epoch_passed(_context: int, _data: int, delta: int, _kind: int) -> int | None:
    try:
        stop = interruption.asked()
    except BaseException:
        stop = True
    if stop:
        return _error_new(b"interrupted")  # type: ignore[no-any-return]
    # `kind` stays 0: go on, until the next tick.
    ctypes.c_uint64.from_address(delta).value = 1
    return None


_epoch_callback = _EPOCH_CALLBACK(_epoch_passed)
_epoch_callback_at = address(_epoch_callback)

_HOST_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t
)

_VALUE_TYPES = {"i32": ValType.i32, "i64": ValType.i64}


def define(
    linker: Linker,
    module: str,
    name: str,
    parameters: Sequence[str],
    result: str | None,
    function: Callable[..., int | None],
    on_failure: Callable[[BaseException], None],
) -> object:
    """Define a host function.

    Args:
        linker: of one engine.
        parameters, result: of `i32` and `i64`; the function gets them unsigned.
        function: called as `function(memory, *arguments)`, where `memory()` gives the caller's
            memory; returns its result, any int. Whatever it raises ends the guest.
        on_failure: told what the function raised, on the same thread, before the guest is ended.

    Returns: what must live as long as the linker and everything linked by it.
    """
    words = [i * _RAW_WORDS for i in range(len(parameters))]
    masks = [_U32 if kind == "i32" else _U64 for kind in parameters]
    shape = ctypes.c_uint64 * (max(len(parameters), 1) * _RAW_WORDS)
    result_mask = _U32 if result == "i32" else _U64

    def callback(_env: int, caller: int, values_at: int, _count: int) -> int | None:
        try:
            # With neither parameters nor result there may be no slot at all.
            values = shape.from_address(values_at) if values_at else shape()
            arguments = [values[word] & mask for word, mask in zip(words, masks, strict=True)]
            answer = function(_CallerMemory(caller), *arguments)
            if result is not None:
                values[0] = (answer or 0) & result_mask
            return None
        except BaseException as failure:
            with suppress(BaseException):
                on_failure(failure)
            return _trap_new(b"stopped by the host", 19)  # type: ignore[no-any-return]

    kept = _HOST_CALLBACK(callback)
    kind = FuncType(
        [_VALUE_TYPES[one]() for one in parameters],
        [] if result is None else [_VALUE_TYPES[result]()],
    )
    error = _define_func(
        address(linker.ptr()),
        module.encode(),
        len(module.encode()),
        name.encode(),
        len(name.encode()),
        address(kind.ptr()),
        address(kept),
        None,
        None,
    )
    if error:
        _raise(error, _own.scratch)
    return kept


class _CallerMemory:
    """The calling guest's memory: looked up anew at each call, as it may not exist yet at start."""

    __slots__ = ("_caller",)

    def __init__(self, caller: int) -> None:
        self._caller = caller

    def __call__(self) -> Memory:
        scratch = _own.scratch
        found = _caller_export_get(self._caller, b"memory", 6, scratch.callers_export_at)
        assert found, "module checks that memory is exported"
        return Memory(_caller_context(self._caller), scratch.callers_export_at)
