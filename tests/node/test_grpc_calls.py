"""Our gRPC client against grpcio's server, and against peers that are none."""

import ssl
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
from tests.certificates import self_signed
from tests.node.grpc_answers import Asked, Told, serve_grpc
from tests.node.grpc_peer import peer
from tests.patience import patience

from gossamer_node.grpc import Channel, Code, RpcError, ServerStream, connection
from gossamer_node.grpc import channel as channels
from gossamer_node.grpc.wire import STREAM_WINDOW_BYTES

PATIENCE_MS = 300_000
"""For calls of which no time is measured."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A server that the tests of this file share."""
    with peer() as (port, _):
        yield port


@pytest.fixture
async def channel(port: int) -> Channel:
    return Channel("127.0.0.1", port, tls=None, peer="The peer")


async def call(channel: Channel, method: str, request: bytes = b"", **more: int) -> list[bytes]:
    timeout_ms = more.get("timeout_ms", PATIENCE_MS)
    return await channel.call(f"/peer/{method}", request, timeout_ms=timeout_ms)


def stream_of(
    channel: Channel, path: str, request: bytes
) -> AbstractAsyncContextManager[ServerStream]:
    return channel.stream(path, request, server_ends_ms=PATIENCE_MS)


async def seen(channel: Channel) -> list[int]:
    """Calls that the server saw cancelled, messages that it pushed, the last call's deadline."""
    (told,) = await call(channel, "seen")
    return [int(one) for one in told.split()]


async def test_one_request_one_answer_and_metadata(channel: Channel) -> None:
    assert await call(channel, "echo", b"a room") == [b"a room"]
    (told,) = await channel.call(
        "/peer/echo", b"", timeout_ms=PATIENCE_MS, metadata=[(b"authorization", b"Bearer key")]
    )
    assert told == b"Bearer key"
    _, _, remaining_ms = await seen(channel)
    assert 0 < remaining_ms <= PATIENCE_MS
    await channel.aclose()


@pytest.mark.parametrize("size", [0, STREAM_WINDOW_BYTES, 5_000_000])
async def test_messages_of_any_size_both_ways(channel: Channel, size: int) -> None:
    message = bytes(range(256)) * (size // 256 + 1)
    assert await call(channel, "echo", message) == [message]
    await channel.aclose()


async def test_many_calls_at_once_on_one_connection(channel: Channel) -> None:
    answers: dict[int, list[bytes]] = {}

    async def ask(number: int) -> None:
        answers[number] = await call(channel, "echo", b"%d" % number)

    async with trio.open_nursery() as nursery:
        for number in range(400):
            nursery.start_soon(ask, number)
    assert answers == {number: [b"%d" % number] for number in range(400)}
    await channel.aclose()


async def test_a_stream_brings_every_message_in_order(channel: Channel) -> None:
    messages = await call(channel, "count", b"500 3000 0")
    assert [int.from_bytes(one[:4], "big") for one in messages] == list(range(500))
    async with stream_of(channel, "/peer/count", b"500 3000 0") as stream:
        for number in range(500):
            message = await stream.receive()
            assert message is not None and int.from_bytes(message[:4], "big") == number
        assert await stream.receive() is None
    await channel.aclose()


async def test_errors_are_the_servers_before_and_after_data(channel: Channel) -> None:
    with pytest.raises(RpcError, match="The peer did not do /peer/fail: NOT_FOUND: no room: ü %"):
        await call(channel, "fail", "no room: ü %".encode())
    with pytest.raises(RpcError, match="UNIMPLEMENTED"):
        await call(channel, "nothing")
    with pytest.raises(RpcError) as caught:
        await call(channel, "count", b"3 10 1")
    assert (caught.value.code, caught.value.said) == (Code.RESOURCE_EXHAUSTED, "no more: ü % .")
    taken = 0
    async with stream_of(channel, "/peer/count", b"3 10 1") as stream:
        with pytest.raises(RpcError, match="The peer ended /peer/count: RESOURCE_EXHAUSTED"):
            while await stream.receive() is not None:
                taken += 1
    assert taken == 3
    await channel.aclose()


async def test_a_slow_reader_holds_the_server_back_and_nobody_else(channel: Channel) -> None:
    async with stream_of(channel, "/peer/push", bytes(2_000)) as stream:
        assert await stream.receive() is not None
        before = -1
        with patience():
            while True:  # until the server can push no more
                _, pushed, _ = await seen(channel)
                if pushed == before:
                    break
                before = pushed
                await call(channel, "wait", b"200")
        # What fits into the stream's window, and the server's own buffers.
        assert pushed * 2_000 < 4 * STREAM_WINDOW_BYTES
        assert len(await call(channel, "count", b"500 3000 0")) == 500
        first = 2
        for number in range(first, pushed + 100):  # and then it goes on
            message = await stream.receive()
            assert message is not None and int.from_bytes(message[:4], "big") == number
    await channel.aclose()


async def test_what_was_on_its_way_when_a_stream_was_ceased_is_not_lost(channel: Channel) -> None:
    _, before, _ = await seen(channel)
    async with stream_of(channel, "/peer/push", bytes(50)) as stream:
        numbers = []
        for _ in range(20):
            message = await stream.receive()
            assert message is not None
            numbers.append(int.from_bytes(message[:4], "big"))
        with patience():
            while (await seen(channel))[1] < numbers[-1] + 10:
                await call(channel, "wait", b"10")
        numbers += [int.from_bytes(one[:4], "big") for one in await stream.cease()]
    _, after, _ = await seen(channel)
    assert numbers == list(range(before + 1, before + 1 + len(numbers)))
    # grpcio drops what its own queue still holds; what was written arrives.
    assert after - before - len(numbers) <= 2 and len(numbers) > 20
    await channel.aclose()


async def test_a_stream_that_nobody_reads_is_ended_by_the_server(channel: Channel) -> None:
    async with channel.stream("/peer/push", bytes(50), server_ends_ms=200) as stream:
        assert await stream.receive() is not None
        with patience():
            pushed = -1
            while pushed != (pushed := (await seen(channel))[1]):
                await call(channel, "wait", b"100")
        with pytest.raises(RpcError, match="The peer ended /peer/push"):
            while True:
                await stream.receive()
    await channel.aclose()


async def test_a_deadline_and_a_cancelled_call_reset_the_stream_alone(channel: Channel) -> None:
    before, _, _ = await seen(channel)
    # The server keeps the deadline as well; whoever is first, it is told alike.
    with pytest.raises(RpcError, match=r"DEADLINE_EXCEEDED: no full answer within 0\.1 s"):
        await call(channel, "wait", b"20000", timeout_ms=100)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call, channel, "wait", b"20000")
        await call(channel, "wait", b"100")
        nursery.cancel_scope.cancel()
    with patience():
        while (await seen(channel))[0] < before + 2:
            await call(channel, "wait", b"20")
    assert channel._connection is not None and channel._connection.wire.calls_open() == 0
    await channel.aclose()


async def test_a_server_that_stops_finishes_what_it_began() -> None:
    with peer() as (port, process):
        channel = Channel("127.0.0.1", port, tls=None, peer="The peer")
        answers: list[bytes] = []

        async def begun() -> None:
            answers.extend(await call(channel, "wait", b"1500"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(begun)
            await call(channel, "wait", b"100")
            process.terminate()
            with pytest.raises(RpcError) as caught:
                while True:
                    await call(channel, "wait", b"10")
            # grpcio takes some that come in between, and cancels them.
            assert caught.value.code in (Code.UNAVAILABLE, Code.CANCELLED)
        assert answers == [b"waited"]
        await channel.aclose()


async def test_a_server_that_dies_and_comes_back() -> None:
    with peer() as (port, process):
        channel = Channel("127.0.0.1", port, tls=None, peer="The peer")
        assert await call(channel, "echo", b"a") == [b"a"]
        async with trio.open_nursery() as nursery:

            async def open_call() -> None:
                with pytest.raises(RpcError, match="UNAVAILABLE"):
                    await call(channel, "wait", b"20000")

            nursery.start_soon(open_call)
            await call(channel, "wait", b"50")
            process.kill()
            process.wait()
        with pytest.raises(RpcError, match="UNAVAILABLE: it cannot be reached"):
            await call(channel, "echo", b"a")
    with peer(port=port):
        assert await call(channel, "echo", b"again") == [b"again"]
    # It died while nobody waited: the next call must not go to the dead.
    with peer(port=port):
        assert await call(channel, "echo", b"at once") == [b"at once"]
    await channel.aclose()


async def test_the_other_end_of_a_half_open_connection_is_missed(
    monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    monkeypatch.setattr(connection, "KEEPALIVE_MS", 100)
    monkeypatch.setattr(connection, "KEEPALIVE_ANSWER_MS", 100)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        nursery.start_soon(_accept_and_say_nothing, listener)
        port = listener.socket.getsockname()[1]
        channel = Channel("127.0.0.1", port, tls=None, peer="The peer")
        async with stream_of(channel, "/peer/push", b"") as stream:
            with pytest.raises(RpcError, match=r"no sign of life within 0\.1 s"):
                await stream.receive()
        await channel.aclose()


async def test_a_server_that_let_a_deadline_pass_in_silence_is_left(
    monkeypatch: pytest.MonkeyPatch,
    nursery: trio.Nursery,
    autojump_clock: trio.testing.MockClock,
) -> None:
    # Silence is measured here, and nothing else shall pass for it.
    autojump_clock.autojump_threshold = 0.05
    monkeypatch.setattr(connection, "KEEPALIVE_ANSWER_MS", 100)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        nursery.start_soon(_accept_and_say_nothing, listener)
        port = listener.socket.getsockname()[1]
        channel = Channel("127.0.0.1", port, tls=None, peer="The peer")
        with pytest.raises(RpcError, match="DEADLINE_EXCEEDED"):
            await call(channel, "echo", timeout_ms=20)  # too soon to tell
        first = channel._connection
        assert first is not None and first.wire.is_usable()
        with pytest.raises(RpcError, match="DEADLINE_EXCEEDED"):
            await call(channel, "echo", timeout_ms=150)
        assert channel._connection is first and not first.wire.is_usable()
        await channel.aclose()


async def test_calls_that_wait_leave_room_for_others(
    monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    monkeypatch.setattr(channels, "BEGIN_MS_MAX", 200)

    def respond(asked: Asked) -> Told | None:
        return Told((b"done",)) if asked.method == "quick" else None

    host, _, port = (await serve_grpc(nursery, respond, calls_max=4)).partition(":")
    channel = Channel(host, int(port), tls=None, peer="The peer")
    assert await call(channel, "quick") == [b"done"]  # now the bound is known
    async with stream_of(channel, "/peer/push", b""), stream_of(channel, "/peer/push", b""):
        with pytest.raises(RpcError, match=r"UNAVAILABLE: it was not let in within 0\.2 s"):
            async with stream_of(channel, "/peer/push", b""):
                pass
        async with trio.open_nursery() as waiting:
            for _ in range(3):  # one is let in
                waiting.start_soon(
                    partial(channel.call, "/peer/wait", b"", timeout_ms=PATIENCE_MS, waits=True)
                )
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert channel._connection is not None
            assert channel._connection.wire.calls_open() == 3
            for _ in range(5):
                assert await call(channel, "quick") == [b"done"]
            waiting.cancel_scope.cancel()
    await channel.aclose()
    nursery.cancel_scope.cancel()


async def test_a_call_that_is_given_up_leaves_its_place_to_the_next(nursery: trio.Nursery) -> None:
    def respond(asked: Asked) -> Told | None:
        return Told((b"done",)) if asked.method == "quick" else None

    host, _, port = (await serve_grpc(nursery, respond, calls_max=1)).partition(":")
    channel = Channel(host, int(port), tls=None, peer="The peer")
    assert await call(channel, "quick") == [b"done"]
    answers: list[bytes] = []

    async def next_one() -> None:
        answers.extend(await call(channel, "quick"))

    async with trio.open_nursery() as waiting:
        with pytest.raises(RpcError, match="DEADLINE_EXCEEDED"):
            async with stream_of(channel, "/peer/push", b""):
                waiting.start_soon(next_one)
                await call(channel, "quick", timeout_ms=100)
    assert answers == [b"done"]
    await channel.aclose()
    nursery.cancel_scope.cancel()


async def test_a_cancelled_answer_is_a_deadline_only_where_that_is_over(
    nursery: trio.Nursery,
) -> None:
    address = await serve_grpc(nursery, lambda asked: Told(status=Code.CANCELLED))
    host, _, port = address.partition(":")
    channel = Channel(host, int(port), tls=None, peer="The peer")
    with pytest.raises(RpcError, match="CANCELLED"):
        await call(channel, "echo")
    with pytest.raises(RpcError, match="DEADLINE_EXCEEDED"):
        await call(channel, "echo", timeout_ms=channels.CLOCKS_MS)
    await channel.aclose()
    nursery.cancel_scope.cancel()


async def test_calls_that_wait_for_a_connection_share_its_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attempts = 0
    connect = connection.connect

    async def counted(
        host: str, port: int, tls: ssl.SSLContext | None, dial: connection.Dial
    ) -> connection.Connection:
        nonlocal attempts
        attempts += 1
        await trio.sleep(0.01)
        return await connect(host, port, tls, dial)

    monkeypatch.setattr(channels, "connect", counted)
    channel = Channel("127.0.0.1", 1, tls=None, peer="The peer")

    async def ask() -> None:
        with pytest.raises(RpcError, match="UNAVAILABLE: it cannot be reached"):
            await call(channel, "echo")

    for expected in (1, 2):
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(ask)
        assert attempts == expected


async def test_a_connection_that_rested_for_long_is_asked_and_used(channel: Channel) -> None:
    assert await call(channel, "echo", b"a") == [b"a"]
    first = channel._connection
    assert first is not None
    first._heard_s -= 10 * connection.KEEPALIVE_MS
    first._asked_s = first._heard_s
    assert await call(channel, "echo", b"b") == [b"b"]
    assert channel._connection is first
    await channel.aclose()


async def _accept_and_say_nothing(listener: trio.SocketListener) -> None:
    while True:
        try:
            stream = await listener.accept()
        except trio.ClosedResourceError:
            return
        async with stream:
            async for _ in stream:
                pass


@pytest.mark.parametrize(
    ("junk", "told"),
    [
        (b"", "it ended the connection"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "broke the rules of HTTP/2"),
        (b"SSH-2.0-OpenSSH\r\n" + bytes(100), "broke the rules of HTTP/2"),
        (bytes(9), "broke the rules of HTTP/2|ended the connection"),
    ],
)
async def test_a_peer_that_speaks_no_grpc(junk: bytes, told: str, nursery: trio.Nursery) -> None:
    async def answer(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(junk)

    listeners: list[trio.SocketListener] = await nursery.start(
        partial(trio.serve_tcp, answer, 0, host="127.0.0.1")
    )
    port = listeners[0].socket.getsockname()[1]
    channel = Channel("127.0.0.1", port, tls=None, peer="The peer")
    with pytest.raises(RpcError, match=told) as caught:
        await call(channel, "echo")
    assert caught.value.code is Code.UNAVAILABLE
    await channel.aclose()
    nursery.cancel_scope.cancel()


async def test_tls_with_an_authority_of_ones_own(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    ours = ssl.create_default_context(cafile=certificate)
    others = ssl.create_default_context()
    for one in (ours, others):
        one.set_alpn_protocols(["h2"])
    with peer(str(certificate), str(key)) as (port, _):
        channel = Channel("127.0.0.1", port, tls=ours, peer="The peer")
        for _ in range(3):
            assert await call(channel, "echo", b"secret" * 100_000) == [b"secret" * 100_000]
            first = channel._connection
            with pytest.raises(RpcError, match="DEADLINE_EXCEEDED"):
                await call(channel, "wait", b"20000", timeout_ms=50)
            assert channel._connection is first  # which outlives a call that was cancelled
        await channel.aclose()
        channel = Channel("127.0.0.1", port, tls=others, peer="The peer")
        with pytest.raises(RpcError, match="name its authority as ca_file") as caught:
            await call(channel, "echo")
        assert caught.value.untouched
        await channel.aclose()
        channel = Channel("127.0.0.1", port, tls=None, peer="The peer")
        with pytest.raises(RpcError, match="UNAVAILABLE"):
            await call(channel, "echo")
        await channel.aclose()
