"""What is wrong with a module is said when it is loaded, in one sentence."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from wasmtime import wat2wasm

from gossamer_node.errors import ServiceError
from gossamer_node.service.spec import Grant, ServiceSpec
from gossamer_node.wasm import WasmHost, Worker
from gossamer_node.wasm.loading.module import MODULE_BYTES_MAX, Form

Load = Callable[..., Worker]

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "unknown import": (
        {"imports": '(import "env" "abort" (func (param i32)))'},
        "imports env.abort, which this host does not have; only job1 and wasi_snapshot_preview1 "
        "are there to import.",
    ),
    "unknown function of job1": (
        {"imports": '(import "job1" "sleep" (func))'},
        "imports job1.sleep, which this host does not have; only job1 and wasi_snapshot_preview1 "
        "are there to import.",
    ),
    "import of a wrong type": (
        {"imports": '(import "job1" "now" (func (result i32)))'},
        "imports job1.now with the type () -> (i32); its type is () -> (i64).",
    ),
    "import that is no function": (
        {"imports": '(import "job1" "now" (global i32))'},
        "imports job1.now but not as a function; its type is () -> (i64).",
    ),
    "another major version": (
        {"abi": 2 << 16 | 3},
        "speaks version 2.3 of the worker ABI, this node 1; build it with an SDK for job1.",
    ),
    "loops at start": (
        {"rest": "(func $f (loop (br 0))) (start $f)", "limits": {"time_ms_max": 50}},
        "cannot be started: The worker ran longer than its limit of 50 ms and was stopped. "
        "(rooms 1.2.0, in its start function)",
    ),
    "traps in _initialize": (
        {"rest": '(func (export "_initialize") unreachable)'},
        "cannot be started: The worker stopped itself (an abort, a panic or a failed assertion). "
        "(rooms 1.2.0, in _initialize)",
    ),
    "too little memory": (
        {"pages": 40, "limits": {"memory_bytes_max": 2**20}},
        "begins with 2560 KiB of memory, its limit is 1 MiB; raise the limit in ",
    ),
    "a wrong _initialize": (
        {"rest": '(func (export "_initialize") (param i32))'},
        "exports _initialize, which has the type (i32) -> (); its type must be () -> ().",
    ),
}

TEXTS = {
    "no form": (
        '(module (memory (export "memory") 1))',
        "exports neither handle (a job1 module) nor _start (a WASI command); "
        "see sdk-wasm/ABI.md for what a worker exports.",
    ),
    "no alloc": (
        '(module (memory (export "memory") 1) (func (export "handle") (param i32 i32) (result i64)'
        " (i64.const 0)))",
        "lacks the export alloc: (i32) -> (i32); a job1 module has it.",
    ),
    "handle of a wrong type": (
        '(module (memory (export "memory") 1) (func (export "handle"))'
        ' (func (export "alloc") (param i32) (result i32) (i32.const 0)))',
        "exports handle, which has the type () -> (); its type must be (i32, i32) -> (i64).",
    ),
    "handle is no function": (
        '(module (memory (export "memory") 1) (global (export "handle") i32 (i32.const 0))'
        ' (func (export "alloc") (param i32) (result i32) (i32.const 0)))',
        "exports handle, which is not a function; its type must be (i32, i32) -> (i64).",
    ),
    "no memory": (
        '(module (func (export "_start")))',
        "lacks the export memory; export the module's memory under that name.",
    ),
    "two memories": (
        '(module (memory (export "memory") 1) (memory 1) (func (export "_start")))',
        "is not a module that this host can run (",
    ),
    "64-bit memory": (
        '(module (memory (export "memory") i64 1) (func (export "_start")))',
        "is not a module that this host can run (",
    ),
    "a component": (
        "(component)",
        "is not a core module but a component; build a core module for job1.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str, load: Load, tmp_path: Path) -> None:
    parts, sentence = REFUSED[case]
    with pytest.raises(ServiceError) as caught:
        load("any", **parts)
    assert str(caught.value).startswith(f"The module {tmp_path / 'any.wasm'} {sentence}")


@pytest.mark.parametrize("case", TEXTS)
def test_refused_for_its_exports(
    case: str, wasm_host: WasmHost, spec: Callable[..., ServiceSpec], tmp_path: Path
) -> None:
    text, sentence = TEXTS[case]
    path = tmp_path / "m.wasm"
    path.write_bytes(wat2wasm(text))
    with pytest.raises(ServiceError) as caught:
        wasm_host.load_blocking(spec(path), Grant())
    assert str(caught.value).startswith(f"The module {path} {sentence}")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot be read (No such file or directory); build it, or correct its path."),
        (b"#!/bin/sh\n", "is not WebAssembly; name the .wasm file that your compiler made."),
        (b"", "is not WebAssembly; name the .wasm file that your compiler made."),
        (b"\0asm\1\0\0\0junk", "is not a module that this host can run ("),
    ],
)
def test_refused_as_a_file(
    content: bytes | None,
    sentence: str,
    wasm_host: WasmHost,
    spec: Callable[..., ServiceSpec],
    tmp_path: Path,
) -> None:
    path = tmp_path / "m.wasm"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ServiceError) as caught:
        wasm_host.load_blocking(spec(path), Grant())
    assert str(caught.value).startswith(f"The module {path} {sentence}")


def test_a_module_too_large_is_not_even_read(
    wasm_host: WasmHost, spec: Callable[..., ServiceSpec], tmp_path: Path
) -> None:
    path = tmp_path / "m.wasm"
    with path.open("wb") as file:
        file.truncate(MODULE_BYTES_MAX + 1)
    with pytest.raises(ServiceError, match="is larger than 32 MiB; build it smaller"):
        wasm_host.load_blocking(spec(path), Grant())


def test_a_table_too_large_is_refused(load: Load) -> None:
    with pytest.raises(ServiceError, match="table"):
        load("any", rest="(table 200000 funcref)")


def test_a_stack_limit_out_of_bounds_is_refused(load: Load) -> None:
    with pytest.raises(ServiceError, match="A stack limit of 1000 bytes is not possible here"):
        load("any", limits={"stack_bytes_max": 1000})


def test_a_service_without_module_is_refused(wasm_host: WasmHost, tmp_path: Path) -> None:
    service = ServiceSpec(path=tmp_path / "service.yaml", name="rooms", version="1.0.0")
    with pytest.raises(ServiceError, match="The service rooms names no module; add `module:` to"):
        wasm_host.load_blocking(service, Grant())


def test_the_form_is_told_by_the_exports(load: Load) -> None:
    assert load("any").form is Form.JOB1
    assert load("command").form is Form.COMMAND
    # Both: a runtime that keeps its _start, as TeaVM's does.
    assert load("any", rest='(func (export "_start"))').form is Form.JOB1


def test_a_minor_version_of_tomorrow_is_taken(load: Load) -> None:
    assert load("any", abi=1 << 16 | 9).form is Form.JOB1
