"""A proxy in front of an engine that counts the requests that pass.

It forwards bytes as they come and reads of them only where each request begins: the head, and how
long its body is. Nothing of the engine or of the client changes, and an open long poll stays open.
"""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from urllib.parse import urlsplit

import trio

_CHUNK_BYTES = 65_536


class Requests:
    """Reads one connection's requests as they pass.

    Args:
        counts: by "METHOD verb", the verb being the path's last part.
    """

    def __init__(self, counts: "Counter[str]") -> None:
        self._counts = counts
        self._head = b""
        self._body_left = 0

    def feed(self, data: bytes) -> None:
        while data:
            skipped = min(self._body_left, len(data))
            self._body_left -= skipped
            data = data[skipped:]
            if not data:
                return
            head, found, rest = (self._head + data).partition(b"\r\n\r\n")
            if not found:
                self._head += data
                return
            self._head, data = b"", rest
            first, *lines = head.decode("latin-1").split("\r\n")
            method, path, _ = first.split(" ", 2)
            self._counts[f"{method} {path.partition('?')[0].rsplit('/', 1)[1]}"] += 1
            for line in lines:
                name, _, value = line.partition(":")
                if name.lower() == "content-length":
                    self._body_left = int(value)


@asynccontextmanager
async def counted(url: str, counts: "Counter[str]") -> AsyncIterator[str]:
    """Gives a URL that leads to `url` and counts what is asked there."""
    parts = urlsplit(url)
    assert parts.hostname is not None and parts.port is not None
    there = (parts.hostname, parts.port)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            partial(
                trio.serve_tcp,
                partial(_serve, there=there, counts=counts),
                0,
                host="127.0.0.1",
                handler_nursery=nursery,
            )
        )
        port = listeners[0].socket.getsockname()[1]
        yield parts._replace(netloc=f"127.0.0.1:{port}").geturl()
        nursery.cancel_scope.cancel()


async def _serve(client: trio.SocketStream, there: tuple[str, int], counts: "Counter[str]") -> None:
    requests = Requests(counts)
    async with client:
        try:
            engine = await trio.open_tcp_stream(*there)
        except OSError:
            return
        async with engine, trio.open_nursery() as both:
            both.start_soon(_pump, engine, client, None, both.cancel_scope)
            await _pump(client, engine, requests, both.cancel_scope)


async def _pump(
    source: trio.SocketStream,
    sink: trio.SocketStream,
    requests: Requests | None,
    scope: trio.CancelScope,
) -> None:
    try:
        while data := await source.receive_some(_CHUNK_BYTES):
            if requests is not None:
                requests.feed(data)
            await sink.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    scope.cancel()
