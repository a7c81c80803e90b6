"""The gRPC client's core without a network: framing, statuses, the order of events, and junk."""

from collections.abc import Callable

import h2.config
import h2.connection
import h2.events
import pytest
from h2.errors import ErrorCodes
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, RstStreamFrame
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer_node.grpc import Code, RpcError, framing, status
from gossamer_node.grpc import wire as wire_module
from gossamer_node.grpc.framing import Deframer, frame, timeout_header
from gossamer_node.grpc.goaway import GoAway, GoAwayFilter
from gossamer_node.grpc.wire import STREAM_WINDOW_BYTES, Call, Haste, Wire

HEADERS = [(":status", "200"), ("content-type", "application/grpc")]
OK = [("grpc-status", "0")]


class Server:
    """h2's own server at the other end of a `Wire`, joined without a network."""

    def __init__(self) -> None:
        self.wire = Wire("peer:1", "http")
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(
                client_side=False,
                header_encoding="utf-8",
                # A server of another make may send what h2 would mend or refuse.
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.h2.initiate_connection()
        self.events: list[h2.events.Event] = []
        self.turn()

    def turn(self) -> list[Call]:
        """Carries everything both ways. Returns the calls with news."""
        news: list[Call] = []
        while True:
            up = self.wire.data_to_send()
            if up:
                self.events += self.h2.receive_data(up)
            down = self.h2.data_to_send()
            if down:
                news += self.wire.receive(down)
            if not up and not down:
                return news

    def call(self, request: bytes = b"ask", *, at_once: bool = False) -> Call:
        call = self.wire.open(
            "/s/M", request, timeout_ms=1_500, metadata=[(b"a", b"b")], at_once=at_once
        )
        self.turn()
        return call

    def answer(self, call: Call, *messages: bytes) -> None:
        self.h2.send_headers(call.id, HEADERS)
        for one in messages:
            self.h2.send_data(call.id, frame(one))


def test_a_request_and_its_answer() -> None:
    server = Server()
    call = server.call()
    (request,) = [one for one in server.events if isinstance(one, h2.events.RequestReceived)]
    assert {str(name): str(value) for name, value in request.headers} == {
        ":method": "POST",
        ":scheme": "http",
        ":authority": "peer:1",
        ":path": "/s/M",
        "te": "trailers",
        "content-type": "application/grpc",
        "user-agent": "gossamer",
        "grpc-timeout": "1500m",
        "a": "b",
    }
    (data,) = [one for one in server.events if isinstance(one, h2.events.DataReceived)]
    assert data.data == b"\0\0\0\0\3ask" and data.stream_ended is not None
    server.answer(call, b"one", b"two")
    assert server.turn() == [call] and list(call.inbox) == [b"one", b"two"] and not call.ended
    server.h2.send_headers(call.id, OK, end_stream=True)
    assert server.turn() == [call]
    assert call.ended and call.error is None and server.wire.calls_open() == 0


@pytest.mark.parametrize(
    ("headers", "code", "said"),
    [
        ([*HEADERS, ("grpc-status", "5"), ("grpc-message", "no %c3%bc")], Code.NOT_FOUND, "no ü"),
        ([*HEADERS, ("grpc-status", "99")], Code.UNKNOWN, ""),
        ([*HEADERS, ("grpc-status", "-1")], Code.UNKNOWN, ""),
        # What Zeebe 8.6 says of an outcome that is too large; HTTP/2 forbids the blank.
        ([*HEADERS, ("grpc-status", "13"), ("grpc-message", "LARGE': ")], Code.INTERNAL, "LARGE':"),
        (HEADERS, Code.INTERNAL, "without a grpc-status"),
        ([(":status", "503")], Code.UNAVAILABLE, "an HTTP answer (503)"),
        ([(":status", "401")], Code.UNAUTHENTICATED, "an HTTP answer (401)"),
        ([(":status", "200"), ("content-type", "text/html")], Code.UNKNOWN, "is it a gRPC port?"),
    ],
)
def test_an_answer_of_headers_alone(headers: list[tuple[str, str]], code: Code, said: str) -> None:
    server = Server()
    call = server.call()
    server.h2.send_headers(call.id, headers, end_stream=True)
    server.turn()
    assert call.ended and call.error is not None and call.error.code is code
    assert said in call.error.said
    assert server.call().ended is False  # the others go on


def test_a_reset_says_whether_anything_was_done() -> None:
    for error, code, untouched in [
        (ErrorCodes.REFUSED_STREAM, Code.UNAVAILABLE, True),
        (ErrorCodes.CANCEL, Code.CANCELLED, False),
        (ErrorCodes.INTERNAL_ERROR, Code.INTERNAL, False),
    ]:
        server = Server()
        call = server.call()
        server.h2.reset_stream(call.id, error)
        server.turn()
        assert call.error is not None
        assert (call.error.code, call.error.untouched) == (code, untouched)


def test_an_answer_that_is_cut_off_compressed_or_too_long_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server()
    call = server.call()
    server.h2.send_headers(call.id, HEADERS)
    server.h2.send_data(call.id, b"\0\0\0\0\7half")
    server.h2.send_headers(call.id, OK, end_stream=True)
    server.turn()
    assert call.error is not None and "middle of a message" in call.error.said
    for data, said in [(b"\1\0\0\0\1x", "compressed"), (b"\0\xff\xff\xff\xff", "at most")]:
        call = server.call()
        server.h2.send_headers(call.id, HEADERS)
        server.h2.send_data(call.id, data)
        server.turn()
        assert call.ended and call.error is not None and said in call.error.said
    monkeypatch.setattr(framing, "MESSAGE_BYTES_MAX", 10)
    with pytest.raises(RpcError, match="at most 10") as caught:
        frame(bytes(11))
    assert caught.value.untouched


def test_a_large_request_goes_as_the_server_gives_room() -> None:
    server = Server()
    request = bytes(range(256)) * 1_000
    server.call(request)
    got = b""
    while True:
        received = [one for one in server.events if isinstance(one, h2.events.DataReceived)]
        server.events.clear()
        if not received:
            break
        assert sum(len(one.data) for one in received) <= STREAM_WINDOW_BYTES
        for one in received:
            got += one.data
            server.h2.acknowledge_received_data(one.flow_controlled_length, one.stream_id)
        server.turn()
    assert got == frame(request)


def test_room_for_a_stream_comes_back_when_its_messages_are_taken() -> None:
    server = Server()
    slow, other = server.call(), server.call()
    message = bytes(10_000)
    server.answer(slow)
    while server.h2.local_flow_control_window(slow.id) > len(message) + 5:
        server.h2.send_data(slow.id, frame(message))
        server.turn()
    held = len(slow.inbox)
    assert held == STREAM_WINDOW_BYTES // (len(message) + 5)
    room = server.h2.local_flow_control_window(slow.id)
    server.answer(other, bytes(10_000), bytes(10_000))
    server.turn()
    assert len(other.inbox) == 2 and server.h2.local_flow_control_window(slow.id) == room
    for _ in range(held):
        server.wire.take(slow)
        server.turn()
    assert server.h2.local_flow_control_window(slow.id) > STREAM_WINDOW_BYTES // 2
    server.h2.send_data(slow.id, frame(message))
    assert server.turn() == [slow]


def test_a_message_that_is_larger_than_the_window_arrives() -> None:
    for at_once in (False, True):
        server = Server()
        call = server.call(at_once=at_once)
        server.answer(call)
        rest = frame(bytes(1_000_000))
        while rest:
            room = min(server.h2.local_flow_control_window(call.id), 16_384)
            assert room > 0
            server.h2.send_data(call.id, rest[:room])
            rest = rest[room:]
            server.turn()
        assert [len(one) for one in call.inbox] == [1_000_000]


def test_a_ceased_call_ends_when_all_that_was_sent_is_here() -> None:
    server = Server()
    call = server.call()
    server.answer(call, b"one")
    server.turn()
    server.wire.take(call)
    server.h2.send_data(call.id, frame(b"late"))
    on_its_way = server.h2.data_to_send()
    server.wire.cease(call)
    server.wire.cease(call)
    asked = server.wire.data_to_send()
    frames = list(_frames(asked))
    assert [type(one) for one in frames[:1]] == [RstStreamFrame]
    assert server.wire.receive(on_its_way) == [call] and not call.ended
    assert server.wire.take(call) == b"late"
    server.h2.receive_data(asked)
    assert server.wire.receive(server.h2.data_to_send()) == [call]
    assert call.ended and call.error is not None and call.error.code is Code.CANCELLED
    assert server.wire.calls_open() == 0
    server.turn()
    assert not server.call().ended


def _frames(data: bytes) -> "list[Frame]":
    found = []
    while data:
        one, length = Frame.parse_frame_header(memoryview(data[:9]))
        one.parse_body(memoryview(data[9 : 9 + length]))
        found.append(one)
        data = data[9 + length :]
    return found


def test_goaway_lets_the_older_calls_end_well() -> None:
    server = Server()
    older, newer = server.call(), server.call()
    goaway = GoAwayFrame(0, last_stream_id=older.id)
    assert server.wire.receive(goaway.serialize()) == [newer]
    assert newer.error is not None and newer.error.untouched
    assert not server.wire.is_usable() and not older.ended
    server.answer(older, b"still")
    server.h2.send_headers(older.id, OK, end_stream=True)
    server.turn()
    assert older.ended and older.error is None and list(older.inbox) == [b"still"]


@pytest.mark.parametrize(
    ("bound", "room"), [(8, (8, 6, 4)), (3, (3, 2, 1)), (1, (1, 1, 1)), (0, (0, 0, 0))]
)
def test_the_servers_bound_of_calls_is_kept_and_waiting_calls_leave_room(
    bound: int, room: tuple[int, ...]
) -> None:
    server = Server()
    server.h2.update_settings({h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: bound})
    server.turn()
    opened = [0, 0, 0]
    for haste in reversed(Haste):
        while server.wire.can_open(haste):
            call = server.call()
            assert not call.ended
        opened[haste] = server.wire.calls_open()
    assert tuple(opened) == room and server.wire.is_usable()
    if bound:
        server.wire.cancel(call)
        assert server.wire.can_open(Haste.QUICK)


def test_the_last_number_of_a_connection_is_used_and_none_past_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wire_module, "STREAM_ID_LAST", 5)
    server = Server()
    calls = []
    while server.wire.can_open(Haste.QUICK):
        calls.append(server.call())
    assert [one.id for one in calls] == [1, 3, 5] and not server.wire.is_usable()
    server.answer(calls[-1], b"still")
    server.turn()
    assert list(calls[-1].inbox) == [b"still"]


def test_a_ceased_call_makes_no_room_for_more() -> None:
    server = Server()
    call = server.call()
    server.answer(call)
    server.wire.cease(call)
    server.wire.data_to_send()
    for _ in range(5):
        server.h2.send_data(call.id, frame(bytes(10_000)))
        server.wire.receive(server.h2.data_to_send())
        server.wire.take(call)
    updates = [one for one in _frames(server.wire.data_to_send()) if one.stream_id == call.id]
    assert not updates and not call.ended


@given(st.lists(st.integers(1, 40)), st.binary(max_size=30))
def test_the_goaway_filter_gives_the_same_however_the_bytes_are_cut(
    cuts: list[int], said: bytes
) -> None:
    data = DataFrame(1, data=b"abc" * 20).serialize()
    goaway = GoAwayFrame(0, last_stream_id=7, error_code=11, additional_data=said).serialize()
    stream = data + goaway + data + goaway
    one = GoAwayFilter()
    passed, found = b"", []
    for cut in [*cuts, len(stream)]:
        out, announced = one.feed(stream[:cut])
        stream = stream[cut:]
        passed += out
        found += announced
    assert passed == data + data
    assert found == [GoAway(7, 11, said)] * 2


@given(st.lists(st.binary(max_size=50), max_size=5), st.integers(1, 20))
def test_messages_are_the_same_however_their_bytes_are_cut(
    messages: list[bytes], size: int
) -> None:
    stream = b"".join(frame(one) for one in messages)
    deframer = Deframer()
    got = [
        message
        for at in range(0, len(stream), size)
        for message in deframer.feed(stream[at : at + size])
    ]
    assert got == messages and deframer.is_whole()


def test_deadlines_on_the_wire() -> None:
    told = [timeout_header(one) for one in (0, 1, 99_999_999, 10**8, 10**12)]
    assert told == [b"1m", b"1m", b"99999999m", b"100000S", b"99999999S"]


@given(st.binary(max_size=60))
def test_any_status_message_is_a_line(said: bytes) -> None:
    error = status.of_trailers({b"grpc-status": b"5", b"grpc-message": said})
    assert error is not None and error.said.isprintable()
    assert isinstance(status.of_reset(len(said)), RpcError)


@settings(max_examples=300)
@given(st.lists(st.binary(min_size=1, max_size=120), max_size=8))
def test_junk_ends_the_connection_and_raises_nothing(junk: list[bytes]) -> None:
    wire = Wire("peer:1", "http")
    call = wire.open("/s/M", b"", timeout_ms=1, metadata=[], at_once=True)
    for one in junk:
        wire.receive(one)
    wire.break_off("it ended the connection")
    assert call.ended and call.error is not None
    wire.data_to_send()


@settings(max_examples=300)
@given(st.data())
def test_a_flipped_byte_raises_nothing(data: st.DataObject) -> None:
    server = Server()
    calls = [server.call(at_once=True), server.call()]
    for one in calls:
        server.answer(one, b"one", bytes(300))
        server.h2.send_headers(one.id, OK, end_stream=True)
    sent = bytearray(server.h2.data_to_send())
    for _ in range(data.draw(st.integers(1, 4))):
        sent[data.draw(st.integers(0, len(sent) - 1))] = data.draw(st.integers(0, 255))
    take: Callable[[bytes], object] = server.wire.receive
    cut = data.draw(st.integers(0, len(sent)))
    take(bytes(sent[:cut]))
    take(bytes(sent[cut:]))
    for one in calls:
        while one.inbox:
            server.wire.take(one)
    server.wire.break_off("it ended the connection")
    assert all(one.ended for one in calls)
