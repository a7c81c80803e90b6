"""Abuse of the whole gateway: whatever comes is answered or cut off, and nothing is our mistake.

Each test ends with a gateway that serves, holds no task more than before, and has an empty log.
"""

import json
import logging
import re
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import h2.config
import h2.connection
import httpx
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.gateway.whole_gateway import SERVICE, Whole, answer, open_whole, open_wrong_engine
from tests.patience import PATIENCE_S, patience, until

from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.zeebe import gateway_pb2 as zeebe
from gossamer_node.grpc import Channel, Code, RpcError

GONE = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)


@pytest.fixture(autouse=True)
def no_mistakes(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    told = [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]
    assert not told, told


@asynccontextmanager
async def open_world(folder: Path) -> AsyncIterator[Whole]:
    """Before two engines that know nothing."""
    said = {"type": "RestException", "message": "none", "title": "NOT_FOUND", "status": 404}
    async with open_wrong_engine(answer(json.dumps(said).encode(), "404 Not Found")) as engine:
        old = EngineConfig("old", "camunda7", engine.url)
        new = EngineConfig("new", "camunda8", engine.url)
        async with open_whole(folder, old, new) as whole:
            yield whole


# --- what is in a request

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.sampled_from(["\ud800", "\0", "x" * 5_000, 2**63, -(2**63) - 1, 10**400, "-1", ""]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)  # fmt: skip

FIELDS = (
    "workerId", "maxTasks", "asyncResponseTimeout", "topics", "topicName", "lockDuration",
    "variables", "localVariables", "retries", "retryTimeout", "errorCode", "errorMessage",
    "newDuration", "businessKey", "processDefinitionKeyIn", "tenantIdIn", "startInstructions",
    "messageName", "correlationKeys", "processVariables", "sorting", "instructions", "name",
    "changeset", "type", "timeout", "maxJobsToActivate", "requestTimeout", "processDefinitionId",
    "processDefinitionKey", "correlationKey", "signalName", "filter", "tenantIds", "page",
    "fetchVariable", "activateInstructions", "terminateInstructions", "migrationPlan", "weights",
    "engines", "rules", "engine", "priority", "when", "then", "action", "match", "url",
)  # fmt: skip

ODD = (
    b"", b"{", b"[]", b"1", b"null", b'"x"', b"\xff\xfe", b'{"a":NaN}', b'{"a":Infinity}',
    b'{"workerId":"\\ud800","type":"\\ud800","processDefinitionId":"\\udfff","name":"\\ud800"}',
    b'{"type":"a","type":5,"workerId":"a","workerId":[]}', b'{"maxTasks":1e999}',
    b"[" * 100_000, b'{"variables":' * 30_000, b'{"a":' + b"9" * 10_000 + b"}",
    b'{"variables":{"a":{"type":"Json","value":"[[[["}}}', b"--x\r\n\r\n--x--", b"\0" * 1_000,
)  # fmt: skip

BODIES = st.sampled_from(ODD) | st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6).map(
    lambda value: json.dumps(value).encode()
)

KINDS = st.sampled_from(
    ["application/json", "multipart/form-data; boundary=x", "multipart/form-data", "text/plain",
     "application/x-ndjson", "application/json; charset=utf-16", "x", ""]
)  # fmt: skip

IDS = st.sampled_from(
    ["a-1", "0", "-1", str(2**51 + 9), "9" * 40, "%00", "%ff", "..", "%2e%2e", "%2F", "é", "a;b=c",
     "00000000-0000-8000-8000-000000000000", "p:1:00000000-0000-8000-8000-000000000000", "x" * 900]
)  # fmt: skip

QUERIES = st.sampled_from(
    ["", "?", "?maxResults=x", "?firstResult=-1&maxResults=99999999999999999999",
     "?limit=x&after=%00", "?a=%ff", "?&&=&", "?" + "a=1&" * 500, "?processDefinitionKey=%ED%A0%80"]
)  # fmt: skip


ALSO = "/engine-rest/engine/default/"
"""Another name of all that is under `/engine-rest/`."""


def rules_of(whole: Whole) -> list[tuple[str, str]]:
    """Method and rule of all that the gateway serves and answers at once."""
    return sorted(
        (method, rule.rule)
        for rule in whole.gateway.app.url_map.iter_rules()
        for method in (rule.methods or {"GET"})
        if rule.rule not in ("/v1/events", "/workflow/events")
    )


async def test_no_request_is_our_mistake(tmp_path: Path) -> None:
    async with open_world(tmp_path) as whole:
        examples: list[tuple[str, str, str, bytes, str]] = []

        @settings(max_examples=600, suppress_health_check=list(HealthCheck), database=None)
        @given(st.sampled_from(rules_of(whole)), IDS, QUERIES, BODIES, KINDS)
        def collect(rule: tuple[str, str], id: str, query: str, body: bytes, kind: str) -> None:
            method, path = rule
            # None waits for long: what would is another test's.
            body = re.sub(rb"requestTimeout|asyncResponseTimeout|waitMs", b"another", body)
            examples.append((method, re.sub(r"<[^>]+>", lambda _: id, path), query, body, kind))

        collect()
        for method, path, query, body, kind in examples:
            headers = {"content-type": kind} if kind else {}
            with patience():
                told = await whole.http.request(
                    method, quote(path, safe="/%;:") + query, content=body, headers=headers
                )
            case = (method, path, query, body[:200], kind, told.status_code, told.text[:300])
            # A client resolves the dots of a path before it asks, and so may leave the dialect.
            asked = told.request.url.path
            assert told.status_code in (501, 502, 503) or told.status_code < 500, case
            if told.status_code >= 400 and method != "HEAD" and asked.startswith("/engine-rest/"):
                assert b'"message"' in told.content, case
            elif told.status_code >= 400 and method != "HEAD" and asked.startswith("/v2/"):
                assert b'"message"' in told.content or b'"status"' in told.content, case


async def test_every_endpoint_takes_every_odd_body(tmp_path: Path) -> None:
    async with open_world(tmp_path) as whole:
        kind = {"content-type": "application/json"}
        for method, rule in rules_of(whole):
            if method not in ("POST", "PUT", "PATCH") or rule.startswith(ALSO):
                continue
            for body in ODD:
                path = re.sub(r"<[^>]+>", "7", rule)
                told = await whole.http.request(method, path, content=body, headers=kind)
                case = (method, path, body[:100], told.status_code, told.text[:300])
                assert told.status_code in (501, 502, 503) or told.status_code < 500, case


async def test_no_message_is_our_mistake(tmp_path: Path) -> None:
    texts = st.text(max_size=10) | st.sampled_from(["\0", "x" * 5_000, "[" * 50_000, '{"a":NaN}'])
    names = [one.name for one in zeebe.DESCRIPTOR.services_by_name["Gateway"].methods]
    async with open_world(tmp_path) as whole:
        examples: list[tuple[str, bytes]] = []

        @settings(max_examples=300, suppress_health_check=list(HealthCheck), database=None)
        @given(st.sampled_from(names), st.data())
        def collect(name: str, data: Any) -> None:
            kind = zeebe.DESCRIPTOR.services_by_name["Gateway"].methods_by_name[name].input_type
            message = getattr(zeebe, kind.name)()
            for field in kind.fields:
                if field.cpp_type == field.CPPTYPE_STRING and field.type == field.TYPE_STRING:
                    some = [data.draw(texts)]
                elif field.cpp_type == field.CPPTYPE_INT64 and field.name != "requestTimeout":
                    some = [data.draw(st.integers(-(2**63), 2**63 - 1) | st.just(2**51 + 3))]
                elif field.cpp_type == field.CPPTYPE_INT32:
                    some = [data.draw(st.integers(-(2**31), 2**31 - 1))]
                else:
                    continue
                if field.is_repeated:
                    getattr(message, field.name).extend(some)
                else:
                    setattr(message, field.name, some[0])
            examples.append((name, message.SerializeToString()))

        collect()
        for name, data in examples:
            try:
                await whole.call(name, data, timeout_ms=300)
            except RpcError as error:
                assert error.code not in (Code.INTERNAL, Code.UNKNOWN), (name, data[:300], error)


# --- how it is sent


def address(whole: Whole) -> tuple[str, int]:
    parts = urlsplit(whole.gateway.url)
    assert parts.hostname and parts.port
    return parts.hostname, parts.port


def grpc_address(whole: Whole) -> tuple[str, int]:
    host, _, port = whole.gateway.grpc.rpartition(":")
    return host, int(port)


async def still_well(whole: Whole) -> None:
    with patience():
        assert (await whole.http.get("/v1/health")).status_code == 200
        await whole.call("Topology")


async def leaves_nothing(whole: Whole, abuse: Callable[[], Awaitable[None]]) -> None:
    """It serves meanwhile and after, and no task is left."""
    await still_well(whole)
    before = trio.lowlevel.current_statistics().tasks_living
    await abuse()
    await still_well(whole)
    await until(lambda: trio.lowlevel.current_statistics().tasks_living <= before + 2)


QUIET_S = 0.5
"""Who has said nothing more by then has nothing more to say."""


async def say(where: tuple[str, int], data: bytes, then: bytes = b"") -> bytes:
    """What comes back until the other end closes, or has nothing more to say.

    Args:
        then: sent after the first bytes that come.
    """
    told = b""
    with patience(), suppress(*GONE):
        async with await trio.open_tcp_stream(*where) as stream:
            with suppress(*GONE):
                await stream.send_all(data)
            if then:
                told = bytes(await stream.receive_some())
            with trio.move_on_after(QUIET_S):
                with suppress(*GONE):
                    await stream.send_all(then)
                while more := await stream.receive_some():
                    told += more
    return told


HEADS = (
    b"BREW /v2/topology HTTP/1.1\r\nhost: localhost\r\n\r\n",
    b"GET / HTTP/9.9\r\nhost: localhost\r\n\r\n",
    b"GET /" + b"a" * 60_000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n",
    b"GET /" + b"a/" * 5_000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n",
    b"GET /engine-rest/../../etc/passwd HTTP/1.1\r\nhost: localhost\r\n\r\n",
    b"GET /page/%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nhost: localhost\r\n\r\n",
    b"GET /engine-rest/%ff%fe HTTP/1.1\r\nhost: localhost\r\n\r\n",
    b"GET http://example.com/v1/health HTTP/1.1\r\nhost: localhost\r\n\r\n",
    b"CONNECT example.com:443 HTTP/1.1\r\nhost: example.com:443\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nhost: localhost\r\n\r\n",
    b"GET /v1/health HTTP/1.1\r\nhost: localhost\r\n" + b"x: y\r\n" * 5_000 + b"\r\n",
    b"GET /v1/health HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 100_000 + b"\r\n\r\n",
    b"GET /v1/health HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
    b"GET /v1/health HTTP/1.1\r\n\r\n",
    b"POST /message HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n",
    b"POST /message HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
    b"POST /message HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    b"POST /message HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999999\r\n\r\n",
    b"POST /engine-rest/message HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n"
    b"content-length: 5\r\n\r\n",
    b"GET /v1/events HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\n"
    b"connection: upgrade\r\n\r\n",
    b"GET /v2/topology HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-version: 13\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500,
    bytes(range(256)) * 100,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 500,
)


async def test_odd_heads_end_their_connection_alone(tmp_path: Path) -> None:
    async with open_world(tmp_path) as whole:

        async def abuse() -> None:
            async with trio.open_nursery() as nursery:
                for head in HEADS:
                    nursery.start_soon(ask, head)

        async def ask(head: bytes) -> None:
            for where in (address(whole), grpc_address(whole)):
                told = await say(where, head)
                assert b" 500 " not in told.partition(b"\r\n")[0], (head[:100], told[:300])
                assert b"root:" not in told

        await leaves_nothing(whole, abuse)


SLOW = 200


async def test_slow_clients_hold_up_nobody(tmp_path: Path) -> None:
    """Half a head, half a body, a greeting and no more: others are served meanwhile."""
    halves = (
        (address, b"GET /v1/health HTTP/1.1\r\nhost: loc"),
        (address, b"POST /engine-rest/message HTTP/1.1\r\nhost: localhost\r\n"
                  b"content-type: application/json\r\ncontent-length: 100\r\n\r\n{"),
        (address, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        (grpc_address, b"PRI * HT"),
        (grpc_address, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"),
    )  # fmt: skip
    async with open_world(tmp_path) as whole:

        async def abuse() -> None:
            streams = []
            for where, half in halves:
                for _ in range(SLOW // len(halves)):
                    streams.append(await trio.open_tcp_stream(*where(whole)))
                    await streams[-1].send_all(half)
            for _ in range(5):
                await still_well(whole)
            for stream in streams:
                await stream.aclose()

        await leaves_nothing(whole, abuse)


RESETS = 3_000


@pytest.mark.parametrize("where", [address, grpc_address], ids=["http", "grpc"])
async def test_streams_begun_and_reset_at_once(
    tmp_path: Path, where: Callable[[Whole], tuple[str, int]]
) -> None:
    """CVE-2023-44487: what was reset costs nothing that stays."""
    async with open_world(tmp_path) as whole:

        async def abuse() -> None:
            wire = h2.connection.H2Connection(h2.config.H2Configuration())
            wire.initiate_connection()
            path = "/v2/topology" if where is address else "/gateway_protocol.Gateway/Topology"
            headers = [
                (":method", "POST"), (":path", path), (":scheme", "http"),
                (":authority", "localhost"), ("content-type", "application/grpc"),
                ("te", "trailers"),
            ]  # fmt: skip
            with suppress(*GONE):
                async with await trio.open_tcp_stream(*where(whole)) as stream:
                    for number in range(1, 2 * RESETS, 2):
                        wire.send_headers(number, headers)
                        wire.reset_stream(number)
                        await stream.send_all(wire.data_to_send())

        with patience():
            await leaves_nothing(whole, abuse)


GREETING = (
    b"GET /v1/events HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-version: 13\r\n\r\n"
)


def masked(first: int, data: bytes) -> bytes:
    """A frame as clients send it, with a mask that changes nothing."""
    if len(data) < 126:
        return bytes((first, 0x80 | len(data))) + bytes(4) + data
    return bytes((first, 0x80 | 126)) + struct.pack("!H", len(data)) + bytes(4) + data


FRAMES = (
    b"\x81\x05hello",
    masked(0x81, b"hello") * 2_000,
    masked(0x81, b"\xff\xfe"),
    masked(0x82, b"x" * 60_000) * 20,
    masked(0x83, b"x"),
    masked(0xF1, b"x"),
    masked(0x09, b"x" * 125),
    masked(0x89, b"x") * 2_000,
    masked(0x88, b"\x03"),
    masked(0x88, struct.pack("!H", 999) + b"x"),
    masked(0x88, b"\x03\xe8\xff"),
    b"\x81\xff" + b"\x7f" * 8 + bytes(4),
    masked(0x01, b"x") + masked(0x01, b"x"),
    masked(0x80, b"x"),
    bytes(range(256)) * 20,
)


@pytest.mark.parametrize("number", range(len(FRAMES)))
async def test_junk_on_the_events(tmp_path: Path, number: int) -> None:
    async with open_world(tmp_path) as whole:

        async def abuse() -> None:
            async def at_once() -> None:
                await say(address(whole), GREETING + FRAMES[number])

            async with trio.open_nursery() as nursery:
                nursery.start_soon(at_once)
                told = await say(address(whole), GREETING, FRAMES[number])
            assert told.startswith(b"HTTP/1.1 101 "), told[:200]

        await leaves_nothing(whole, abuse)


# --- many who wait

WAITING = 300


@pytest.mark.processes
@pytest.mark.usefixtures("short_polls")
async def test_all_who_wait_are_answered_when_it_stops(tmp_path: Path, embedded_url: str) -> None:
    small = EngineConfig("small", "camunda7", embedded_url)
    answers: list[tuple[int, Any]] = []
    ended: list[RpcError | None] = []
    seven = {
        "workerId": "w", "maxTasks": 1, "asyncResponseTimeout": 600_000,
        "topics": [{"topicName": "nothing", "lockDuration": 1_000}],
    }  # fmt: skip
    eight = {
        "type": "nothing", "maxJobsToActivate": 1, "timeout": 1_000, "requestTimeout": 600_000,
    }  # fmt: skip
    with patience(2 * PATIENCE_S):
        async with trio.open_nursery() as nursery:  # noqa: SIM117 - they wait until it has stopped
            async with open_whole(tmp_path, small) as whole:
                limits = httpx.Limits(max_connections=None)
                many = httpx.AsyncClient(base_url=whole.gateway.url, timeout=600, limits=limits)
                host, port = grpc_address(whole)
                channel = Channel(host, port, tls=None, peer="the gateway")

                async def wait(path: str, body: Any) -> None:
                    told = await many.post(path, json=body)
                    answers.append((told.status_code, told.json()))

                async def call() -> None:
                    asked = zeebe.ActivateJobsRequest(
                        type="nothing", maxJobsToActivate=1, timeout=1_000, requestTimeout=600_000
                    ).SerializeToString()
                    path = f"{SERVICE}ActivateJobs"
                    try:
                        await channel.call(path, asked, timeout_ms=600_000, waits=True)
                        ended.append(None)
                    except RpcError as error:
                        ended.append(error)

                for _ in range(WAITING // 3):
                    nursery.start_soon(wait, "/engine-rest/external-task/fetchAndLock", seven)
                    nursery.start_soon(wait, "/v2/jobs/activation", eight)
                    nursery.start_soon(call)
                waiting = whole.gateway.desk.polling.statistics
                await until(lambda: waiting()["waiting"] == WAITING)
                assert waiting()["open"] <= 4, "equal shapes share their polls"
    await many.aclose()
    await channel.aclose()
    assert sorted(answers, key=str) == sorted(
        [(200, []), (200, {"jobs": []})] * (WAITING // 3), key=str
    )
    assert ended == [None] * (WAITING // 3)
