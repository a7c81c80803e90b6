"""A server that answers with the bytes that a test chose, and remembers what it was asked.

It also gives out the tokens for which Google's and Azure's adapters come: a signed one for Google's
assertion, an opaque one for Entra's client. What a real runtime does is `test_real_functions`.
"""

import json
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qs

import jwt
import trio

SILENCE = b""
"""The answer of one that never answers."""

TOKENS = {"google": "/token", "entra": "/tenant-1/oauth2/v2.0/token"}

ENTRA_TOKEN = "entra-token-of-the-test-0123456789"


@dataclass(frozen=True)
class Asked:
    """A request. Names of headers are in small letters."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Scripted:
    """A server at `url`.

    Attributes:
        says: answers, the first first; the last one stays. `SILENCE`: none, ever.
        cuts: of the answer's end, that never come.
        asked: what the functions were asked. `tokens`: what the token endpoints were.
        token_says: what the token endpoints answer instead.
        life_s: of tokens.
    """

    url: str = ""
    says: list[bytes | Callable[[Asked], bytes]] = field(default_factory=list)
    cuts: int = 0
    asked: list[Asked] = field(default_factory=list)
    tokens: list[Asked] = field(default_factory=list)
    token_says: bytes | None = None
    life_s: int = 3_600

    async def serve(self, stream: trio.abc.Stream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError):
            async with stream:
                data = b""
                while True:
                    while b"\r\n\r\n" not in data:
                        more = await stream.receive_some(65_536)
                        if not more:
                            return
                        data += more
                    head, _, data = data.partition(b"\r\n\r\n")
                    first, *lines = head.decode("latin-1").split("\r\n")
                    headers = {
                        name.lower(): value.strip()
                        for name, _, value in (one.partition(":") for one in lines)
                    }
                    length = int(headers.get("content-length", "0"))
                    while len(data) < length:
                        data += await stream.receive_some(65_536)
                    method, target, _ = first.split(" ")
                    answer = self._answer(Asked(method, target, headers, data[:length]))
                    data = data[length:]
                    if answer == SILENCE:
                        await trio.sleep_forever()
                    await stream.send_all(answer[: len(answer) - self.cuts])
                    if self.cuts:
                        return

    def _answer(self, asked: Asked) -> bytes:
        if asked.target not in TOKENS.values():
            self.asked.append(asked)
            said = self.says.pop(0) if len(self.says) > 1 else self.says[0]
            return said if isinstance(said, bytes) else said(asked)
        self.tokens.append(asked)
        if self.token_says is not None:
            return self.token_says
        if asked.target == TOKENS["entra"]:
            again = f"-{len(self.tokens)}" if len(self.tokens) > 1 else ""
            return reply({"access_token": ENTRA_TOKEN + again, "expires_in": self.life_s})
        assertion = parse_qs(asked.body.decode())["assertion"][0]
        claims = jwt.decode(assertion, options={"verify_signature": False})
        ends_s = int(time.time()) + self.life_s
        made = {"aud": claims["target_audience"], "exp": ends_s, "n": len(self.tokens)}
        return reply({"id_token": jwt.encode(made, "of the test" * 4, algorithm="HS256")})


def reply(
    body: object, status: str = "200 OK", media: str = "application/json", **headers: str
) -> bytes:
    """A whole answer; text and bytes go as they are, all else as JSON."""
    data = body if isinstance(body, bytes) else b""
    if isinstance(body, str):
        data = body.encode()
    elif not isinstance(body, bytes):
        data = json.dumps(body, ensure_ascii=False).encode()
    lines = [f"HTTP/1.1 {status}", f"content-type: {media}", f"content-length: {len(data)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + data


@asynccontextmanager
async def open_scripted(
    *says: bytes | Callable[[Asked], bytes], tls: ssl.SSLContext | None = None
) -> AsyncIterator[Scripted]:
    """Serves until the block is left."""
    async with trio.open_nursery() as nursery:
        server = Scripted(says=list(says))
        listeners: list[trio.SocketListener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        server.url = f"http{'s' if tls else ''}://127.0.0.1:{port}"
        if tls:
            wrapped = [trio.SSLListener(one, tls) for one in listeners]
            nursery.start_soon(trio.serve_listeners, server.serve, wrapped)
        else:
            nursery.start_soon(trio.serve_listeners, server.serve, listeners)
        yield server
        nursery.cancel_scope.cancel()
