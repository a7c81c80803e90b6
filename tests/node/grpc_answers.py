"""A gRPC peer on 127.0.0.1 that answers whatever a test wants, sense or nonsense. It is h2's own
server; each request is handed to the test's function.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import h2.config
import h2.connection
import h2.events
import h2.settings
import trio

from gossamer_node.grpc.framing import PREFIX, frame


@dataclass(frozen=True, slots=True)
class Asked:
    """One call that came."""

    method: str
    authorization: str | None
    message: bytes


@dataclass(frozen=True, slots=True)
class Told:
    """Its answer: messages, then the status."""

    messages: tuple[bytes, ...] = ()
    status: int = 0
    said: str = ""


Respond = Callable[[Asked], Told | None]
"""Gives the answer to a call; None never answers it."""


async def serve_grpc(
    nursery: trio.Nursery, respond: Respond, *, port: int = 0, calls_max: int = 100
) -> str:
    """Listens until `nursery` ends. Returns the peer's `host:port`.

    Args:
        calls_max: open at a time on a connection, as its clients are told.
    """
    handle = partial(_handle, respond, calls_max)
    listeners: list[trio.SocketListener] = await nursery.start(
        partial(trio.serve_tcp, handle, port, host="127.0.0.1")
    )
    return f"127.0.0.1:{listeners[0].socket.getsockname()[1]}"


async def _handle(respond: Respond, calls_max: int, stream: trio.SocketStream) -> None:
    server = h2.connection.H2Connection(
        h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
    )
    server.initiate_connection()
    server.update_settings({h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: calls_max})
    headers: dict[int, dict[str, str]] = {}
    bodies: dict[int, bytes] = {}
    try:
        await stream.send_all(server.data_to_send())
        async for data in stream:
            for event in server.receive_data(bytes(data)):
                if isinstance(event, h2.events.RequestReceived):
                    headers[event.stream_id] = {str(k): str(v) for k, v in event.headers}
                    bodies[event.stream_id] = b""
                elif isinstance(event, h2.events.DataReceived):
                    bodies[event.stream_id] += event.data
                    server.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    asked = headers[event.stream_id]
                    method = asked[":path"].rpartition("/")[2]
                    body = bodies[event.stream_id][PREFIX.size :]
                    told = respond(Asked(method, asked.get("authorization"), body))
                    if told is not None:
                        _answer(server, event.stream_id, told)
            await stream.send_all(server.data_to_send())
    except trio.BrokenResourceError:
        pass  # The client had heard enough.


def _answer(server: h2.connection.H2Connection, number: int, told: Told) -> None:
    server.send_headers(number, [(":status", "200"), ("content-type", "application/grpc")])
    for message in told.messages:
        server.send_data(number, frame(message))
    trailers = [("grpc-status", str(told.status)), ("grpc-message", told.said)]
    server.send_headers(number, trailers, end_stream=True)
