"""The client of the hot path against a real server that behaves, and many that don't."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.certificates import self_signed

from gossamer_gateway.upstreams import http1
from gossamer_gateway.upstreams.http1 import Http1
from gossamer_node.engines.exchange import Answer
from gossamer_node.errors import EngineUnavailable

Talk = Callable[[trio.abc.Stream], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


@asynccontextmanager
async def server(talk: Talk) -> AsyncIterator[tuple[str, list[int]]]:
    """Its URL, and a list that grows by one for each connection."""
    taken: list[int] = []

    async def handle(stream: trio.SocketStream) -> None:
        taken.append(1)
        async with stream:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await talk(stream)

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, handle, [listener])
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}", taken
        nursery.cancel_scope.cancel()


async def read_request(stream: trio.abc.Stream) -> bytes:
    """A whole request; nothing when the client is gone."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = await stream.receive_some()
        if not more:
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    while len(body) < length:
        body += await stream.receive_some()
    return data


def answering(answer: bytes, *, times: int = 10**6) -> Talk:
    async def talk(stream: trio.abc.Stream) -> None:
        for _ in range(times):
            if not await read_request(stream):
                return
            await stream.send_all(answer)

    return talk


@asynccontextmanager
async def client(talk: Talk) -> AsyncIterator[tuple[Http1, list[int]]]:
    async with server(talk) as (url, taken):
        http = Http1(url, peer="Engine 'a'", tls=None)
        yield http, taken
        await http.aclose()


async def post(http: Http1, content: bytes = b"{}", *, within_ms: int = 60_000) -> Answer:
    headers = [("content-type", "application/json")]
    return await http.exchange("POST", "/x", headers, content, within_ms=within_ms)


async def test_one_connection_serves_many_exchanges() -> None:
    async with client(answering(OK)) as (http, taken):
        for _ in range(5):
            assert await post(http) == Answer(200, b"{}", None, "application/json")
    assert len(taken) == 1


async def test_what_is_sent_is_what_was_asked() -> None:
    seen: list[bytes] = []

    async def talk(stream: trio.abc.Stream) -> None:
        seen.append(await read_request(stream))
        await stream.send_all(OK)

    async with server(talk) as (url, _):
        http = Http1(f"{url}/engine-rest/", peer="e", tls=None)
        await http.exchange("PUT", "/a%20b?c=1&d=%C3%A4", [("x-y", "z")], b"body", within_ms=5_000)
        await http.aclose()
    line, *lines = seen[0].partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert line == b"PUT /engine-rest/a%20b?c=1&d=%C3%A4 HTTP/1.1"
    assert b"x-y: z" in [one.lower() for one in lines]
    assert b"content-length: 4" in [one.lower() for one in lines]
    assert seen[0].endswith(b"\r\n\r\nbody")


async def test_at_most_so_many_connections_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "CONNECTIONS_MAX", 3)
    async with client(answering(OK)) as (http, taken), trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(post, http)
    assert len(taken) <= 3


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n",
         b"abcd"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, b"{}"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ],
)  # fmt: skip
async def test_forms_of_answers(answer: bytes, body: bytes) -> None:
    async with client(answering(answer)) as (http, taken):
        for _ in range(2):
            assert (await post(http)).body == body
    assert len(taken) == 1


async def test_an_answer_may_end_with_its_connection() -> None:
    async with client(answering(b"HTTP/1.1 200 OK\r\n\r\nall of it", times=1)) as (http, taken):
        assert (await post(http)).body == b"all of it"
        assert (await post(http)).body == b"all of it"
    assert len(taken) == 2


async def test_retry_after_is_told() -> None:
    answer = b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"
    async with client(answering(answer)) as (http, _):
        told = await post(http)
    assert (told.status, told.retry_after_ms) == (503, 7_000)


async def test_a_connection_that_the_engine_closed_while_idle_is_not_used() -> None:
    closed = trio.Event()

    async def talk(stream: trio.abc.Stream) -> None:
        await read_request(stream)
        await stream.send_all(OK)
        await stream.aclose()
        closed.set()

    async with client(talk) as (http, taken):
        for _ in range(4):
            assert (await post(http)).status == 200
            await closed.wait()
            closed = trio.Event()
    assert len(taken) == 4


async def test_a_change_is_not_sent_twice_when_a_kept_connection_breaks() -> None:
    asked: list[bytes] = []

    async def talk(stream: trio.abc.Stream) -> None:
        asked.append(await read_request(stream))
        await stream.send_all(OK)
        asked.append(await read_request(stream))

    async with client(talk) as (http, _):
        await post(http)
        with pytest.raises(EngineUnavailable, match="without a word"):
            await post(http)
        assert len(asked) == 2
        await post(http)
        # What changes nothing is asked again, once, on a connection of its own.
        assert (await http.exchange("GET", "/x", [], None, within_ms=5_000)).status == 200


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "without a word"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "does not speak HTTP|clos"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: ten\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000, "does not speak HTTP"),
    ],
    ids=["nothing", "ssh", "half", "length", "chunks", "head"],
)
async def test_answers_that_are_none(answer: bytes, why: str) -> None:
    async with client(answering(answer, times=1)) as (http, _):
        with pytest.raises(EngineUnavailable, match=why):
            await post(http)


async def test_an_answer_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "ANSWER_BYTES_MAX", 100_000)

    async def talk(stream: trio.abc.Stream) -> None:
        await read_request(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await stream.send_all(b"a" * 50_000)

    async with client(talk) as (http, _):
        with pytest.raises(EngineUnavailable, match="more than 100000 bytes"):
            await post(http)


async def test_a_trickle_ends_at_the_deadline(autojump_clock: trio.testing.MockClock) -> None:
    async def talk(stream: trio.abc.Stream) -> None:
        await read_request(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            await trio.sleep(0.5)
            await stream.send_all(b"a")

    async with client(talk) as (http, _):
        with pytest.raises(EngineUnavailable, match="within 5 s"):
            await post(http, within_ms=5_000)
        assert trio.current_time() >= 5


async def test_nobody_there() -> None:
    async with server(answering(OK)) as (url, _):
        pass
    http = Http1(url, peer="Engine 'a'", tls=None)
    with pytest.raises(EngineUnavailable, match="Engine 'a' cannot be reached"):
        await post(http)


async def test_a_caller_that_gives_up_leaves_no_half_answer_to_the_next() -> None:
    half = trio.Event()

    async def talk(stream: trio.abc.Stream) -> None:
        request = await read_request(stream)
        if b"slow" in request:
            await stream.send_all(OK[:20])
            half.set()
            await trio.sleep_forever()
        await stream.send_all(OK)

    async with client(talk) as (http, taken):
        await post(http)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(post, http, b"slow")
            await half.wait()
            nursery.cancel_scope.cancel()
        assert (await post(http)).body == b"{}"
    assert len(taken) >= 2


@pytest.mark.parametrize("target", ["/a b", "/a\r\nX: 1", "/\u00e4", "/\x00"])
async def test_what_is_no_target_is_refused_before_anything_is_sent(target: str) -> None:
    async with client(answering(OK)) as (http, taken):
        with pytest.raises(ValueError, match="no request"):
            await http.exchange("GET", target, [], None, within_ms=5_000)
        with pytest.raises(ValueError, match="no request"):
            await http.exchange("GET", "/", [("a", "b\r\nc: d")], None, within_ms=5_000)
    assert not taken


@settings(max_examples=60)
@given(junk=st.binary(max_size=300))
def test_no_answer_raises_anything_else(junk: bytes) -> None:
    async def main() -> None:
        async with client(answering(junk, times=1)) as (http, _):
            with suppress(EngineUnavailable):
                await post(http)

    trio.run(main)


async def test_tls_trusts_whom_it_should(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def handle(stream: trio.SocketStream) -> None:
        secured = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        with suppress(trio.BrokenResourceError):
            await answering(OK)(secured)

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, handle, [listener])
        url = f"https://127.0.0.1:{listener.socket.getsockname()[1]}"
        stranger = Http1(url, peer="e", tls=ssl.create_default_context())
        with pytest.raises(EngineUnavailable, match="ca_file"):
            await post(stranger)
        friend = Http1(url, peer="e", tls=ssl.create_default_context(cafile=str(certificate)))
        for _ in range(2):
            assert (await post(friend)).status == 200
        await friend.aclose()
        nursery.cancel_scope.cancel()
