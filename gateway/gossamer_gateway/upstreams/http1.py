"""HTTP/1.1 to one engine, on h11: kept connections, one exchange on each at a time, no more.

Every client's call is one of these, so it is the gateway's hot path: on h11 alone an exchange costs
a quarter of the CPU that it costs through a general client (benchmarks/README.md). What such a
client does beyond it, nothing here needs: redirects, cookies, proxies, compression.

A connection that was kept may have been closed by the engine meanwhile. One that shows it is not
used. Where the engine closes it in the very moment in which a request goes out, nobody knows
whether it was read: a request that changes something is not sent again, and the caller hears that
the engine is unavailable.
"""

import select
import ssl
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import h11
import trio

from gossamer_node.engines.exchange import ANSWER_BYTES_MAX, Answer, one_line
from gossamer_node.errors import EngineUnavailable

Headers = Iterable[tuple[str, str]]

CONNECT_S_MAX = 5.0
"""Whoever takes longer for a connection counts as down."""

IDLE_S_MAX = 15.0
"""A connection that was idle for longer is not used again: engines close theirs after 20 s (Tomcat)
and more, and this way they rarely do it in our face."""

CONNECTIONS_MAX = 160
"""At a time: the hub's polls (64), and calls. More calls wait their turn, within their time."""

READ_BYTES = 65_536

HEAD_BYTES_MAX = 65_536
"""Of an answer's status and headers."""

_SAFE = ("GET", "HEAD")


@dataclass(slots=True, eq=False)
class _Connection:
    stream: trio.abc.Stream
    raw: trio.SocketStream
    wire: h11.Connection
    used_s: float = 0.0


@dataclass(slots=True)
class _Told:
    status: int = 0
    content_type: str = ""
    retry_after_ms: int | None = None
    chunks: list[bytes] = field(default_factory=list)


class _Silent(Exception):
    """The peer closed the connection before it answered anything."""


class Http1:
    """Safe to use from several tasks at once. Opens nothing before the first exchange.

    Args:
        url: the base of all targets, with a path or none.
        peer: how messages name the engine.
        tls: whom to trust, for https.
    """

    def __init__(self, url: str, *, peer: str, tls: ssl.SSLContext | None) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None, f"{url} has no host"
        is_secure = parts.scheme == "https"
        self._host = parts.hostname
        self._port = parts.port or (443 if is_secure else 80)
        self._tls = tls if is_secure else None
        self._base = parts.path.rstrip("/")
        self._authority = parts.netloc
        self._peer = peer
        self._idle: deque[_Connection] = deque()
        self._places = trio.CapacityLimiter(CONNECTIONS_MAX)
        self._closed = False

    async def exchange(
        self, method: str, target: str, headers: Headers, content: bytes | None, *, within_ms: int
    ) -> Answer:
        """Sends a request and reads the whole answer.

        Args:
            target: what follows the base URL: path and query, encoded.
            headers: beside Host and Content-Length.
            within_ms: for everything, from a place among the calls to the last byte.

        Raises: EngineUnavailable: no answer, half of one, too much of one; ValueError: `target` or
            a header is none that HTTP can carry; nothing was sent.
        """
        request = self._request(method, target, headers, content)
        try:
            with trio.fail_after(within_ms / 1_000):
                async with self._places:
                    try:
                        return await self._once(request, content)
                    except _Silent:
                        if method not in _SAFE:
                            raise
                        return await self._once(request, content, anew=True)
        except trio.TooSlowError:
            raise EngineUnavailable(
                f"{self._peer} gave no full answer within {within_ms / 1_000:g} s; "
                "is it overloaded?"
            ) from None
        except _Silent:
            raise self._unavailable("closed the connection without a word") from None

    async def aclose(self) -> None:
        """Closes what is idle; what is under way ends by itself and is closed then."""
        self._closed = True
        while self._idle:  # without a checkpoint between them, at which a cancelled caller leaves
            self._idle.pop().raw.socket.close()
        await trio.lowlevel.checkpoint()

    # --- inside

    def _request(
        self, method: str, target: str, headers: Headers, content: bytes | None
    ) -> h11.Request:
        said = [("host", self._authority), ("user-agent", "gossamer"), *headers]
        if content is not None:
            said.append(("content-length", str(len(content))))
        try:
            return h11.Request(method=method, target=self._base + target, headers=said)
        except (h11.LocalProtocolError, UnicodeError) as error:
            raise ValueError(f"no request: {error}") from None

    async def _once(
        self, request: h11.Request, content: bytes | None, *, anew: bool = False
    ) -> Answer:
        connection = (None if anew else self._kept()) or await self._connect()
        is_whole = False
        try:
            await self._send(connection, request, content)
            answer = await self._read(connection)
            is_whole = True
        except h11.RemoteProtocolError as error:
            raise self._unavailable(f"does not speak HTTP: {one_line(str(error))}") from None
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as error:
            if connection.wire.their_state is h11.SEND_RESPONSE:
                raise _Silent from None
            why = one_line(str(error.__cause__ or error)) or "the connection broke"
            raise self._unavailable(f"broke off the exchange: {why}") from None
        finally:
            if not (is_whole and self._keep(connection)):
                await trio.aclose_forcefully(connection.stream)
        return answer

    async def _send(
        self, connection: _Connection, request: h11.Request, content: bytes | None
    ) -> None:
        wire = connection.wire
        parts = [wire.send(request)]
        if content:
            parts.append(wire.send(h11.Data(data=content)))
        parts.append(wire.send(h11.EndOfMessage()))
        await connection.stream.send_all(b"".join(part for part in parts if part))

    async def _read(self, connection: _Connection) -> Answer:
        wire, told, left_bytes = connection.wire, _Told(), ANSWER_BYTES_MAX
        while True:
            event = wire.next_event()
            if event is h11.NEED_DATA:
                data = await connection.stream.receive_some(READ_BYTES)
                if not data and not told.status:
                    raise _Silent
                wire.receive_data(bytes(data))
            elif isinstance(event, h11.Response):
                _note(event, told)
            elif isinstance(event, h11.Data):
                left_bytes -= len(event.data)
                if left_bytes < 0:
                    raise self._unavailable(
                        f"sent more than {ANSWER_BYTES_MAX} bytes in one answer; "
                        "ask for fewer jobs or fewer variables"
                    )
                told.chunks.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                body = b"".join(told.chunks)
                return Answer(told.status, body, told.retry_after_ms, told.content_type)
            elif isinstance(event, h11.ConnectionClosed):
                raise self._unavailable("closed the connection in the middle of an answer")

    def _kept(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            is_old = time.monotonic() - connection.used_s > IDLE_S_MAX
            if not is_old and _is_quiet(connection.raw):
                return connection
            connection.raw.socket.close()
        return None

    def _keep(self, connection: _Connection) -> bool:
        wire = connection.wire
        if self._closed or wire.our_state is not h11.DONE or wire.their_state is not h11.DONE:
            return False
        wire.start_next_cycle()
        connection.used_s = time.monotonic()
        self._idle.append(connection)
        return True

    async def _connect(self) -> _Connection:
        try:
            with trio.fail_after(CONNECT_S_MAX):
                raw = await trio.open_tcp_stream(self._host, self._port)
                stream: trio.abc.Stream = raw
                if self._tls is not None:
                    secured = trio.SSLStream(
                        raw, self._tls, server_hostname=self._host, https_compatible=True
                    )
                    try:
                        await secured.do_handshake()
                    except BaseException:
                        await trio.aclose_forcefully(raw)
                        raise
                    stream = secured
        except trio.TooSlowError:
            raise self._unavailable("takes no connection; check that it runs") from None
        except (OSError, trio.BrokenResourceError) as error:
            raise self._unavailable(f"cannot be reached: {_reason(error)}") from None
        wire = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES_MAX)
        return _Connection(stream, raw, wire)

    def _unavailable(self, what: str) -> EngineUnavailable:
        return EngineUnavailable(f"{self._peer} {what}.")


def _note(response: h11.Response, told: _Told) -> None:
    told.status = response.status_code
    for name, value in response.headers:
        if name == b"content-type":
            told.content_type = value.decode("latin-1")
        elif name == b"retry-after" and value.isdigit() and len(value) < 6:
            told.retry_after_ms = int(value) * 1_000


def _is_quiet(stream: trio.SocketStream) -> bool:
    """Whether nothing has come on a connection that waits: neither its end nor anything else."""
    readable = select.poll()
    readable.register(stream.socket.fileno(), select.POLLIN)
    return not readable.poll(0)


def _reason(error: BaseException) -> str:
    # Under trio a failed handshake has no words of its own; what it came from has.
    told: BaseException | None = error
    while told is not None and not str(told):
        told = told.__cause__ or told.__context__
    words = one_line(str(told or type(error).__name__))
    if "CERTIFICATE_VERIFY_FAILED" in words:
        return f"{words}; name its authority as ca_file"
    return f"{words}; check that it runs and that the URL is right"
