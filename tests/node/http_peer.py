"""A real peer on 127.0.0.1 that answers whatever a test wants, HTTP or not.

It reads one request for each connection, hands it to the test's function, sends the bytes that
come back as they are, and hangs up.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import trio

READ_BYTES = 2**16


@dataclass(frozen=True, slots=True)
class Request:
    """What arrived. Header names are lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Respond = Callable[[Request], bytes | None]
"""Bytes to send; None never answers and keeps the connection."""


def answer(status: int, body: object = b"", **headers: str) -> bytes:
    """A well-formed answer; `body` is sent as JSON unless it is bytes."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"content-length": str(len(content))} if status != 204 else {}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} told\r\n{head}\r\n".encode() + content


async def serve(nursery: trio.Nursery, respond: Respond) -> str:
    """Listens until `nursery` ends. Returns the peer's URL."""

    async def handle(stream: trio.SocketStream) -> None:
        try:
            request = await _read(stream)
            if request is None:
                return
            reply = respond(request)
            if reply is None:
                await trio.sleep_forever()
            else:
                await stream.send_all(reply)
        except trio.BrokenResourceError:
            pass  # The client had heard enough.

    listeners: list[trio.SocketListener] = await nursery.start(
        partial(trio.serve_tcp, handle, 0, host="127.0.0.1")
    )
    return f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"


async def _read(stream: trio.SocketStream) -> Request | None:
    data = b""
    while b"\r\n\r\n" not in data:
        if not (chunk := await stream.receive_some(READ_BYTES)):
            return None
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _version = first.split(" ")
    headers = {
        name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)
    }
    while len(body) < int(headers.get("content-length", 0)):
        if not (chunk := await stream.receive_some(READ_BYTES)):
            return None
        body += chunk
    return Request(method, target, headers, body)
