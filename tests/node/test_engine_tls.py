"""An engine behind a private certificate authority is trusted by its CA file, and only by it."""

import ssl
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.node.http_peer import answer

from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.factory import open_engine
from gossamer_node.errors import EngineUnavailable

PROBED = answer(200, {"brokers": [], "gatewayVersion": "8.6.0"})


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1, with its key, that is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hotel")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "hotel.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
async def url(nursery: trio.Nursery, certificate: Path) -> str:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    async def handle(stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            await stream.receive_some(2**16)
            await stream.send_all(PROBED)
        except trio.BrokenResourceError:
            pass  # It did not trust us.

    listeners: list[trio.SSLListener[trio.SocketStream]] = await nursery.start(
        partial(trio.serve_ssl_over_tcp, handle, 0, context, host="127.0.0.1")
    )
    listener = listeners[0].transport_listener
    assert isinstance(listener, trio.SocketListener)
    return f"https://127.0.0.1:{listener.socket.getsockname()[1]}"


async def test_private_authority_is_trusted_by_its_file(url: str, certificate: Path) -> None:
    engine = open_engine(EngineConfig("hotel", "camunda8", url, ca_file=certificate))
    assert (await engine.probe()).version == "8.6.0"
    await engine.aclose()


async def test_unknown_authority_is_not_trusted(url: str) -> None:
    engine = open_engine(EngineConfig("hotel", "camunda8", url))
    with pytest.raises(EngineUnavailable, match="name its authority as ca_file"):
        await engine.probe()
    await engine.aclose()
