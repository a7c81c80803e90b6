"""Engines that are down, slow, cut off, or no engines: their own instances are unavailable, in the
dialect of whoever asks, and nobody else notices.

The engines are real and behind a way that can be cut; what no real engine can be made to do, a
`WrongEngine` does.
"""

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import trio
from tests.gateway.eight_engines import at_engine
from tests.gateway.relay import Relay
from tests.gateway.seven_stage import one_task
from tests.gateway.whole_gateway import Whole, WrongEngine, answer, open_whole, open_wrong_engine
from tests.patience import patience, seen

from gossamer_gateway.desk import ENGINE_HEADER
from gossamer_gateway.upstreams.http1 import Http1
from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.zeebe import gateway_pb2 as zeebe
from gossamer_node.grpc import Code, RpcError

OLD, NEW = "old", "new"
SLOW_MS = 700
"""How long an engine that says nothing is waited for, where a test shortens it."""


@pytest.fixture(autouse=True)
def no_mistakes(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    told = [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]
    assert not told, told


@dataclass(frozen=True)
class Told:
    """An answer of any dialect: a status of REST v2's scale."""

    status: int
    said: str


class Talk:
    """One gateway, in three dialects."""

    def __init__(self, whole: Whole) -> None:
        self.whole = whole

    async def seven(self, method: str, path: str, body: Any = None, **more: str) -> Told:
        headers = {ENGINE_HEADER: more["engine"]} if more else {}
        told = await self.whole.http.request(
            method, f"/engine-rest{path}", json=body, headers=headers
        )
        if told.status_code >= 400:
            said = told.json()
            assert set(said) == {"type", "message", "code"}, told.text
            self._later(told)
            return Told(told.status_code, said["message"])
        return Told(told.status_code, told.text)

    async def eight(self, method: str, path: str, body: Any = None, **more: str) -> Told:
        headers = {ENGINE_HEADER: more["engine"]} if more else {}
        told = await self.whole.http.request(method, f"/v2{path}", json=body, headers=headers)
        if told.status_code >= 400:
            assert told.headers["content-type"] == "application/problem+json", told.text
            assert told.json()["status"] == told.status_code
            self._later(told)
            return Told(told.status_code, told.json()["detail"])
        return Told(told.status_code, told.text)

    async def grpc(self, method: str, request: Any) -> Told:
        try:
            await self.whole.call(method, request.SerializeToString())
        except RpcError as error:
            status = {Code.UNAVAILABLE: 503, Code.NOT_FOUND: 404}.get(error.code, 500)
            return Told(status, str(error))
        return Told(200, "")

    def _later(self, told: httpx.Response) -> None:
        assert told.status_code != 503 or int(told.headers["retry-after"]) >= 1

    async def start(self, engine: str, process: str) -> list[Told]:
        """In each dialect."""
        headers = [(ENGINE_HEADER.encode(), engine.encode())]
        asked = zeebe.CreateProcessInstanceRequest(bpmnProcessId=process, version=-1)
        told = [
            await self.seven("POST", f"/process-definition/key/{process}/start", {}, engine=engine),
            await self.eight(
                "POST", "/process-instances", {"processDefinitionId": process}, engine=engine
            ),
        ]
        try:
            await self.whole.channel.call(
                "/gateway_protocol.Gateway/CreateProcessInstance",
                asked.SerializeToString(),
                timeout_ms=60_000,
                metadata=headers,
            )
            told.append(Told(200, ""))
        except RpcError as error:
            told.append(Told(503 if error.code is Code.UNAVAILABLE else 500, str(error)))
        return told

    def fetch(self, topic: str, wait_ms: int) -> Awaitable[httpx.Response]:
        body = {
            "workerId": "w", "maxTasks": 1, "asyncResponseTimeout": wait_ms,
            "topics": [{"topicName": topic, "lockDuration": 600_000}],
        }  # fmt: skip
        return self.whole.http.post("/engine-rest/external-task/fetchAndLock", json=body)

    def activate(self, topic: str, wait_ms: int) -> Awaitable[httpx.Response]:
        body = {
            "type": topic, "worker": "w", "maxJobsToActivate": 1, "timeout": 600_000,
            "requestTimeout": wait_ms,
        }  # fmt: skip
        return self.whole.http.post("/v2/jobs/activation", json=body)


@dataclass(frozen=True)
class World:
    talk: Talk
    relays: dict[str, list[Relay]]
    process: str

    def cut(self, engine: str) -> None:
        for one in self.relays[engine]:
            one.cut()

    def mend(self, engine: str) -> None:
        for one in self.relays[engine]:
            one.mend()


@pytest.fixture
async def world(
    camunda7_url: str, zeebe_url: str, zeebe_grpc_address: str, tmp_path: Path
) -> AsyncIterator[World]:
    name = f"t{uuid4().hex}"
    async with trio.open_nursery() as nursery:
        relays = {OLD: [Relay(camunda7_url)], NEW: [Relay(zeebe_url), Relay(zeebe_grpc_address)]}
        for some in relays.values():
            for one in some:
                await nursery.start(one.run)
        direct = (
            EngineConfig(OLD, "camunda7", camunda7_url),
            EngineConfig(NEW, "camunda8", zeebe_url, grpc=zeebe_grpc_address),
        )
        for config in direct:
            async with at_engine(config) as engine:
                await engine.deploy({f"{name}.bpmn": one_task(name, config.kind)})
        configs = (
            EngineConfig(OLD, "camunda7", relays[OLD][0].address),
            EngineConfig(NEW, "camunda8", relays[NEW][0].address, grpc=relays[NEW][1].address),
        )
        async with open_whole(tmp_path, *configs) as whole:
            yield World(Talk(whole), relays, name)
        nursery.cancel_scope.cancel()


@pytest.mark.camunda7
@pytest.mark.zeebe
@pytest.mark.usefixtures("short_polls")
@pytest.mark.parametrize(("away", "other"), [(OLD, NEW), (NEW, OLD)])
async def test_nobody_else_notices(world: World, away: str, other: str) -> None:
    """Neither a start nor somebody who waits, and then all goes on."""
    talk, process = world.talk, world.process
    for told in (*await talk.start(away, process), *await talk.start(other, process)):
        assert told.status == 200, told
    tasks = [one for _ in range(6) for one in await seen(lambda: jobs_of(talk.fetch(process, 200)))]
    mine = next(one for one in tasks if is_of(one, away))
    theirs = next(one for one in tasks if is_of(one, other))

    results: dict[str, httpx.Response] = {}

    async def wait(name: str, asking: Callable[[str, int], Awaitable[httpx.Response]]) -> None:
        results[name] = await asking(process, 50_000)

    with patience():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, "seven", talk.fetch)
            nursery.start_soon(wait, "eight", talk.activate)
            polling = talk.whole.gateway.desk.polling
            await seen(lambda: checked(polling.statistics()["waiting"] == 2))
            world.cut(away)
            for told in await talk.start(away, process):
                assert told.status == 503, told
                assert away in told.said, told
            path = f"/external-task/{mine['id']}/complete"
            told = await talk.seven("POST", path, {"workerId": "w"})
            assert (told.status, away in told.said) == (503, True), told
            path = f"/external-task/{theirs['id']}/complete"
            assert (await talk.seven("POST", path, {"workerId": "w"})).status == 204
            assert not results, "they wait for the other engine's jobs"
            started = await talk.start(other, process)
            assert [one.status for one in started] == [200, 200, 200]
    for name, result in results.items():
        assert result.status_code == 200, (name, result.text)
    assert len(results["seven"].json()) == 1 and is_of(results["seven"].json()[0], other)
    assert len(results["eight"].json()["jobs"]) == 1

    world.mend(away)

    async def back() -> bool:
        path = f"/external-task/{mine['id']}/complete"
        told = await talk.seven("POST", path, {"workerId": "w"})
        assert told.status in (204, 503), told
        return told.status == 204

    await seen(back, pause_s=0.1)

    async def starts() -> bool:
        return all(one.status == 200 for one in await talk.start(away, process))

    await seen(starts, pause_s=0.5)


async def checked(is_so: bool) -> bool:
    return is_so


async def jobs_of(asking: Awaitable[httpx.Response]) -> list[dict[str, Any]]:
    told = await asking
    assert told.status_code == 200, told.text
    found: list[dict[str, Any]] = told.json()
    return found


def is_of(task: dict[str, Any], engine: str) -> bool:
    """Whose a task is: Camunda 8's have ids of the gateway, UUIDs of version 8."""
    return (str(task["id"])[14] == "8") == (engine == NEW)


# --- what no real engine does

PAGE = b"<html><body>hello</body></html>"
WRONG = {
    "silent": None,
    "closes at once": b"",
    "half a head": b"HTTP/1.1 200 OK\r\ncontent-ty",
    "half a body": answer(b'{"id": "a-1", "definitionKey": "p"}' * 9)[:-40],
    "half a chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffff\r\n{",
    "no HTTP": b"220 mail.example.com ESMTP ready\r\n" * 3,
    "bytes": bytes(range(256)) * 300,
    "huge head": b"HTTP/1.1 200 OK\r\nx: " + b"x" * 200_000,
    "huge length": b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n{}",
    "a page of an error": answer(PAGE, "502 Bad Gateway", "text/html"),
    "a page of nothing": answer(PAGE, "404 Not Found", "text/html;charset=utf-8"),
    "nothing in plain text": answer(b"default backend - 404", "404 Not Found", "text/plain"),
    "overload in plain text": answer(b"upstream gone", "503 Service Unavailable", "text/plain"),
    "leads elsewhere": b"HTTP/1.1 302 Found\r\nlocation: /login\r\ncontent-length: 0\r\n\r\n",
    "switches": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
}  # fmt: skip

NONSENSE = {
    "a page": answer(PAGE, kind="text/html"),
    "a list": answer(b"[1]"),
    "a number": answer(b"1"),
    "nothing": answer(b""),
    "deep": answer(b"[" * 100_000),
    "wrong types": answer(
        json.dumps(
            {
                "id": 5, "definitionId": [], "definitionKey": {}, "processInstanceKey": "x",
                "processDefinitionKey": None, "processDefinitionVersion": {}, "jobs": [5],
                "processDefinitionId": 7, "items": 5, "key": [],
            }
        ).encode()
    ),
    "half a surrogate": answer(
        b'{"id":"\\ud800","definitionId":"a:1:b","definitionKey":"\\ud800",'
        b'"processInstanceKey":1,"processDefinitionKey":1,"processDefinitionVersion":1,'
        b'"processDefinitionId":"\\ud800"}'
    ),
}  # fmt: skip
"""Answers of a server that is no engine: perhaps passed on to a client of the same dialect, who
makes of them what it can; never our mistake, and never believed."""


@asynccontextmanager
async def open_wrong(folder: Path, says: bytes | None) -> AsyncIterator[tuple[Talk, WrongEngine]]:
    async with open_wrong_engine(says) as wrong:
        old = EngineConfig(OLD, "camunda7", wrong.url)
        new = EngineConfig(NEW, "camunda8", wrong.url)
        async with open_whole(folder, old, new) as whole:
            yield Talk(whole), wrong


def asked_in_all(talk: Talk) -> list[Callable[[], Awaitable[Told]]]:
    """One request of each kind, in each dialect, at both engines, by name."""
    eight = talk.whole.gateway.desk.engines.eight
    assert eight is not None
    job = 2**51 + 7
    return [
        lambda: talk.seven("POST", "/process-definition/key/p/start", {}, engine=OLD),
        lambda: talk.seven("POST", "/process-definition/key/p/start", {}, engine=NEW),
        lambda: talk.eight("POST", "/process-instances", {"processDefinitionId": "p"}, engine=OLD),
        lambda: talk.eight("POST", "/process-instances", {"processDefinitionId": "p"}, engine=NEW),
        lambda: talk.seven("POST", "/external-task/a-1/complete", {"workerId": "w"}),
        lambda: talk.seven("GET", "/process-instance/a-1"),
        lambda: talk.seven("POST", "/external-task/fetchAndLock", {
            "workerId": "w", "maxTasks": 1, "topics": [{"topicName": "t", "lockDuration": 1_000}]
        }),
        lambda: talk.eight("POST", f"/jobs/{job}/completion", {}),
        lambda: talk.eight("POST", "/jobs/activation", {
            "type": "t", "timeout": 1_000, "maxJobsToActivate": 1, "requestTimeout": 100
        }),
        lambda: talk.grpc("CompleteJob", zeebe.CompleteJobRequest(jobKey=job, variables="{}")),
        lambda: talk.grpc("CreateProcessInstance", zeebe.CreateProcessInstanceRequest(
            bpmnProcessId="p", version=-1, variables="{}"
        )),
        lambda: talk.grpc("ActivateJobs", zeebe.ActivateJobsRequest(
            type="t", timeout=1_000, maxJobsToActivate=1, requestTimeout=100
        )),
    ]  # fmt: skip


@pytest.mark.parametrize("how", WRONG)
async def test_what_is_no_answer_is_unavailable(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shortened(monkeypatch)
    async with open_wrong(tmp_path, WRONG[how]) as (talk, _):
        for number, ask in enumerate(asked_in_all(talk)):
            with patience():
                told = await ask()
            assert told.status == 503, (number, told)
            assert OLD in told.said or NEW in told.said, (number, told)


@pytest.mark.parametrize("how", NONSENSE)
async def test_what_makes_no_sense_is_never_our_mistake(how: str, tmp_path: Path) -> None:
    async with open_wrong(tmp_path, NONSENSE[how]) as (talk, _):
        for number, ask in enumerate(asked_in_all(talk)):
            with patience():
                told = await ask()
            assert told.status in (200, 204, 404, 502, 503), (number, told)


def shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is waited for as long as in earnest: only the bound's value is another."""
    inside = Http1.exchange

    async def exchange(self: Any, *arguments: Any, within_ms: int) -> Any:
        return await inside(self, *arguments, within_ms=min(within_ms, SLOW_MS))

    monkeypatch.setattr(Http1, "exchange", exchange)
