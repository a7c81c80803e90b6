"""The calls of one HTTP/2 connection, seen from the server: decisions over h2, no I/O, no clock.

Bytes go in (`receive`), bytes come out (`data_to_send`); calls begin, are answered, and are given
up by the client in between. Rules:

1. A call begins when its one request is whole. What is no gRPC call, has no request or two of them,
   or is too large, is answered here and never begins.
2. Requests that are not whole yet hold at most `INCOMING_BYTES_MAX` on a connection; the call that
   goes past it is refused, and the others go on.
3. Answers leave as fast as the client gives room, for its stream and for the connection. What waits
   for room is bounded by callers, who ask `has_room` first.
4. An answer's status goes into trailers, behind every message; into the only headers where there is
   no message ("Trailers-Only").
5. In an orderly end (`wind_up`) the calls that began are answered, and later ones are refused as
   untouched, so that the client may repeat them elsewhere. h2 takes its own GOAWAY for the end of
   everything, so the frame is written around it.
6. Who begins and gives up calls without end (CVE-2023-44487), or breaks HTTP/2, ends the
   connection, every call with it, and raises nothing.

Formats: grpc/grpc, doc/PROTOCOL-HTTP2.md.
"""

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import quote_from_bytes

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
from h2.errors import ErrorCodes
from hyperframe.frame import GoAwayFrame

from gossamer_node.grpc.framing import Deframer, frame
from gossamer_node.grpc.status import Code, RpcError, one_line

CALLS_MAX = 1_000
"""Open on a connection at a time. A client with a worker for each of some hundred job types keeps
as many polls open on one connection."""

REQUEST_BYTES_MAX = 4 * 2**20
"""Of one request: as Zeebe takes by default."""

ENCODINGS = (b"identity", b"gzip")
"""Of requests; some clients compress each. Answers are never compressed."""

INCOMING_BYTES_MAX = 16 * 2**20
"""Of requests on a connection that are not whole yet."""

STREAM_WINDOW_BYTES = 2**18
"""Of one request, on its way at a time."""

HEADERS_BYTES_MAX = 32 * 2**10
"""Headers of a request, uncompressed; tokens are some KiB. h2 ends the connection past it."""

WAITING_BYTES_MAX = 64 * 2**10
"""Of one call's answer, for which the client has given no room yet, before senders wait."""

WAITING_BYTES_MAX_ALL = 8 * 2**20
"""The same of all calls of a connection."""

GIVEN_UP_MAX = 1_000
"""Calls that a client may give up beyond those that it saw to their end."""

_TIMEOUT_UNITS_US = {
    b"H": 3_600_000_000,
    b"M": 60_000_000,
    b"S": 1_000_000,
    b"m": 1_000,
    b"u": 1,
    b"n": 0,
}

Metadata = Sequence[tuple[bytes, bytes]]


class Call:
    """One call, from its whole request to its status.

    Attributes:
        path: `/package.Service/Method`.
        metadata: by lower-case name; of several with one name, the last.
        timeout_ms: what the client waits; None without a bound. At least 1.
        request: its one message.
        is_gone: the client gave it up, or its connection broke; nothing that is sent arrives.
        sent: messages that were given to `Wire.send`.
        left: how many of them, from the first, are on their way to the client whole.
    """

    __slots__ = (
        "_answered",
        "_deframer",
        "_incoming_bytes",
        "_status",
        "_waiting",
        "_waiting_bytes",
        "id",
        "is_gone",
        "left",
        "metadata",
        "path",
        "request",
        "sent",
        "timeout_ms",
    )

    def __init__(self, id: int, headers: dict[bytes, bytes]) -> None:
        self.id = id
        self.path = headers.get(b":path", b"").decode("ascii", "replace")
        self.metadata = {k: v for k, v in headers.items() if not k.startswith(b":")}
        self.timeout_ms = _timeout_ms(headers.get(b"grpc-timeout"))
        self.request: bytes | None = None
        self.is_gone = False
        self.sent = 0
        self.left = 0
        is_gzip = headers.get(b"grpc-encoding") == b"gzip"
        self._deframer = Deframer(REQUEST_BYTES_MAX, gzip=is_gzip)
        self._incoming_bytes = 0
        self._answered = False
        self._waiting: deque[memoryview] = deque()
        self._waiting_bytes = 0
        self._status: Metadata | None = None


class Wire:
    """See the head of the module."""

    def __init__(self) -> None:
        self._h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding=None)
        )
        self._h2.local_settings = h2.settings.Settings(
            client=False,
            initial_values={
                h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: CALLS_MAX,
                h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
                h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: HEADERS_BYTES_MAX,
            },
        )
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(INCOMING_BYTES_MAX - 65_535)
        self._calls: dict[int, Call] = {}
        self._last_id = 0
        self._incoming_bytes = 0
        self._waiting_bytes = 0
        self._given_up = 0
        self._winding_up = False
        self._raw = bytearray()
        self.broken: str | None = None

    # --- what the driver does

    def receive(self, data: bytes) -> tuple[list[Call], list[Call]]:
        """Takes what the client sent.

        Returns: the calls that begin, and those that were given up; what was refused is in neither.
        """
        begun: list[Call] = []
        gone: list[Call] = []
        try:
            for event in self._h2.receive_data(data):
                self._handle(event, begun, gone)
        except h2.exceptions.ProtocolError as error:
            gone += self.break_off(f"it broke the rules of HTTP/2 ({one_line(str(error))})")
        if self._given_up > GIVEN_UP_MAX:
            self._raw += self._h2.data_to_send() + self._goaway(ErrorCodes.ENHANCE_YOUR_CALM)
            gone += self.break_off("it began and gave up calls without end")
        return [one for one in begun if not one.is_gone], gone

    def has_room(self, call: Call) -> bool:
        """Whether a message may be sent now; also where it would not arrive any more."""
        return call.is_gone or (
            call._waiting_bytes < WAITING_BYTES_MAX and self._waiting_bytes < WAITING_BYTES_MAX_ALL
        )

    def send(self, call: Call, message: bytes) -> None:
        """Answers with a message. Raises: RpcError for one that is too long."""
        data = memoryview(frame(message))
        call.sent += 1
        if call.is_gone:
            return
        if not call._answered:
            call._answered = True
            self._h2.send_headers(call.id, _HEADERS)
        call._waiting.append(data)
        call._waiting_bytes += len(data)
        self._waiting_bytes += len(data)
        self._flush(call)

    def end(self, call: Call, error: RpcError | None = None) -> None:
        """Answers with the status, behind all messages; None is OK."""
        if call.is_gone or call._status is not None:
            return
        call._status = _status(error)
        self._flush(call)

    def wind_up(self) -> None:
        """Begins the orderly end; the connection is over when `calls_open` says 0."""
        if not self._winding_up and self.broken is None:
            self._winding_up = True
            self._raw += self._h2.data_to_send() + self._goaway(ErrorCodes.NO_ERROR)

    def calls_open(self) -> int:
        """Calls that are not answered to their end, whole or not."""
        return len(self._calls)

    def ping(self) -> None:
        """Asks the client for a sign of life."""
        with suppress(h2.exceptions.ProtocolError):
            self._h2.ping(b"are you?")

    def break_off(self, reason: str) -> list[Call]:
        """The connection is no more. Returns the calls that end with it."""
        self.broken = self.broken or reason
        ended = list(self._calls.values())
        for call in ended:
            self._forget(call)
        return ended

    def data_to_send(self) -> bytes:
        """The bytes for the client; they count as sent."""
        data = bytes(self._raw) + self._h2.data_to_send()
        self._raw.clear()
        return data

    # --- what the client says

    def _handle(self, event: h2.events.Event, begun: list[Call], gone: list[Call]) -> None:
        match event:
            case h2.events.RequestReceived():
                self._handle_request(event)
            case h2.events.DataReceived():
                self._handle_data(event)
            case h2.events.StreamEnded():
                call = self._calls.get(event.stream_id)
                if call is not None and call._status is None and self._is_whole(call):
                    begun.append(call)
            case h2.events.StreamReset():
                call = self._calls.get(event.stream_id)
                if call is not None:
                    self._given_up += 1
                    self._forget(call)
                    gone.append(call)
            case h2.events.WindowUpdated() | h2.events.RemoteSettingsChanged():
                for call in list(self._calls.values()):
                    self._flush(call)
            case h2.events.ConnectionTerminated():
                gone += self.break_off("the client ended it")

    def _handle_request(self, event: h2.events.RequestReceived) -> None:
        if self._winding_up:
            self._h2.reset_stream(event.stream_id, ErrorCodes.REFUSED_STREAM)
            return
        headers = {bytes(name): bytes(value) for name, value in event.headers}
        call = self._calls[event.stream_id] = Call(event.stream_id, headers)
        self._last_id = event.stream_id
        is_grpc = headers.get(b"content-type", b"").startswith(b"application/grpc")
        if headers.get(b":method") != b"POST" or not is_grpc:
            # The specification's answer to what is no gRPC.
            self._h2.send_headers(call.id, [(b":status", b"415")], end_stream=True)
            self._close(call)
        elif headers.get(b"grpc-encoding", b"identity") not in ENCODINGS:
            self.end(call, RpcError(Code.UNIMPLEMENTED, "requests are taken plain or with gzip"))

    def _handle_data(self, event: h2.events.DataReceived) -> None:
        # Requests are bounded below, so all room is given back at once.
        with suppress(h2.exceptions.ProtocolError):
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        call = self._calls.get(event.stream_id)
        if call is None or call._status is not None:
            return
        call._incoming_bytes += len(event.data)
        self._incoming_bytes += len(event.data)
        try:
            if self._incoming_bytes > INCOMING_BYTES_MAX:
                raise RpcError(
                    Code.RESOURCE_EXHAUSTED,
                    f"more than {INCOMING_BYTES_MAX:,} bytes of requests that are not whole",
                )
            for message in call._deframer.feed(event.data):
                if call.request is not None:
                    raise RpcError(Code.INTERNAL, "a second request; a call has one")
                call.request = message
        except RpcError as error:
            self.end(call, error)

    def _is_whole(self, call: Call) -> bool:
        self._incoming_bytes -= call._incoming_bytes
        call._incoming_bytes = 0
        if call.request is not None and call._deframer.is_whole():
            return True
        self.end(call, RpcError(Code.INTERNAL, "the request ended before it was whole"))
        return False

    # --- the bookkeeping

    def _flush(self, call: Call) -> None:
        """As much of the answer as there is room for, and its end."""
        try:
            while call._waiting:
                part = call._waiting[0]
                room = self._h2.local_flow_control_window(call.id)
                size = min(room, self._h2.max_outbound_frame_size, len(part))
                if size <= 0:
                    return
                self._h2.send_data(call.id, bytes(part[:size]))
                call._waiting_bytes -= size
                self._waiting_bytes -= size
                if size == len(part):
                    call._waiting.popleft()
                    call.left += 1
                else:
                    call._waiting[0] = part[size:]
            if call._status is not None:
                head = [] if call._answered else _HEADERS
                self._h2.send_headers(call.id, [*head, *call._status], end_stream=True)
                self._given_up = max(0, self._given_up - 1)
                self._close(call)
        except (h2.exceptions.ProtocolError, KeyError):
            self._forget(call)  # h2 has closed the stream, and tells of that in its own time

    def _close(self, call: Call) -> None:
        """The answer is over; a request that is not has to stop."""
        self._forget(call)
        with suppress(h2.exceptions.ProtocolError, KeyError):
            self._h2.reset_stream(call.id, ErrorCodes.NO_ERROR)

    def _forget(self, call: Call) -> None:
        if self._calls.pop(call.id, None) is not None:
            call.is_gone = True
            self._waiting_bytes -= call._waiting_bytes
            self._incoming_bytes -= call._incoming_bytes
            call._waiting.clear()

    def _goaway(self, code: ErrorCodes) -> bytes:
        told = GoAwayFrame(0)
        told.last_stream_id = self._last_id
        told.error_code = int(code)
        return told.serialize()


_HEADERS: Metadata = [(b":status", b"200"), (b"content-type", b"application/grpc")]


def _status(error: RpcError | None) -> Metadata:
    if error is None:
        return [(b"grpc-status", b"0")]
    said = quote_from_bytes(
        one_line(error.said).encode(), safe=" !\"#$&'()*+,/:;<=>?@[\\]^`{|}~"
    ).encode()
    return [(b"grpc-status", b"%d" % error.code), (b"grpc-message", said)]


def _timeout_ms(told: bytes | None) -> int | None:
    """What `grpc-timeout` says; one that cannot be read says nothing."""
    if told is None or not 2 <= len(told) <= 9 or not told[:-1].isdigit():
        return None
    unit_us = _TIMEOUT_UNITS_US.get(told[-1:])
    return None if unit_us is None else max(1, int(told[:-1]) * unit_us // 1_000)
