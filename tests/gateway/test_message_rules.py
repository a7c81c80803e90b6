"""Messages with rules, in both dialects: both Camundas have the process, and each could take it."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from tests.gateway.eight_clients import GrpcClient, Refusal, RestClient, open_client
from tests.gateway.gate import Gate, open_gate
from tests.gateway.seven_stage import HEAD, NEW, OLD, new, old, small
from tests.patience import seen

from gossamer_gateway.routing.messages import MessageRule
from gossamer_gateway.routing.routes import WHOLE
from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.zeebe import gateway_pb2 as zeebe

pytestmark = [pytest.mark.camunda7, pytest.mark.zeebe]


def ordered(name: str, kind: str) -> bytes:
    """A process that begins with the message NAME-begin, then waits for NAME by the key `k`."""
    begins = ""
    if kind == "camunda8":
        begins = '<extensionElements><zeebe:subscription correlationKey="=k"/></extensionElements>'
    live = ' camunda:historyTimeToLive="1"' if kind == "camunda7" else ""
    return (
        f'{HEAD}<message id="m" name="{name}-begin"/><message id="n" name="{name}">{begins}'
        f'</message><process id="{name}" isExecutable="true"{live}>'
        '<startEvent id="begin"><outgoing>a</outgoing><messageEventDefinition messageRef="m"/>'
        '</startEvent><startEvent id="plain"><outgoing>c</outgoing></startEvent>'
        '<intermediateCatchEvent id="wait"><incoming>a</incoming><incoming>c</incoming>'
        '<outgoing>b</outgoing><messageEventDefinition messageRef="n"/></intermediateCatchEvent>'
        '<endEvent id="done"><incoming>b</incoming></endEvent>'
        '<sequenceFlow id="a" sourceRef="begin" targetRef="wait"/>'
        '<sequenceFlow id="c" sourceRef="plain" targetRef="wait"/>'
        '<sequenceFlow id="b" sourceRef="wait" targetRef="done"/></process></definitions>'
    ).encode()


@dataclass
class World:
    """A gateway before both Camundas, in which a process of this test is deployed."""

    gate: Gate
    rest: RestClient
    grpc: GrpcClient
    name: str

    @property
    def begin(self) -> str:
        return f"{self.name}-begin"

    async def rule(self, message: str, to: Any, process: str = "") -> None:
        await self.gate.router.set_rule(MessageRule(message, to, process), "ada")

    async def route(self, engine: str) -> None:
        await self.gate.router.set(self.name, {engine: WHOLE}, "ada")

    async def seven(self, message: str, key: str | None, **more: Any) -> Any:
        """A message from a client of Camunda 7: status, and what it found, or why not."""
        body = {"messageName": message, "businessKey": key, "resultEnabled": True, **more}
        body["processVariables"] = {"k": {"value": key, "type": "String"}}
        answer = await self.gate.http.post("/engine-rest/message", json=body)
        return answer.status_code, answer.json()

    async def start(self, engine: str, key: str) -> str:
        answer = await self.gate.http.post(
            f"/engine-rest/process-definition/key/{self.name}/start",
            json={"businessKey": key, "variables": {"k": {"value": key, "type": "String"}}},
            headers={"Gossamer-Engine": engine},
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    async def lives(self, id: str) -> bool:
        answer = await self.gate.http.get(f"/engine-rest/process-instance/{id}")
        return answer.status_code == 200

    async def is_over(self, id: str) -> bool:
        return not await self.lives(id)

    async def in_seven(self) -> int:
        """Instances of the process in Camunda 7."""
        (one,) = (one for one in self.gate.desk.engines.sevens if one.name == OLD)
        path = f"/process-instance/count?processDefinitionKey={self.name}"
        return int((await one.ask("GET", path)).json_object()["count"])


async def deploy(gate: Gate, name: str) -> None:
    for one in gate.desk.engines.all:
        if one.name == "small":
            continue
        answer = await gate.http.post(
            "/engine-rest/deployment/create",
            files={"m": ("m.bpmn", ordered(name, one.kind))},
            headers={"Gossamer-Engine": one.name},
        )
        assert answer.status_code == 200, answer.text


@pytest.fixture
async def world(
    camunda7_url: str, embedded_url: str, zeebe_url: str, zeebe_grpc_address: str
) -> AsyncIterator[World]:
    """The embedded engine comes first, and knows no messages."""
    eight = EngineConfig(NEW, "camunda8", zeebe_url, grpc=zeebe_grpc_address)
    async with (
        open_gate(small(embedded_url), old(camunda7_url), eight) as gate,
        open_client(gate, "grpc") as client,
    ):
        assert isinstance(client, GrpcClient)
        name = f"m{uuid4().hex}"
        await deploy(gate, name)
        yield World(gate, RestClient(gate.http), client, name)


async def test_a_message_starts_where_the_route_says(world: World) -> None:
    """Without a rule Camunda 7 takes it, for it is asked first."""
    status, (found,) = await world.seven(world.begin, "A")
    assert status == 200 and await world.in_seven() == 1
    await world.rule(world.begin, "start", world.name)
    await world.route(NEW)
    status, (found,) = await world.seven(world.begin, "B")
    assert status == 200 and await world.in_seven() == 1
    id = found["execution"]["processInstanceId"]
    row = (await world.gate.http.get(f"/engine-rest/process-instance/{id}")).json()
    assert (row["businessKey"], row["definitionKey"]) == ("B", world.name)
    # A client of Camunda 8, over both of its wires.
    told = await world.rest.send(
        "POST", "/messages/correlation",
        {"name": world.begin, "correlationKey": "C", "variables": {"k": "C"}},
    )  # fmt: skip
    assert int(told["processInstanceKey"]) >= 2**51 and await world.in_seven() == 1
    await world.route(OLD)
    asked = zeebe.PublishMessageRequest(
        name=world.begin, correlationKey="D", timeToLive=60_000, variables=json.dumps({"k": "D"})
    )
    await world.grpc.call("PublishMessage", asked, zeebe.PublishMessageResponse)
    assert await world.in_seven() == 2
    status, _ = await world.seven(world.begin, "E")
    assert status == 200 and await world.in_seven() == 3


@pytest.mark.parametrize("engine", [OLD, NEW])
@pytest.mark.parametrize("dialect", ["seven", "eight"])
async def test_a_message_finds_the_instance_that_waits(
    world: World, engine: str, dialect: str
) -> None:
    await world.rule(world.name, "start", world.name)
    await world.route(OLD if engine == NEW else NEW)
    id = await world.start(engine, "A")
    assert await world.lives(id)
    if dialect == "seven":
        status, _ = await world.seven(world.name, "A")
        assert status == 200
    else:
        body = {"name": world.name, "correlationKey": "A"}
        told = await world.rest.send("POST", "/messages/correlation", body)
        assert (int(told["processInstanceKey"]) >= 2**51) == (engine == NEW)
    await seen(lambda: world.is_over(id))


async def test_a_rule_for_instances_starts_nothing_elsewhere(world: World) -> None:
    """The client's own dialect answers, as it always did."""
    await world.rule(world.name, "instance")
    status, said = await world.seven(world.name, "nobody")
    assert status == 400 and "Cannot correlate message" in said["message"]
    body = {"name": world.name, "correlationKey": "nobody"}
    with pytest.raises(Refusal) as refusal:
        await world.rest.send("POST", "/messages/correlation", body)
    assert refusal.value.status == 404
    published = await world.rest.send("POST", "/messages/publication", {**body, "timeToLive": 0})
    assert int(published["messageKey"]) >= 2**51


async def test_correlation_keys_tell_who_waits(world: World) -> None:
    await world.rule(world.name, "instance")
    one, two = await world.start(OLD, "A"), await world.start(OLD, "B")
    answer = await world.gate.http.post(
        "/engine-rest/message",
        json={"messageName": world.name, "correlationKeys": {"k": {"value": "B"}}},
    )
    assert answer.status_code == 204, answer.text
    assert await world.lives(one) and not await world.lives(two)


async def test_a_message_to_all_goes_to_every_engine(world: World) -> None:
    for rule in (world.begin, world.name):
        await world.rule(rule, "all")
    status, found = await world.seven(world.begin, "A")
    assert status == 200 and len(found) == 2 and await world.in_seven() == 1
    status, found = await world.seven(world.name, "A")
    assert status == 200 and len(found) == 2 and await world.in_seven() == 0
    status, said = await world.seven(world.name, "A")
    assert status == 400 and "Cannot correlate message" in said["message"]
    old_one, new_one = await world.start(OLD, "B"), await world.start(NEW, "B")
    asked = zeebe.PublishMessageRequest(name=world.name, correlationKey="B")
    told = await world.grpc.call("PublishMessage", asked, zeebe.PublishMessageResponse)
    assert told.key >= 2**51 and not await world.lives(old_one)
    await seen(lambda: world.is_over(new_one))
    # Only Camunda 7 has one: a correlation is answered by it.
    await world.start(OLD, "C")
    body = {"name": world.name, "correlationKey": "C"}
    correlated = await world.rest.send("POST", "/messages/correlation", body)
    assert correlated["processInstanceKey"] < 2**51


async def test_an_engine_that_does_not_answer_is_waited_for(
    camunda7_url: str, zeebe_url: str
) -> None:
    configs = (
        old(camunda7_url),
        EngineConfig("off", "camunda7", "http://127.0.0.1:1/engine-rest"),
        new(zeebe_url),
    )
    async with open_gate(*configs) as gate:
        name = f"m{uuid4().hex}"
        rest = RestClient(gate.http)
        for to in ("instance", "all"):
            await gate.router.set_rule(MessageRule(name, to), "ada")
            answer = await gate.http.post("/engine-rest/message", json={"messageName": name})
            assert answer.status_code == 503 and "retry-after" in answer.headers
            assert "off" in answer.json()["message"]
            body = {"name": name, "correlationKey": "A"}
            with pytest.raises(Refusal, match="off") as refusal:
                await rest.send("POST", "/messages/correlation", body)
            assert refusal.value.status == 503
