"""An engine behind a private certificate authority is trusted by its CA file, and only by it."""

import ssl
from functools import partial
from pathlib import Path

import pytest
import trio
from tests.certificates import self_signed
from tests.node.http_peer import answer

from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.factory import open_engine
from gossamer_node.errors import EngineUnavailable

PROBED = answer(200, {"brokers": [], "gatewayVersion": "8.6.0"})


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that is its own authority, and its key."""
    return self_signed(tmp_path)


@pytest.fixture
def certificate(pair: tuple[Path, Path]) -> Path:
    return pair[0]


@pytest.fixture
async def url(nursery: trio.Nursery, pair: tuple[Path, Path]) -> str:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*pair)

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
