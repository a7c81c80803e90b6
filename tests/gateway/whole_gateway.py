"""The whole gateway within a test, as a person starts it: door, storage, mesh, all dialects.

`WrongEngine` stands where no real engine can be made to behave so: it answers every request with
the bytes that a test chose, and remembers what it was asked.
"""

import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import trio

from gossamer_gateway import tables
from gossamer_gateway.config import GatewayConfig
from gossamer_gateway.door import api_keys
from gossamer_gateway.door.config import ApiKeys, DoorConfig
from gossamer_gateway.door.principals import Grant
from gossamer_gateway.door.tls import TlsConfig
from gossamer_gateway.runs.config import WorkflowsConfig
from gossamer_gateway.server import Gateway, open_gateway
from gossamer_gateway.storage import open_storage
from gossamer_node.address import Address
from gossamer_node.engines.config import EngineConfig
from gossamer_node.grpc import Channel
from gossamer_node.supervisor import make_folder

SERVICE = "/gateway_protocol.Gateway/"


@dataclass(frozen=True)
class Whole:
    """A running one.

    Attributes:
        http: a client of its HTTP, without a key.
        channel: of its gRPC.
        keys: API keys by their names.
    """

    gateway: Gateway
    http: httpx.AsyncClient
    channel: Channel
    keys: Mapping[str, str]

    async def call(
        self, method: str, request: bytes = b"", *, key: str = "", timeout_ms: int = 20_000
    ) -> list[bytes]:
        """A gRPC call. Raises: RpcError."""
        metadata = [(b"x-api-key", self.keys[key].encode())] if key else []
        return await self.channel.call(
            SERVICE + method, request, timeout_ms=timeout_ms, metadata=metadata, waits=True
        )


@asynccontextmanager
async def open_whole(
    folder: Path,
    *engines: EngineConfig,
    keys: Mapping[str, Sequence[Grant]] | None = None,
    workflows: WorkflowsConfig | None = None,
    http: Address | None = None,
    tls: TlsConfig | None = None,
    **door: Any,
) -> AsyncIterator[Whole]:
    """Runs until the block is left, then stops in order.

    Args:
        keys: what each key of a name opens; None: everybody is let in.
        http: where it is; a free port without.
        tls: its certificate, which is its own authority; plain text without.
        door: more of the door's settings.
    """
    config = GatewayConfig(
        name="gateway",
        data_dir=folder / "data",
        cache_dir=folder / "cache",
        http=http or Address("127.0.0.1", 0),
        tls=tls or TlsConfig(),
        grpc=Address("127.0.0.1", 0),
        engines=engines,
        workflows=workflows or WorkflowsConfig(),
        door=DoorConfig(() if keys is None else (ApiKeys(),), **door),
    )
    made = {}
    make_folder(config.data_dir)
    async with open_storage(config.storage.place(config.data_dir), tables.FORM) as storage:
        for name, grants in (keys or {}).items():
            made[name] = await storage.submit(
                lambda rows, now_ms, name=name, grants=grants: api_keys.make(  # type: ignore[misc]
                    rows, now_ms, name, grants
                )
            )
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(open_gateway(config))
        host, _, port = gateway.grpc.rpartition(":")
        channel = Channel(host, int(port), tls=None, peer="the gateway")
        stack.push_async_callback(channel.aclose)
        ca_file = config.tls.cert_file
        verify = True if ca_file is None else ssl.create_default_context(cafile=ca_file)
        client = httpx.AsyncClient(base_url=gateway.url, timeout=60, verify=verify)
        await stack.enter_async_context(client)
        yield Whole(gateway, client, channel, made)


def answer(body: bytes, status: str = "200 OK", kind: str = "application/json") -> bytes:
    """A whole answer."""
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


@dataclass
class WrongEngine:
    """A server at `url`.

    Attributes:
        says: the answer to every request; None: nothing, for ever.
        closes: the connection, after each.
        asked: `METHOD TARGET` of each request.
    """

    url: str = ""
    says: bytes | None = b""
    closes: bool = True
    asked: list[str] = field(default_factory=list)

    async def serve(self, stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with stream:
                data = b""
                while True:
                    while b"\r\n\r\n" not in data:
                        more = await stream.receive_some()
                        if not more:
                            return
                        data += more
                    head, _, data = data.partition(b"\r\n\r\n")
                    first, *headers = head.decode("latin-1").split("\r\n")
                    self.asked.append(first.rpartition(" ")[0])
                    lengths = [
                        int(one.partition(":")[2])
                        for one in headers
                        if one.lower().startswith("content-length:")
                    ]
                    left = sum(lengths)
                    while len(data) < left:
                        data += await stream.receive_some()
                    data = data[left:]
                    if self.says is None:
                        await trio.sleep_forever()
                    else:
                        await stream.send_all(self.says)
                    if self.closes:
                        return


@asynccontextmanager
async def open_wrong_engine(
    says: bytes | None = b"", *, closes: bool = True
) -> AsyncIterator[WrongEngine]:
    """Serves until the block is left."""
    async with trio.open_nursery() as nursery:
        engine = WrongEngine(says=says, closes=closes)
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        engine.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.start_soon(trio.serve_listeners, engine.serve, [listener])
        yield engine
        nursery.cancel_scope.cancel()
