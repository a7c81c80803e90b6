"""Requests that a URL or a service answers: a real server that is slow, cut, huge or wrong."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
from tests.gateway.settings_world import ALL_FORMS, ENGINES, MESH

from gossamer_gateway import tables
from gossamer_gateway.errors import BadRequest, UpstreamFailed
from gossamer_gateway.overrides.deciding import Request
from gossamer_gateway.overrides.forwarding import (
    BODY_BYTES_MAX,
    PASSES_MAX,
    Answer,
    Forwarder,
    open_forwarder,
)
from gossamer_gateway.overrides.overrides import Overrides
from gossamer_gateway.overrides.rules import RULES_MAX, ToUrl
from gossamer_gateway.overrides.serving import CallService
from gossamer_gateway.settings.book import Book
from gossamer_gateway.storage import SqlitePlace, open_storage
from gossamer_mesh.identity import Identity
from gossamer_node.calls import Call, Unanswered
from gossamer_node.jobs import BpmnError, Completed, Failed, Outcome
from gossamer_node.variables import Variables

VIA = "gossamer-1234"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Answers every connection with the same bytes, and keeps what it was asked."""

    def __init__(self, answer: bytes, then: Callable[[], Awaitable[None]] | None = None) -> None:
        self.requests: list[bytes] = []
        self._answer = answer
        self._then = then

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            received = b""
            while b"\r\n\r\n" not in received:
                chunk = await stream.receive_some()
                if not chunk:
                    return
                received += chunk
            head, _, body = received.partition(b"\r\n\r\n")
            length = 0
            for line in head.split(b"\r\n"):
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            while len(body) < length:
                body += await stream.receive_some()
            self.requests.append(head + b"\r\n\r\n" + body)
            try:
                await stream.send_all(self._answer)
            except trio.BrokenResourceError:
                return  # it heard enough
            if self._then is not None:
                await self._then()

    @property
    def headers(self) -> dict[str, str]:
        head = self.requests[-1].partition(b"\r\n\r\n")[0].decode("latin-1")
        pairs = (line.partition(": ") for line in head.split("\r\n")[1:])
        return {name.lower(): value for name, _, value in pairs}


@asynccontextmanager
async def upstream(
    answer: bytes = OK, then: Callable[[], Awaitable[None]] | None = None
) -> AsyncIterator[tuple[Server, str, Forwarder]]:
    server = Server(answer, then)
    async with trio.open_nursery() as nursery, open_forwarder(VIA) as forwarder:
        (listener,) = await nursery.start(
            partial(trio.serve_tcp, server.serve, 0, host="127.0.0.1")
        )
        yield server, f"http://127.0.0.1:{listener.socket.getsockname()[1]}", forwarder
        nursery.cancel_scope.cancel()


def request(method: str = "POST", **headers: str) -> Request:
    given = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Request(method, "/engine-rest/message", given)


async def forward(
    forwarder: Forwarder,
    url: str,
    one: Request | None = None,
    *,
    query: bytes = b"",
    body: bytes = b"{}",
    timeout_ms: int = 20_000,
) -> Answer:
    return await forwarder.forward(ToUrl(url, timeout_ms), {}, one or request(), query, body)


async def test_what_goes_there_and_what_comes_back() -> None:
    answer = (
        b"HTTP/1.1 418 Teapot\r\nContent-Length: 4\r\nX-A: 1\r\nX-A: 2\r\nConnection: X-Hop\r\n"
        b"X-Hop: gone\r\nSet-Cookie: a=b\r\nContent-Encoding: gzip\r\nKeep-Alive: 5\r\n\r\njunk"
    )
    async with upstream(answer) as (server, url, forwarder):
        one = request(
            host="gateway",
            authorization="Bearer secret",
            x_api_key="secret",
            cookie="secret",
            connection="keep-alive, X-Mine",
            x_mine="gone",
            te="trailers",
            transfer_encoding="chunked",
            expect="100-continue",
            content_type="application/json",
            x_tenant="acme",
            via="1.0 front",
        )
        found = await forward(
            forwarder, f"{url}/base/x", one, query=b"a=b%20c&a=%ff", body=b'{"a": 1}'
        )
    assert found.status == 418 and found.body == b"junk"  # as it was sent, though it is no gzip
    assert found.headers == [("x-a", "1"), ("x-a", "2"), ("content-encoding", "gzip")]
    (sent,) = server.requests
    assert sent.startswith(b"POST /base/x?a=b%20c&a=%ff HTTP/1.1\r\n")
    assert sent.endswith(b'\r\n\r\n{"a": 1}') and b"secret" not in sent and b"gone" not in sent
    assert server.headers == {
        "host": url.removeprefix("http://"),
        "connection": "keep-alive",
        "content-type": "application/json",
        "x-tenant": "acme",
        "via": f"1.0 front, 1.1 {VIA}",
        "content-length": "8",
    }


async def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"
    async with upstream(moved) as (server, url, forwarder):
        found = await forward(forwarder, url, request("GET"), body=b"")
        assert (found.status, found.headers) == (302, [("location", "http://169.254.169.254/")])
        assert len(server.requests) == 1 and "content-length" not in server.headers


async def test_circles_are_refused_before_anything_is_sent() -> None:
    async with upstream() as (server, url, forwarder):
        for via in (
            f"1.1 {VIA}",
            f"1.0 front, 1.1 {VIA} (a comment)",
            ",".join(["1.1 a"] * PASSES_MAX),
        ):
            with pytest.raises(UpstreamFailed) as caught:
                await forward(forwarder, url, request(via=via))
            assert caught.value.status == 508
        assert server.requests == []
        await forward(forwarder, url, request(via=f"1.1 {VIA}5"))
        assert len(server.requests) == 1


HUGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + bytes(BODY_BYTES_MAX + 1)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "gave no whole answer"),
        (b"SSH-2.0-OpenSSH\r\n", "gave no whole answer"),
        (b"HTTP/1.1 999999 ?\r\n\r\n", "gave no whole answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\ncut", "gave no whole answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "gave no whole"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "gave no whole answer"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"b" * 200_000 + b"\r\n\r\n", "gave no whole answer"),
        (HUGE, f"answers more than {BODY_BYTES_MAX} bytes"),
    ],
    ids=range(8),
)
async def test_a_wrong_answer_is_502(answer: bytes, said: str) -> None:
    async with upstream(answer) as (_, url, forwarder):
        with pytest.raises(UpstreamFailed) as caught:
            await forward(forwarder, url)
        assert caught.value.status == 502 and said in str(caught.value)


async def test_an_answer_without_end_is_cut_at_its_bound() -> None:
    async with upstream(HUGE, trio.sleep_forever) as (_, url, forwarder):
        with pytest.raises(UpstreamFailed, match="answers more than") as caught:
            await forward(forwarder, url)
        assert caught.value.status == 502


async def test_who_is_not_there_is_502() -> None:
    async with open_forwarder(VIA) as forwarder:
        with pytest.raises(UpstreamFailed, match="gave no whole answer") as caught:
            await forward(forwarder, "http://127.0.0.1:1/")
    assert caught.value.status == 502


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nslow"])
async def test_who_is_slow_is_504_whatever_it_drips(begun: bytes) -> None:
    async with upstream(begun, trio.sleep_forever) as (_, url, forwarder):
        with pytest.raises(UpstreamFailed, match="has not answered within 50 ms") as caught:
            await forward(forwarder, url, timeout_ms=50)
    assert caught.value.status == 504


async def test_a_url_that_is_none_is_the_client_s_matter() -> None:
    async with upstream() as (server, url, forwarder):
        with pytest.raises(BadRequest):
            await forward(forwarder, url, query=b"a\x00b")
        assert server.requests == []


# --- all actions together


@asynccontextmanager
async def opened(call_service: CallService | None = None) -> AsyncIterator[Overrides]:
    async with open_storage(SqlitePlace(None), tables.FORM) as storage, open_forwarder(VIA) as to:
        book = Book(storage, Identity.generate(), MESH, ALL_FORMS)
        yield Overrides(book, ENGINES, to, call_service)


async def answer(overrides: Overrides, one: Request, body: bytes = b"") -> Answer:
    verdict = overrides.decide(one)
    assert verdict is not None
    return await overrides.answer(verdict, one, b"q=1", body)


async def test_rules_come_change_and_go() -> None:
    match = {"path": "/engine-rest/{what}"}
    async with opened() as overrides:
        assert overrides.decide(request()) is None
        await overrides.set("gone", {"match": match, "respond": {"status": 410}}, "ada")
        assert (await answer(overrides, request())).status == 410
        body = {"status": 200, "body": "hello"}
        await overrides.set("first", {"match": match, "respond": body, "position": 1}, "bob")
        assert (await answer(overrides, request())).body == b"hello"
        assert (await answer(overrides, request("HEAD"))).body == b""
        async with upstream() as (server, url, _):
            to_url = {"match": match, "upstream": f"{url}/{{what}}", "position": 101}
            await overrides.set("first", to_url, "bob")
            assert (await answer(overrides, request())).status == 410
            await overrides.remove("gone", "ada")
            assert (await answer(overrides, request())).body == b"ok"
            assert server.requests[0].startswith(b"POST /message?q=1 HTTP/1.1")
        await overrides.remove("first", "eve")
        assert overrides.decide(request()) is None
        assert [one.who for one in await overrides.audit()] == ["eve", "ada", "bob", "bob", "ada"]
        with pytest.raises(BadRequest, match="engine is 'c9'; there are c7, c8"):
            await overrides.set("other", {"match": match, "engine": "c9"}, "ada")
        for number in range(RULES_MAX):
            await overrides.set(f"r{number}", {"match": match, "engine": "c8"}, "ada")
        with pytest.raises(BadRequest, match=f"there are {RULES_MAX} rules"):
            await overrides.set("more", {"match": match, "engine": "c8"}, "ada")
        await overrides.set("r7", {"match": match, "engine": "c7"}, "ada")


@pytest.mark.parametrize(
    ("outcome", "status", "said"),
    [
        (Completed(Variables({"body": {"a": 1}})), 200, '{"a": 1}'),
        (Completed(Variables({"status": 404, "body": "no", "other": 1})), 404, "no"),
        (Completed(), 200, ""),
        (Completed(Variables({"status": 7})), 502, "cannot be told: respond.status is 7"),
        (Completed(Variables({"headers": {"a": "b\r\n"}})), 502, "cannot be told: respond.headers"),
        (BpmnError("E"), 502, "prices ended with the error E."),
        (Failed("broke"), 502, "prices failed: broke"),
        (Unanswered("late", "too late."), 504, "too late."),
        (Unanswered("unavailable", "nobody."), 503, "nobody."),
        (Unanswered("too much", "no."), 503, "no."),
    ],
)
async def test_a_service_answers(outcome: Outcome | Unanswered, status: int, said: str) -> None:
    calls: list[Call] = []

    async def call_service(call: Call) -> Outcome | Unanswered:
        calls.append(call)
        return outcome

    async with opened(call_service) as overrides:
        rule = {"match": {"path": "/engine-rest/{what}"}, "service": {"name": "prices"}}
        await overrides.set("a", rule, "ada")
        one = request(content_type="application/json", authorization="secret", x_a="b")
        try:
            found = await answer(overrides, one, b'{"n": [1]}')
            assert (found.status, found.body.decode()) == (status, said)
        except UpstreamFailed as error:
            assert error.status == status and said in str(error)
    (call,) = calls
    assert (call.service, call.version, call.timeout_ms) == ("prices", "*", 30_000)
    assert call.variables.values == {
        "method": "POST",
        "path": "/engine-rest/message",
        "query": "q=1",
        "headers": {"content-type": "application/json", "x-a": "b"},
        "parts": {"what": "message"},
        "body": {"n": [1]},
    }


@pytest.mark.parametrize("body", [b"{", b"[" * 9_999, b"\xff\xfe", b""])
async def test_a_body_that_is_no_json_goes_as_text(body: bytes) -> None:
    bodies: list[Any] = []

    async def call_service(call: Call) -> Outcome | Unanswered:
        bodies.append(call.variables.values["body"])
        return Completed()

    async with opened(call_service) as overrides:
        await overrides.set("a", {"match": {"path": "/*"}, "service": "prices"}, "ada")
        await answer(overrides, request(content_type="application/json"), body)
    assert bodies == [body.decode("utf-8", "replace")]


async def test_without_a_mesh_a_service_is_unavailable() -> None:
    async with opened() as overrides:
        await overrides.set("a", {"match": {"path": "/*"}, "service": "prices"}, "ada")
        with pytest.raises(UpstreamFailed, match="no mesh is at hand") as caught:
            await answer(overrides, request())
        assert caught.value.status == 503
