"""The gRPC server, called by clients that others wrote (grpcio) and by ours."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
import trio
from tests.gateway.grpc_unary import unary
from tests.patience import patience, until

from gossamer_gateway.grpc import Asked, GrpcServer, Handler
from gossamer_node.grpc import Channel, Code, RpcError

PATH = "/test.Peer/"


class Peer:
    """What the tests ask, and what it saw."""

    def __init__(self) -> None:
        self.began = trio.Event()
        self.ended = trio.Event()
        self.sent = 0

    async def echo(self, asked: Asked) -> bytes:
        return asked.request + asked.metadata.get(b"x-more", b"")

    async def fail(self, asked: Asked) -> bytes:
        raise RpcError(Code.NOT_FOUND, "no such jöb: 50 %")

    async def mistake(self, asked: Asked) -> bytes:
        raise KeyError("a secret")

    async def count(self, asked: Asked) -> None:
        for number in range(int(asked.request)):
            await asked.send(b"%d" % number)
            self.sent += 1
        if asked.metadata.get(b"x-fails"):
            raise RpcError(Code.RESOURCE_EXHAUSTED, "that is all")

    async def hang(self, asked: Asked) -> None:
        self.began.set()
        try:
            await trio.sleep_forever()
        finally:
            self.ended.set()

    def methods(self) -> dict[str, Handler]:
        return {
            PATH + "Echo": unary(self.echo),
            PATH + "Fail": unary(self.fail),
            PATH + "Mistake": unary(self.mistake),
            PATH + "Count": self.count,
            PATH + "Hang": self.hang,
        }


@asynccontextmanager
async def serving(peer: Peer) -> AsyncIterator[tuple[GrpcServer, int]]:
    server = GrpcServer(peer.methods())
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve, listener)
        yield server, listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def in_thread(work: Callable[[], Any]) -> Any:
    with patience():
        return await trio.to_thread.run_sync(work)


async def test_grpcio_calls_it() -> None:
    async with serving(Peer()) as (_, port):

        def calls() -> None:
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                echo = channel.unary_unary(PATH + "Echo")
                assert echo(b"hi") == b"hi"
                assert echo(b"") == b""
                assert echo(b"hi", metadata=[("x-more", "!")]) == b"hi!"
                large = bytes(3 * 2**20)
                assert echo(large) == large
                for method, code, said in [
                    ("Fail", grpc.StatusCode.NOT_FOUND, "no such jöb: 50 %"),
                    (
                        "Mistake",
                        grpc.StatusCode.INTERNAL,
                        "the gateway made a mistake; its log says which",
                    ),
                    ("None", grpc.StatusCode.UNIMPLEMENTED, "/test.Peer/None is not served here"),
                ]:
                    with pytest.raises(grpc.RpcError) as caught:
                        channel.unary_unary(PATH + method)(b"x")
                    assert (caught.value.code(), caught.value.details()) == (code, said)
                with pytest.raises(grpc.RpcError) as caught:
                    echo(bytes(5 * 2**20))
                assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                assert echo(b"still") == b"still"
                count = channel.unary_stream(PATH + "Count")
                assert [int(one) for one in count(b"1000")] == list(range(1000))
                stream = count(b"3", metadata=[("x-fails", "1")])
                assert [next(stream) for _ in range(3)] == [b"0", b"1", b"2"]
                with pytest.raises(grpc.RpcError) as caught:
                    next(stream)
                assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                with pytest.raises(grpc.RpcError) as caught:
                    channel.unary_unary(PATH + "Hang")(b"", timeout=0.1)
                assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED

        await in_thread(calls)


async def test_requests_may_be_compressed() -> None:
    async with serving(Peer()) as (_, port):

        def calls() -> None:
            with grpc.insecure_channel(
                f"127.0.0.1:{port}", compression=grpc.Compression.Gzip
            ) as channel:
                echo = channel.unary_unary(PATH + "Echo")
                assert echo(b"hi" * 1_000) == b"hi" * 1_000
                assert echo(b"") == b""
                with pytest.raises(grpc.RpcError) as caught:
                    echo(bytes(50 * 2**20))  # some KB on the wire
                assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                assert echo(b"still") == b"still"
            with grpc.insecure_channel(
                f"127.0.0.1:{port}", compression=grpc.Compression.Deflate
            ) as channel:
                with pytest.raises(grpc.RpcError) as caught:
                    channel.unary_unary(PATH + "Echo")(b"hi" * 1_000)
                assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED

        await in_thread(calls)


async def test_many_calls_at_once_on_one_connection() -> None:
    async with serving(Peer()) as (_, port):

        def calls() -> None:
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                echo = channel.unary_unary(PATH + "Echo")
                futures = [echo.future(b"%d" % number) for number in range(2000)]
                assert [int(one.result()) for one in futures] == list(range(2000))

        await in_thread(calls)


async def test_a_call_that_is_given_up_ends_its_handler() -> None:
    peer = Peer()
    async with serving(peer) as (_, port):
        channel = Channel("127.0.0.1", port, tls=None, peer="server")
        with patience():
            async with trio.open_nursery() as nursery:

                async def hang() -> None:
                    await channel.call(PATH + "Hang", b"", timeout_ms=60_000)

                nursery.start_soon(hang)
                await peer.began.wait()
                nursery.cancel_scope.cancel()
            await peer.ended.wait()
            assert await channel.call(PATH + "Echo", b"on", timeout_ms=60_000) == [b"on"]
        await channel.aclose()


async def test_a_client_that_reads_nothing_holds_the_sender_back() -> None:
    peer = Peer()
    async with serving(peer) as (_, port):
        channel = Channel("127.0.0.1", port, tls=None, peer="server")
        with patience():
            stream_of = channel.stream(PATH + "Count", b"1000000", server_ends_ms=60_000)
            async with stream_of as stream:
                assert await stream.receive() == b"0"
                # All that may wait is waiting when nothing moves any more.
                before = -1
                while before != peer.sent:
                    before = peer.sent
                    for _ in range(3):
                        await channel.call(PATH + "Echo", b"on", timeout_ms=60_000)
                assert 0 < peer.sent < 100_000
        await channel.aclose()


async def test_an_orderly_stop_lets_calls_finish() -> None:
    peer = Peer()
    finish = trio.Event()

    async def slow(asked: Asked) -> bytes:
        peer.began.set()
        await finish.wait()
        return b"done"

    server = GrpcServer({PATH + "Slow": unary(slow)})
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    channel = Channel("127.0.0.1", port, tls=None, peer="server")
    with patience():
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve, listener)
            async with trio.open_nursery() as calls:

                async def call() -> None:
                    answer = await channel.call(PATH + "Slow", b"", timeout_ms=60_000)
                    assert answer == [b"done"]

                calls.start_soon(call)
                await peer.began.wait()
                calls.start_soon(server.stop)
                await until(lambda: server._stopping)
                with pytest.raises(RpcError) as caught:
                    await channel.call(PATH + "Slow", b"", timeout_ms=60_000)
                assert caught.value.code is Code.UNAVAILABLE
                finish.set()
            nursery.cancel_scope.cancel()
    await channel.aclose()
