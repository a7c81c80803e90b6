"""Definitions, instances, messages and all else through `/engine-rest`, over every engine."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import pytest
import trio
from tests.gateway.compatibility import WORKS, differs, proves, refused
from tests.gateway.seven_stage import (
    HEAD,
    NEW,
    OLD,
    SMALL,
    Stage,
    new,
    old,
    one_task,
    open_stage,
    small,
)

from gossamer_gateway.desk import ENGINE_HEADER
from gossamer_gateway.engine_rest.lists import GET_ONLY, RESOURCES
from gossamer_gateway.engine_rest.own import OWN
from gossamer_gateway.engine_rest.sunk import SUNK

pytestmark = [pytest.mark.camunda7, pytest.mark.zeebe]

DEFINITION, INSTANCE = "/process-definition/{id}", "/process-instance/{id}"
KEY = "/process-definition/key/{key}"
KNOWN = "those that were deployed or started through a gateway; no name, no resource"


@pytest.fixture
async def stage(camunda7_url: str, embedded_url: str, zeebe_url: str) -> AsyncIterator[Stage]:
    """All three kinds of engine."""
    async with open_stage(old(camunda7_url), small(embedded_url), new(zeebe_url)) as stage:
        yield stage


@pytest.fixture
async def pair(camunda7_url: str, zeebe_url: str) -> AsyncIterator[Stage]:
    """Both Camundas."""
    async with open_stage(old(camunda7_url), new(zeebe_url)) as stage:
        yield stage


def named(engine: str) -> Mapping[str, str]:
    return {ENGINE_HEADER: engine}


@proves("engine_rest", "POST /deployment/create", camunda7=WORKS,
        camunda8=differs("no duplicate filter, no time of activation"))  # fmt: skip
async def test_a_file_says_which_camunda_it_is_for(pair: Stage) -> None:
    for kind, name in (("camunda7", OLD), ("camunda8", NEW)):
        files = {"m": ("m.bpmn", one_task(pair.name, kind))}
        made = (await pair.post("/deployment/create", files=files)).json()
        (definition,) = made["deployedProcessDefinitions"].values()
        assert definition["key"] == pair.name and definition["deploymentId"] == made["id"]
        assert definition["id"].rpartition(":")[2].startswith("676f7373") == (name == NEW)
    both = [("m", (f"{kind}.bpmn", one_task(pair.name, kind))) for kind in ("camunda7", "camunda8")]
    mixed = await pair.post("/deployment/create", files=both)
    assert mixed.status_code == 400 and "deploy each kind by itself" in mixed.json()["message"]
    for files in ({"m": ("m.bpmn", b"<no")}, {"m": ("m.bpmn", f"{HEAD}</definitions".encode())}):
        for engine in (OLD, NEW):
            bad = await pair.post("/deployment/create", files=files, headers=named(engine))
            # Camunda 7 says 500 to what is no XML, and that goes on as it came.
            assert bad.status_code in ((400,) if engine == NEW else (400, 500)), bad.text
            assert set(bad.json()) >= {"type", "message", "code"}
    nobody = await pair.post("/deployment/create", files=files, headers=named("x"))
    assert nobody.status_code == 400 and "There is no engine x here" in nobody.json()["message"]
    assert (await pair.post("/deployment/create", json={})).status_code == 415
    junk = {"content-type": "multipart/form-data; boundary=x"}
    for data in (b"", b"--x\r\n", b"--x\r\nContent-Disposition: form-data\r\n\r\n\xff\r\n--x--"):
        assert (
            await pair.post("/deployment/create", content=data, headers=junk)
        ).status_code == 400


@proves("engine_rest", f"POST {KEY}/start", f"POST {DEFINITION}/start",
        camunda7=WORKS, embedded=WORKS,
        camunda8=differs("of start instructions, startBeforeActivity alone"))  # fmt: skip
@proves("engine_rest", f"GET {DEFINITION}", f"GET {KEY}", camunda7=WORKS, embedded=WORKS,
        camunda8=differs(KNOWN))  # fmt: skip
@proves("engine_rest", "POST /deployment/create", embedded=WORKS)
@proves("engine_rest", f"GET {INSTANCE}", camunda7=WORKS, embedded=WORKS,
        camunda8=differs("its definition's id is not told"))  # fmt: skip
@proves("engine_rest", f"DELETE {INSTANCE}", camunda7=WORKS, embedded=WORKS, camunda8=WORKS)
@pytest.mark.parametrize("engine", [OLD, SMALL, NEW])
async def test_a_definition_is_found_and_started(stage: Stage, engine: str) -> None:
    await stage.deploy()
    by_key = await stage.get(f"/process-definition/key/{stage.name}", headers=named(engine))
    found = by_key.json()
    assert (found["key"], found["version"]) == (stage.name, 1)
    assert (await stage.get(f"/process-definition/{found['id']}")).json() == found
    body = {"businessKey": "B", "variables": {"x": {"value": 1, "type": "Long"}}}
    started = (await stage.post(f"/process-definition/{found['id']}/start", json=body)).json()
    assert (started["definitionId"], started["businessKey"]) == (found["id"], "B")
    row = (await stage.get(f"/process-instance/{started['id']}")).json()
    assert (row["id"], row["businessKey"], row["definitionKey"]) == (
        started["id"], "B", stage.name,
    )  # fmt: skip
    assert (await stage.http.delete(f"/process-instance/{started['id']}")).status_code == 204
    for method in ("GET", "DELETE"):
        gone = await stage.http.request(method, f"/process-instance/{started['id']}")
        assert (gone.status_code, gone.json()["type"]) == (404, "InvalidRequestException")
    none = await stage.post(
        f"/process-definition/key/{stage.name}x/start", json={}, headers=named(engine)
    )
    assert (none.status_code, none.json()["type"]) == (404, "RestException")


@proves("engine_rest", f"GET {DEFINITION}/xml", f"GET {KEY}/xml", camunda7=WORKS,
        camunda8=refused("Camunda 8.6 does not tell its models"))  # fmt: skip
@proves("engine_rest", f"GET {INSTANCE}/activity-instances", camunda7=WORKS,
        camunda8=refused("Camunda 8.6 does not tell where tokens are"))  # fmt: skip
@proves("engine_rest", f"GET {INSTANCE}/variables", f"GET {INSTANCE}/variables/{{name}}",
        camunda7=WORKS)  # fmt: skip
@proves("engine_rest", f"DELETE {INSTANCE}/variables/{{name}}",
        camunda7=WORKS, camunda8=refused("a variable can't be removed"))  # fmt: skip
@proves("engine_rest", f"PUT {INSTANCE}/variables/{{name}}", camunda7=WORKS, camunda8=WORKS)
@proves("engine_rest", f"POST {INSTANCE}/variables", camunda7=WORKS,
        camunda8=differs("deletions are refused"))  # fmt: skip
@pytest.mark.parametrize("engine", [OLD, NEW])
async def test_an_instance_is_looked_at_and_changed(pair: Stage, engine: str) -> None:
    await pair.deploy()
    started = await pair.start(engine)
    path = f"/process-instance/{started['id']}"
    put = await pair.http.put(f"{path}/variables/a", json={"value": 2, "type": "Integer"})
    assert put.status_code == 204, put.text
    body = {"modifications": {"b": {"value": "x"}}}
    assert (await pair.post(f"{path}/variables", json=body)).status_code == 204
    answers = {
        what: (await pair.get(f"{path}/{what}")).status_code
        for what in ("activity-instances", "variables", "variables/a")
    }
    answers["xml"] = (
        await pair.get(f"/process-definition/{started['definitionId']}/xml")
    ).status_code
    answers["xml by key"] = (
        await pair.get(f"/process-definition/key/{pair.name}/xml", headers=named(engine))
    ).status_code
    assert set(answers.values()) == {200 if engine == OLD else 501}, answers
    (task,) = await pair.fetch()
    told = {name: (one["type"], one["value"]) for name, one in task["variables"].items()}
    assert told == {"a": ("Integer", 2), "b": ("String", "x")}
    removed = await pair.http.delete(f"{path}/variables/a")
    assert removed.status_code == (204 if engine == OLD else 501)


@proves("engine_rest", f"POST {INSTANCE}/modification", camunda7=WORKS,
        camunda8=differs("startBeforeActivity, and cancel of an activity instance"))  # fmt: skip
@pytest.mark.parametrize("engine", [OLD, NEW])
async def test_tokens_are_moved(pair: Stage, engine: str) -> None:
    await pair.deploy()
    started = await pair.start(engine)
    (task,) = await pair.fetch()
    path = f"/process-instance/{started['id']}/modification"
    moved = await pair.post(
        path,
        json={
            "instructions": [
                {"type": "startBeforeActivity", "activityId": "work",
                 "variables": {"v": {"value": 1, "local": True, "type": "Integer"}}},
                {"type": "cancel", "activityInstanceId": task["activityInstanceId"]},
            ]
        },
    )  # fmt: skip
    assert moved.status_code == 204, moved.text
    assert (await pair.settle(task, "complete")).status_code == 404
    (again,) = await pair.fetch()
    assert again["id"] != task["id"] and again["processInstanceId"] == started["id"]
    assert (await pair.settle(again, "complete")).status_code == 204
    if engine == NEW:
        other = {"instructions": [{"type": "startAfterActivity", "activityId": "work"}]}
        assert (await pair.post(path, json=other)).status_code == 501


def waiting(name: str, kind: str) -> bytes:
    """A process that begins with a message, then waits for another of its key."""
    subscription = (
        ""
        if kind == "camunda7"
        else '<extensionElements><zeebe:subscription correlationKey="=k"/></extensionElements>'
    )
    live = ' camunda:historyTimeToLive="1"' if kind == "camunda7" else ""
    return (
        f'{HEAD}<message id="m" name="{name}-begin"/><message id="n" name="{name}">{subscription}'
        f'</message><process id="{name}" isExecutable="true"{live}>'
        '<startEvent id="begin"><outgoing>a</outgoing><messageEventDefinition messageRef="m"/>'
        '</startEvent><intermediateCatchEvent id="wait"><incoming>a</incoming>'
        '<outgoing>b</outgoing><messageEventDefinition messageRef="n"/></intermediateCatchEvent>'
        '<endEvent id="done"><incoming>b</incoming></endEvent>'
        '<sequenceFlow id="a" sourceRef="begin" targetRef="wait"/>'
        '<sequenceFlow id="b" sourceRef="wait" targetRef="done"/></process></definitions>'
    ).encode()


@proves("engine_rest", "POST /message", camunda7=WORKS,
        camunda8=differs("by one key: of correlationKeys, else the business key; not by instance; "
                         "with all, it tells no result"))  # fmt: skip
@pytest.mark.parametrize("engine", [OLD, NEW])
async def test_a_message_finds_who_waits(pair: Stage, engine: str) -> None:
    kind = "camunda7" if engine == OLD else "camunda8"
    files = {"m": ("m.bpmn", waiting(pair.name, kind))}
    made = await pair.post("/deployment/create", files=files, headers=named(engine))
    assert made.status_code == 200, made.text
    begin: dict[str, Any] = {
        "messageName": f"{pair.name}-begin",
        "processVariables": {"k": {"value": "K1", "type": "String"}},
        "resultEnabled": True,
    }
    (begun,) = (await pair.post("/message", json=begin)).json()
    instance = (begun["processInstance"] or begun["execution"])["id"]
    other = {"messageName": pair.name, "correlationKeys": {"k": {"value": "K2"}}}
    nobody = await pair.post("/message", json=other)
    assert nobody.status_code == 400
    assert "Cannot correlate message" in nobody.json()["message"]
    right = {"messageName": pair.name, "correlationKeys": {"k": {"value": "K1"}}}
    found = await pair.post("/message", json=right)
    assert found.status_code == 204, found.text
    assert (await pair.get(f"/process-instance/{instance}")).status_code == 404
    everyone = await pair.post("/message", json={**right, "all": True})
    assert everyone.status_code == 204
    assert (await pair.post("/message", json={})).status_code == 400
    by_instance = await pair.post("/message", json={**right, "processInstanceId": instance})
    assert by_instance.status_code == (400 if engine == OLD else 501)


@proves("engine_rest", "POST /signal", camunda7=WORKS,
        camunda8=differs("to all that wait, not to one execution"))  # fmt: skip
async def test_a_signal_goes_to_all(pair: Stage) -> None:
    body = {"name": pair.name, "variables": {"x": {"value": 1}}}
    assert (await pair.post("/signal", json=body)).status_code == 204
    assert (await pair.post("/signal", json={})).status_code == 400


SMALL_HAS = (
    "/process-definition", "/process-instance", "/external-task", "/incident",
    "/history/process-instance", "/history/activity-instance", "/history/variable-instance",
)  # fmt: skip
"""What the embedded engine lists."""

LISTED = (
    "/process-instance", "/process-definition", "/deployment", "/history/process-instance",
)  # fmt: skip


@proves(
    "engine_rest",
    *(f"{method} {path}{count}" for path in LISTED for method in ("GET", "POST")
      for count in ("", "/count") if method == "GET" or path not in GET_ONLY),
    camunda7=WORKS,
    camunda8=differs("what went through a gateway or was seen at a job; a state is as last seen; "
                     "a filter that those do not answer leaves Camunda 8 out"),
)  # fmt: skip
@proves("engine_rest", "GET /deployment/{id}", "GET /history/process-instance/{id}",
        camunda7=WORKS, camunda8=differs("what the gateway was told of it"))  # fmt: skip
async def test_lists_hold_what_lives_anywhere(pair: Stage) -> None:
    deployed = [answer.json() for answer in await pair.deploy()]
    started = [(await pair.start(engine, businessKey=pair.name))["id"] for engine in (OLD, NEW)]
    for path, name, ids in (
        ("/process-instance", "businessKey", started),
        ("/history/process-instance", "processInstanceBusinessKey", started),
        ("/process-definition", "key",
         [id for made in deployed for id in made["deployedProcessDefinitions"]]),
    ):  # fmt: skip
        for method in ("GET", "POST"):
            if method == "POST" and path in GET_ONLY:
                continue
            asked: dict[str, Any] = (
                {"params": {name: pair.name}} if method == "GET" else {"json": {name: pair.name}}
            )
            rows = (await pair.http.request(method, path, **asked)).json()
            assert sorted(row["id"] for row in rows) == sorted(ids), (path, method)
            count = await pair.http.request(method, f"{path}/count", **asked)
            assert count.json() == {"count": len(ids)}, (path, method)
    for made in deployed:
        listed = await pair.get("/deployment", params={"id": made["id"]})
        assert [row["id"] for row in listed.json()] == [made["id"]]
        assert (await pair.get(f"/deployment/{made['id']}")).json()["id"] == made["id"]
    assert (await pair.get("/deployment/count")).json()["count"] >= 2
    for id in started:
        row = (await pair.get(f"/history/process-instance/{id}")).json()
        assert (row["id"], row["state"]) == (id, "ACTIVE")


PASSED_LISTS = [path for path in RESOURCES if path not in OWN]


def lists_of(paths: Sequence[str]) -> list[str]:
    return [
        f"{method} {path}{count}"
        for path in paths
        for method in (("GET",) if path in GET_ONLY else ("GET", "POST"))
        for count in ("", "/count")
    ]


@proves("engine_rest", *lists_of([*SUNK]), camunda7=WORKS)
@proves("engine_rest", *lists_of([path for path in PASSED_LISTS if path not in SUNK]),
        camunda7=WORKS,
        camunda8=refused("it tells nothing of these; a list of others says so in the header "
                         "Gossamer-Left-Out"))  # fmt: skip
@proves("engine_rest", *lists_of([*SMALL_HAS]), embedded=WORKS)
async def test_lists_of_every_kind(camunda7_url: str, embedded_url: str, zeebe_url: str) -> None:
    async with (
        open_stage(old(camunda7_url), new(zeebe_url)) as pair,
        open_stage(small(embedded_url)) as alone,
        open_stage(new(zeebe_url)) as eight,
    ):
        for stage, paths in ((pair, PASSED_LISTS), (alone, SMALL_HAS), (eight, PASSED_LISTS)):
            for endpoint in lists_of(paths):
                method, path = endpoint.split()
                body: dict[str, Any] | None = {} if method == "POST" else None
                answer = await stage.http.request(
                    method,
                    path,
                    json=body,
                    params={"maxResults": 3} if "/count" not in path else {},
                )
                if stage is eight:
                    assert answer.status_code == 501, (endpoint, answer.text)
                    continue
                assert answer.status_code == 200, (endpoint, answer.text)
                assert isinstance(answer.json(), dict if path.endswith("/count") else list)
                left_out = answer.headers.get("gossamer-left-out", "")
                assert left_out.startswith("new;") == (stage is pair), endpoint


@proves("engine_rest", "GET /version", "GET /engine", camunda7=WORKS, embedded=WORKS,
        camunda8=WORKS)  # fmt: skip
async def test_what_the_gateway_says_of_itself(pair: Stage) -> None:
    for root in ("", "/engine/default"):
        assert (await pair.get(f"{root}/version")).json()["version"] == "7.24.0"
        assert (await pair.get(f"{root}/engine")).json() == [{"name": "default"}]


@proves("engine_rest", "anything else", camunda7=differs("with several engines of this dialect, by "
        "the id in the path alone"), camunda8=refused("it has nothing like it"))  # fmt: skip
async def test_all_else_goes_to_the_one_camunda_7(pair: Stage, camunda7_url: str) -> None:
    assert (await pair.get("/user/count")).json() == {"count": 0}
    group = {"id": pair.name, "name": "G", "type": "T"}
    assert (await pair.post("/group/create", json=group)).status_code == 204
    assert (await pair.get(f"/engine/default/group/{pair.name}")).json() == group
    assert (await pair.http.delete(f"/group/{pair.name}")).status_code == 204
    wrong = await pair.get("/no/such/thing")
    assert (wrong.status_code, wrong.json()["type"]) == (404, "NotFoundException")
    for path in ("/../engine-rest/version", "/user/%2e%2e/version", "/a/..%2f..%2f/x", "/..;/x"):
        assert await status_of(pair.gate.url, f"/engine-rest{path}") == b"404", path


async def status_of(url: str, path: str) -> bytes:
    """A path as it is, which no client would send."""
    parts = urlsplit(url)
    assert parts.hostname and parts.port
    async with await trio.open_tcp_stream(parts.hostname, parts.port) as stream:
        await stream.send_all(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        )
        return (await stream.receive_some(1_000)).split(b" ")[1]


async def test_all_else_with_several_goes_by_its_id(stage: Stage) -> None:
    none = await stage.get("/user/count")
    assert (none.status_code, none.json()["type"]) == (501, "UnsupportedOperationException")
    await stage.deploy()
    for engine in (OLD, SMALL):
        id = (await stage.start(engine))["id"]
        suspended = await stage.http.put(
            f"/process-instance/{id}/suspended", json={"suspended": True}
        )
        assert suspended.status_code == (204 if engine == OLD else 404), suspended.text
    id = (await stage.start(NEW))["id"]
    refusal = await stage.http.put(f"/process-instance/{id}/suspended", json={"suspended": True})
    assert refusal.status_code == 501
