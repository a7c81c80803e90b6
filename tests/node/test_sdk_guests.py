"""The guest SDKs: every vector of the ABI, in every language and encoding, in the real host.

The modules are built here by the pinned compilers and must be the committed ones, byte for byte.
"""

import hashlib
import json
import math
import runpy
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.made_once import made_once

from gossamer_mesh import keyfiles
from gossamer_node.jobs import BpmnError, Completed, Failed, Job, JobRef, Outcome
from gossamer_node.service import load
from gossamer_node.service.secrets import SecretSource
from gossamer_node.service.spec import Grant, KvQuota, Limits, ServiceSpec
from gossamer_node.variables import JsonValue, Variables
from gossamer_node.wasm import Detached, WasmHost, Worker
from gossamer_node.wasm import host as host_module
from gossamer_node.wasm.asking.operations import Code, OperationError
from gossamer_node.wasm.envelope import decode_outcome, outcome_map, pack
from gossamer_node.wasm.run import Operation

ROOT = Path(__file__).resolve().parents[2]
SDK = ROOT / "sdk-wasm"
BUILD = SDK / "build.py"
VECTORS: list[dict[str, Any]] = json.loads((SDK / "vectors" / "worker.json").read_text())
README = (SDK / "README.md").read_text()
LANGUAGES = ("c", "assemblyscript")
ENCODINGS = ("json", "msgpack")
TIME_MS_MAX = 10_000
SPIN_MS = 200
REF = JobRef(engine="e", key="1", topic="t", worker_id="w")
JOB = Job(ref=REF, variables=Variables(), lock_ms=1)

Encoding = Literal["json", "msgpack"]


def service(module: Path, encoding: Encoding, time_ms_max: int = TIME_MS_MAX) -> ServiceSpec:
    return ServiceSpec(
        path=module.with_name("service.yaml"),
        name="conformance",
        version="1.0.0",
        module=module,
        limits=Limits(time_ms_max=time_ms_max),
        encoding=encoding,
    )


def conformance(language: str) -> Path:
    return SDK / language / "conformance" / "worker.wasm"


def work(worker: Worker, job: Job, take_line: Callable[[int, str], None] | None = None) -> Outcome:
    context = Detached(take_line) if take_line else Detached()
    return worker.run_blocking(job, deadline_ms=TIME_MS_MAX, context=context)


def exact(outcome: Outcome) -> str:
    """An outcome as text that tells 3 from 3.0."""
    return f"{type(outcome).__name__} {json.dumps(asdict(outcome), sort_keys=True)}"


class Script(dict[str, Operation]):
    """The test host of ABI.md §7: answers `calls` in their order, whatever they are."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[dict[str, Any]] = []

    def get(self, name: str, default: object = None) -> Any:
        return lambda request, run: self._answer(name, request)

    def _answer(self, name: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        call = self.calls.pop(0)
        assert (name, request) == (call["op"], call["request"])
        if "code" in call:
            raise OperationError(Code(call["code"]), call["message"])
        reply: Mapping[str, Any] = call["reply"]
        return reply


@pytest.fixture(scope="module")
def script() -> Script:
    return Script()


@pytest.fixture(scope="module")
def host(script: Script, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WasmHost]:
    modules = tmp_path_factory.mktemp("modules")
    with WasmHost(modules, threads=1, operations=script) as running:
        yield running


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every worker of sdk-wasm, built now, below this folder."""

    def build(output: Path) -> None:
        command: list[str | Path] = [sys.executable, BUILD, "--output", output]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    return made_once(tmp_path_factory, "sdk-built", build)


@pytest.fixture(scope="module")
def compile_worker(
    built: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Path, Path], None]:
    """The build script's compiler for one worker, asked once for each source; `built` has
    installed AssemblyScript."""
    compiler: Callable[[Path, Path], None] = runpy.run_path(str(BUILD))["compile_worker"]

    def compile_once(source: Path, module: Path) -> None:
        name = f"{hashlib.sha256(source.read_bytes()).hexdigest()}.wasm"
        made = made_once(tmp_path_factory, name, lambda path: compiler(source, path))
        shutil.copyfile(made, module)

    return compile_once


def test_the_committed_modules_are_what_their_sources_build(built: Path) -> None:
    modules = [path.relative_to(built) for path in sorted(built.rglob("*.wasm"))]
    assert len(modules) == 6
    for module in modules:
        assert (built / module).read_bytes() == (SDK / module).read_bytes(), module


@pytest.mark.parametrize("name", ["c/job1.h", "c/job1.c", "assemblyscript/job1.ts"])
def test_a_new_service_carries_the_sdk_as_it_is(name: str) -> None:
    template = ROOT / "node" / "gossamer_node" / "service" / "templates" / name
    assert template.read_text() == (SDK / name).read_text()


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("case", VECTORS, ids=[case["name"] for case in VECTORS])
def test_vector(
    host: WasmHost,
    script: Script,
    monkeypatch: pytest.MonkeyPatch,
    case: dict[str, Any],
    encoding: Encoding,
    language: str,
) -> None:
    expected = case["outcome"]
    time_ms = SPIN_MS if expected == "timeout" else TIME_MS_MAX
    worker = host.load_blocking(service(conformance(language), encoding, time_ms), Grant())
    script.calls = list(case.get("calls", ()))
    lines: list[list[object]] = []
    # The vector's bytes as they stand: their order and their unknown keys are part of the test.
    monkeypatch.setattr(
        host_module,
        "encode_job",
        lambda job, *, deadline_ms, encoding: pack(case["input"], encoding),
    )
    outcome = work(worker, JOB, lambda level, line: lines.append([level, line]))
    if isinstance(expected, str):
        assert isinstance(outcome, Failed)
        assert {"trap": "unreachable", "timeout": f"{SPIN_MS}"}[expected] in exact(outcome)
    else:
        assert exact(outcome) == exact(decode_outcome(json.dumps(expected).encode()))
    assert lines == case.get("logs", [])
    assert not script.calls


LONGS = st.integers(-(2**63), 2**63 - 1).filter(lambda value: abs(value) >= 2**53).map(str)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
PLAIN: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_any_variables_and_any_long_go_through_unchanged(
    host: WasmHost, encoding: Encoding, language: str
) -> None:
    worker = host.load_blocking(service(conformance(language), encoding), Grant())

    @settings(max_examples=25, deadline=None)
    @given(
        values=st.dictionaries(TEXTS.filter(lambda name: name != "do"), PLAIN, max_size=6),
        longs=st.dictionaries(TEXTS.map(lambda name: f"long {name}"), LONGS, max_size=3),
    )
    def go_through(values: dict[str, Any], longs: dict[str, str]) -> None:
        variables = Variables(values | longs, dict.fromkeys(longs, "Long"))
        job = Job(ref=REF, variables=variables, lock_ms=1)
        assert exact(work(worker, job)) == exact(Completed(variables))

    go_through()
    long = Variables({"long": str(2**53 + 1)}, {"long": "Long"})
    echoed = work(worker, Job(ref=REF, variables=long, lock_ms=1))
    assert echoed == Completed(long)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_deepest_nesting_that_the_abi_allows(
    host: WasmHost, encoding: Encoding, language: str
) -> None:
    worker = host.load_blocking(service(conformance(language), encoding), Grant())
    deep: Any = "leaf"
    for level in range(60):
        deep = [deep] if level % 2 else {"in": deep}
    variables = Variables({"deep": deep})
    outcome = work(worker, Job(ref=REF, variables=variables, lock_ms=1))
    assert outcome == Completed(variables)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b"{}",
        b'{"job": 1}',
        b'{"job": {}} trailing',
        b'{"job": {"key": "\\ud800"}}',
        b'{"job": {"retries": 9223372036854775808}}',
        b'{"job": {"retries": 01}}',
        b'{"job": {"key": "\n"}}',
        b'{"job": ' + b"[" * 65 + b"]" * 65 + b"}",
        b"\x81",
        b"\x81\xa3job\xc4\x01a",
        b"\x81\xa3job\xdf\xff\xff\xff\xff",
        b"\x81\xa3job\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
    ],
)
def test_an_input_that_is_wrong_is_a_failure_of_the_job(
    host: WasmHost, monkeypatch: pytest.MonkeyPatch, data: bytes, language: str
) -> None:
    worker = host.load_blocking(service(conformance(language), "json"), Grant())
    monkeypatch.setattr(host_module, "encode_job", lambda job, **_: data)
    assert work(worker, JOB) == Failed("The worker could not read its input.")


@pytest.mark.parametrize("source", ["double.c", "double.ts"])
def test_doubles_are_read_and_written_exactly(
    host: WasmHost, compile_worker: Callable[[Path, Path], None], tmp_path: Path, source: str
) -> None:
    module = tmp_path / "double.wasm"
    compile_worker(Path(__file__).with_name("guests") / source, module)
    worker = host.load_blocking(service(module, "json"), Grant())
    edges = [0.0, -0.0, 0.1, 1e22, 1e23, 5e-324, 2.0**-1022, 1.7976931348623157e308, 2.0**53 + 2]

    @settings(max_examples=15, deadline=None)
    @given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=20, max_size=60))
    def go_through(numbers: list[float]) -> None:
        normal = [one for one in numbers if one == 0 or abs(one) >= sys.float_info.min]
        variables = Variables({"numbers": [*edges, *normal]})
        outcome = work(worker, Job(ref=REF, variables=variables, lock_ms=1))
        assert isinstance(outcome, Completed)
        read = outcome.variables.values["numbers"]
        assert isinstance(read, list)
        assert [bits(one) for one in read] == [bits(one) for one in (*edges, *normal)]

    go_through()
    written = b'{"job": {}, "variables": {"numbers": [1.5E+2, 1e-400, 12345678901234567890123.5]}}'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(host_module, "encode_job", lambda job, **_: written)
        outcome = work(worker, JOB)
    assert outcome == Completed(Variables({"numbers": [150.0, 0.0, 12345678901234567890123.5]}))


def bits(number: object) -> bytes:
    assert isinstance(number, float)
    assert math.isfinite(number)
    return struct.pack(">d", number)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("source", ["counter.c", "counter.ts"])
def test_parallel_jobs_lose_no_update_of_what_they_keep(
    compile_worker: Callable[[Path, Path], None], tmp_path: Path, source: str, encoding: Encoding
) -> None:
    module = tmp_path / "counter.wasm"
    compile_worker(Path(__file__).with_name("guests") / source, module)

    def job(**variables: JsonValue) -> Job:
        return Job(ref=REF, variables=Variables({"name": "n/1", **variables}), lock_ms=1)

    with WasmHost(tmp_path / "cache", kv_file=tmp_path / "kv.sqlite") as real:
        refused = real.load_blocking(service(module, encoding), Grant())
        assert isinstance(work(refused, job()), Failed)
        worker = real.load_blocking(service(module, encoding), Grant(kv=KvQuota()))
        with ThreadPoolExecutor(8) as threads:
            counted = list(threads.map(lambda _: work(worker, job()), range(40)))
        counts: list[Any] = []
        for outcome in counted:
            assert isinstance(outcome, Completed)
            assert outcome.variables.values["keys"] == ["n/1"]
            counts.append(outcome.variables.values["count"])
        assert sorted(counts) == list(range(1, 41))
        assert work(worker, job(forget=True)) == Completed()
        assert work(worker, job(forget=True)) == Failed("There was nothing.")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("source", ["discloser.c", "discloser.ts"])
def test_a_worker_gets_its_secret_and_the_log_does_not(
    compile_worker: Callable[[Path, Path], None], tmp_path: Path, source: str, encoding: Encoding
) -> None:
    module = tmp_path / "discloser.wasm"
    compile_worker(Path(__file__).with_name("guests") / source, module)
    file = tmp_path / "token"
    keyfiles.create(file, b"s3cr\xc3\xa9t-17\n", "a secret")
    lines: list[str] = []

    def job(**variables: JsonValue) -> Job:
        return Job(ref=REF, variables=Variables(variables), lock_ms=1)

    with WasmHost(tmp_path / "cache") as real:
        granted = Grant(secrets={"token": SecretSource(file)})
        worker = real.load_blocking(service(module, encoding), granted)
        for one, outcome in (
            (job(), Completed(Variables({"length": 10 if source.endswith("c") else 9}))),
            (job(fail=True), Failed("No entry with [redacted].")),
        ):
            assert work(worker, one, lambda _, line: lines.append(line)) == outcome
        refused = real.load_blocking(service(module, encoding), Grant())
        nothing = Completed(Variables({"length": 0}))
        assert work(refused, job(), lambda _, line: lines.append(line)) == nothing
    assert lines == ["the token is [redacted]."] * 2 + ["the token is ."]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("source", ["asker.c", "asker.ts"])
def test_a_worker_calls_a_service_and_may_end_as_it_did(
    host: WasmHost,
    script: Script,
    compile_worker: Callable[[Path, Path], None],
    tmp_path: Path,
    source: str,
    encoding: Encoding,
) -> None:
    module = tmp_path / "asker.wasm"
    compile_worker(Path(__file__).with_name("guests") / source, module)
    worker = host.load_blocking(service(module, encoding), Grant())
    job = Job(ref=REF, variables=Variables({"night": 3}), lock_ms=1)
    told = {"op": "job.progress", "request": {"done": 0.5, "sentence": "asks"}, "reply": {}}
    asked = {"op": "service.call", "request": {"service": "price", "variables": {"night": 3}}}
    error = BpmnError("FULL", "Taken.", Variables({"left": 0}))
    failure = Failed("No.", retries=2, details="why")
    completed = {"completed": {"variables": {"euros": 95}, "types": {}}}
    for answer, outcome in (
        ({"reply": completed}, Completed(Variables({"euros": 95, "said": "", "error": ""}))),
        ({"reply": outcome_map(error)}, error),
        ({"reply": outcome_map(failure)}, failure),
        ({"code": -5, "message": "All are busy."}, Failed("No price: All are busy.")),
    ):
        script.calls = [told, asked | answer]
        assert work(worker, job) == outcome
        assert script.calls == []


@pytest.mark.parametrize("suffix", ["c", "ts"])
def test_the_worker_in_the_readme_compiles_and_works(
    host: WasmHost,
    script: Script,
    compile_worker: Callable[[Path, Path], None],
    tmp_path: Path,
    suffix: str,
) -> None:
    source, module = tmp_path / f"worker.{suffix}", tmp_path / "worker.wasm"
    source.write_text(README.split(f"```{suffix}\n")[1].partition("```")[0])
    shutil.copy(SDK / "assemblyscript" / "job1.ts", tmp_path)
    compile_worker(source, module)
    worker = host.load_blocking(service(module, "json"), Grant())
    missing = BpmnError("NO_STAY", "nights must be 1 or more")
    assert work(worker, JOB) == missing
    booking = {
        "method": "POST",
        "url": "http://booking/bookings",
        "headers": {"idempotency-key": "1", "content-type": "application/json"},
        "body": '{"nights":2}',
    }
    script.calls = [
        {"op": "config.get", "request": {"name": "booking"}, "reply": {"value": "http://booking"}},
        {"op": "http.fetch", "request": booking, "reply": {"status": 201, "body": '{"id":17}'}},
    ]
    job = Job(ref=REF, variables=Variables({"nights": 2}), lock_ms=1)
    assert work(worker, job) == Completed(Variables({"booking_id": 17}))


def test_a_wasi_command_works_without_an_sdk(host: WasmHost) -> None:
    spec = load.load(SDK / "examples" / "wasi-command" / "service.yaml")
    worker = host.load_blocking(spec, Grant())
    for variables, outcome in (
        ({"text": " one  two\nthree "}, Completed(Variables({"words": 3}))),
        ({"text": ""}, Completed(Variables({"words": 0}))),
        ({"text": None}, BpmnError("NO_TEXT", "text is missing")),
    ):
        job = Job(ref=REF, variables=Variables(variables), lock_ms=1)
        assert work(worker, job) == outcome
