"""What a person gets wrong: one sentence says so, with its documented status, and nothing runs."""

import base64
import secrets
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from tests.integration.nodes import (
    agreed,
    bpmn,
    looked,
    reaches,
    records,
    see_each_other,
    stop,
    until,
    write_service,
)

from gossamer_hotel.demo.processes import (
    gossamer_process,
    open_nodes,
    wait_until_ready,
)
from gossamer_node.cli import ExitStatus
from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.port import Engine
from gossamer_node.errors import EngineRefused
from gossamer_node.local_engines.processes import free_ports
from gossamer_node.local_engines.progress import silent
from gossamer_node.variables import Variables

pytestmark = pytest.mark.processes

END_S_MAX = 600
"""A command that is refused has ended long before; one that runs on is stopped here."""


def gossamer(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "gossamer_node", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=END_S_MAX,
    )


KEPT = {"identity.pem", "services"}


def refused(folder: Path, *arguments: str | Path) -> str:
    """The sentence with which a node refuses to start; it leaves who it is and what it knows."""
    data = folder / "data"
    done = gossamer("node", "--listen", "127.0.0.1:0", "--data-dir", data, *arguments)
    assert (done.returncode, done.stdout) == (ExitStatus.WRONG_INPUT, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("gossamer: ")
    assert not data.exists() or {one.name for one in data.iterdir()} <= KEPT
    return line


def mesh_key(path: Path, mode: int = 0o600) -> Path:
    path.write_bytes(base64.b64encode(secrets.token_bytes(32)) + b"\n")
    path.chmod(mode)
    return path


# --- services


def test_a_wrong_field_of_a_service(telling: bytes, tmp_path: Path) -> None:
    service = write_service(tmp_path / "telling", telling, ["a"], modul="worker.wasm")
    said = refused(tmp_path, "--service", service)
    assert "telling/service.yaml:" in said and "did you mean `module`?" in said


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (b"\x7fELF", "worker.wasm is not a WebAssembly binary"),
        (b"\0asm\x01\0\0\0junk", "worker.wasm is not a module that this host can run"),
    ],
    ids=["other", "broken"],
)
def test_a_module_that_is_no_webassembly(module: bytes, said: str, tmp_path: Path) -> None:
    service = write_service(tmp_path / "telling", module, ["a"], capabilities={})
    assert said in refused(tmp_path, "--service", service)


def test_two_services_on_one_topic(telling: bytes, tmp_path: Path) -> None:
    services = [write_service(tmp_path / name, telling, ["a"]) for name in ("one", "two")]
    arguments = [part for one in services for part in ("--service", one)]
    assert "both claim topic a" in refused(tmp_path, *arguments)


# --- keys, folders, ports


def test_a_key_file_that_others_can_read(tmp_path: Path) -> None:
    key = mesh_key(tmp_path / "mesh.key", 0o644)
    said = refused(tmp_path, "--key", key)
    assert str(key) in said and "chmod 600" in said


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        said = refused(tmp_path, "--listen", where)
    assert where in said


async def test_another_meshs_key(tmp_path: Path) -> None:
    key = mesh_key(tmp_path / "other.key")
    async with open_nodes([{}], tmp_path, silent) as nodes:
        (node,) = nodes
        address = node.status["node"]["address"]
        said = await trio.to_thread.run_sync(
            lambda: refused(tmp_path, "--key", key, "--join", address)
        )
        assert f"{address} has another mesh key, or another mesh name" in said
        await looked(node)
        assert len(node.status["members"]) == 1


async def test_the_folder_of_a_running_node(tmp_path: Path) -> None:
    async with open_nodes([{}, {}], tmp_path, silent) as nodes:
        await see_each_other(nodes)
        config = nodes[1].folder / "gossamer.yaml"
        done = await trio.to_thread.run_sync(gossamer, "node", "--config", config)
        assert done.returncode == ExitStatus.WRONG_INPUT
        assert f"a node already runs in {nodes[1].data_dir}; stop it" in done.stderr
        # And the one that runs has noticed nothing.
        await looked(*nodes)
        assert [len(node.status["members"]) for node in nodes] == [2, 2]
        changes = [one["change"] for one in records(nodes[0]) if one["msg"] == "member"]
        assert "died" not in changes


# --- engines


async def test_an_engine_that_is_down_is_asked_until_it_answers(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}/engine-rest"
    config = EngineConfig("embedded", "camunda7", url)
    async with open_nodes([reaches(config)], tmp_path, silent) as nodes:
        (node,) = nodes

        async def warned() -> bool:
            return any(url in one["msg"] for one in records(node) if one["level"] == "warning")

        await until(warned)
        assert not node.status["engines"][0]["reachable"]

        home = tmp_path / "engine"
        arguments = ["engine", "--port", str(port), "--data", str(tmp_path / "engine.sqlite")]
        arguments += ["--url-file", str(tmp_path / "url")]

        async def serves() -> bool:
            return (tmp_path / "url").exists()

        async with gossamer_process(arguments, home) as process:
            await wait_until_ready("the engine", process, home, serves)
            assert await agreed(nodes, "embedded") is node
            # The node goes first: a poll of an engine that is gone is nothing to wait for.
            assert await stop(node) == 0


def test_doctor_and_demo_say_that_an_engine_is_down(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}/engine-rest"
    done = gossamer("doctor", "--engine", f"kind=camunda7,url={url}", "--data-dir", tmp_path)
    assert done.returncode == ExitStatus.FAILED
    assert any(one.startswith("fail  engine") and url in one for one in done.stdout.splitlines())

    for engine in ("embedded", "camunda7", "camunda8"):
        done = gossamer("demo", "--engine", engine, "--url", url, "--json")
        assert (done.returncode, done.stdout) == (ExitStatus.ENGINE, "")
        (line,) = (one for one in done.stderr.splitlines() if one.startswith("gossamer: "))
        assert f"127.0.0.1:{port}" in line
        assert "Traceback" not in done.stderr


NOWHERE = 'targetRef="nowhere"'


@pytest.mark.parametrize("broken", ["unclosed", "text", "dangling"])
async def test_a_bpmn_that_does_not_parse(engine: Engine, broken: str) -> None:
    process_id = f"broken-{broken}"
    content = {
        "unclosed": "<definitions><process>",
        "text": "no XML at all",
        "dangling": bpmn(engine.kind, process_id, ["a"]).replace('targetRef="end"', NOWHERE),
    }[broken]
    with pytest.raises(EngineRefused) as refusal:
        await engine.deploy({"broken.bpmn": content.encode()})
    said = str(refusal.value)
    assert said.startswith(f"Engine {engine.name!r} at ") and "broken.bpmn" in said
    assert "\n" not in said
    assert ("nowhere" in said) == (broken == "dangling")
    with pytest.raises(EngineRefused, match=process_id):
        await engine.start(process_id, variables=Variables())
