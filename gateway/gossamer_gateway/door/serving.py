"""Hypercorn, with what it does not do: tell a client's certificate, end slow and too many clients.

Hypercorn 0.18 does not implement ASGI's TLS extension (pgjones/hypercorn#62), so an application
cannot know who is at the other end. Each connection has a dictionary there that is copied into the
`state` of its requests; here the certificate is put into it. For that `serve` starts connections of
its own class, which is all that it does otherwise than `hypercorn.trio.serve`, less QUIC. The class
also mends what was measured to hurt:

- Hypercorn waits without end for a client that takes no bytes; here `SEND_MS_MAX` is all it has.
- A request on HTTP/2 whose path is not ASCII raises out of the connection's task, and that would
  end the process with all other connections; here it ends its connection.
- A connection that its client closed stays until `keep_alive_timeout` is over; here it ends.
- It takes any number of connections; here `CONNECTIONS_MAX`, and closes more.
- It sends the head of an answer and its body one after the other; here they leave together, which
  saves the most expensive of all calls to the kernel.
"""

import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import trio
from hypercorn.config import Config
from hypercorn.events import Event, RawData
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ASGIFramework, ConnectionState, LifespanState
from hypercorn.utils import wrap_app

from gossamer_node import logs

CERTIFICATE: Final = "gossamer.certificate"
"""In a scope's `state`: the client's certificate as DER; None without one."""

CONNECTIONS_MAX = 8_192
"""At a time: 2,000 long polls and what else there is. Each costs some 60 KB."""

SEND_MS_MAX = 30_000
"""For a client to take what was sent; the next bytes have as long again."""

log = logs.get("door")


class _Connections:
    def __init__(self) -> None:
        self.open = 0


class _Connection(TCPServer):
    def __init__(self, connections: _Connections, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._connections = connections
        self._head = b""

    async def run(self) -> None:
        """Serves the connection to its end. Raises nothing but for cancellation."""
        if self._connections.open >= CONNECTIONS_MAX:
            await trio.aclose_forcefully(self.stream)
            return
        self._connections.open += 1
        try:
            self.state = self.state.copy()
            if not isinstance(self.stream, trio.SSLStream) or await self._greet(self.stream):
                await super().run()
        except Exception as error:
            reason = type(error).__name__
            if isinstance(error, BaseExceptionGroup):
                reason = type(error.exceptions[0]).__name__
            log.warning("a connection broke", reason=reason)
        finally:
            self._connections.open -= 1
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(self.stream)

    async def _greet(self, stream: "trio.SSLStream[trio.SocketStream]") -> bool:
        """Shakes hands; Hypercorn finds that done. Returns whether it went well."""
        try:
            with trio.fail_after(self.config.ssl_handshake_timeout):
                await stream.do_handshake()
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            return False
        self.state[CERTIFICATE] = stream.getpeercert(binary_form=True)
        return True

    async def _read_data(self) -> None:
        await super()._read_data()
        await self.idle_task.stop()

    async def protocol_send(self, event: Event) -> None:
        if isinstance(event, RawData) and _is_head(event.data):
            self._head = event.data
            return
        head, self._head = self._head, b""
        data = head + event.data if isinstance(event, RawData) else head
        if data:
            await self._send(data)
        if not isinstance(event, RawData):
            await super().protocol_send(event)

    async def _send(self, data: bytes) -> None:
        async with self.send_lock:
            # A part of a frame or chunk would spoil what follows, so it is sent though cancelled.
            with trio.CancelScope(shield=True, deadline=trio.current_time() + SEND_MS_MAX / 1_000):
                try:
                    await self.stream.send_all(data)
                    return
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    pass
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(self.stream)
        # Who reads hears of it then, and ends what is under way.


def _is_head(data: bytes) -> bool:
    """Whether it is a response's head, behind which its body, or its end, comes at once."""
    return data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 1")


async def serve(
    app: ASGIFramework,
    config: Config,
    listeners: list[trio.SocketListener],
    *,
    tls: ssl.SSLContext | None = None,
    shutdown_trigger: Callable[[], Awaitable[None]],
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves until `shutdown_trigger` returns, and then what is at hand for `graceful_timeout`.

    Args:
        tls: None for plain text. `tls.server_tls` makes one.
    """
    wrapped: AppWrapper = wrap_app(app, config.wsgi_max_body_size, "asgi")
    state: LifespanState = {}
    lifespan = Lifespan(wrapped, config, state)
    context = WorkerContext(None)
    connections = _Connections()

    async def handle(stream: Any) -> None:
        fresh = ConnectionState(state.copy())
        await _Connection(connections, wrapped, config, context, fresh, stream).run()

    async with trio.open_nursery() as living:
        await living.start(lifespan.handle_lifespan)
        await lifespan.wait_for_startup()
        async with trio.open_nursery() as serving:
            async with trio.open_nursery() as accepting:
                shown: list[Any] = [
                    one if tls is None else trio.SSLListener(one, tls, https_compatible=True)
                    for one in listeners
                ]
                listen = partial(trio.serve_listeners, handle, shown, handler_nursery=serving)
                await accepting.start(listen)
                task_status.started()
                await shutdown_trigger()
                accepting.cancel_scope.cancel()
            await context.terminated.set()
            serving.cancel_scope.deadline = trio.current_time() + config.graceful_timeout
        await lifespan.wait_for_shutdown()
        living.cancel_scope.cancel()
