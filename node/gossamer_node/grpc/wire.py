"""The calls of one HTTP/2 connection: pure decisions over h2, no I/O, no clock.

Bytes go in (`receive`), bytes come out (`data_to_send`), calls are opened, read and given up in
between. Rules:

1. A request leaves as fast as the server gives room, for its stream and for the connection.
2. Room for answers is given twice. The connection's is given back for every byte at once, so one
   slow reader holds nobody up. A stream's is given back when a message was taken: what nobody
   takes stays at the server, and a stream holds at most `STREAM_WINDOW_BYTES` of whole messages.
   Calls whose answer is wanted whole (`at_once`) get more room from their first byte on.
3. GOAWAY lets the calls go on that the server still answers, ends the others as untouched, and
   no call begins any more.
4. A call can be *ceased*: RST_STREAM goes out, and what the server had sent before it saw that is
   still delivered. A PING goes behind it; its answer says that nothing more will come, because
   a server handles the frames of a connection in order. h2 knows no such state, so the frame is
   written around it. A call that is cancelled loses what was on its way.
5. A server may bound the calls of a connection (a proxy before it often does, to about a hundred).
   Calls that wait for something to happen never take all of that: `Haste` says what they leave.
6. Whatever breaks HTTP/2 ends the connection, every call with it, and raises nothing.
"""

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from enum import IntEnum
from secrets import token_bytes

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
from h2.errors import ErrorCodes
from hyperframe.frame import RstStreamFrame

from gossamer_node.grpc import status
from gossamer_node.grpc.framing import MESSAGE_BYTES_MAX, PREFIX, Deframer, frame, timeout_header
from gossamer_node.grpc.goaway import GoAway, GoAwayFilter
from gossamer_node.grpc.status import Code, RpcError

STREAM_WINDOW_BYTES = 65_535
"""Whole messages of a stream that may wait here to be taken: HTTP/2's own first value."""

AT_ONCE_WINDOW_BYTES = 2**20
"""Room of a call whose whole answer is wanted; more of it takes more turns."""

CONNECTION_WINDOW_BYTES = 8 * 2**20
"""On its way to us at a time, in all calls."""

HEADERS_BYTES_MAX = 32 * 2**10
"""Headers and trailers of an answer, uncompressed; h2 ends the connection past it."""

STREAM_ID_LAST = 2**31 - 1
"""A connection numbers no call past it; the next call opens another connection."""

Metadata = Sequence[tuple[bytes, bytes]]


class Haste(IntEnum):
    """How long a call keeps its place, by the quarters of a server's bound that it leaves free."""

    QUICK = 0
    """Answered as soon as it is done."""
    WAITING = 1
    """Answered when something happens, within a deadline."""
    LASTING = 2
    """A stream that stays open."""


class Call:
    """One call, from its request to its status.

    Attributes:
        inbox: messages that came and were not taken.
        ended: nothing more will come; `error` is None if all went well.
    """

    __slots__ = (
        "_answered",
        "_at_once",
        "_bytes_max",
        "_ceased",
        "_deframer",
        "_inbox_bytes",
        "_owed_bytes",
        "_rest",
        "_total_bytes",
        "ended",
        "error",
        "id",
        "inbox",
    )

    def __init__(self, id: int, body: bytes, at_once: bool, bytes_max: int) -> None:
        self.id = id
        self.inbox: deque[bytes] = deque()
        self.ended = False
        self.error: RpcError | None = None
        self._rest = memoryview(body)
        self._at_once = at_once
        self._bytes_max = bytes_max
        self._deframer = Deframer(bytes_max)
        self._answered = False
        self._ceased: bytes | None = None
        self._inbox_bytes = 0
        self._owed_bytes = 0
        self._total_bytes = 0

    def has_news(self) -> bool:
        """Whether there is a message to take or an end to see."""
        return self.ended or bool(self.inbox)


class Wire:
    """See the head of the module.

    Args:
        authority: the server's `host:port`.
        scheme: `http` or `https`.
    """

    def __init__(self, authority: str, scheme: str) -> None:
        self._headers: list[tuple[bytes, bytes]] = [
            (b":method", b"POST"),
            (b":scheme", scheme.encode()),
            (b":authority", authority.encode()),
        ]
        self._h2 = h2.connection.H2Connection(
            # Zeebe ends status messages with a blank, which HTTP/2 forbids in a header. That is no
            # reason to end every other call: what matters in headers is judged where it is read.
            h2.config.H2Configuration(
                client_side=True, header_encoding=None, validate_inbound_headers=False
            )
        )
        self._filter = GoAwayFilter()
        self._calls: dict[int, Call] = {}
        self._received_bytes = 0
        self._raw = bytearray()
        self._news: dict[int, Call] = {}
        self.going_away = False
        self.broken: RpcError | None = None
        self._h2.local_settings = h2.settings.Settings(
            client=True,
            initial_values={
                h2.settings.SettingCodes.ENABLE_PUSH: 0,
                h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
                h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: HEADERS_BYTES_MAX,
            },
        )
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(CONNECTION_WINDOW_BYTES - 65_535)

    # --- what the driver does

    def can_open(self, haste: Haste) -> bool:
        """Whether there is room for one more such call on this connection now."""
        bound = self._h2.remote_settings.max_concurrent_streams
        bound = max(min(bound, 1), bound * (4 - haste) // 4)
        return self.is_usable() and self._h2.open_outbound_streams < bound

    def is_usable(self) -> bool:
        """Whether further calls may begin here, now or when others have ended."""
        return self.broken is None and not self.going_away

    def calls_open(self) -> int:
        """Calls that have not ended."""
        return len(self._calls)

    def open(
        self,
        path: str,
        request: bytes,
        *,
        timeout_ms: int,
        metadata: Metadata,
        at_once: bool,
        answer_bytes_max: int = MESSAGE_BYTES_MAX,
    ) -> Call:
        """Begins a call with its one request; `can_open` must hold for it.

        Args:
            timeout_ms: what the server is told.
            at_once: the whole answer is wanted as fast as it comes, not message by message.
            answer_bytes_max: of one message, and of the whole answer that is wanted at once.

        Raises: RpcError for a request that is too long.
        """
        body = frame(request)
        headers = [*self._headers, (b":path", path.encode()), (b"te", b"trailers")]
        headers.append((b"content-type", b"application/grpc"))
        headers.append((b"user-agent", b"gossamer"))
        headers.append((b"grpc-timeout", timeout_header(timeout_ms)))
        headers += metadata
        number = self._h2.get_next_available_stream_id()
        self._h2.send_headers(number, headers)
        if number >= STREAM_ID_LAST:
            self.going_away = True
        call = self._calls[number] = Call(number, body, at_once, answer_bytes_max)
        self._send(call)
        return call

    def take(self, call: Call) -> bytes:
        """The next message of `call.inbox`; there must be one."""
        message = call.inbox.popleft()
        call._inbox_bytes -= PREFIX.size + len(message)
        self._give_room(call)
        return message

    def cancel(self, call: Call) -> None:
        """Gives the call up. What is on its way is lost, and what waits in the inbox, too."""
        if call.id in self._calls and self.broken is None:
            with suppress(h2.exceptions.ProtocolError):  # It ended while we decided.
                self._h2.reset_stream(call.id, ErrorCodes.CANCEL)
        self._end(call, RpcError(Code.CANCELLED, "given up here"))
        call.inbox.clear()

    def cease(self, call: Call) -> None:
        """Asks the server to send no more; the call ends when all that it had sent is here."""
        if call.id not in self._calls or call._ceased is not None:
            return
        call._rest = memoryview(b"")
        reset = RstStreamFrame(call.id)
        reset.error_code = int(ErrorCodes.CANCEL)
        self._raw += self._h2.data_to_send() + reset.serialize()
        call._ceased = self.ping()

    def ping(self) -> bytes:
        """Asks for a sign of life. Returns what its answer will carry."""
        mark = token_bytes(8)
        self._h2.ping(mark)
        return mark

    def receive(self, data: bytes) -> list[Call]:
        """Takes what the server sent. Returns the calls with something new, each once."""
        announced: list[GoAway] = []
        try:
            data, announced = self._filter.feed(data)
            for event in self._h2.receive_data(data) if data else ():
                self._handle(event)
            self._give_connection_room()
        except h2.exceptions.ProtocolError as error:
            self.break_off(f"the server broke the rules of HTTP/2 ({status.one_line(str(error))})")
        for one in announced:
            self._handle_goaway(one)
        news = list(self._news.values())
        self._news.clear()
        return news

    def break_off(self, reason: str) -> list[Call]:
        """The connection is no more. Returns the calls that end with it."""
        if self.broken is None:
            self.broken = RpcError(Code.UNAVAILABLE, reason)
        ended = list(self._calls.values())
        for call in ended:
            # Nobody knows what the server did with it.
            self._end(call, self.broken)
        return ended

    def data_to_send(self) -> bytes:
        """The bytes for the server; they count as sent."""
        data = bytes(self._raw) + self._h2.data_to_send()
        self._raw.clear()
        return data

    # --- what the server says

    def _handle(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.DataReceived():
                self._handle_data(event)
            case h2.events.ResponseReceived() | h2.events.TrailersReceived():
                self._handle_headers(event)
            case h2.events.StreamEnded():
                call = self._calls.get(event.stream_id)
                if call is not None:  # An end without trailers.
                    self._end(call, status.of_trailers({}))
            case h2.events.StreamReset():
                call = self._calls.get(event.stream_id)
                if call is not None:
                    self._end(call, status.of_reset(int(event.error_code or 0)))
            case h2.events.PingAckReceived():
                self._handle_pong(event.ping_data)
            case h2.events.WindowUpdated() | h2.events.RemoteSettingsChanged():
                for call in list(self._calls.values()):
                    self._send(call)

    def _handle_data(self, event: h2.events.DataReceived) -> None:
        self._received_bytes += event.flow_controlled_length
        call = self._calls.get(event.stream_id)
        if call is None:
            return
        first = call._total_bytes == 0
        call._owed_bytes += event.flow_controlled_length
        call._total_bytes += len(event.data)
        try:
            if not call._answered:
                raise RpcError(Code.INTERNAL, "a message before the headers of an answer")
            messages = call._deframer.feed(event.data)
            if call._at_once and call._total_bytes > call._bytes_max + PREFIX.size:
                raise RpcError(
                    Code.RESOURCE_EXHAUSTED, f"an answer of more than {call._bytes_max:,} bytes"
                )
        except RpcError as error:
            self._refuse(call, error)
            return
        if messages:
            call.inbox.extend(messages)
            call._inbox_bytes += sum(PREFIX.size + len(one) for one in messages)
            self._news[call.id] = call
        if event.stream_ended is not None:
            return
        if first and call._at_once:
            self._open_window(call, AT_ONCE_WINDOW_BYTES - STREAM_WINDOW_BYTES)
        self._give_room(call)

    def _handle_headers(
        self, event: h2.events.ResponseReceived | h2.events.TrailersReceived
    ) -> None:
        call = self._calls.get(event.stream_id)
        if call is None:
            return
        headers = {bytes(name): bytes(value) for name, value in event.headers}
        if isinstance(event, h2.events.ResponseReceived):
            call._answered = True
            if headers.get(b":status") != b"200" or not headers.get(
                b"content-type", b""
            ).startswith(b"application/grpc"):
                # A proxy may put a grpc-status even here, and then knows better.
                told = status.of_trailers(headers) if b"grpc-status" in headers else None
                self._refuse(call, told or status.of_http(headers.get(b":status", b"")))
                return
            if event.stream_ended is None:
                return
        error = status.of_trailers(headers)
        if error is None and not call._deframer.is_whole():
            error = RpcError(Code.INTERNAL, "the answer ended in the middle of a message")
        self._end(call, error)

    def _handle_pong(self, mark: bytes) -> None:
        for call in list(self._calls.values()):
            if call._ceased == mark:
                # All is here that will be: the inbox stays, and h2 forgets the stream.
                inbox = list(call.inbox)
                self.cancel(call)
                call.inbox.extend(inbox)

    def _handle_goaway(self, told: GoAway) -> None:
        self.going_away = True
        for call in list(self._calls.values()):
            if call.id > told.last_stream_id:
                self._end(
                    call, RpcError(Code.UNAVAILABLE, "the server is stopping", untouched=True)
                )

    # --- the bookkeeping

    def _refuse(self, call: Call, error: RpcError) -> None:
        """What the server sends on this call is of no use; the other calls go on."""
        self.cancel(call)
        call.error = error

    def _end(self, call: Call, error: RpcError | None) -> None:
        self._calls.pop(call.id, None)
        if not call.ended:
            call.ended = True
            call.error = error
            call._rest = memoryview(b"")
        self._news[call.id] = call

    def _send(self, call: Call) -> None:
        """As much of the request as there is room for."""
        while call._rest:
            try:
                room = self._h2.local_flow_control_window(call.id)
                size = min(room, self._h2.max_outbound_frame_size, len(call._rest))
                if size <= 0:
                    return
                last = size == len(call._rest)
                self._h2.send_data(call.id, bytes(call._rest[:size]), end_stream=last)
            except h2.exceptions.ProtocolError:
                # The server has answered for good and wants no more of the request.
                call._rest = memoryview(b"")
                return
            call._rest = call._rest[size:]

    def _give_room(self, call: Call) -> None:
        """What is here and taken, or part of a message that isn't whole, makes room again."""
        if call._ceased is not None:
            return  # What is on its way had its room; there is nothing to come.
        bytes_free = call._owed_bytes - (0 if call._at_once else call._inbox_bytes)
        if bytes_free >= STREAM_WINDOW_BYTES // 2 and not call.ended:
            call._owed_bytes -= bytes_free
            self._open_window(call, bytes_free)

    def _open_window(self, call: Call, size: int) -> None:
        # It has ended in the same breath; h2 says so by KeyError when it has forgotten it as well.
        with suppress(h2.exceptions.ProtocolError, KeyError):
            self._h2.increment_flow_control_window(size, call.id)

    def _give_connection_room(self) -> None:
        if self._received_bytes >= CONNECTION_WINDOW_BYTES // 4:
            self._h2.increment_flow_control_window(self._received_bytes)
            self._received_bytes = 0
