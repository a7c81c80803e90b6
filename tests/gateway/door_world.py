"""What tests of the door share: storage, an authority, an issuer, a served application."""

import json
import sqlite3
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

import httpx
import jwt
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from hypercorn.config import Config

from gossamer_gateway.door import api_keys
from gossamer_gateway.door.api_keys import Keyring
from gossamer_gateway.door.asgi import PRINCIPAL, Door
from gossamer_gateway.door.config import ApiKeys, DoorConfig
from gossamer_gateway.door.gate import Gate
from gossamer_gateway.door.key_sets import KeySet
from gossamer_gateway.door.principals import Grant, Principal, Role
from gossamer_gateway.door.serving import serve
from gossamer_gateway.door.tokens import Issuer
from gossamer_gateway.storage.port import Command
from gossamer_gateway.storage.sqlite import SqliteRows

T = TypeVar("T")

NOW_MS = 1_760_000_000_000
ISSUER = "https://login.test/realms/hotel"


class Clock:
    """The time, as a test says it."""

    def __init__(self, ms: int = NOW_MS) -> None:
        self.ms = ms

    def __call__(self) -> int:
        return self.ms


class MemoryStorage:
    """Rows in memory, with the tables of API keys."""

    shared = False

    def __init__(self, clock: Callable[[], int]) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.executescript(api_keys.SCHEMA)
        self.rows = SqliteRows(self.connection)
        self.fails: Exception | None = None
        self._clock = clock

    async def submit(self, command: Command[T]) -> T:
        await trio.lowlevel.checkpoint()
        if self.fails is not None:
            raise self.fails
        return command(self.rows, self._clock())

    submit_guarded = submit


def keyring_of(storage: MemoryStorage) -> Keyring:
    ring = Keyring()
    ring.take(api_keys.changes(storage.rows), api_keys.read_all(storage.rows))
    return ring


def new_key(storage: MemoryStorage, name: str, *grants: Grant, now_ms: int = NOW_MS) -> str:
    return api_keys.make(storage.rows, now_ms, name, grants)


# --- tokens


class Signer:
    """A key of an issuer: it signs, and shows its public half."""

    def __init__(self, kid: str | None = "one", algorithm: str = "RS256") -> None:
        self.kid, self.algorithm = kid, algorithm
        self.key: Any = (
            rsa.generate_private_key(65_537, 2_048)
            if algorithm[0] in "RP"
            else ec.generate_private_key(ec.SECP256R1())
        )

    def public(self, **more: object) -> dict[str, Any]:
        of: Any = jwt.algorithms.RSAAlgorithm
        if self.algorithm[0] == "E":
            of = jwt.algorithms.ECAlgorithm
        told = of.to_jwk(self.key.public_key(), as_dict=True)
        kid = {} if self.kid is None else {"kid": self.kid}
        return {**told, **kid, "use": "sig", **more}

    def sign(self, claims: Mapping[str, Any], **headers: Any) -> str:
        kid = {} if self.kid is None else {"kid": self.kid}
        return jwt.encode(
            dict(claims), self.key, algorithm=self.algorithm, headers={**kid, **headers}
        )


def claims(now_ms: int = NOW_MS, **more: Any) -> dict[str, Any]:
    told = {
        "iss": ISSUER,
        "aud": "gossamer",
        "sub": "anna",
        "exp": now_ms // 1_000 + 300,
        "roles": ["workers"],
    }
    return {name: value for name, value in (told | more).items() if value is not None}


def issuer(url: str = "https://login.test/keys", **more: Any) -> Issuer:
    grants = {"workers": (Grant(Role.WORK),), "admins": (Grant(Role.ADMIN),)}
    return Issuer(ISSUER, "gossamer", url, grants, **more)


@dataclass
class Keys:
    """A server of an issuer's keys. `answer` None: it takes the connection and says nothing."""

    url: str = ""
    answer: bytes | None = b""
    asked: int = 0

    def show(self, *keys: Mapping[str, Any]) -> None:
        self.answer = http_answer(json.dumps({"keys": keys}).encode())


def http_answer(body: bytes, status: str = "200 OK", more: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n{more}\r\n"
    return head.encode() + body


@asynccontextmanager
async def serving_keys() -> AsyncIterator[Keys]:
    keys = Keys()

    async def handle(stream: trio.SocketStream) -> None:
        try:
            asked = bytearray()
            while b"\r\n\r\n" not in asked:
                data = await stream.receive_some(65_536)
                if not data:
                    return
                asked += data
            keys.asked += 1
            if keys.answer is None:
                await trio.sleep_forever()
            else:
                await stream.send_all(keys.answer)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await nursery.start(
            partial(trio.serve_tcp, handle, 0, host="127.0.0.1")
        )
        keys.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/keys"
        yield keys
        nursery.cancel_scope.cancel()


# --- certificates


class Authority:
    """Signs certificates; each is written as PEM files into a folder."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.file = folder / f"{name}.pem"
        certificate = self._build(self._name, self._key.public_key(), (), ca=True)
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(
        self, cn: str, *names: x509.GeneralName, days: tuple[int, int] = (-1, 1)
    ) -> tuple[Path, Path]:
        """A certificate and its key, as files."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn)])
        certificate = self._build(subject, key.public_key(), names, days=days)
        paths = self.folder / f"{cn}.pem", self.folder / f"{cn}.key"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return paths

    def der(self, cn: str, *names: x509.GeneralName, days: tuple[int, int] = (-1, 1)) -> bytes:
        pem = self.issue(cn, *names, days=days)[0].read_bytes()
        return x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)

    def _build(
        self,
        subject: x509.Name,
        public: ec.EllipticCurvePublicKey,
        names: Sequence[x509.GeneralName],
        *,
        ca: bool = False,
        days: tuple[int, int] = (-1, 1),
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + timedelta(days=days[0]))
            .not_valid_after(now + timedelta(days=days[1]))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())


LOCAL = x509.IPAddress(ip_address("127.0.0.1"))


# --- a served application


@dataclass
class App:
    """Answers what it was asked; notes who asked. By path it hangs, streams, or breaks off."""

    seen: list[Principal] = field(default_factory=list)
    entered: trio.Event = field(default_factory=trio.Event)
    left: trio.Event = field(default_factory=trio.Event)
    asks: str | None = None
    body: bytes = b""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        principal = scope[PRINCIPAL]
        self.seen.append(principal)
        if self.asks is not None:
            principal.may(Role.READ, process=self.asks)
        self.entered.set()
        try:
            if scope["type"] == "websocket":
                await self._talk(scope, receive, send)
            else:
                await self._answer(scope, receive, send)
        finally:
            self.left.set()

    async def _talk(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(
            {"type": "websocket.accept", "subprotocol": next(iter(scope["subprotocols"]), None)}
        )
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message.get("text") or ""})

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.body = bytes(body)
        if scope["path"].endswith("/fetchAndLock"):
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        content = json.dumps({"path": scope["path"], "who": scope[PRINCIPAL].name}).encode()
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})


def server_config() -> Config:
    config = Config()
    config.loglevel = "CRITICAL"
    config.keep_alive_timeout = 30.0
    config.graceful_timeout = 0.0
    config.include_server_header = False
    return config


@dataclass
class Served:
    app: App
    gate: Gate
    url: str
    port: int

    def client(self, **more: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, timeout=60, trust_env=False, **more)


@asynccontextmanager
async def served(
    config: DoorConfig,
    *,
    keyring: Keyring | None = None,
    key_set: KeySet | None = None,
    clock: Callable[[], int] | None = None,
    tls: ssl.SSLContext | None = None,
    app: Any = None,
) -> AsyncIterator[Served]:
    """The door, in front of an application, behind a real server."""
    inner = App() if app is None else app
    gate = Gate(config, keyring=keyring, key_set=key_set, now_ms=clock or Clock())
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(
            partial(
                serve, Door(inner, gate), server_config(), [listener], tls=tls,
                shutdown_trigger=stop.wait,
            )
        )  # fmt: skip
        yield Served(inner, gate, f"http{'s' if tls else ''}://127.0.0.1:{port}", port)
        stop.set()


WITH_KEYS = (ApiKeys(),)
