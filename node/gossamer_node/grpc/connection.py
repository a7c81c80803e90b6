"""One connection on trio: moves bytes between a stream and a `Wire`, and wakes who waits.

There is no task of its own, so nothing has to be started or outlives its callers. Of the calls
that wait, one reads for all (the *reader*); when it has what it came for, or is cancelled, the
next takes over. Rules:

1. Bytes that the wire gave are sent whole, though the sender be cancelled meanwhile: half a frame
   would cost every other call. A server that takes nothing for `SEND_MS_MAX` counts as gone.
2. While somebody waits, a server that has been silent for `KEEPALIVE_MS` is asked for a sign of
   life; without one within `KEEPALIVE_ANSWER_MS` the connection is broken. This finds the other
   end of a half-open connection. While nobody waits nothing is asked, and nobody is there to tell.
3. A server that let the deadline of a call pass, and was silent since the call began, is not asked
   any more: the next call opens another connection, as it would over HTTP/1.1.
"""

import ssl
from collections.abc import Awaitable, Callable

import trio

from gossamer_node.grpc.status import Code, RpcError, one_line
from gossamer_node.grpc.wire import Call, Haste, Wire

CONNECT_MS_MAX = 5_000
"""From the name's look-up to the end of the TLS handshake: whoever takes longer counts as down."""

SEND_MS_MAX = 5_000
"""A server that has taken no byte for so long is gone. A cancelled caller may wait as long."""

KEEPALIVE_MS = 45_000
"""Servers end a connection that is asked more often than they like: Zeebe at less than 30 s, and
its own clients ask every 45 s."""

KEEPALIVE_ANSWER_MS = 10_000
"""Longer than a collection of garbage in the server's Java."""

READ_BYTES = 65_536


Dial = Callable[[str, int], Awaitable[trio.SocketStream]]
"""Opens a TCP connection to a host and port."""


async def connect(
    host: str, port: int, tls: ssl.SSLContext | None, dial: Dial = trio.open_tcp_stream
) -> "Connection":
    """Opens a connection; the HTTP/2 preface goes out with the first call.

    Args:
        tls: trusts the server's authority and offers `h2` by ALPN; None for plain text.

    Raises: RpcError, untouched.
    """
    stream: trio.abc.Stream | None = None
    try:
        with trio.fail_after(CONNECT_MS_MAX / 1_000):
            stream = socket_stream = await dial(host, port)
            if tls is not None:
                stream = secured = trio.SSLStream(
                    socket_stream, tls, server_hostname=host, https_compatible=True
                )
                await secured.do_handshake()
                if secured.selected_alpn_protocol() != "h2":
                    raise _unreached("it speaks TLS, but no HTTP/2; is it a gRPC port?")
            return Connection(stream, socket_stream, Wire(_authority(host, port), _scheme(tls)))
    except BaseException as error:
        if stream is not None:
            await trio.aclose_forcefully(stream)
        match error:
            case trio.TooSlowError():
                raise _unreached(f"no connection within {CONNECT_MS_MAX / 1_000:g} s") from None
            case OSError() | trio.BrokenResourceError():
                words = _reason(error)
                advice = "" if "ca_file" in words else "; check that it runs and its address"
                raise _unreached(f"{words}{advice}") from error
        raise


class Connection:
    """Safe to use from several tasks at once. Made by `connect`."""

    def __init__(
        self, stream: trio.abc.Stream, socket_stream: trio.SocketStream, wire: Wire
    ) -> None:
        self.wire = wire
        self._stream = stream
        self._socket = socket_stream.socket
        self._reading = False
        self._sending = False
        self._waiting: dict[Call, trio.Event] = {}
        self._room = trio.Event()
        self._heard_s = trio.current_time()
        self._asked_s: float | None = None

    async def refresh(self) -> None:
        """Sees what came while nobody waited: a server's goodbye, most of all."""
        while (
            self.wire.is_usable()
            and not self._reading
            and not self.wire.calls_open()
            and self._socket.is_readable()
        ):
            await self._read()

    async def wait_for_room(self, haste: Haste) -> None:
        """Returns when a call can be opened, or none ever again."""
        while self.wire.is_usable() and not self.wire.can_open(haste):
            await self._room.wait()

    async def wait(self, call: Call) -> None:
        """Returns when the call has news."""
        await self.flush()
        while not call.has_news():
            if self._reading:
                woken = self._waiting[call] = trio.Event()
                try:
                    await woken.wait()
                finally:
                    del self._waiting[call]
                continue
            self._reading = True
            self._asked_s = None  # Nobody may have read for long: then what was asked is void.
            try:
                while not call.has_news():
                    await self._read()
            finally:
                self._reading = False
                self._wake_next()

    async def flush(self) -> None:
        """Sends what the wire has for the server. Whoever sends already sends this, too."""
        if self._sending:
            return
        self._sending = True
        try:
            # Who else is ready to run may have something to say, too: one packet for all.
            await trio.lowlevel.cancel_shielded_checkpoint()
            while data := self.wire.data_to_send():
                with trio.CancelScope(shield=True):
                    try:
                        with trio.fail_after(SEND_MS_MAX / 1_000):
                            await self._stream.send_all(data)
                    except trio.TooSlowError:
                        await self._break_off(f"it took nothing for {SEND_MS_MAX / 1_000:g} s")
                    except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as error:
                        await self._break_off(_reason(error))
        finally:
            self._sending = False

    async def cancel(self, call: Call) -> None:
        """Gives a call up, and its place to whoever waits for one."""
        if not call.ended:
            self.wire.cancel(call)
            self._wake([])
            await self.flush()

    async def miss(self, since_s: float) -> None:
        """A call that began at `since_s` was not answered in time. See rule 3."""
        silent_s = trio.current_time() - max(since_s, self._heard_s)
        if self._heard_s <= since_s and silent_s >= KEEPALIVE_ANSWER_MS / 1_000:
            await self._break_off(f"it was silent for {silent_s:.0f} s")

    async def aclose(self) -> None:
        """Ends the calls that are open, and the connection."""
        await self._break_off("it was closed here")

    async def _read(self) -> None:
        """Waits for bytes, or for the time to ask for a sign of life."""
        if self._asked_s is None:
            deadline_s = self._heard_s + KEEPALIVE_MS / 1_000
        else:
            deadline_s = self._asked_s + KEEPALIVE_ANSWER_MS / 1_000
        data: bytes | bytearray | None = None
        try:
            with trio.CancelScope(deadline=deadline_s):
                data = await self._stream.receive_some(READ_BYTES)
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as error:
            await self._break_off(_reason(error))
            return
        if data is None:
            await trio.lowlevel.checkpoint_if_cancelled()
            if self._asked_s is None:
                self._asked_s = trio.current_time()
                self.wire.ping()
                await self.flush()
            else:
                answer_s = KEEPALIVE_ANSWER_MS / 1_000
                await self._break_off(f"it gave no sign of life within {answer_s:g} s")
            return
        self._heard_s = trio.current_time()
        self._asked_s = None
        if not data:
            await self._break_off("it ended the connection; is it stopping?")
            return
        self._wake(self.wire.receive(bytes(data)))
        await self.flush()
        if self.wire.broken is not None:
            await self._break_off(self.wire.broken.said)

    async def _break_off(self, reason: str) -> None:
        self._wake(self.wire.break_off(reason))
        await trio.aclose_forcefully(self._stream)

    def _wake(self, calls: list[Call]) -> None:
        for call in calls:
            if call in self._waiting:
                self._waiting[call].set()
        if not self.wire.is_usable() or self.wire.can_open(Haste.QUICK):
            self._room.set()
            self._room = trio.Event()

    def _wake_next(self) -> None:
        """Somebody else must read from now on: one who isn't woken yet."""
        for woken in self._waiting.values():
            if not woken.is_set():
                woken.set()
                return


def _unreached(reason: str) -> RpcError:
    return RpcError(Code.UNAVAILABLE, f"it cannot be reached: {reason}", untouched=True)


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _scheme(tls: ssl.SSLContext | None) -> str:
    return "http" if tls is None else "https"


def _reason(error: BaseException) -> str:
    # trio wraps what the system says; the innermost has the words.
    told: BaseException | None = error
    while told is not None and not isinstance(told, OSError):
        told = told.__cause__ or told.__context__
    words = one_line(str(told or error) or type(error).__name__)
    if "CERTIFICATE_VERIFY_FAILED" in words:
        return f"{words}; name its authority as ca_file."
    return words
