"""An engine that demands a client certificate: over REST and over gRPC, on real TLS."""

import ssl
from functools import partial
from pathlib import Path

import pytest
import trio
from cryptography.hazmat.primitives import serialization
from tests.gateway.door_world import LOCAL, Authority
from tests.gateway.grpc_unary import unary
from tests.node.http_peer import answer

from gossamer_gateway.grpc import Asked, GrpcServer
from gossamer_node.config import NODE
from gossamer_node.engines.camunda8_grpc import Camunda8Grpc
from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.factory import open_engine
from gossamer_node.engines.rest import RestClient
from gossamer_node.engines.zeebe import gateway_pb2 as zeebe
from gossamer_node.errors import EngineUnavailable, InputError
from gossamer_node.schema.source import Source, parse

PROBED = answer(200, {"brokers": [], "gatewayVersion": "8.6.0"})


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def demanding(authority: Authority) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.file)
    context.load_cert_chain(*authority.issue("engine", LOCAL))
    context.verify_mode = ssl.CERT_REQUIRED
    return context


@pytest.fixture
async def url(nursery: trio.Nursery, demanding: ssl.SSLContext) -> str:
    async def handle(stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            await stream.receive_some(2**16)
            await stream.send_all(PROBED)
        except trio.BrokenResourceError:
            pass

    listeners: list[trio.SSLListener[trio.SocketStream]] = await nursery.start(
        partial(trio.serve_ssl_over_tcp, handle, 0, demanding, host="127.0.0.1")
    )
    listener = listeners[0].transport_listener
    assert isinstance(listener, trio.SocketListener)
    return f"https://127.0.0.1:{listener.socket.getsockname()[1]}"


def config(authority: Authority, url: str, pair: tuple[Path, Path] | None) -> EngineConfig:
    certificate, key = pair or (None, None)
    return EngineConfig(
        "hotel", "camunda8", url, ca_file=authority.file, cert_file=certificate, key_file=key
    )


async def test_it_lets_in_who_has_a_certificate(authority: Authority, url: str) -> None:
    engine = open_engine(config(authority, url, authority.issue("node")))
    assert (await engine.probe()).version == "8.6.0"
    await engine.aclose()


@pytest.mark.parametrize("stranger", [False, True])
async def test_it_lets_in_nobody_else(
    authority: Authority, url: str, tmp_path: Path, stranger: bool
) -> None:
    pair = Authority(tmp_path, "other").issue("node") if stranger else None
    engine = open_engine(config(authority, url, pair))
    with pytest.raises(EngineUnavailable):
        await engine.probe()
    await engine.aclose()


@pytest.mark.parametrize("known", [True, False])
async def test_over_grpc(
    authority: Authority, demanding: ssl.SSLContext, nursery: trio.Nursery, known: bool
) -> None:
    seen: list[bytes | None] = []

    async def topology(asked: Asked) -> bytes:
        seen.append(asked.certificate)
        return zeebe.TopologyResponse(gatewayVersion="8.6.0").SerializeToString()

    demanding.set_alpn_protocols(["h2"])
    server = GrpcServer({"/gateway_protocol.Gateway/Topology": unary(topology)})
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    await nursery.start(server.serve, listener, demanding)
    address = f"127.0.0.1:{listener.socket.getsockname()[1]}"
    certificate, key = authority.issue("node") if known else (None, None)
    settings = EngineConfig(
        "hotel", "camunda8", f"https://{address}", ca_file=authority.file, grpc=address,
        cert_file=certificate, key_file=key,
    )  # fmt: skip
    rest = RestClient(settings)
    engine = Camunda8Grpc(settings, rest)
    if known:
        assert (await engine.probe()).version == "8.6.0"
        assert seen[0] is not None and b"node" in seen[0]
    else:
        with pytest.raises(EngineUnavailable):
            await engine.probe()
        assert seen == []
    await engine.aclose()
    await rest.aclose()


# --- what a person wrote


def test_it_is_read_from_the_configuration(tmp_path: Path) -> None:
    text = (
        b"engines:\n  - kind: camunda7\n    url: https://engine/engine-rest\n"
        b"    cert_file: node.pem\n    key_file: node.key\n"
        b"name: a\ndata_dir: d\ncache_dir: c\n"
    )
    (engine,) = NODE.read(parse(text, Source("test", tmp_path)), "").engines
    assert (engine.cert_file, engine.key_file) == (tmp_path / "node.pem", tmp_path / "node.key")


@pytest.mark.parametrize(
    ("url", "cert_file", "key_file", "said"),
    [
        ("https://engine", Path("a"), None, "name both"),
        ("https://engine", None, Path("a"), "name both"),
        ("http://engine", Path("a"), Path("a"), "without TLS"),
    ],
)
def test_settings_that_make_no_sense(
    url: str, cert_file: Path | None, key_file: Path | None, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        EngineConfig("mine", "camunda8", url, cert_file=cert_file, key_file=key_file)


@pytest.mark.parametrize("wrong", ["missing", "junk", "another's key", "encrypted"])
def test_files_that_cannot_be_used(authority: Authority, wrong: str) -> None:
    certificate, key = authority.issue("node")
    if wrong == "missing":
        key.unlink()
    elif wrong == "junk":
        certificate.write_bytes(b"no certificate")
    elif wrong == "another's key":
        key = authority.issue("other")[1]
    else:
        private = serialization.load_pem_private_key(key.read_bytes(), None)
        key.write_bytes(
            private.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(b"secret"),
            )
        )
    with pytest.raises(InputError, match="'hotel' can't use the client certificate"):
        open_engine(config(authority, "https://engine", (certificate, key)))
