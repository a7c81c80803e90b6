"""`gossamer service new` and `run`: each template builds, and its worker runs on the real host."""

import importlib.util
import io
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from gossamer_node import cli
from gossamer_node.cli import ExitStatus
from gossamer_node.cli.service import TEMPLATES

SDK = Path(__file__).parents[2] / "sdk-wasm"

LANGUAGES = sorted(folder.name for folder in TEMPLATES.iterdir())


def sdk_build() -> ModuleType:
    """`sdk-wasm/build.py`, which is a script beside no package."""
    spec = importlib.util.spec_from_file_location("sdk_build", SDK / "build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one service of each language, begun and built as a person would."""
    folder = tmp_path_factory.mktemp("services")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for language in LANGUAGES:
            assert cli.main(["service", "new", f"greet-{language}", "--language", language]) == 0
    # The README's own command, with the Python that has the compiler.
    _, shell, _ = (folder / "greet-c" / "README.md").read_text().split("```", 2)
    command = shell.removeprefix("sh\n").replace("python ", f"{sys.executable} ")
    subprocess.run(["sh", "-ec", command], cwd=folder / "greet-c", check=True)
    typescript = folder / "greet-assemblyscript"
    sdk_build().compile_worker(typescript / "worker.ts", typescript / "worker.wasm")
    return folder


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_the_templates_are_of_these_languages() -> None:
    assert LANGUAGES == ["assemblyscript", "c"]


def test_one_compiler_everywhere() -> None:
    """The templates build with the versions that the SDK is tested with."""
    package = json.loads((SDK / "assemblyscript" / "package.json").read_text())
    template = json.loads((TEMPLATES / "assemblyscript" / "package.json").read_text())
    assert template["devDependencies"] == package["devDependencies"]
    flags = " ".join(sdk_build().ASC_FLAGS)
    assert flags in template["scripts"]["build"]
    assert "ziglang==0.17.0" in (TEMPLATES / "c" / "README.md").read_text()
    assert '"ziglang==0.17.0"' in (SDK.parent / "pyproject.toml").read_text()


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_new_service_is_complete_and_runs(
    built: Path, language: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = built / f"greet-{language}"
    assert cli.main(["service", "check", str(folder)]) == 0
    capsys.readouterr()
    assert cli.main(["service", "run", str(folder), "--job", str(folder / "job.json")]) == 0
    completed = json.loads(capsys.readouterr().out)["completed"]
    assert completed == {"variables": {"greeting": "Hello, Ada!"}, "types": {}}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_bpmn_error_has_its_own_status(
    built: Path,
    language: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"{}")))
    status = cli.main(["service", "run", str(built / f"greet-{language}"), "--job", "-"])
    assert status == ExitStatus.BPMN_ERROR
    assert json.loads(capsys.readouterr().out)["bpmn_error"]["code"] == "NO_NAME"


def service(folder: Path, wasm: bytes, more: str = "") -> Path:
    (folder / "a.wasm").write_bytes(wasm)
    (folder / "service.yaml").write_text(
        f"name: a\nversion: 1.0.0\nmodule: a.wasm\ntopics: [{{name: t}}]\n{more}"
    )
    (folder / "job.json").write_text("{}")
    return folder


def test_a_module_that_is_broken_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = service(tmp_path, b"\0asm\1\0\0\0nonsense")
    status = cli.main(["service", "run", str(folder), "--job", str(folder / "job.json")])
    assert status == ExitStatus.WRONG_INPUT
    said = capsys.readouterr().err
    assert said.startswith("gossamer: ") and said.count("\n") == 1 and "a.wasm" in said


def test_the_grants_of_a_configuration_apply(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wasm = (built / "greet-c" / "worker.wasm").read_bytes()
    folder = service(tmp_path, wasm, "capabilities: {http: ['{booking}'], config: [currency]}")
    grants = tmp_path / "gossamer.yaml"
    grants.write_text(
        "engines: [{kind: camunda7, url: http://h, auth: {type: bearer, token: {env: NOT_SET}}}]\n"
        "grants: {a: {origins: {booking: http://127.0.0.1:5001}}}"
    )
    command = ["service", "run", str(folder), "--job", str(folder / "job.json")]
    assert cli.main([*command, "--grants", str(grants)]) == ExitStatus.BPMN_ERROR
    warned = capsys.readouterr().err
    assert "requests config currency" in warned and "{booking}" not in warned


@pytest.mark.parametrize(
    ("job", "said"),
    [("{}", "the job names no topic"), ('{"job": {"topic": "greeet"}}', "topic is 'greeet'")],
)
def test_a_job_names_a_topic_of_its_service(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], job: str, said: str
) -> None:
    wasm = (built / "greet-c" / "worker.wasm").read_bytes()
    folder = service(tmp_path, wasm, "")
    file = folder / "service.yaml"
    file.write_text(file.read_text().replace("{name: t}", "{name: t}, {name: u}"))
    (folder / "job.json").write_text(job)
    status = cli.main(["service", "run", str(folder), "--job", str(folder / "job.json")])
    assert status == ExitStatus.WRONG_INPUT
    error = capsys.readouterr().err
    assert said in error and "a works on t, u" in error


@pytest.mark.parametrize(
    ("job", "said"),
    [(b"[", "is not a job: "), (b"\xc1", "is not a job: "), (b"{} " * 2**23, "than 16 MiB")],
)
def test_a_job_that_is_none_is_one_sentence(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], job: bytes, said: str
) -> None:
    (tmp_path / "job").write_bytes(job)
    status = cli.main(["service", "run", str(built / "greet-c"), "--job", str(tmp_path / "job")])
    assert status == ExitStatus.WRONG_INPUT
    assert said in capsys.readouterr().err


def test_a_new_service_replaces_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    for name, said in (("there", "exists; choose another"), ("../up", "cannot name a service")):
        assert cli.main(["service", "new", name]) == ExitStatus.WRONG_INPUT
        assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [tmp_path / "there"]
