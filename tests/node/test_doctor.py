"""Doctor: a line for each thing that it looks at, and what to do about it."""

import json
import socket
from argparse import Namespace
from pathlib import Path

import pytest
import trio
from tests.node.grpc_answers import Told, serve_grpc
from tests.node.http_peer import answer, serve
from tests.zeebe88.engine import RunningZeebe88

from gossamer_mesh.keyring import Keyring, write_keyring
from gossamer_node import cli
from gossamer_node.config import load
from gossamer_node.engines.zeebe import gateway_pb2
from gossamer_node.supervisor import open_node

Findings = dict[str, list[dict[str, str]]]


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)


def doctor(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Findings]:
    status = cli.main(["doctor", "--json", "--listen", "127.0.0.1:0", *arguments])
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] == (status == 0)
    findings: Findings = {}
    for one in report["findings"]:
        findings.setdefault(one["subject"], []).append(one)
    return status, findings


def test_this_machine_will_do(capsys: pytest.CaptureFixture[str]) -> None:
    status, findings = doctor(capsys)
    assert status == 0
    for subject in ("python", "gossamer", "wasmtime", "data_dir", "cache_dir"):
        assert findings[subject][0]["state"] == "ok"
    assert "runs a module" in findings["wasmtime"][0]["found"]


def test_a_report_for_a_person(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--listen", "127.0.0.1:0", "--slots", "0"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("ok    wasmtime: ") for line in lines)
    assert any(line.startswith("fail  configuration: --slots: slots: '0'") for line in lines)


def test_an_engine_that_is_down(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as unheard:  # bound, so that nobody else gets the port; not listening
        unheard.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unheard.getsockname()[1]}/engine-rest"
        status, findings = doctor(capsys, "--engine", f"name=c7,kind=camunda7,url={url}")
    assert status == 1
    assert findings["engine c7"][0]["state"] == "fail"


@pytest.mark.camunda7
@pytest.mark.zeebe
def test_engines_that_answer(
    capsys: pytest.CaptureFixture[str], camunda7_url: str, zeebe_url: str
) -> None:
    engines = (f"kind=camunda7,url={camunda7_url}", f"kind=camunda8,url={zeebe_url}")
    status, findings = doctor(capsys, "--engine", engines[0], "--engine", engines[1])
    assert status == 0
    assert findings["engine camunda7"][0]["found"].startswith("camunda7 7.24")
    assert findings["engine camunda8"][0]["found"].startswith("camunda8 8.6")


@pytest.mark.zeebe88
def test_an_engine_that_answers_over_grpc_alone(
    capsys: pytest.CaptureFixture[str], zeebe88: RunningZeebe88
) -> None:
    engine = f"name=c8,kind=camunda8,url={zeebe88.url},grpc={zeebe88.grpc_address}"
    status, findings = doctor(capsys, "--engine", engine)
    assert status == 0
    (one,) = findings["engine c8"]
    assert one["state"] == "warn"
    assert one["found"].startswith(f"camunda8 8.8.21, over gRPC at {zeebe88.grpc_address} alone: ")
    assert f"{zeebe88.url} cannot be reached" in one["found"]
    assert "mend the engine's url" in one["advice"]


async def test_over_which_transport_a_camunda8_answers(
    capsys: pytest.CaptureFixture[str], nursery: trio.Nursery
) -> None:
    told = gateway_pb2.TopologyResponse(gatewayVersion="8.6.0").SerializeToString()
    grpc = await serve_grpc(nursery, lambda asked: Told((told,)))
    url = await serve(
        nursery, lambda asked: answer(200, {"gatewayVersion": "8.6.0", "brokers": []})
    )
    for address, state, found in (
        (grpc, "ok", f"camunda8 8.6.0 at {url}, over gRPC at {grpc}"),
        ("127.0.0.1:1", "warn", "over REST: its gRPC at 127.0.0.1:1 does not answer"),
    ):
        engine = f"name=c8,kind=camunda8,url={url},grpc={address}"
        status, findings = await trio.to_thread.run_sync(doctor, capsys, "--engine", engine)
        assert status == 0
        (one,) = findings["engine c8"]
        assert one["state"] == state and found in one["found"]
    nursery.cancel_scope.cancel()


def test_a_key_that_others_can_read(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "mesh.key"
    assert cli.main(["key", "new", str(path)]) == 0
    capsys.readouterr()
    status, findings = doctor(capsys, "--key", str(path))
    assert status == 0 and findings["mesh key"][0]["state"] == "ok"
    path.chmod(0o644)
    status, findings = doctor(capsys, "--key", str(path))
    assert status == 1 and "chmod 600" in findings["mesh key"][0]["found"]


def test_an_address_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        status, findings = doctor(capsys, "--listen", address)
    assert status == 1
    assert "cannot be bound (Address already in use)" in findings[f"TCP {address}"][0]["found"]
    assert findings[f"UDP {address}"][0]["state"] == "ok"


@pytest.mark.processes
# A short name: the node's socket is below a folder of the test's name.
async def test_ones_own_address(capsys: pytest.CaptureFixture[str]) -> None:
    config = load(Namespace(name="here", listen="127.0.0.1:0"))
    async with open_node(config) as node:
        host, port = node.mesh.address
        flags = ("--name", "here", "--listen", f"{host}:{port}")
        status, findings = await trio.to_thread.run_sync(doctor, capsys, *flags)
    assert status == 0
    assert findings["address"][0]["found"] == "a node runs here under the name here"


def test_services_and_their_grants(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "service.yaml").write_text(
        "{name: a, version: 1.0.0, module: a.wasm, topics: [{name: t}],"
        " capabilities: {http: ['{booking}']}}"
    )
    status, findings = doctor(capsys, "--service", str(tmp_path))
    assert status == 1 and "a.wasm cannot be read" in findings["service"][0]["found"]
    (tmp_path / "a.wasm").write_bytes(b"\0asm\1\0\0\0")
    (tmp_path / "node.yaml").write_text("grants: {b: {redirects: true}}\nservices: [.]")
    status, findings = doctor(capsys, "--config", str(tmp_path / "node.yaml"))
    assert status == 0
    assert [one["state"] for one in findings["grants"]] == ["warn", "warn"]
    assert "requests http {booking}" in findings["grants"][0]["found"]
    assert "b is granted something" in findings["grants"][1]["found"]


def test_what_services_depend_on(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name, version, needs in (
        ("a", "1.0.0", "[{name: grpc, version: ^1}, {name: b, version: ^1}]"),
        ("b", "2.0.0", "[{name: a, version: '*'}, {name: c, version: ~1.2}]"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "service.yaml").write_text(
            f"{{name: {name}, version: {version}, module: a.wasm, topics: [{{name: {name}}}],"
            f" dependencies: {needs}}}"
        )
        (tmp_path / name / "a.wasm").write_bytes(b"\0asm\1\0\0\0")
    status, findings = doctor(capsys, "--service", str(tmp_path))
    assert status == 0
    assert "grpc 1.0.0, http 1.0.0" in findings["for services to depend on"][0]["found"]
    assert [one["found"] for one in findings["dependencies"]] == [
        "a takes no jobs until the mesh has b ^1; 2.0.0 here won't do",
        "b takes no jobs until the mesh has c ~1.2; no service here is it",
    ]


def test_a_folder_that_cannot_be_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    status, findings = doctor(capsys, "--data-dir", str(tmp_path / "file" / "below"))
    assert status == 1
    assert findings["data_dir"][0]["advice"] == "choose another data_dir"


def test_a_slip_of_the_pen_in_a_variable(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOSSAMER_SLOT", "3")
    status, findings = doctor(capsys)
    assert status == 0
    assert findings["environment"][0]["found"] == "GOSSAMER_SLOT is set, and nothing reads it"


def test_the_keys_and_the_list_of_members_are_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ring = Keyring((bytes(32), bytes(range(32))))
    write_keyring(tmp_path / "mesh.key", ring)
    members = tmp_path / "members"
    file = tmp_path / "gossamer.yaml"
    file.write_text("mesh: {key_file: mesh.key, members_file: members}\n")
    for text, state, said in (
        (f"{'a' * 32}\n", "ok", "1 on the list"),
        ("nobody\n", "fail", "is no node id"),
    ):
        members.write_text(text)
        members.chmod(0o600)
        _, findings = doctor(capsys, "--config", str(file))
        assert "2 keys" in str(findings["mesh key"])
        [found] = findings["members"]
        assert found["state"] == state and said in str(found)
