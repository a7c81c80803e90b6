"""Who may do what, through the whole gateway: each row of the door's table, and every role.

What stands behind it is no engine, but remembers what it was asked: a refusal has no effect.
"""

import json
import logging
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from tests.gateway.whole_gateway import Whole, WrongEngine, answer, open_whole, open_wrong_engine

from gossamer_gateway.desk import ENGINE_HEADER
from gossamer_gateway.door.principals import Grant, Role
from gossamer_gateway.door.rules import GRPC, HTTP, UNKNOWN, Need, Reach, need_of
from gossamer_gateway.grpc.server import ANY
from gossamer_gateway.zeebe import methods
from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.zeebe import gateway_pb2 as zeebe
from gossamer_node.grpc import Code, RpcError

SECRET = answer(
    json.dumps({"id": "a-1", "key": "secret", "processDefinitionKey": "secret"}).encode()
)
HOTEL = SECRET.replace(b"secret", b"hotel6")

KEYS = {role.value: [Grant(role)] for role in Role} | {
    f"{role}-hotel": [Grant(role, ("hotel*",))] for role in Role
}
NOBODY = ""


@pytest.fixture(autouse=True)
def no_mistakes(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    told = [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]
    assert not told, told


@asynccontextmanager
async def open_world(
    folder: Path, says: bytes = SECRET
) -> AsyncIterator[tuple[Whole, WrongEngine]]:
    async with open_wrong_engine(says) as engine:
        seven = EngineConfig("old", "camunda7", engine.url)
        eight = EngineConfig("new", "camunda8", engine.url)
        async with open_whole(folder, seven, eight, keys=KEYS) as whole:
            yield whole, engine


def path_of(path: str) -> str:
    return path.replace("{process}", "hotel6").replace("{}", "a-1").replace("**", "x")


async def ask(whole: Whole, method: str, path: str, key: str) -> httpx.Response:
    """The answer, without what comes later in one that never ends."""
    headers = {"x-api-key": whole.keys[key]} if key else {}
    async with whole.http.stream(method, path, headers=headers) as response:
        if response.headers.get("content-type") != "text/event-stream":
            await response.aread()
        return response


def check_refusal(path: str, told: httpx.Response) -> None:
    if path.removeprefix("/workflow").startswith("/engine-rest"):
        said = told.json()
        assert set(said) == {"type", "message", "code"}
        assert said["type"] == "AuthorizationException" and said["message"]
    else:
        assert told.headers["content-type"] == "application/problem+json"
        assert told.json()["status"] == told.status_code and told.json()["detail"]
    assert told.status_code != 401 or "www-authenticate" in told.headers


async def test_every_row_and_every_role(tmp_path: Path) -> None:
    async with open_world(tmp_path) as (whole, _):
        for rule in HTTP:
            path = path_of(rule.path)
            for key in (NOBODY, *(role.value for role in Role)):
                told = await ask(whole, rule.method, path, key)
                case = f"{rule.method} {path} as {key or 'nobody'}: {told.status_code}"
                if rule.role is None or key in (rule.role, Role.ADMIN):
                    assert told.status_code not in (401, 403, 500), case
                else:
                    assert told.status_code == (403 if key else 401), case
                    check_refusal(path, told)


async def test_who_is_limited_has_no_effect_on_others(tmp_path: Path) -> None:
    """And none where it isn't known whose it is. What is in no row is no way around."""
    aside = [
        replace(one, path=one.path.replace("/engine-rest", "/engine-rest/engine/x", 1))
        for one in HTTP
        if one.path.startswith("/engine-rest")
    ]
    async with open_world(tmp_path) as (whole, engine):
        for rule in (*HTTP, *aside):
            if rule.role is None or rule.reach in (Reach.NONE, Reach.NAMED):
                continue
            for key in (f"{rule.role}-hotel", "admin-hotel"):
                engine.asked.clear()
                told = await ask(whole, rule.method, path_of(rule.path), key)
                case = f"{rule.method} {rule.path} as {key}: {told.status_code} {engine.asked}"
                assert told.status_code >= 400, case
                assert rule.reach is Reach.ASKED or told.status_code == 403, case
                assert all(one.startswith("GET ") for one in engine.asked), case


async def test_every_method_and_every_role(tmp_path: Path) -> None:
    async with open_world(tmp_path) as (whole, engine):
        for method, need in GRPC.items():
            for key in (NOBODY, *KEYS):
                engine.asked.clear()
                code = await code_of(whole, method.rpartition("/")[2], key)
                case = f"{method} as {key or 'nobody'}: {code} {engine.asked}"
                if not key:
                    assert code is Code.UNAUTHENTICATED, case
                elif key in (need.role, Role.ADMIN):
                    assert code not in (Code.UNAUTHENTICATED, Code.PERMISSION_DENIED), case
                elif key in (f"{need.role}-hotel", "admin-hotel") and need.reach is not Reach.ALL:
                    assert all(one.startswith("GET ") for one in engine.asked), case
                else:
                    assert (code, engine.asked) == (Code.PERMISSION_DENIED, []), case
        assert await code_of(whole, "NoSuchMethod", "work") is Code.PERMISSION_DENIED
        assert await code_of(whole, "NoSuchMethod", "admin") is Code.UNIMPLEMENTED


async def code_of(whole: Whole, method: str, key: str, request: bytes = b"") -> Code | None:
    try:
        await whole.call(method, request, key=key)
    except RpcError as error:
        return error.code
    return None


async def test_who_is_limited_works_what_is_his(tmp_path: Path) -> None:
    """Starts, and external tasks; the engine tells whose a task or a definition is."""
    topic = {"topicName": "t", "lockDuration": 1_000}
    mine = {**topic, "processDefinitionKeyIn": ["hotel6", "hotel7"]}
    starts = [
        "/engine-rest/process-definition/key/{}/start",
        "/engine-rest/process-definition/key/{}/tenant-id/t/start",
    ]
    async with open_world(tmp_path) as (whole, engine):

        async def send(key: str, path: str, body: object, method: str = "POST") -> int:
            headers = {"x-api-key": whole.keys[key], ENGINE_HEADER: "old"}
            told = await whole.http.request(method, path, json=body, headers=headers)
            if told.status_code == 403:
                check_refusal(path, told)
            return told.status_code

        def fetch(*topics: object) -> dict[str, object]:
            return {"workerId": "w", "maxTasks": 1, "topics": topics}

        for path in starts:
            assert await send("start-hotel", path.format("hotel6"), {}) == 200
            assert await send("start-hotel", path.format("secret"), {}) == 403
            assert await send("work-hotel", path.format("hotel6"), {}) == 403
        new = "/v2/process-instances"
        assert await send("start-hotel", new, {"processDefinitionId": "hotel6"}) == 503
        assert engine.asked[-1] == "POST /process-definition/key/hotel6/start"
        for body in ({"processDefinitionId": "secret"}, {"processDefinitionKey": 2**52}):
            assert await send("start-hotel", new, body) == 403
        poll = "/engine-rest/external-task/fetchAndLock"
        for topics in ((topic,), (mine, topic | {"topicName": "u"}),
                       (topic | {"processDefinitionKeyIn": ["hotel6", "secret"]},),
                       (topic | {"processDefinitionKeyIn": []},)):  # fmt: skip
            assert await send("work-hotel", poll, fetch(*topics)) == 403
        engine.says = answer(b"[]")
        assert await send("work-hotel", poll, fetch(mine)) == 200
        for says, status in ((SECRET, 403), (HOTEL, 200)):
            engine.says = says
            for verb in ("complete", "bpmnError", "failure", "extendLock", "lock", "unlock"):
                task = f"/engine-rest/external-task/{verb}-{status}/{verb}"
                assert await send("work-hotel", task, {"workerId": "w"}) == status
            by_id = f"/engine-rest/process-definition/hotel6:1:{status}/start"
            assert await send("start-hotel", by_id, {}) == status
            assert await send(
                "read-hotel", f"/engine-rest/external-task/{status}", None, "GET"
            ) == (status)
        for process, code in (("hotel6", Code.UNAVAILABLE), ("secret", Code.PERMISSION_DENIED)):
            asked = zeebe.CreateProcessInstanceRequest(bpmnProcessId=process, version=-1)
            found = await code_of(
                whole, "CreateProcessInstance", "start-hotel", asked.SerializeToString()
            )
            assert found is code


IN_NO_ROW = {
    "/engine-rest/<path:rest>",
    "/engine-rest/engine/default/<path:rest>",
    "/v2/<path:rest>",
}
"""What passes on whatever nobody here knows."""


async def test_every_endpoint_is_in_a_row(tmp_path: Path) -> None:
    """What is in none is the admin's alone: that should be somebody's wish."""
    async with open_whole(tmp_path) as whole:
        served = {
            (method, rule.rule)
            for rule in whole.gateway.app.url_map.iter_rules()
            for method in (rule.methods or {"GET"}) - {"HEAD", "OPTIONS"}
            if rule.rule not in IN_NO_ROW
        }
        rows = methods(whole.gateway.desk)
    missing = {
        f"{method} {rule}"
        for method, rule in served
        if need_of(method, re.sub(r"<[^>]+>", "x", rule)) is UNKNOWN
    }
    assert not missing, "\n".join(sorted(missing))
    assert set(rows) - {ANY} <= set(GRPC)
    assert all(isinstance(need, Need) and need.role is not None for need in GRPC.values())
