"""What the gRPC server makes of clients, also of those that break rules: h2's client, no I/O."""

import gzip
import random
import struct

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest

from gossamer_gateway.grpc.wire import (
    CALLS_MAX,
    GIVEN_UP_MAX,
    INCOMING_BYTES_MAX,
    REQUEST_BYTES_MAX,
    WAITING_BYTES_MAX,
    Call,
    Wire,
)
from gossamer_node.grpc.framing import Deframer, frame
from gossamer_node.grpc.status import Code, RpcError

HEADERS = [
    (":method", "POST"),
    (":scheme", "http"),
    (":authority", "h"),
    (":path", "/s/M"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
]


class Client:
    """h2's own client, wired to a `Wire`."""

    def __init__(self) -> None:
        self.wire = Wire()
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        )
        self.h2.initiate_connection()
        self.messages: dict[int, list[bytes]] = {}
        self.trailers: dict[int, dict[str, str]] = {}
        self.resets: dict[int, int] = {}
        self._deframers: dict[int, Deframer] = {}

    def exchange(self) -> tuple[list[Call], list[Call]]:
        """Moves bytes both ways until nothing is left to say."""
        begun: list[Call] = []
        gone: list[Call] = []
        while True:
            to_server = self.h2.data_to_send()
            if to_server:
                more, less = self.wire.receive(to_server)
                begun += more
                gone += less
            to_client = self.wire.data_to_send()
            if not to_client and not to_server:
                return begun, gone
            for event in self.h2.receive_data(to_client):
                self._see(event)

    def open(
        self, body: bytes = frame(b"x"), *, end: bool = True, method: str = "POST", **headers: str
    ) -> int:
        number = self.h2.get_next_available_stream_id()
        named = (
            dict(HEADERS)
            | {":method": method}
            | {k.replace("_", "-"): v for k, v in headers.items()}
        )
        self.h2.send_headers(number, list(named.items()))
        self.send(number, body, end=end)
        return number

    def send(self, number: int, body: bytes, *, end: bool) -> None:
        """Sends as the server gives room, or until it has refused the rest."""
        at = 0
        while at < len(body) and number not in self.resets:
            room = self.h2.local_flow_control_window(number)
            size = min(room, self.h2.max_outbound_frame_size, len(body) - at)
            if size:
                self.h2.send_data(number, body[at : at + size])
                at += size
            assert self.exchange() == ([], []), "no call begins before its request has ended"
        if end and number not in self.resets:
            self.h2.end_stream(number)

    def _see(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.DataReceived():
                number = event.stream_id
                self.h2.acknowledge_received_data(event.flow_controlled_length, number)
                deframer = self._deframers.setdefault(number, Deframer())
                self.messages.setdefault(number, []).extend(deframer.feed(event.data))
            case h2.events.ResponseReceived() | h2.events.TrailersReceived():
                told = {str(name): str(value) for name, value in event.headers}
                self.trailers.setdefault(event.stream_id, {}).update(told)
            case h2.events.StreamReset():
                self.resets[event.stream_id] = int(event.error_code or 0)


def status(client: Client, number: int) -> Code:
    return Code(int(client.trailers[number]["grpc-status"]))


def test_a_call_and_its_answer() -> None:
    client = Client()
    number = client.open(frame(b"ask"), grpc_timeout="1500m", authorization="Bearer x")
    ((call,), gone) = client.exchange()
    assert not gone
    assert (call.path, call.request, call.timeout_ms) == ("/s/M", b"ask", 1_500)
    assert call.metadata[b"authorization"] == b"Bearer x"
    client.wire.send(call, b"one")
    client.wire.send(call, b"two")
    client.wire.end(call)
    client.exchange()
    assert client.messages[number] == [b"one", b"two"]
    assert status(client, number) is Code.OK
    assert client.wire.calls_open() == 0


@pytest.mark.parametrize(
    ("told", "timeout_ms"),
    [
        ("1H", 3_600_000),
        ("2M", 120_000),
        ("3S", 3_000),
        ("4m", 4),
        ("5000u", 5),
        ("1n", 1),
        ("0m", 1),
        ("99999999H", 99_999_999 * 3_600_000),
        ("123456789m", None),
        ("m", None),
        ("1x", None),
        ("-1m", None),
        ("1.5S", None),
    ],
)
def test_timeouts(told: str, timeout_ms: int | None) -> None:
    client = Client()
    client.open(grpc_timeout=told)
    ((call,), _) = client.exchange()
    assert call.timeout_ms == timeout_ms


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", Code.INTERNAL),
        (b"\0\0\0", Code.INTERNAL),
        (frame(b"abc")[:-1], Code.INTERNAL),
        (frame(b"a") + frame(b"b"), Code.INTERNAL),
        (b"\1\0\0\0\0", Code.INTERNAL),
        (b"\0\xff\xff\xff\xff", Code.RESOURCE_EXHAUSTED),
        (b"\0" + (REQUEST_BYTES_MAX + 1).to_bytes(4), Code.RESOURCE_EXHAUSTED),
    ],
)
def test_requests_that_are_none(body: bytes, code: Code) -> None:
    client = Client()
    number = client.open(body)
    begun, _ = client.exchange()
    assert not begun
    assert status(client, number) is code
    other = client.open()
    ((call,), _) = client.exchange()
    assert call.id == other
    assert client.wire.calls_open() == 1


def test_what_is_no_grpc_gets_415() -> None:
    client = Client()
    for number in (client.open(content_type="text/html"), client.open(method="PUT")):
        assert not client.exchange()[0]
        assert client.trailers[number][":status"] == "415"
    number = client.open(grpc_encoding="br")
    assert not client.exchange()[0]
    assert status(client, number) is Code.UNIMPLEMENTED
    assert client.wire.calls_open() == 0


def packed(data: bytes) -> bytes:
    """A frame that says it is compressed."""
    return struct.pack(">BI", 1, len(data)) + data


def test_a_request_may_be_gzip() -> None:
    client = Client()
    for body, request in (
        (packed(gzip.compress(b"ask")), b"ask"),
        (packed(gzip.compress(b"")), b""),
        (frame(b"as it is"), b"as it is"),
    ):
        client.open(body, grpc_encoding="gzip")
        ((call,), _) = client.exchange()
        assert call.request == request


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (gzip.compress(bytes(REQUEST_BYTES_MAX + 1)), Code.RESOURCE_EXHAUSTED),
        (gzip.compress(b"ask")[:-3], Code.INTERNAL),
        (b"no gzip at all", Code.INTERNAL),
    ],
    ids=["bomb", "cut", "junk"],
)
def test_what_does_not_inflate_is_refused(body: bytes, code: Code) -> None:
    client = Client()
    number = client.open(packed(body), grpc_encoding="gzip")
    assert not client.exchange()[0]
    assert status(client, number) is code
    plain = client.open(packed(body))
    assert not client.exchange()[0]
    assert status(client, plain) is Code.INTERNAL


def test_requests_that_are_not_whole_have_a_bound_together() -> None:
    client = Client()
    part = frame(bytes(REQUEST_BYTES_MAX))[:-1]
    whole = INCOMING_BYTES_MAX // len(part)
    held = [client.open(part, end=False) for _ in range(whole)]
    last = client.open(part, end=False)
    assert status(client, last) is Code.RESOURCE_EXHAUSTED
    for number in held:
        client.send(number, b"\0", end=True)
        ((call,), _) = client.exchange()
        assert call.id == number


def test_an_answer_waits_for_room_and_says_so() -> None:
    client = Client()
    client.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
    number = client.open()
    ((call,), _) = client.exchange()
    sent = 0
    while client.wire.has_room(call):
        client.wire.send(call, bytes(10_000))
        sent += 1
    assert WAITING_BYTES_MAX // 10_005 <= sent <= WAITING_BYTES_MAX // 10_005 + 1
    client.wire.end(call, RpcError(Code.ABORTED, "enough"))
    client.exchange()
    assert number not in client.messages and "grpc-status" not in client.trailers[number]
    client.h2.increment_flow_control_window(2**20, number)
    client.exchange()
    assert len(client.messages[number]) == sent
    assert status(client, number) is Code.ABORTED


def test_a_call_that_is_given_up_is_told_once() -> None:
    client = Client()
    number = client.open()
    ((call,), _) = client.exchange()
    client.h2.reset_stream(number, 8)
    _, gone = client.exchange()
    assert gone == [call] and call.is_gone
    client.wire.send(call, b"late")
    client.wire.end(call)
    client.exchange()
    assert client.wire.has_room(call) and client.wire.calls_open() == 0


def test_calls_given_up_without_end_end_the_connection() -> None:
    client = Client()
    kept = client.open()
    ((call,), _) = client.exchange()
    assert call.id == kept
    gone: list[Call] = []
    for _ in range(GIVEN_UP_MAX + 1):
        number = client.open()
        client.exchange()
        client.h2.reset_stream(number, 8)
        gone = client.wire.receive(client.h2.data_to_send())[1]
        if client.wire.broken is None:
            client.exchange()
    assert client.wire.broken == "it began and gave up calls without end"
    assert call in gone and call.is_gone
    assert client.wire.data_to_send()


def test_a_client_that_ends_its_calls_may_give_some_up_for_ever() -> None:
    client = Client()
    for _ in range(2 * GIVEN_UP_MAX):
        client.open()
        ((call,), _) = client.exchange()
        client.wire.end(call)
        number = client.open()
        client.exchange()
        client.h2.reset_stream(number, 8)
        client.exchange()
    assert client.wire.broken is None


def test_the_orderly_end() -> None:
    client = Client()
    before = client.open()
    ((call,), _) = client.exchange()
    client.wire.wind_up()
    # A client that has not seen the goodbye yet.
    after = client.h2.get_next_available_stream_id()
    client.h2.send_headers(after, HEADERS, end_stream=True)
    begun, _ = client.wire.receive(client.h2.data_to_send())
    assert not begun
    client.wire.end(call)
    said = client.wire.data_to_send()
    assert said.index(b"\x07\x00\x00\x00\x00\x00" + before.to_bytes(4)) > 0  # GOAWAY, the last call
    assert client.wire.calls_open() == 0


def test_more_calls_than_there_is_room_for_break_the_rules() -> None:
    client = Client()
    client.exchange()
    for _ in range(CALLS_MAX):
        client.h2.send_headers(client.h2.get_next_available_stream_id(), HEADERS)
        client.exchange()
    assert client.wire.calls_open() == CALLS_MAX
    client.h2.remote_settings[h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS] = 10 * CALLS_MAX
    client.h2.remote_settings.acknowledge()
    client.h2.send_headers(client.h2.get_next_available_stream_id(), HEADERS)
    client.wire.receive(client.h2.data_to_send())
    assert client.wire.broken is not None and client.wire.calls_open() == 0


@pytest.mark.parametrize("seed", range(300))
def test_junk_raises_nothing(seed: int) -> None:
    luck = random.Random(seed)
    client = Client()
    client.h2.send_headers(1, HEADERS)
    client.h2.send_data(1, frame(b"x" * luck.randrange(2_000)), end_stream=True)
    client.h2.ping(b"12345678")
    data = bytearray(client.h2.data_to_send())
    for _ in range(luck.randrange(1, 6)):
        at = luck.randrange(len(data))
        match luck.randrange(4):
            case 0:
                data[at] = luck.randrange(256)
            case 1:
                del data[at : at + luck.randrange(1, 20)]
            case 2:
                data[at:at] = luck.randbytes(luck.randrange(1, 30))
            case 3:
                data[at:at] = data[luck.randrange(len(data)) :][: luck.randrange(1, 60)]
    calls: list[Call] = []
    at = 0
    while at < len(data) and client.wire.broken is None:
        size = luck.randrange(1, 200)
        begun, gone = client.wire.receive(bytes(data[at : at + size]))
        calls += begun
        at += size
        for call in begun:
            if call not in gone:
                client.wire.send(call, b"answer")
                client.wire.end(call)
        client.wire.data_to_send()
    client.wire.break_off("over")
    assert client.wire.calls_open() == 0
