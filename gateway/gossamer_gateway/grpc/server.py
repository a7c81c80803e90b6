"""Serves gRPC over trio: a task for each connection that reads, and one for each call.

Rules:

1. A call has a task of its own, which ends with the call: when the handler returns, when the
   client's deadline has passed, when the client gives up or its connection breaks.
2. What a handler raises on purpose (`RpcError`) is the call's status. Anything else is our mistake:
   the log has it, the client gets INTERNAL and no more.
3. A client that takes no byte for `SEND_MS_MAX`, says nothing within `GREETING_MS_MAX` of its
   connection, or gives no sign of life when asked, is gone. This finds the other end of a half-open
   connection, and the jobs that were streamed to it.
4. `stop` lets the calls that are open finish, and begins none.
"""

import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

import trio

from gossamer_gateway.grpc.wire import Call, Wire
from gossamer_node.grpc.status import Code, RpcError

CONNECTIONS_MAX = 1_024
"""At a time; more are closed at once. Clients keep one for all their calls."""

GREETING_MS_MAX = 10_000
"""From the connection to the first bytes over it, TLS included."""

SEND_MS_MAX = 10_000

SILENCE_MS_MAX = 60_000
"""A client that was silent for so long is asked for a sign of life."""

ANSWER_MS_MAX = 20_000
"""Within which it has to give one: longer than a collection of garbage in its Java."""

READ_BYTES = 65_536

ANY = "*"
"""In a table of methods: the handler of all paths that have none of their own."""

log = logging.getLogger("gossamer.grpc")


class Asked:
    """A call, as its handler sees it.

    Attributes:
        path, metadata, timeout_ms: as `wire.Call` has them.
        request: the message.
        certificate: the client's, as DER; None without one.
    """

    def __init__(self, connection: "_Connection", call: Call) -> None:
        assert call.request is not None, "a call begins with its request"
        self._connection = connection
        self._call = call
        self.path = call.path
        self.metadata = call.metadata
        self.timeout_ms = call.timeout_ms
        self.request = call.request
        self.certificate = connection.certificate

    async def send(self, message: bytes) -> None:
        """Answers with a message, as soon as the client has room. Raises: RpcError if too long."""
        await self._connection.send(self._call, message)

    @property
    def left(self) -> int:
        """How many messages, from the first, have left for the client whole. It may never have
        got the last of them; those behind it certainly not."""
        return self._call.left

    async def wait_left(self) -> None:
        """Returns when all that was sent has left. A call that is given up is cancelled here."""
        await self._connection.wait_left(self._call)


Handler = Callable[[Asked], Awaitable[None]]
"""Answers a call by `Asked.send`, as often as the method says, and returns. Raises: RpcError."""


class GrpcServer:
    """Serves methods by their paths.

    Args:
        methods: `/package.Service/Method` and what answers it, `ANY` for all others.
    """

    def __init__(self, methods: Mapping[str, Handler]) -> None:
        self._methods = methods
        self._connections: set[_Connection] = set()
        self._stopping = False
        self._changed = trio.Event()

    async def serve(
        self,
        listener: trio.SocketListener,
        tls: ssl.SSLContext | None = None,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serves until cancelled. `tls` offers `h2` by ALPN; None is plain text."""
        async with listener, trio.open_nursery() as nursery:
            task_status.started()
            while True:
                try:
                    stream = await listener.accept()
                except OSError as error:  # out of files: there may be some again
                    log.warning("a connection could not be taken: %s", error)
                    await trio.sleep(0.1)
                    continue
                if self._stopping or len(self._connections) >= CONNECTIONS_MAX:
                    await trio.aclose_forcefully(stream)
                    continue
                connection = _Connection(stream, tls, self._methods)
                self._connections.add(connection)
                nursery.start_soon(self._keep, connection)

    async def stop(self) -> None:
        """Begins no further calls; returns when those that are open have ended."""
        self._stopping = True
        for connection in list(self._connections):
            await connection.wind_up()
        while self._connections:
            await self._changed.wait()

    async def _keep(self, connection: "_Connection") -> None:
        try:
            await connection.run()
        finally:
            self._connections.remove(connection)
            self._changed.set()
            self._changed = trio.Event()


class _Connection:
    def __init__(
        self,
        stream: trio.SocketStream,
        tls: ssl.SSLContext | None,
        methods: Mapping[str, Handler],
    ) -> None:
        self._stream: trio.abc.Stream = stream
        self._tls = tls
        self._methods = methods
        self._wire = Wire()
        self._scopes: dict[Call, trio.CancelScope] = {}
        self._room = trio.Event()
        self._sending = False
        self._ending = False
        self._nursery: trio.Nursery | None = None
        self.certificate: bytes | None = None

    async def run(self) -> None:
        """Serves the connection to its end. Raises nothing but for cancellation."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError, OSError):
                    await self._greet()
                    await self._read_on()
                nursery.cancel_scope.cancel()
        finally:
            self._wire.break_off("it is over")
            await trio.aclose_forcefully(self._stream)

    async def send(self, call: Call, message: bytes) -> None:
        while not self._wire.has_room(call):
            await self._room.wait()
        self._wire.send(call, message)
        await self._flush()

    async def wait_left(self, call: Call) -> None:
        await trio.lowlevel.checkpoint()
        while call.left < call.sent:
            await self._room.wait()

    async def wind_up(self) -> None:
        self._ending = True
        self._wire.wind_up()
        await self._flush()
        self._close_if_over()

    async def _greet(self) -> None:
        with trio.move_on_after(GREETING_MS_MAX / 1_000):
            if self._tls is not None:
                secured = trio.SSLStream(
                    self._stream, self._tls, server_side=True, https_compatible=True
                )
                self._stream = secured
                await secured.do_handshake()
                self.certificate = secured.getpeercert(binary_form=True)
            await self._flush()
            await self._take(await self._stream.receive_some(READ_BYTES))
            return
        self._wire.break_off("it never spoke")

    async def _read_on(self) -> None:
        asked = False
        while self._wire.broken is None:
            patience_ms = ANSWER_MS_MAX if asked else SILENCE_MS_MAX
            data: bytes | bytearray | None = None
            with trio.move_on_after(patience_ms / 1_000):
                data = await self._stream.receive_some(READ_BYTES)
            if data is None and asked:
                return
            asked = data is None
            if data is None:
                self._wire.ping()
                await self._flush()
            else:
                await self._take(data)

    async def _take(self, data: bytes | bytearray) -> None:
        if not data:
            self._wire.break_off("the client closed it")
            return
        begun, gone = self._wire.receive(bytes(data))
        for call in gone:
            if call in self._scopes:
                self._scopes[call].cancel()
        assert self._nursery is not None
        for call in begun:
            self._nursery.start_soon(self._answer, call)
        self._wake()
        await self._flush()
        self._close_if_over()

    async def _answer(self, call: Call) -> None:
        scope = trio.CancelScope()
        self._scopes[call] = scope
        try:
            with scope:
                if call.is_gone:
                    return
                self._wire.end(call, await self._status(call))
                await self._flush()
        finally:
            del self._scopes[call]
        self._close_if_over()

    async def _status(self, call: Call) -> RpcError | None:
        """Handles a call; None when all went well."""
        handler = self._methods.get(call.path) or self._methods.get(ANY)
        if handler is None:
            return RpcError(Code.UNIMPLEMENTED, f"{call.path} is not served here")
        timeout_s = float("inf") if call.timeout_ms is None else call.timeout_ms / 1_000
        try:
            with trio.fail_after(timeout_s):
                await handler(Asked(self, call))
        except trio.TooSlowError:
            return RpcError(Code.DEADLINE_EXCEEDED, "it was not done in the time that the call had")
        except RpcError as error:
            return error
        except Exception:
            log.exception("%s failed by our mistake", call.path)
            return RpcError(Code.INTERNAL, "the gateway made a mistake; its log says which")
        return None

    async def _flush(self) -> None:
        """Sends what the wire has. Whoever sends already sends this, too."""
        if self._sending:
            return
        self._sending = True
        try:
            # Who else is ready to run may have something to say, too: one packet for all.
            await trio.lowlevel.cancel_shielded_checkpoint()
            while data := self._wire.data_to_send():
                # Half a frame would cost every other call, so a cancelled call's is sent, too.
                with trio.CancelScope(shield=True), trio.fail_after(SEND_MS_MAX / 1_000):
                    await self._stream.send_all(data)
        except (trio.TooSlowError, trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            for call in self._wire.break_off("it takes nothing"):
                if call in self._scopes:
                    self._scopes[call].cancel()
            await trio.aclose_forcefully(self._stream)
        finally:
            self._sending = False
            self._wake()

    def _wake(self) -> None:
        self._room.set()
        self._room = trio.Event()

    def _close_if_over(self) -> None:
        if self._ending and not self._wire.calls_open() and self._nursery is not None:
            self._nursery.cancel_scope.cancel()
