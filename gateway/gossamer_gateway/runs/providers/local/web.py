"""HTTP/1.1 for the fronts: one handler, every request read whole, on h11."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import h11
import trio

BODY_BYTES_MAX = 6 * 2**20
"""What Lambda takes."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request. Names of headers are in small letters; the target is as it was sent."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Response:
    """An answer."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Awaitable[Response]]


async def serve_connection(stream: trio.SocketStream, handler: Handler) -> None:
    """Serves one until it is closed or talks junk."""
    http = h11.Connection(h11.SERVER)
    gone = (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError)
    with suppress(*gone):
        async with stream:
            while True:
                request = await _read(stream, http)
                if request is None:
                    return
                answer = await handler(request)
                headers = {"content-length": str(len(answer.body)), **answer.headers}
                head = h11.Response(status_code=answer.status, headers=list(headers.items()))
                data = (http.send(head) or b"") + (http.send(h11.Data(data=answer.body)) or b"")
                await stream.send_all(data + (http.send(h11.EndOfMessage()) or b""))
                if http.our_state is h11.MUST_CLOSE:
                    return
                http.start_next_cycle()


async def _read(stream: trio.SocketStream, http: h11.Connection) -> Request | None:
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await stream.receive_some(65_536))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > BODY_BYTES_MAX:
                return None
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            headers = {name.decode(): value.decode("latin-1") for name, value in head.headers}
            return Request(head.method.decode(), head.target.decode(), headers, bytes(body))
        else:
            return None
