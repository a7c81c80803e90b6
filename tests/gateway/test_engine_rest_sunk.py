"""What clients of Camunda 7 see of a Camunda 8 that tells nothing itself, by what its exporter
told: the sink holds what was recorded of a real one, and the engine itself is off."""

from collections.abc import AsyncIterator

import pytest
from tests.gateway.compatibility import differs, proves
from tests.gateway.gate import Gate, open_gate
from tests.gateway.sink_world import ENGINE, recorded

from gossamer_gateway.engine_rest.ids import name_of
from gossamer_gateway.routing.delivering import Message, by_rule
from gossamer_gateway.routing.messages import MessageRule
from gossamer_gateway.sink.freshness import DEAF_MS
from gossamer_gateway.sink.records import Bulk
from gossamer_gateway.sink.store import take
from gossamer_node.engines.config import EngineConfig
from gossamer_node.errors import EngineUnavailable

ORDERS, LINES = recorded()

OFF = EngineConfig(ENGINE, "camunda8", "http://127.0.0.1:1")
OFF_TOO = EngineConfig("old", "camunda7", "http://127.0.0.1:1/engine-rest")

TOLD = "what its exporter told the gateway, some seconds old; refused where none tells"


async def told(gate: Gate) -> None:
    read = Bulk()
    read.feed(LINES)
    read.finish()
    await gate.desk.storage.submit(lambda rows, now_ms: take(rows, ENGINE, read, now_ms))


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    async with open_gate(OFF) as gate:
        await told(gate)
        yield gate


def id_of(gate: Gate, order: str) -> str:
    assert gate.desk.engines.eight is not None
    return name_of(gate.desk.engines.eight, ORDERS[order])


def make_deaf(gate: Gate) -> None:
    """The engine names a key that the sink never comes to, long ago."""
    gate.desk.watch.noticed(ENGINE, (1 << 51) + (1 << 50), -DEAF_MS)


@proves("engine_rest", "GET /incident", "GET /incident/count", camunda8=differs(TOLD))
async def test_open_incidents_are_listed(gate: Gate) -> None:
    rows = (await gate.http.get("/engine-rest/incident")).json()
    assert len(rows) >= 2
    assert (await gate.http.get("/engine-rest/incident/count")).json() == {"count": len(rows)}
    (one,) = (row for row in rows if row["incidentMessage"] == "no rooms today")
    assert one["activityId"] == "reserve" and one["incidentType"] == "failedExternalTask"
    assert one["processDefinitionId"].startswith("order:1:")
    assert not [name for name in one if name.startswith("_")]
    for name, value in (
        ("incidentId", one["id"]),
        ("processInstanceId", one["processInstanceId"]),
        ("incidentMessage", "no rooms today"),
    ):
        answer = await gate.http.get("/engine-rest/incident", params={name: value})
        assert answer.json() == [one], name
    some = await gate.http.get("/engine-rest/incident", params={"processDefinitionKeyIn": "order"})
    assert one in some.json()
    none = await gate.http.get("/engine-rest/incident", params={"incidentId": "nobody"})
    assert none.json() == []
    make_deaf(gate)
    assert (await gate.http.get("/engine-rest/incident")).status_code == 501


@proves("engine_rest", "GET /process-instance/{id}/variables",
        "GET /process-instance/{id}/variables/{name}", camunda8=differs(TOLD))  # fmt: skip
async def test_an_instances_variables_are_told(gate: Gate) -> None:
    seen = 0
    for order in ORDERS:
        path = f"/engine-rest/process-instance/{id_of(gate, order)}/variables"
        answer = await gate.http.get(path)
        if answer.status_code == 404:
            continue  # it has ended
        seen += 1
        one = await gate.http.get(f"{path}/order")
        assert one.json()["type"] == "String"
        if order == "waits":  # a part would be taken for the whole
            assert answer.status_code == 501 and "20002 characters" in answer.json()["message"]
        else:
            assert answer.json()["order"] == one.json()
        assert (await gate.http.get(f"{path}/nobody")).status_code == 404
    assert seen == 5
    make_deaf(gate)
    refused = await gate.http.get(path)
    assert refused.status_code == 501 and "its exporter tells" in refused.json()["message"]


async def test_the_sink_tells_who_waits_for_a_message() -> None:
    """An instance that is known to wait is enough, whoever else is silent."""
    async with open_gate(OFF_TOO, OFF) as gate:
        await told(gate)
        await gate.router.set_rule(MessageRule("paid", "instance"), "ada")
        delivery = await by_rule(gate.desk, Message("paid", None, "a", "camunda7"))
        assert delivery is not None
        assert [one.name for one in delivery.engines] == [ENGINE]
        for name in ("nobody", ""):
            with pytest.raises(EngineUnavailable, match="an instance in old may wait for paid"):
                await by_rule(gate.desk, Message("paid", None, name, "camunda7"))
        assert await by_rule(gate.desk, Message("other", None, "a", "camunda7")) is None
