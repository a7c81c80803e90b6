"""Calls to one gRPC server, by name and bytes: what a message means is for the caller.

A `Channel` keeps one connection, opens it with the first call and again after it broke; calls that
the server certainly never looked at are repeated once on a new one, no others. Each call has a
deadline, told to the server (`grpc-timeout`) and kept here; a call that is cancelled resets its
stream and leaves the others alone. Calls that wait have places of their own (`wire.Haste`), so
that an outcome never waits for a poll.
"""

import math
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import trio

from gossamer_node.grpc.connection import Connection, Dial, connect
from gossamer_node.grpc.framing import MESSAGE_BYTES_MAX
from gossamer_node.grpc.status import Code, RpcError
from gossamer_node.grpc.wire import Call, Haste, Metadata

CALLS_MAX = 128
"""Quick calls open at a time, and as many that wait; more wait their turn. What they hold here is
bounded by it."""

BEGIN_MS_MAX = 10_000
"""How long a stream may wait for a connection, and for its turn among the calls of one."""

CLOCKS_MS = 10
"""By which a server's timer may be ahead of ours: one of a millisecond's grain, rounded."""

CEASE_MS_MAX = 2_000
"""How long a ceased stream may take to bring what was on its way: a round trip, and patience."""


class Channel:
    """Safe to use from several tasks at once. Opens nothing before the first call.

    Args:
        host, port: the server.
        tls: None for plain text (HTTP/2 with prior knowledge).
        peer: how messages name the server.
        dial: opens its TCP connections; what it raises, but for OSError, comes out of the call.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None,
        peer: str,
        dial: Dial = trio.open_tcp_stream,
    ) -> None:
        self._host, self._port = host, port
        self._tls = tls
        self._dial = dial
        self.peer = peer
        self._connection: Connection | None = None
        self._old: list[Connection] = []
        self._connecting = trio.Lock()
        self._failed_s = -math.inf
        self._failure: RpcError | None = None
        self._quick = trio.CapacityLimiter(CALLS_MAX)
        self._patient = trio.CapacityLimiter(CALLS_MAX)
        self._closed = False

    async def call(
        self,
        path: str,
        request: bytes,
        *,
        timeout_ms: int,
        metadata: Metadata = (),
        waits: bool = False,
        answer_bytes_max: int = MESSAGE_BYTES_MAX,
    ) -> list[bytes]:
        """One call, and its whole answer: every message until the status.

        Args:
            path: `/package.Service/Method`.
            timeout_ms: for everything, connecting included.
            waits: the server answers when something happens, as to a long poll.
            answer_bytes_max: of the whole answer.

        Raises: RpcError.
        """
        haste = Haste.WAITING if waits else Haste.QUICK
        deadline_s = trio.current_time() + timeout_ms / 1_000
        messages: list[bytes] = []
        try:
            with trio.fail_at(deadline_s):
                async with self._place(haste):
                    await self._exchange(
                        path, request, timeout_ms, metadata, haste, answer_bytes_max, messages
                    )
        except trio.TooSlowError:
            error = _too_late(timeout_ms)
        except RpcError as told:
            error = told
            left_s = deadline_s - trio.current_time()
            ended = told.code in (Code.CANCELLED, Code.DEADLINE_EXCEEDED)
            if ended and left_s <= CLOCKS_MS / 1_000:
                # The server keeps the deadline as well, and was first.
                error = _too_late(timeout_ms)
        else:
            return messages
        raise error.about(f"{self.peer} did not do {path}") from error

    @asynccontextmanager
    async def stream(
        self,
        path: str,
        request: bytes,
        *,
        server_ends_ms: int,
        metadata: Metadata = (),
        message_bytes_max: int = MESSAGE_BYTES_MAX,
    ) -> AsyncIterator["ServerStream"]:
        """Opens a call whose messages are taken one by one.

        Leaving the block cancels a call that has not ended.

        Args:
            server_ends_ms: how long the server may keep it, told as its deadline: so a call whose
                caller is gone ends, too. Here nobody counts.
            message_bytes_max: of one message.

        Raises: RpcError, when it can't be opened; what the server says later comes by `receive`.
        """
        what = f"{self.peer} did not begin {path}"
        async with AsyncExitStack() as stack:
            try:
                with trio.fail_after(BEGIN_MS_MAX / 1_000):
                    await stack.enter_async_context(self._place(Haste.LASTING))
                    connection, call = await self._open(
                        path, request, server_ends_ms, metadata, Haste.LASTING, message_bytes_max
                    )
            except trio.TooSlowError:
                said = f"it was not let in within {BEGIN_MS_MAX / 1_000:g} s"
                raise RpcError(Code.UNAVAILABLE, said, untouched=True).about(what) from None
            except RpcError as error:
                raise error.about(what) from error
            try:
                yield ServerStream(connection, call, f"{self.peer} ended {path}")
            finally:
                await connection.cancel(call)

    async def aclose(self) -> None:
        """Ends every open call. The channel takes no more."""
        self._closed = True
        for one in (*self._old, self._connection):
            if one is not None:
                await one.aclose()

    @asynccontextmanager
    async def _place(self, haste: Haste) -> AsyncIterator[None]:
        limiter = self._quick if haste is Haste.QUICK else self._patient
        borrower = object()  # not the task: one may have several streams
        await limiter.acquire_on_behalf_of(borrower)
        try:
            yield
        finally:
            limiter.release_on_behalf_of(borrower)

    async def _exchange(
        self,
        path: str,
        request: bytes,
        timeout_ms: int,
        metadata: Metadata,
        haste: Haste,
        bytes_max: int,
        messages: list[bytes],
    ) -> None:
        for is_last in (False, True):
            connection, call = await self._open(
                path, request, timeout_ms, metadata, haste, bytes_max
            )
            begun_s = trio.current_time()
            try:
                while not call.ended or call.inbox:
                    await connection.wait(call)
                    while call.inbox:
                        messages.append(connection.wire.take(call))
            except trio.Cancelled:
                with trio.CancelScope(shield=True):
                    await connection.miss(begun_s)
                raise
            finally:
                await connection.cancel(call)
            if call.error is None:
                return
            if is_last or not call.error.untouched:
                raise call.error

    async def _open(
        self,
        path: str,
        request: bytes,
        timeout_ms: int,
        metadata: Metadata,
        haste: Haste,
        bytes_max: int,
    ) -> tuple[Connection, Call]:
        while True:
            connection = await self._usable()
            await connection.wait_for_room(haste)
            if connection.wire.can_open(haste):
                call = connection.wire.open(
                    path,
                    request,
                    timeout_ms=timeout_ms,
                    metadata=metadata,
                    at_once=haste is not Haste.LASTING,
                    answer_bytes_max=bytes_max,
                )
                await connection.flush()
                return connection, call

    async def _usable(self) -> Connection:
        asked_s = trio.current_time()
        async with self._connecting:
            if self._closed:
                raise RpcError(Code.UNAVAILABLE, "it was closed here", untouched=True)
            for one in [one for one in self._old if not one.wire.calls_open()]:
                self._old.remove(one)
                await one.aclose()
            if self._connection is not None:
                await self._connection.refresh()
                if self._connection.wire.is_usable():
                    return self._connection
                await self._retire(self._connection)
                self._connection = None
            if self._failure is not None and asked_s < self._failed_s:
                # It failed while we waited: no need for each to try anew.
                raise RpcError(self._failure.code, self._failure.said, untouched=True)
            try:
                self._connection = await connect(self._host, self._port, self._tls, self._dial)
            except RpcError as error:
                self._failure, self._failed_s = error, trio.current_time()
                raise
            return self._connection

    async def _retire(self, connection: Connection) -> None:
        """A server that is going away still answers what it took; then nobody needs it."""
        if connection.wire.calls_open():
            self._old.append(connection)
        else:
            await connection.aclose()


class ServerStream:
    """An open call whose messages come when the server has some."""

    def __init__(self, connection: Connection, call: Call, what: str) -> None:
        self._connection = connection
        self._call = call
        self._what = what

    async def receive(self) -> bytes | None:
        """The next message; None when the server has ended it well. Raises RpcError."""
        await trio.lowlevel.checkpoint()
        call = self._call
        if not call.has_news():
            await self._connection.wait(call)
        if call.inbox:
            message = self._connection.wire.take(call)
            await self._connection.flush()
            return message
        if call.error is not None:
            raise call.error.about(self._what) from call.error
        return None

    def receive_nowait(self) -> bytes | None:
        """A message that is here already; None when there is none, or none any more."""
        return self._connection.wire.take(self._call) if self._call.inbox else None

    async def cease(self) -> list[bytes]:
        """Asks the server to send no more. Returns what it had sent by then; this is the end.

        Shielded, and within `CEASE_MS_MAX`: what a server hands out must not get lost on the way.
        """
        call, wire = self._call, self._connection.wire
        with trio.CancelScope(shield=True), trio.move_on_after(CEASE_MS_MAX / 1_000):
            wire.cease(call)
            late: list[bytes] = []
            while not call.ended or call.inbox:
                await self._connection.wait(call)
                while call.inbox:
                    late.append(wire.take(call))
        return late


def _too_late(timeout_ms: int) -> RpcError:
    return RpcError(Code.DEADLINE_EXCEEDED, f"no full answer within {timeout_ms / 1_000:g} s")
