"""Reads a module: which form of worker it is, and whether this host can run it.

Everything that can be told without running a job is told here, once, in one sentence that names
the file: a job then only meets what happens at run time. What passes has the exports, with the
types, that `fastcall` calls unchecked, and imports nothing that `linker` does not define.
"""

import threading
import time
from enum import Enum
from pathlib import Path
from typing import NoReturn

from wasmtime import ExportType, FuncType, ImportType, Linker, MemoryType, Module, WasmtimeError

from gossamer_node.errors import ServiceError
from gossamer_node.wasm import fastcall
from gossamer_node.wasm.asking import job1, wasi
from gossamer_node.wasm.asking.linking import HostFunction, Signature, Table
from gossamer_node.wasm.engine import HostEngine
from gossamer_node.wasm.loading.anatomy import count_parts
from gossamer_node.wasm.loading.cache import compile_module
from gossamer_node.wasm.loading.compiling import CompileBomb
from gossamer_node.wasm.run import current
from gossamer_node.wasm.share import Share

MODULE_BYTES_MAX = 32 * 2**20
"""A whole Python in WebAssembly has 18 MB; compiling takes seconds and memory in proportion."""

IMPORTS_MAX = 1_000
EXPORTS_MAX = 10_000
GLOBALS_MAX = 10_000
FUNCTIONS_MAX = 150_000
"""Go has some 5,000 functions, a whole Python 20,000. wasmtime's API makes a Python object of each
import and export; an instance has some words for each of all these, which it fills at its start."""

PAGE_BYTES = 65_536

IMPORTS: Table = job1.FUNCTIONS | wasi.FUNCTIONS

_MAGIC = b"\0asm"
_CORE_VERSION = b"\1\0\0\0"

_REASON_CHARACTERS = 300

_INITIALIZE = Signature((), ())
_JOB1_EXPORTS = {
    "alloc": Signature(("i32",), ("i32",)),
    "handle": Signature(("i32", "i32"), ("i64",)),
    "job_abi": Signature((), ("i32",)),
}


class Form(Enum):
    """The two forms of a worker (ABI.md)."""

    JOB1 = "job1 module"
    COMMAND = "WASI command"


class WorkerModule:
    """A compiled module that this host can run.

    Attributes:
        form: job1 module or WASI command.
        has_initialize, has_reset: whether it exports `_initialize`, `reset`.
        linked: what `fastcall.Instance` takes.
    """

    def __init__(self, path: Path, engine: HostEngine, module: Module, linker: Linker) -> None:
        """Check the module and link it. Raises ServiceError."""
        exports = {export.name: export for export in module.exports}
        self.form = _form(path, exports)
        self.has_initialize = self.form is Form.JOB1 and "_initialize" in exports
        self.has_reset = self.form is Form.JOB1 and "reset" in exports
        _check_exports(path, self.form, exports)
        for wanted in module.imports:
            _check_import(path, wanted)
        self.memory_bytes_min = _memory_bytes(path, exports)
        self.linked = fastcall.Linked(engine.engine, linker.instantiate_pre(module))


def read_module(path: Path) -> bytes:
    """The bytes of a core module. Raises ServiceError."""
    try:
        if path.stat().st_size > MODULE_BYTES_MAX:
            _refuse(path, f"is larger than {MODULE_BYTES_MAX // 2**20} MiB; build it smaller")
        wasm = path.read_bytes()
    except OSError as error:
        _refuse(path, f"cannot be read ({error.strerror}); build it, or correct its path")
    if not wasm.startswith(_MAGIC):
        _refuse(path, "is not WebAssembly; name the .wasm file that your compiler made")
    if wasm[4:8] != _CORE_VERSION:
        _refuse(path, "is not a core module but a component; build a core module for job1")
    return wasm


def compile_worker(
    path: Path, wasm: bytes, engine: HostEngine, linker: Linker, cache: Path
) -> WorkerModule:
    """Compile, check and link. Takes seconds for a large module. Raises ServiceError."""
    _check_parts(path, wasm)
    try:
        module = compile_module(engine, wasm, cache)
    except WasmtimeError as error:
        reason = " ".join(str(error).split())[:_REASON_CHARACTERS]
        _refuse(path, f"is not a module that this host can run ({reason}); build it again")
    except CompileBomb as error:
        _refuse(path, f"{error}; build it smaller, or from smaller functions")
    return WorkerModule(path, engine, module, linker)


def _check_parts(path: Path, wasm: bytes) -> None:
    anatomy = count_parts(wasm)
    if anatomy is None:
        return  # wasmtime says better what is wrong with it.
    for count, most, name in (
        (anatomy.imports, IMPORTS_MAX, "imports"),
        (anatomy.exports, EXPORTS_MAX, "exports"),
        (anatomy.globals, GLOBALS_MAX, "globals"),
        (anatomy.functions, FUNCTIONS_MAX, "functions"),
    ):
        if count > most:
            _refuse(path, f"has {count:,} {name}, and may have {most:,}; build it smaller")


share = Share()
"""One, as the interpreter is."""


def make_linker(engine: HostEngine) -> tuple[Linker, list[object]]:
    """A linker with every import defined; the list must live as long as the linker."""
    linker = Linker(engine.engine)
    return linker, [_define(linker, function) for function in IMPORTS.values()]


def _define(linker: Linker, function: HostFunction) -> object:
    call = function.call

    def for_current_run(memory: object, *arguments: int) -> int | None:
        run = current.run
        began_s = time.thread_time()
        answer = call(run, memory, *arguments)
        pause_s = share.spend(time.thread_time() - began_s)
        if pause_s:
            run.wait(threading.Event(), pause_s)
        return answer

    def on_failure(failure: BaseException) -> None:
        current.run.failure = failure

    return fastcall.define(
        linker,
        function.module,
        function.name,
        function.parameters,
        function.result,
        for_current_run,
        on_failure,
    )


def _form(path: Path, exports: dict[str, ExportType]) -> Form:
    if "handle" in exports:
        return Form.JOB1
    if "_start" in exports:
        return Form.COMMAND
    _refuse(
        path,
        "exports neither handle (a job1 module) nor _start (a WASI command); "
        "see sdk-wasm/ABI.md for what a worker exports",
    )


def _check_exports(path: Path, form: Form, exports: dict[str, ExportType]) -> None:
    wanted = dict(_JOB1_EXPORTS) if form is Form.JOB1 else {"_start": _INITIALIZE}
    for optional in ("_initialize", "reset"):
        if form is Form.JOB1 and optional in exports:
            wanted[optional] = _INITIALIZE
    for name, signature in wanted.items():
        if name not in exports:
            _refuse(path, f"lacks the export {name}: {signature}; a {form.value} has it")
        found = exports[name].type
        actual = _signature(found)
        if actual != signature:
            shown = f"has the type {actual}" if actual else "is not a function"
            _refuse(path, f"exports {name}, which {shown}; its type must be {signature}")


def _check_import(path: Path, wanted: ImportType) -> None:
    full_name = f"{wanted.module}.{wanted.name}"
    function = IMPORTS.get((wanted.module, wanted.name or ""))
    if function is None:
        _refuse(
            path,
            f"imports {full_name}, which this host does not have; only job1 and "
            "wasi_snapshot_preview1 are there to import",
        )
    actual = _signature(wanted.type)
    if actual != function.signature:
        shown = f"with the type {actual}" if actual else "but not as a function"
        _refuse(path, f"imports {full_name} {shown}; its type is {function.signature}")


def _memory_bytes(path: Path, exports: dict[str, ExportType]) -> int:
    memory = exports["memory"].type if "memory" in exports else None
    if not isinstance(memory, MemoryType):
        _refuse(path, "lacks the export memory; export the module's memory under that name")
    return memory.limits.min * PAGE_BYTES


def _signature(kind: object) -> Signature | None:
    if not isinstance(kind, FuncType):
        return None
    return Signature(tuple(map(str, kind.params)), tuple(map(str, kind.results)))


def _refuse(path: Path, clause: str) -> NoReturn:
    raise ServiceError(f"The module {path} {clause}.")
