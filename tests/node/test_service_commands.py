"""`gossamer service add`, `list`, `rm`, `sign`: on a folder, and on a node that runs in it."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from tests.node.registry_world import service
from tests.patience import PATIENCE_S, until

from gossamer_mesh.identity import create_operator_key
from gossamer_node import cli
from gossamer_node.cli import ExitStatus
from gossamer_node.cli.status import lines
from gossamer_node.config import NodeConfig
from gossamer_node.control import converse
from gossamer_node.errors import ServiceError
from gossamer_node.supervisor import Node, open_node

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs `gossamer service` on a node's folder: exit status, output, errors."""

    def call(action: str, *arguments: object) -> tuple[int, str, str]:
        where = ["--data-dir", tmp_path / "data", "--cache-dir", tmp_path / "cache"]
        if action == "sign":
            where = []
        status = cli.main(["service", action, *map(str, [*arguments, *where])])
        out, err = capsys.readouterr()
        return status, out, err

    return call


def test_services_of_a_node_that_does_not_run(run: Run, tmp_path: Path) -> None:
    assert run("list") == (0, "SERVICE: none\n", "")
    first, second = (service(tmp_path, version=one) for one in ("1.0.0", "2.0.0"))
    added = "rate@1.0.0: added; it works when the node starts.\n"
    assert run("add", first) == (0, added, "")
    _, told, _ = run("add", first.parent, "--json")
    assert json.loads(told)["new"] is False
    assert run("add", second)[0] == 0
    _, listed, _ = run("list", "rate", "--json")
    assert [
        (one["version"], one["state"], one["signed"])
        for one in map(json.loads, listed.splitlines())
    ] == [("1.0.0", "registered", False), ("2.0.0", "chosen", False)]
    assert run("rm", "rate@2.0.0") == (0, "rate@2.0.0: removed.\n", "")
    assert len(list((tmp_path / "data" / "services").glob("*.wasm"))) == 1
    assert run("rm", "rate")[1] == "rate@1.0.0: removed.\n"
    status, _, said = run("rm", "rate")
    assert status == ExitStatus.WRONG_INPUT
    assert said == "gossamer: there is no rate here; see `gossamer service list`.\n"


def test_all_services_of_a_folder_are_added(run: Run, tmp_path: Path) -> None:
    for name in ("a", "b"):
        service(tmp_path / "all", name)
    assert [one.split(":")[0] for one in run("add", tmp_path / "all")[1].splitlines()] == [
        "a@1.0.0",
        "b@1.0.0",
    ]


def test_what_cannot_be_added_is_said_in_a_sentence(run: Run, tmp_path: Path) -> None:
    broken = service(tmp_path)
    broken.with_name("worker.wasm").write_bytes(b"\0asm\1\0\0\0junk")
    status, _, said = run("add", broken)
    assert status == ExitStatus.WRONG_INPUT and "build it again" in said
    files = service(tmp_path, "g", grpc={"host": "h", "port": 1, "proto-files": ["a.proto"]})
    files.with_name("a.proto").write_text("message M {} service S { rpc Ask (M) returns (M); }")
    status, out, _ = run("add", files)
    assert status == 0 and "kept, but not at work: service g requests grpc h:1" in out
    greedy = service(tmp_path, "greedy", capabilities={"http": ["https://example.org"]})
    status, out, _ = run("add", greedy)
    assert status == 0 and "kept, but not at work: service greedy requests http" in out
    junk = service(tmp_path, "junk")
    junk.with_name("service.sig").write_text("not base64!")
    status, _, said = run("add", junk)
    assert status == ExitStatus.WRONG_INPUT and "cannot be read as a signature" in said
    assert run("list")[1].count("\n") == 5


@pytest.mark.parametrize(
    "label",
    ["rate@", "@1.0.0", "", "rate@one", "../rate", "rate\n", "a b", "rate@1.0.0@2", "ärger"],
)
def test_a_name_that_is_none_removes_nothing(run: Run, tmp_path: Path, label: str) -> None:
    run("add", service(tmp_path))
    status, _, said = run("rm", label)
    assert status == ExitStatus.WRONG_INPUT
    assert "write NAME or NAME@VERSION, such as greeter@1.0.0" in said
    assert "rate" in run("list", "rate@1.0.0")[1]


@pytest.mark.parametrize("name", ["missing", "a\nb", "trailing ", "x" * 5_000])
def test_a_path_that_is_none_is_said_in_a_sentence(run: Run, tmp_path: Path, name: str) -> None:
    status, _, said = run("add", tmp_path / name)
    assert status in (ExitStatus.WRONG_INPUT, ExitStatus.FAILED)
    assert "cannot be read" in said or "the system refused" in said


def test_a_signature_lies_beside_its_service(run: Run, tmp_path: Path) -> None:
    key = tmp_path / "operator.pem"
    operator = create_operator_key(key)
    file = service(tmp_path)
    status, told, _ = run("sign", file.parent, "--operator", key, "--mesh", "hotel", "--json")
    assert status == 0
    assert json.loads(told) == {
        "service": "rate",
        "version": "1.0.0",
        "operator": operator,
        "mesh": "hotel",
        "file": str(file.with_name("service.sig")),
    }
    status, _, said = run("add", file)
    assert status == ExitStatus.WRONG_INPUT
    assert "is no operator here; name it in mesh.operators" in said
    status, _, said = run("rm", "rate", "--operator", key)
    assert status == ExitStatus.WRONG_INPUT and "no node runs here, to carry the order" in said


async def test_a_service_that_waits_is_shown_with_what_it_waits_for(
    tmp_path: Path,
) -> None:
    here = NodeConfig(
        "node",
        tmp_path / "data",
        tmp_path / "cache",
        services=(
            service(tmp_path, "early", dependencies=[{"name": "late", "version": "^2"}]),
            service(tmp_path, "plain", dependencies=[{"name": "http", "version": "^1"}]),
        ),
    )

    def command(*words: object) -> str:
        line = [sys.executable, "-m", "gossamer_node", *map(str, words)]
        line += ["--data-dir", str(here.data_dir)]
        done = subprocess.run(
            line, capture_output=True, text=True, timeout=10 * PATIENCE_S, check=True
        )
        return done.stdout

    async def said(*words: object) -> list[str]:
        return (await trio.to_thread.run_sync(command, *words)).splitlines()

    def waits(node: Node) -> list[object]:
        return [one["waits"] for one in node.status()["services"]]  # type: ignore[attr-defined]

    async with open_node(here) as node:
        assert waits(node) == ["waits for late ^2, which nobody offers", None]
        assert "early waits for late ^2, which nobody offers" in await said("status")
        third = service(tmp_path, "third", dependencies=[{"name": "early", "version": "*"}])
        (added,) = await said("service", "add", third)
        sentence = "waits for early *, which lacks late ^2"
        assert added == f"third@1.0.0: added; it takes no jobs yet: it {sentence}."
        _, row, why = await said("service", "list")
        assert row.split()[2] == "lacking" and why == f"third@1.0.0: {sentence}"
        await said("service", "add", service(tmp_path, "late", "2.0.0"))
        assert waits(node) == [None] * 4
        assert not any("waits" in one for one in await said("status"))


def test_a_node_does_not_start_with_a_service_that_its_host_cannot_serve(tmp_path: Path) -> None:
    file = service(tmp_path, dependencies=[{"name": "grpc", "version": "^9"}])
    config = NodeConfig("node", tmp_path / "data", tmp_path / "cache", services=(file,))

    async def start() -> None:
        async with open_node(config):
            raise AssertionError("it has started")

    with pytest.raises(ServiceError, match=r"depends on grpc \^9, and this host has grpc 1\.0\.0"):
        trio.run(start)
    assert not config.data_dir.exists()


async def test_services_of_a_node_that_runs(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)

    def command(*arguments: object) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "gossamer_node", "service", *map(str, arguments)]
        line += ["--data-dir", str(data), "--cache-dir", str(tmp_path / "cache")]
        return subprocess.run(
            line, capture_output=True, text=True, timeout=10 * PATIENCE_S, check=False
        )

    async def done(*arguments: object) -> subprocess.CompletedProcess[str]:
        return await trio.to_thread.run_sync(lambda: command(*arguments))

    config = NodeConfig("node", data, tmp_path / "cache", topics_max=1)
    async with open_node(config) as node:
        at_work = "rate@1.0.0: added, and at work. It is not signed, so it stays on this node.\n"
        first = await done("add", service(tmp_path))
        assert (first.stdout, first.stderr) == (at_work, "")
        older = await done("add", service(tmp_path, version="0.9.0"))
        assert "a higher version works, so this one waits" in older.stdout
        listed = await done("list", "--json")
        states = [json.loads(one)["state"] for one in listed.stdout.splitlines()]
        assert states == ["registered", "live"]
        # What a person may get wrong ends with a sentence, and the node goes on.
        for odd in ("x" * 5_000, " a\nb\udcff "):
            wrong = await done("add", tmp_path / odd)
            assert wrong.returncode in (ExitStatus.WRONG_INPUT, ExitStatus.FAILED), wrong
            assert "cannot be read" in wrong.stderr or "by the system" in wrong.stderr, wrong
        spaced = service(tmp_path / " a\nb ", "spaced").parent
        beyond = "1 of the added services is beyond the 1 topics that this node announces"
        said = await done("add", spaced)
        assert "spaced@1.0.0: added, and at work" in said.stdout and beyond in said.stdout
        assert any(beyond in one for one in lines(node.status()))
        assert (await done("rm", "spaced")).returncode == 0
        unknown = b"service-add not json\nservice-order ?\nservice-remove ../x\n"
        for line in unknown.splitlines():
            (answer,) = await trio.to_thread.run_sync(list, converse(data, line.decode()))
            assert answer["error"], line
        removed = await done("rm", "rate@1.0.0")
        assert removed.stdout == "rate@1.0.0: removed.\n"
        status = node.status()
        assert [one["version"] for one in status["services"]] == ["0.9.0"]  # type: ignore[attr-defined]
        again = await done("rm", "rate@1.0.0")
        assert again.returncode == ExitStatus.WRONG_INPUT
        assert "there is no rate@1.0.0 here" in again.stderr
        await until(lambda: node.status()["registry"]["draining"] == 0)  # type: ignore[index]
    async with open_node(config) as node:
        assert node.status()["registry"] == {
            "registered": 1,
            "live": 0,
            "parked": 1,
            "waiting": 0,
            "draining": 0,
        }
