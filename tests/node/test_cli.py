"""The command line: exit statuses, errors of one sentence, and the commands that need no node."""

import argparse
import io
import json
import stat
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from gossamer_mesh.errors import JoinError
from gossamer_mesh.keyring import read_keyring
from gossamer_node import cli
from gossamer_node.cli import ExitStatus
from gossamer_node.errors import EngineUnavailable, InputError
from gossamer_node.extras import pip_command
from gossamer_node.service.load import WASM_MAGIC


def run(*arguments: str) -> int:
    """The exit status of a command, however it ends."""
    try:
        return cli.main(arguments)
    except SystemExit as ended:
        assert isinstance(ended.code, int)
        return ended.code


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (InputError("a is wrong; mend it."), 2, "gossamer: a is wrong; mend it.\n"),
        (EngineUnavailable("e is down;\nstart it."), 3, "gossamer: e is down; start it.\n"),
        (JoinError("nobody answers."), 1, "gossamer: nobody answers.\n"),
        (KeyboardInterrupt(), 130, ""),
        (ExceptionGroup("", [ExceptionGroup("", [InputError("a.")])]), 2, "gossamer: a.\n"),
        (BaseExceptionGroup("", [KeyboardInterrupt(), ValueError()]), 130, ""),
        (ExceptionGroup("", [InputError("a."), KeyError("b")]), 70, "unexpected KeyError: 'b';"),
        (OSError(28, "No space left", "/a"), 1, "([Errno 28] No space left: '/a'); mend that"),
        (ZeroDivisionError(), 70, "GOSSAMER_DEBUG=1 to see where, and report it.\n"),
    ],
)
def test_an_error_is_one_sentence(error: BaseException, status: int, said: str) -> None:
    stream = io.StringIO()
    assert cli.report(error, stream) == status
    assert said in stream.getvalue() and stream.getvalue().count("\n") == bool(said)


def test_a_traceback_is_for_who_asks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(cli.DEBUG_VARIABLE, "1")
    assert run("service", "check", "/nowhere.yaml") == ExitStatus.WRONG_INPUT
    assert run("key", "new", "/nowhere/key") == ExitStatus.WRONG_INPUT
    said = capsys.readouterr().err
    assert "Traceback" in said and "gossamer: /nowhere/key cannot be made" in said


def test_nothing_to_do_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == ExitStatus.WRONG_INPUT
    assert "gossamer service" in capsys.readouterr().out


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"gossamer {metadata.version('gossamer')}\n"


def test_a_command_whose_extra_is_missing_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "needs_more.py").write_text('"""Start an engine."""\nimport nothing_like_it\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    entry = metadata.EntryPoint("engine", "needs_more [embedded]", cli.GROUP)
    monkeypatch.setattr(metadata, "entry_points", lambda group: metadata.EntryPoints([entry]))
    assert run("engine", "--help") == ExitStatus.WRONG_INPUT
    assert capsys.readouterr().err == (
        "gossamer: `gossamer engine` needs nothing_like_it, which isn't installed; run: "
        f"{pip_command('embedded')}\n"
    )
    assert run("--help") == 0
    assert "(not installed: needs the extra [embedded])" in capsys.readouterr().out


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = "from gossamer_node.cli import main; import sys; sys.exit(main())"
    with subprocess.Popen(
        [sys.executable, "-c", command, "doctor", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == ExitStatus.BROKEN_PIPE


def test_a_new_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mesh.key"
    assert run("key", "new", str(path)) == 0
    first = path.read_bytes()
    assert len(read_keyring(path).keys) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert capsys.readouterr().out.count(str(path)) == 1
    assert run("key", "new", str(path)) == ExitStatus.WRONG_INPUT
    assert path.read_bytes() == first
    assert "exists; choose another name" in capsys.readouterr().err


GOOD = "name: greeter\nversion: 1.0.0\nmodule: greeter.wasm\ntopics: [{name: greet}]\n"


@pytest.fixture
def services(tmp_path: Path) -> Path:
    (tmp_path / "greeter").mkdir()
    (tmp_path / "greeter" / "service.yaml").write_text(GOOD)
    (tmp_path / "greeter" / "greeter.wasm").write_bytes(WASM_MAGIC)
    return tmp_path


def test_check_of_a_good_service(services: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("service", "check", str(services)) == 0
    assert capsys.readouterr().out == f"{services}/greeter/service.yaml: ok\n"


def test_check_tells_what_is_met_and_what_only_the_mesh_knows(
    services: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = services / "greeter" / "service.yaml"
    needs = {"kv": ">=1 <2", "greeter": "^1.0.0", "base": "^1 || ^3", "http": "1.x"}
    written = ", ".join(f"{{name: {name}, version: '{each}'}}" for name, each in needs.items())
    file.write_text(f"{GOOD}dependencies: [{written}]\n")
    assert run("service", "check", str(file)) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{file}: ok",
        "  depends on kv >=1 <2: this host has 1.0.0",
        "  depends on greeter ^1.0.0: 1.0.0 is among the services checked",
        "  depends on base ^1 || ^3: takes no jobs until a node of the mesh offers it",
        "  depends on http 1.x: this host has 1.0.0",
    ]
    assert run("service", "check", str(file), "--json") == 0
    (told,) = json.loads(capsys.readouterr().out)["files"]
    assert [one["met"] for one in told["dependencies"]] == [True, True, None, True]
    file.write_text(f"{GOOD}dependencies: [{{name: kv, version: ^2}}, {{name: x, version: new}}]\n")
    assert run("service", "check", str(file)) == ExitStatus.WRONG_INPUT
    assert "dependencies[1].version" in capsys.readouterr().out
    file.write_text(f"{GOOD}dependencies: [{{name: kv, version: ^2}}]\n")
    assert run("service", "check", str(file)) == ExitStatus.WRONG_INPUT
    assert "depends on kv ^2, and this host has kv 1.0.0" in capsys.readouterr().out


def test_check_names_every_problem(services: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = services / "greeter" / "service.yaml"
    file.write_text("name: a b\nversoin: 1\n")
    assert run("service", "check", str(services), "--json") == ExitStatus.WRONG_INPUT
    report = json.loads(capsys.readouterr().out)
    assert not report["ok"]
    found = [(one["line"], one["field"]) for one in report["files"][0]["problems"]]
    assert found == [(1, "name"), (2, ""), (1, "")]
    assert run("service", "check", str(file)) == ExitStatus.WRONG_INPUT
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and lines[1].endswith("did you mean `version`?")


def test_check_finds_what_is_no_module(services: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (services / "greeter" / "greeter.wasm").write_bytes(b"\x7fELF")
    assert run("service", "check", str(services)) == ExitStatus.WRONG_INPUT
    assert "is not a WebAssembly binary" in capsys.readouterr().out


def test_check_finds_two_services_on_one_topic(
    services: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (services / "other").mkdir()
    text = GOOD.replace("name: greeter", "name: other").replace(
        "greeter.wasm", "../greeter/greeter.wasm"
    )
    (services / "other" / "service.yaml").write_text(text)
    assert run("service", "check", str(services)) == ExitStatus.WRONG_INPUT
    assert "both claim topic greet" in capsys.readouterr().out


def parsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    found = [parser]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                found += parsers(below)
    return found


def test_every_help_has_examples_of_itself() -> None:
    for parser in parsers(cli.build_parser([])):
        text = parser.format_help()
        assert "\nexamples:\n" in text, parser.prog
        assert f"  {parser.prog}" in text.partition("\nexamples:\n")[2], parser.prog


def test_every_entry_point_is_a_command() -> None:
    for entry in metadata.entry_points(group=cli.GROUP):
        module = entry.load()
        assert callable(module.configure) and callable(module.run), entry
        assert (module.__doc__ or "").partition("\n")[0].endswith("."), entry


def test_the_page_of_the_command_line_has_every_command_and_exit_status() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/command-line.md").read_text()
    for parser in parsers(cli.build_parser([])):
        leaf = not any(isinstance(one, argparse._SubParsersAction) for one in parser._actions)
        assert not leaf or f"| `{parser.prog}` |" in page, parser.prog
    statuses = page.partition("## Exit statuses")[2]
    listed = [int(line.split("|")[1]) for line in statuses.splitlines()[4:]]
    assert listed == [status.value for status in ExitStatus]
