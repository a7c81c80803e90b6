"""Real workers for the host's tests: WAT text is assembled, loaded and run as any module is."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from wasmtime import wat2wasm

from gossamer_node.jobs import Completed, Failed, Job, JobRef, Outcome
from gossamer_node.service.spec import Grant, Limits, ServiceSpec
from gossamer_node.variables import Variables
from gossamer_node.wasm import Detached, WasmHost, Worker
from gossamer_node.wasm.asking.operations import Code

WAT = Path(__file__).parent / "wat"

COMPLETED = "(i64.or (i64.shl (i64.const 128) (i64.const 32)) (i64.const 16))"

PARTS: dict[str, dict[str, object]] = {
    "any": {
        "imports": "",
        "pages": 1,
        "abi": 65536,
        "alloc": "(i32.const 1024)",
        "handle": COMPLETED,
        "rest": "",
    },
    "command": {"imports": "", "body": "(call $echo)", "rest": ""},
    "caller": {"op": "", "request": "", "step": 1_000_000},
    "echo": {},
    "keeper": {},
}


def escaped(text: str) -> str:
    plain = set(range(0x20, 0x7F)) - set(b'"\\')
    return "".join(chr(byte) if byte in plain else f"\\{byte:02x}" for byte in text.encode())


def assemble(name: str, **parts: object) -> bytes:
    filled = PARTS[name] | parts
    text = (WAT / f"{name}.wat").read_text()
    if name == "caller":
        for key in ("op", "request"):
            filled.setdefault(f"{key}_len", len(str(filled[key]).encode()))
            filled[key] = escaped(str(filled[key]))
    return bytes(wat2wasm(text % filled if filled else text))


@pytest.fixture
def wasm_file(tmp_path: Path) -> Callable[..., Path]:
    """Assemble a guest of `wat/` with parts of the test's own into a file."""

    def make(name: str, **parts: object) -> Path:
        path = tmp_path / f"{name}.wasm"
        path.write_bytes(assemble(name, **parts))
        return path

    return make


@pytest.fixture
def spec() -> Callable[..., ServiceSpec]:
    """A service around a module; `limits` as a dict, the rest as ServiceSpec takes it."""

    def make(module: Path, *, limits: dict[str, int] | None = None, **fields: Any) -> ServiceSpec:
        return ServiceSpec(
            path=module.with_suffix(".yaml"),
            name="rooms",
            version="1.2.0",
            module=module,
            limits=Limits(**{"time_ms_max": 60_000, **(limits or {})}),
            **fields,
        )

    return make


@pytest.fixture
def job() -> Callable[..., Job]:
    def make(variables: Variables | None = None, **fields: Any) -> Job:
        ref = JobRef("camunda7", "job-1", "block-room", "worker", retries=3)
        return Job(ref, variables or Variables(), lock_ms=30_000, **fields)

    return make


@pytest.fixture
def wasm_host(tmp_path: Path) -> Iterator[WasmHost]:
    with WasmHost(tmp_path / "cache", threads=2) as host:
        yield host


@pytest.fixture
async def trio_host(tmp_path: Path) -> AsyncIterator[WasmHost]:
    async with WasmHost(tmp_path / "cache", threads=2) as host:
        yield host


@pytest.fixture
def load(
    wasm_host: WasmHost, wasm_file: Callable[..., Path], spec: Callable[..., ServiceSpec]
) -> Callable[..., Worker]:
    """Load a guest: `load("any", handle="...", limits={...}, grant=Grant(...))`."""

    def make(
        name: str,
        *,
        limits: dict[str, int] | None = None,
        grant: Grant | None = None,
        encoding: str = "json",
        **parts: object,
    ) -> Worker:
        service = spec(wasm_file(name, **parts), limits=limits, encoding=encoding)
        return wasm_host.load_blocking(service, grant or Grant())

    return make


@pytest.fixture
def run(job: Callable[..., Job]) -> Callable[..., Outcome]:
    """Run one job on this thread."""

    def make(worker: Worker, one: Job | None = None, context: Detached | None = None) -> Outcome:
        return worker.run_blocking(one or job(), deadline_ms=600_000, context=context or Detached())

    return make


@pytest.fixture
def ask(load: Callable[..., Worker], run: Callable[..., Outcome]) -> Callable[..., Any]:
    """Ask through a guest. Gives the reply, or (code, sentence)."""

    def make(
        op: str, request: object, grant: Grant | None = None, *, context: Any = None, **fields: Any
    ) -> Any:
        text = request if isinstance(request, str) else json.dumps(request)
        worker = load("caller", op=op, request=text, grant=grant, **fields)
        outcome = run(worker, context=context)
        if isinstance(outcome, Failed):
            assert outcome.message[0].isdigit(), outcome
            return Code(-int(outcome.message[0])), outcome.message[1:]
        assert isinstance(outcome, Completed)
        return outcome.variables.values["reply"]

    return make
