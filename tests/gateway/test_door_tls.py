"""Client certificates over real TLS, WebSockets, and clients that are slow or too many."""

import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest
import trio
from cryptography import x509
from tests.gateway.door_world import (
    LOCAL,
    WITH_KEYS,
    Authority,
    Clock,
    MemoryStorage,
    Served,
    keyring_of,
    new_key,
    served,
)
from tests.patience import patience, seen
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    Event,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)

from gossamer_gateway.door import serving
from gossamer_gateway.door.certificates import Subjects
from gossamer_gateway.door.config import DoorConfig
from gossamer_gateway.door.principals import Grant, Role
from gossamer_gateway.door.tls import HTTP_PROTOCOLS, TLS, TlsConfig, server_tls
from gossamer_gateway.errors import InputError
from gossamer_node.schema.source import Invalid, Source, parse

VERSION = "/engine-rest/version"
GRANTS = {
    "uri:spiffe://hotel/worker": (Grant(Role.WORK),),
    "cn:auditor": (Grant(Role.READ),),
    "dns:Shop.Hotel.Test": (Grant(Role.START),),
}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def door(authority: Authority) -> AsyncIterator[Served]:
    certificate, key = authority.issue("server", LOCAL)
    context = server_tls(TlsConfig(certificate, key, authority.file), HTTP_PROTOCOLS)
    storage = MemoryStorage(Clock())
    new_key(storage, "reader", Grant(Role.READ))
    config = DoorConfig((*WITH_KEYS, Subjects(GRANTS)), waiting_max=1)
    async with served(
        config, keyring=keyring_of(storage), tls=context, clock=lambda: int(time.time() * 1_000)
    ) as running:
        yield running


def client_of(authority: Authority, pair: tuple[Path, Path] | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.file)
    if pair is not None:
        context.load_cert_chain(*pair)
    return context


@pytest.mark.parametrize("http2", [False, True])
async def test_a_certificate_says_whose_the_connection_is(
    door: Served, authority: Authority, http2: bool
) -> None:
    pair = authority.issue("auditor")
    context = client_of(authority, pair)
    async with door.client(verify=context, http1=not http2, http2=http2) as client:
        for _ in range(2):
            answer = await client.get(VERSION)
            assert answer.status_code == 200, answer.text
            assert answer.json()["who"] == "cn:auditor"
            assert answer.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
        assert (await client.post("/engine-rest/message")).status_code == 403
        wrong = {"x-api-key": "gsk_x"}
        assert (await client.get(VERSION, headers=wrong)).status_code == 401


async def test_connections_do_not_lend_each_other_their_certificates(
    door: Served, authority: Authority
) -> None:
    spiffe = x509.UniformResourceIdentifier("spiffe://hotel/worker")
    pairs = [authority.issue("auditor"), authority.issue("worker-7", spiffe), None]
    clients = [door.client(verify=client_of(authority, pair)) for pair in pairs]
    try:
        for _ in range(2):
            told = [
                (await client.post("/engine-rest/external-task/1/complete")).status_code
                for client in clients
            ]
            assert told == [403, 200, 401]
    finally:
        for client in clients:
            await client.aclose()
    assert {one.name for one in door.app.seen} == {"uri:spiffe://hotel/worker"}


async def test_a_name_that_is_not_configured_is_nobody(door: Served, authority: Authority) -> None:
    context = client_of(authority, authority.issue("somebody"))
    async with door.client(verify=context) as client:
        assert (await client.get(VERSION)).status_code == 401


@pytest.mark.parametrize("kind", ["stranger", "expired"])
async def test_who_is_not_of_the_authority_does_not_get_so_far(
    door: Served, authority: Authority, tmp_path: Path, kind: str
) -> None:
    other = Authority(tmp_path, "other")
    pair = (
        other.issue("auditor") if kind == "stranger" else authority.issue("auditor", days=(-9, -8))
    )
    with pytest.raises((httpx.HTTPError, ssl.SSLError)):
        async with door.client(verify=client_of(authority, pair)) as client:
            await client.get(VERSION)
    async with door.client(verify=client_of(authority, None)) as client:
        assert (await client.get("/v1/health")).status_code == 200
    assert all(one.name == "anybody" for one in door.app.seen)


async def test_who_does_not_shake_hands_is_left_alone(door: Served, authority: Authority) -> None:
    with patience():
        async with await trio.open_tcp_stream("127.0.0.1", door.port) as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
            with suppress(trio.BrokenResourceError):
                while await stream.receive_some(65_536):
                    pass
    async with door.client(verify=client_of(authority, None)) as client:
        assert (await client.get("/v1/health")).status_code == 200


@pytest.mark.parametrize("text", ["cert_file: a", "key_file: a", "client_ca: a"])
def test_half_a_tls_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="write"):
        TLS.read(parse(text.encode(), Source("gateway.yaml")), "tls")


def test_tls_that_cannot_be_used(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("server", LOCAL)
    assert server_tls(TlsConfig(), HTTP_PROTOCOLS) is None
    for config in (
        TlsConfig(certificate, tmp_path / "missing"),
        TlsConfig(key, certificate),
        TlsConfig(certificate, key, tmp_path / "missing"),
        TlsConfig(certificate, key, key),
    ):
        with pytest.raises(InputError, match="can't use its files"):
            server_tls(config, HTTP_PROTOCOLS)


# --- WebSockets


class Page:
    """A browser's end of a WebSocket."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._wire = WSConnection(ConnectionType.CLIENT)

    async def send(self, event: Event) -> None:
        await self._stream.send_all(self._wire.send(event))

    async def next(self) -> Event:
        while True:
            for event in self._wire.events():
                return event
            self._wire.receive_data(await self._stream.receive_some(65_536) or None)


@asynccontextmanager
async def opened(
    port: int, protocols: list[str], **headers: str
) -> AsyncIterator[tuple[Page, Event]]:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        page = Page(stream)
        extra = [(name.encode(), value.encode()) for name, value in headers.items()]
        await page.send(
            Request("127.0.0.1", "/v1/events", subprotocols=protocols, extra_headers=extra)
        )
        yield page, await page.next()


async def test_a_page_brings_its_key_as_a_subprotocol() -> None:
    storage = MemoryStorage(Clock())
    key = new_key(storage, "page", Grant(Role.READ))
    config = DoorConfig(WITH_KEYS, waiting_max=1)
    offered = ["gossamer", f"gossamer.bearer.{key}"]
    async with served(config, keyring=keyring_of(storage)) as door:
        with patience():
            async with opened(door.port, offered) as (page, answer):
                assert isinstance(answer, AcceptConnection)
                assert answer.subprotocol == "gossamer"
                await page.send(TextMessage("hi"))
                said = await page.next()
                assert isinstance(said, TextMessage) and said.data == "hi"
                async with opened(door.port, offered) as (_, second):
                    assert isinstance(second, RejectConnection) and second.status_code == 429
            async with opened(door.port, offered[:1]) as (_, nobody):
                assert isinstance(nobody, RejectConnection) and nobody.status_code == 401
            async with opened(door.port, offered, origin="https://evil.test") as (_, foreign):
                assert isinstance(foreign, RejectConnection) and foreign.status_code == 403


async def test_a_refused_websocket_is_told_why() -> None:
    ring = keyring_of(MemoryStorage(Clock()))
    async with served(DoorConfig(WITH_KEYS), keyring=ring) as door:
        with patience():
            async with opened(door.port, []) as (page, answer):
                assert isinstance(answer, RejectConnection) and answer.has_body
                told = await page.next()
                assert isinstance(told, RejectData) and b"Unauthorized" in told.data


# --- slow, and too many


async def test_who_takes_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "SEND_MS_MAX", 200)

    class Tells:
        def __init__(self) -> None:
            self.left = trio.Event()

        async def __call__(self, scope: object, receive: object, send: object) -> None:
            assert isinstance(scope, dict) and callable(send) and callable(receive)
            if scope["type"] == "lifespan":
                raise NotImplementedError
            try:
                await send({"type": "http.response.start", "status": 200, "headers": []})
                while True:
                    part = {"type": "http.response.body", "body": b"x" * 65_536, "more_body": True}
                    await send(part)
                    await trio.lowlevel.checkpoint()
            finally:
                self.left.set()

    tells = Tells()
    async with served(DoorConfig(()), app=tells) as door:
        with patience():
            async with await trio.open_tcp_stream("127.0.0.1", door.port) as stream:
                await stream.send_all(b"GET /v1/health HTTP/1.1\r\nhost: localhost\r\n\r\n")
                with pytest.raises(trio.BrokenResourceError):
                    while True:  # it takes nothing, and says so by nothing
                        await trio.sleep(0.05)
                        await stream.send_all(b"GET /v1/health HTTP/1.1\r\nhost: localhost\r\n\r\n")


async def test_more_connections_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "CONNECTIONS_MAX", 2)

    async def first_byte(stream: trio.SocketStream) -> bytes | None:
        try:
            await stream.send_all(b"GET /v1/health HTTP/1.1\r\nhost: localhost\r\n\r\n")
            return bytes(await stream.receive_some(1)) or None
        except trio.BrokenResourceError:
            return None

    async with served(DoorConfig(())) as door:

        async def fresh() -> bytes | None:
            async with await trio.open_tcp_stream("127.0.0.1", door.port) as stream:
                return await first_byte(stream)

        with patience():
            async with await trio.open_tcp_stream("127.0.0.1", door.port) as one:
                assert await first_byte(one) == b"H"
                async with await trio.open_tcp_stream("127.0.0.1", door.port) as two:
                    assert await first_byte(two) == b"H"
                    assert await fresh() is None
                assert await seen(fresh) == b"H"
