"""Whatever answers at an engine's URL, or does not, an adapter raises EngineErrors alone.

Each verb meets each kind of junk from a real peer. A junk answer never passes for success: no
settlement says APPLIED, no job and no instance comes of it.
"""

import gzip
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.node.http_peer import Request, answer, serve

from gossamer_node.engines import exchange
from gossamer_node.engines.config import EngineConfig, Kind
from gossamer_node.engines.factory import open_engine
from gossamer_node.engines.port import Effect, Engine, Settlement, TopicRequest
from gossamer_node.errors import EngineError, EngineRefused, EngineUnavailable, Unsupported
from gossamer_node.jobs import BpmnError, Completed, Failed, JobRef
from gossamer_node.variables import Variables

KINDS: list[Kind] = ["camunda7", "camunda8"]

QUIET_S = 0.05

JOB = JobRef("mine", "1", "t", "w", retries=3)

VERBS: dict[str, Callable[[Engine], Awaitable[object]]] = {
    "probe": lambda engine: engine.probe(),
    "activate": lambda engine: engine.activate(
        [TopicRequest("t")], jobs_max=1, wait_ms=0, worker_id="w"
    ),
    "extend": lambda engine: engine.extend(JOB, 1_000),
    "release": lambda engine: engine.release(JOB),
    "complete": lambda engine: engine.complete(JOB, Completed(Variables({"a": 1}))),
    "fail": lambda engine: engine.fail(JOB, Failed("no", retries=1)),
    "throw_error": lambda engine: engine.throw_error(JOB, BpmnError("CODE")),
    "deploy": lambda engine: engine.deploy({"a.bpmn": b"<a/>"}),
    "start": lambda engine: engine.start("p", variables=Variables()),
    "start_and_wait": lambda engine: engine.start_and_wait("p", variables=Variables(), wait_ms=1),
    "read_variables": lambda engine: engine.read_variables("1"),
    "list_instances": lambda engine: engine.list_instances("p"),
}

JUNK: dict[str, bytes] = {
    "hangs up": b"",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n\r\n",
    "half a head": b"HTTP/1.1 200 OK\r\ncontent-le",
    "half a body": b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{",
    "broken chunks": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    "endless head": b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000,
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}",
    "wild status": b"HTTP/1.1 999 \xff\xfe\r\ncontent-length: 0\r\n\r\n",
    "login page": answer(200, b"<html><body>Please log in</body></html>"),
    "nothing": answer(200),
    "not UTF-8": answer(200, b"\xff\xfe\x00"),
    "gzip": answer(200, gzip.compress(b"{}"), content_encoding="gzip"),
    "deep": answer(200, b"[" * 100_000),
    "long number": answer(200, b"9" * 5_000),
    "list": answer(200, [1]),
    "object of lists": answer(200, {"jobs": [[]], "deployments": [[]], "variables": []}),
    "empty job": answer(200, {"jobs": [{}]}),
    "empty task": answer(200, [{}]),
    "cookie": answer(404, b"gone", set_cookie="a=b; Domain=.; Max-Age=x"),
    "created": answer(201, {}),
    "redirect": answer(302, location="http://127.0.0.1:1/"),
    "redirect home": answer(307, location="/"),
    "unauthorized": answer(401),
    "forbidden": answer(403, b"<html>no</html>"),
    "wrong path": answer(404, b"<html>Not Found</html>"),
    "wrong path as JSON": answer(404, {"type": "NotFoundException", "status": 404}),
    "teapot": answer(418, b"short and stout"),
    "proxy error": answer(500, b"<html>Internal Server Error</html>"),
    "bad gateway": answer(502, b"\x1b[31mbad\x00"),
    "overloaded": answer(503, {"title": "RESOURCE_EXHAUSTED", "detail": "later"}),
}


def engine_at(url: str, kind: Kind) -> Engine:
    return open_engine(EngineConfig("mine", kind, url))


async def trouble(call: Awaitable[object]) -> EngineError | None:
    """The EngineError that `call` raises, or None after a success that no junk can cause."""
    try:
        result = await call
    except EngineError as error:
        return error
    if isinstance(result, Settlement):
        assert result.effect is Effect.NOT_OURS  # 409 on Camunda 8 needs no body
    else:
        assert not result
    return None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("junk", JUNK)
async def test_junk_is_told_in_one_sentence(nursery: trio.Nursery, kind: Kind, junk: str) -> None:
    url = await serve(nursery, lambda _: JUNK[junk])
    engine = engine_at(url, kind)
    for verb, call in VERBS.items():
        error = await trouble(call(engine))
        assert error is not None, verb
        assert "'mine'" in str(error), verb
        assert url in str(error), verb
        assert str(error).isprintable(), verb
        assert len(str(error)) < 1_000, verb
    await engine.aclose()


json_junk: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("jobs", "variables", "type", "value", "valueInfo", "id", "key", "message"),
                    *("topicName", "title", "retries", "brokers", "gatewayVersion", "version"),
                    *("deployments", "deployedProcessDefinitions", "processDefinition"),
                    *("processInstanceId", "processInstanceKey", "workerId", "state"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("kind", KINDS)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=json_junk, status=st.sampled_from([200, 400, 404, 409, 500]))
async def test_json_of_any_shape_raises_engine_errors_alone(
    kind: Kind, body: object, status: int
) -> None:
    async with trio.open_nursery() as peers:
        engine = engine_at(await serve(peers, lambda _: answer(status, body)), kind)
        for call in VERBS.values():
            try:
                json.dumps(str(await call(engine)))
            except EngineError:
                continue
        await engine.aclose()
        peers.cancel_scope.cancel()


@pytest.mark.parametrize("kind", KINDS)
async def test_url_where_nobody_listens(kind: Kind) -> None:
    with socket.socket() as unheard:  # bound, so that nobody else gets the port; not listening
        unheard.bind(("127.0.0.1", 0))
        engine = engine_at(f"http://127.0.0.1:{unheard.getsockname()[1]}", kind)
        for call in VERBS.values():
            try:
                with pytest.raises(EngineUnavailable, match="cannot be reached"):
                    await call(engine)
            except Unsupported:
                continue


@pytest.mark.parametrize("kind", KINDS)
async def test_host_that_has_no_address(kind: Kind) -> None:
    with pytest.raises(EngineUnavailable, match="cannot be reached"):
        await engine_at("http://engine.invalid", kind).probe()


@pytest.mark.parametrize("kind", KINDS)
async def test_engine_that_stays_silent_is_given_up(
    nursery: trio.Nursery, kind: Kind, autojump_clock: trio.testing.MockClock
) -> None:
    # What is on its way comes before the clock jumps.
    autojump_clock.autojump_threshold = QUIET_S
    engine = engine_at(await serve(nursery, lambda _: None), kind)
    for verb, call in VERBS.items():
        if verb == "start_and_wait" and kind == "camunda8":
            assert await call(engine) is None  # as if the instance still ran
            continue
        try:
            with pytest.raises(EngineUnavailable, match="no full answer"):
                await call(engine)
        except Unsupported:
            continue


@pytest.mark.parametrize("kind", KINDS)
async def test_answer_is_read_up_to_its_bound(
    nursery: trio.Nursery, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "ANSWER_BYTES_MAX", 1_000_000)
    # A length that is a lie, so the end can only be the bound's.
    flood = b"HTTP/1.1 200 OK\r\ncontent-length: 9000000000\r\n\r\n" + b" " * 2_000_000
    engine = engine_at(await serve(nursery, lambda _: flood), kind)
    with pytest.raises(EngineUnavailable, match="more than 1000000 bytes"):
        await engine.probe()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("reply", "wait_ms"),
    [
        (answer(429), 500),
        (answer(503), 500),
        (answer(503, retry_after="2"), 2_000),
        (answer(503, retry_after="Fri, 31 Dec 1999 23:59:59 GMT"), 500),
        (answer(502), None),
    ],
)
async def test_overload_says_when_to_come_back(
    nursery: trio.Nursery, kind: Kind, reply: bytes, wait_ms: int | None
) -> None:
    engine = engine_at(await serve(nursery, lambda _: reply), kind)
    for verb in ("activate", "complete", "start"):
        with pytest.raises(EngineUnavailable) as told:
            await VERBS[verb](engine)
        assert told.value.retry_after_ms == wait_ms


@pytest.mark.parametrize(
    ("exception", "code"),
    [("OptimisticLockingException", 1), ("ProcessEnginePersistenceException", 10_000)],
)
async def test_commit_that_met_another_is_sent_again(
    nursery: trio.Nursery, exception: str, code: int
) -> None:
    conflict = answer(500, {"type": exception, "message": "met", "code": code})
    replies = [conflict, conflict, answer(204)]
    engine = engine_at(await serve(nursery, lambda _: replies.pop(0)), "camunda7")
    assert await engine.complete(JOB, Completed()) == Settlement(Effect.APPLIED)
    assert replies == []


async def test_commits_that_keep_meeting_are_given_up(nursery: trio.Nursery) -> None:
    conflict = answer(500, {"type": "OptimisticLockingException", "message": "met", "code": 1})
    engine = engine_at(await serve(nursery, lambda _: conflict), "camunda7")
    with pytest.raises(EngineUnavailable, match="met") as told:
        await engine.complete(JOB, Completed())
    assert told.value.retry_after_ms == 500


async def test_full_poll_queue_of_camunda7_is_told_apart(nursery: trio.Nursery) -> None:
    full = answer(500, {"type": "InvalidRequestException", "message": "too many requests"})
    engine = engine_at(await serve(nursery, lambda _: full), "camunda7")
    with pytest.raises(EngineUnavailable, match="too many requests") as told:
        await VERBS["activate"](engine)
    assert told.value.retry_after_ms == 500


JOB8 = {
    "jobKey": "2251799813685264",
    "type": "t",
    "processInstanceKey": "2251799813685251",
    "processDefinitionId": "p",
    "elementId": "work",
    "customHeaders": {},
    "retries": 3,
    "variables": {},
    "tenantId": "hotel",
}
"""A job of a later Camunda 8."""


async def test_keys_of_later_camunda8_are_read(nursery: trio.Nursery) -> None:
    engine = engine_at(await serve(nursery, lambda _: answer(200, {"jobs": [JOB8]})), "camunda8")
    (got,) = await engine.activate([TopicRequest("t")], jobs_max=1, wait_ms=0, worker_id="w")
    assert got.ref.key == "2251799813685264"
    assert got.process_instance_key == "2251799813685251"
    assert got.tenant == "hotel"


TASK: dict[str, object] = {
    "id": "1",
    "topicName": "t",
    "retries": None,
    "variables": {},
    "processDefinitionKey": "p",
    "processInstanceId": "1",
    "activityId": "work",
    "businessKey": None,
    "tenantId": None,
    "priority": 0,
}
"""A job of Camunda 7."""


@pytest.mark.parametrize(
    "junk",
    [
        {"id": "\ud800"},
        {"retries": float("inf")},
        {"priority": float("inf")},
        {"variables": {"a": {"type": 5, "value": 1}}},
    ],
)
async def test_a_job_that_no_settlement_could_name_is_no_job(
    nursery: trio.Nursery, junk: dict[str, Any]
) -> None:
    engine = engine_at(await serve(nursery, lambda _: answer(200, [TASK | junk])), "camunda7")
    with pytest.raises(EngineUnavailable, match="makes no sense"):
        await VERBS["activate"](engine)


@pytest.mark.parametrize("junk", [{"jobKey": "\ud800"}, {"retries": float("inf")}])
async def test_a_job_of_camunda8_that_no_settlement_could_name_is_no_job(
    nursery: trio.Nursery, junk: dict[str, Any]
) -> None:
    jobs = {"jobs": [JOB8 | junk]}
    engine = engine_at(await serve(nursery, lambda _: answer(200, jobs)), "camunda8")
    with pytest.raises(EngineUnavailable, match="makes no sense"):
        await VERBS["activate"](engine)


async def test_an_installation_of_any_name_has_a_fingerprint(nursery: trio.Nursery) -> None:
    told = {"version": "7.24.0", "installation": "\ud800"}
    engine = engine_at(await serve(nursery, lambda _: answer(200, told)), "camunda7")
    assert len((await engine.probe()).fingerprint) == 32


async def test_redirect_is_not_followed(nursery: trio.Nursery) -> None:
    elsewhere: list[object] = []

    def take(request: Request) -> bytes:
        elsewhere.append(request)
        return answer(204)

    other = await serve(nursery, take)
    engine = engine_at(await serve(nursery, lambda _: answer(307, location=other)), "camunda7")
    with pytest.raises(EngineRefused, match="redirects"):
        await engine.complete(JOB, Completed())
    assert elsewhere == []
