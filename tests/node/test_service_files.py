"""A service with proto-files: added on one node, it calls its gRPC server from another."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.node.registry_world import World, node, service, sign
from tests.node.shades_peer import PROTO, shades
from tests.node.wasm.conftest import assemble
from tests.patience import until

from gossamer_mesh.drivers.calls import Handler
from gossamer_mesh.drivers.links import SERVICES
from gossamer_mesh.identity import operator_of
from gossamer_mesh.packing import pack, unpack
from gossamer_node.errors import ServiceError
from gossamer_node.jobs import Completed, Job, JobRef
from gossamer_node.proto import ProtoError
from gossamer_node.proto.bundle import pack_files, unpack_files
from gossamer_node.registry import travel
from gossamer_node.service.grants import Grants
from gossamer_node.variables import Variables
from gossamer_node.wasm import Detached

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OPERATORS = [operator_of(KEY)]


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a node does every second or so, it does more often here; nothing is measured."""
    monkeypatch.setattr(travel, "LOOK_S", 0.1)
    monkeypatch.setattr(travel, "PAUSE_S_FIRST", 0.1)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with shades() as port:
        yield port


def calls(folder: Path, port: int, proto: str = "api/modern.proto") -> Path:
    """A service whose worker asks its server to echo a text."""
    grpc = {"host": "127.0.0.1", "port": port, "proto-files": [proto]}
    file = service(folder, "caller", grpc=grpc)
    asked = json.dumps({"method": "modern.Shades/Echo", "request": {"text": "grüße"}})
    wasm = assemble("caller", op="grpc.call", request=asked)
    file.with_name("worker.wasm").write_bytes(wasm)
    target = file.parent / proto
    target.parent.mkdir(exist_ok=True)
    shutil.copy(PROTO, target)
    return file


def settings(port: int) -> dict[str, Any]:
    grants = {"caller": Grants(grpc=(f"127.0.0.1:{port}",))}
    return {"operators": OPERATORS, "grants": grants}


async def echoed(world: World) -> object:
    served = world.executor.callee("caller")
    assert served is not None
    job = Job(JobRef("none", "1", "caller", "test", retries=3), Variables(), lock_ms=60_000)
    outcome = await served.worker.run(job, deadline_ms=60_000, context=Detached())
    assert isinstance(outcome, Completed), outcome
    reply: Any = outcome.variables.values["reply"]
    return reply["response"]["text"]


async def test_added_on_one_node_it_calls_its_server_from_another(
    tmp_path: Path, port: int
) -> None:
    file = sign(calls(tmp_path, port), KEY)
    async with node(tmp_path / "a", **settings(port)) as first:
        await first.stock.add(file)
        shutil.rmtree(file.parent)
        assert await echoed(first) == "grüße"
        seeds = [first.mesh.address]
        async with node(tmp_path / "b", seeds=seeds, **settings(port)) as second:
            await until(lambda: second.state("caller", "1.0.0") == "live")
            assert await echoed(second) == "grüße"
            assert second.travel.counts["files_fetched"] == 1
    # A restart has them, and a removal takes them away.
    async with node(tmp_path / "b", **settings(port)) as second:
        assert second.state("caller", "1.0.0") == "parked"
        assert await echoed(second) == "grüße"
        await second.stock.remove("caller", None)
        await until(lambda: not list((tmp_path / "b" / "services").glob("*.files")))


async def test_files_changed_on_their_way_or_after_the_signature_are_refused(
    tmp_path: Path, port: int
) -> None:
    file = sign(calls(tmp_path, port), KEY)
    proto = file.parent / "api" / "modern.proto"
    async with node(tmp_path / "a", **settings(port)) as first:
        proto.write_bytes(proto.read_bytes() + b"// more\n")
        with pytest.raises(ServiceError, match="is for something else than what lies beside it"):
            await first.stock.add(file)
        await first.stock.add(sign(file, KEY))
        honest = first.travel._answer

        async def flip(sender: str, question: bytes) -> bytes:
            answer = await honest(sender, question)
            if unpack(question)[0] != "files":
                return answer
            chunk = bytearray(unpack(answer))
            chunk[-2] ^= 1
            return pack(bytes(chunk))

        limits = (travel.REQUEST_BYTES_MAX, travel.TIMEOUT_S, travel.ANSWER_BYTES_MAX)
        first.mesh.handle(SERVICES, Handler(flip, *limits))
        seeds = [first.mesh.address]
        async with node(tmp_path / "b", seeds=seeds, **settings(port)) as second:
            await until(lambda: second.travel.counts["content_refused"] == 1)
            assert second.state("caller", "1.0.0") == "coming"
            assert list((tmp_path / "b" / "services").glob("*.*s")) == []


async def test_other_files_under_one_version_are_another_service(tmp_path: Path, port: int) -> None:
    file = calls(tmp_path, port)
    async with node(tmp_path / "a", **settings(port)) as world:
        assert (await world.stock.add(file))["new"]
        assert not (await world.stock.add(file))["new"]
        proto = file.parent / "api" / "modern.proto"
        proto.write_bytes(proto.read_bytes() + b"// more\n")
        assert (await world.stock.add(file))["new"]
        await until(lambda: len(list((tmp_path / "a" / "services").glob("*.files"))) == 1)
        assert await echoed(world) == "grüße"


@pytest.mark.parametrize(
    "data",
    [
        b"\xc1",
        msgpack.packb(7),
        msgpack.packb([]),
        msgpack.packb([["../../a.proto", b""]]),
        msgpack.packb([["a.proto", b""], ["b.proto", b""]]),
        msgpack.packb([["a.proto", b""], ["a.proto", b""]]),
        msgpack.packb([["a.proto", "text"]]),
        msgpack.packb([[b"a.proto", b""]]),
        msgpack.packb({"a.proto": b""}),
        msgpack.packb([["a.proto"]]),
    ],
)
def test_nothing_but_the_files_that_are_named_comes_out(data: bytes) -> None:
    with pytest.raises(ProtoError, match=r"are not those that service\.yaml names"):
        unpack_files(data, ["a.proto"])


@pytest.mark.parametrize("name", ["/etc/a.proto", "../a.proto", "a/../../b.proto", "a\n.proto"])
def test_a_name_that_leads_elsewhere_is_not_packed(name: str) -> None:
    with pytest.raises(ProtoError, match="lies outside the service's folder"):
        pack_files({name: b""})


def test_equal_files_pack_alike() -> None:
    one, two = {"a": b"1", "b": b"2"}, {"b": b"2", "a": b"1"}
    assert pack_files(one) == pack_files(two) and unpack_files(pack_files(one), two) == one
    assert pack_files({}) == b"" and unpack_files(b"", []) == {}
