"""A process moves from Camunda 7 to Camunda 8 and back under a steady load, by its route alone.

Untouched clients of Camunda 7 start instances and work their jobs, all through one gateway. The
share of Camunda 8 goes from nothing to a half, to all, and back; then one engine is not to be
reached for a while. Whatever was started runs once, where it was started.
"""

import json
import math
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import trio
from tests.gateway.relay import Relay
from tests.patience import PATIENCE_S, until
from tests.patience import seen as patient

from gossamer_gateway.config import GatewayConfig
from gossamer_gateway.server import Gateway, open_gateway
from gossamer_node.address import Address
from gossamer_node.engines.config import EngineConfig

TOPIC = "moved"

SEVEN = """<?xml version="1.0" encoding="UTF-8"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL"
    xmlns:camunda="http://camunda.org/schema/1.0/bpmn" targetNamespace="t">
  <process id="Moved" isExecutable="true" camunda:historyTimeToLive="P1D">
    <startEvent id="start"/><sequenceFlow id="in" sourceRef="start" targetRef="task"/>
    <serviceTask id="task" camunda:type="external" camunda:topic="moved"/>
    <sequenceFlow id="out" sourceRef="task" targetRef="end"/><endEvent id="end"/>
  </process>
</definitions>"""

EIGHT = """<?xml version="1.0" encoding="UTF-8"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL"
    xmlns:zeebe="http://camunda.org/schema/zeebe/1.0" targetNamespace="t">
  <process id="Moved" isExecutable="true">
    <startEvent id="start"/><sequenceFlow id="in" sourceRef="start" targetRef="task"/>
    <serviceTask id="task">
      <extensionElements><zeebe:taskDefinition type="moved"/></extensionElements>
    </serviceTask>
    <sequenceFlow id="out" sourceRef="task" targetRef="end"/><endEvent id="end"/>
  </process>
</definitions>"""

PER_PHASE = 150
"""Starts: enough that a half is told from a quarter."""

CUT_S = 30.0
"""Longer than the gateway waits for an engine that it asks, or for the end of a poll."""

SIGMAS = 4.0
"""One run in 15,000 is further off by chance."""


@dataclass
class Seen:
    """What the clients saw.

    Attributes:
        started: instance ids by key, of starts that were answered 200.
        doubtful: keys of starts that were answered 503: the engine may have them all the same.
        failed: other answers, as they were.
        worked: instance ids of completed jobs, by key.
    """

    started: dict[str, str] = field(default_factory=dict)
    doubtful: set[str] = field(default_factory=set)
    failed: list[str] = field(default_factory=list)
    worked: dict[str, list[str]] = field(default_factory=dict)

    def lives_in_8(self, key: str) -> bool:
        """By the id alone: the gateway's names for Camunda 8's numbers begin alike."""
        return self.started[key].startswith("676f7373-")


@asynccontextmanager
async def moving(
    folder: Path, seven: Relay, eight: Relay, eight_grpc: Relay
) -> AsyncIterator[Gateway]:
    config = GatewayConfig(
        name="gateway",
        data_dir=folder / "data",
        cache_dir=folder / "cache",
        http=Address("127.0.0.1", 0),
        grpc=Address("127.0.0.1", 0),
        engines=(
            EngineConfig("c7", "camunda7", seven.address),
            EngineConfig("c8", "camunda8", eight.address, grpc=eight_grpc.address),
        ),
    )
    async with open_gateway(config) as gateway:
        yield gateway


async def route(http: httpx.AsyncClient, share_of_8: int) -> None:
    shares = {"c7": 100 - share_of_8, "c8": share_of_8}
    answer = await http.put(
        "/v1/routes/Moved",
        json={"shares": {name: share for name, share in shares.items() if share}},
    )
    assert answer.status_code == 200, answer.text


async def start(http: httpx.AsyncClient, seen: Seen, keys: list[str], name: str) -> None:
    for number in range(PER_PHASE):
        key = f"{name}-{number}"
        keys.append(key)
        answer = await http.post(
            "/engine-rest/process-definition/key/Moved/start",
            json={"businessKey": key, "variables": {"key": {"value": key, "type": "String"}}},
        )
        if answer.status_code == 200:
            seen.started[key] = answer.json()["id"]
        elif answer.status_code == 503:
            assert set(answer.json()) >= {"type", "message"}, answer.text
            seen.doubtful.add(key)
        else:
            seen.failed.append(f"start {key}: {answer.status_code} {answer.text}")


async def work(http: httpx.AsyncClient, seen: Seen, worker: str) -> None:
    """As a client of Camunda 7 does: fetches, completes, and asks again."""
    while True:
        answer = await http.post(
            "/engine-rest/external-task/fetchAndLock",
            json={
                "workerId": worker,
                "maxTasks": 10,
                "asyncResponseTimeout": 2_000,
                "topics": [{"topicName": TOPIC, "lockDuration": 120_000}],
            },
        )
        if answer.status_code != 200:
            seen.failed.append(f"fetch: {answer.status_code} {answer.text}")
            await trio.sleep(0.2)
            continue
        for task in answer.json():
            await complete(http, seen, worker, task)


async def complete(
    http: httpx.AsyncClient, seen: Seen, worker: str, task: Mapping[str, object]
) -> None:
    variables = task["variables"]
    assert isinstance(variables, dict)
    key = str(variables["key"]["value"])
    while True:
        answer = await http.post(
            f"/engine-rest/external-task/{task['id']}/complete", json={"workerId": worker}
        )
        if answer.status_code == 204:
            seen.worked.setdefault(key, []).append(str(task["processInstanceId"]))
            return
        if answer.status_code != 503:
            seen.failed.append(f"complete {key}: {answer.status_code} {answer.text}")
            return
        await trio.sleep(0.2)  # as Camunda's client does: the engine is down, so again


def assert_share(seen: Seen, keys: list[str], share: float) -> None:
    """The number of instances on Camunda 8 lies within the bounds of a fair draw."""
    told = [seen.lives_in_8(key) for key in keys if key in seen.started]
    bound = SIGMAS * math.sqrt(len(told) * share * (1 - share))
    assert abs(sum(told) - share * len(told)) <= bound, (sum(told), len(told), share)


@pytest.mark.camunda7
@pytest.mark.zeebe
async def test_a_process_moves_under_load(
    camunda7_url: str, zeebe_url: str, zeebe_grpc_address: str, tmp_path: Path
) -> None:
    seven, eight, eight_grpc = Relay(camunda7_url), Relay(zeebe_url), Relay(zeebe_grpc_address)
    seen = Seen()
    async with trio.open_nursery() as ways:
        for relay in (seven, eight, eight_grpc):
            await ways.start(relay.run)
        async with moving(tmp_path, seven, eight, eight_grpc) as gateway:
            limits = httpx.Limits(max_connections=50)
            async with (
                httpx.AsyncClient(base_url=gateway.url, timeout=60, limits=limits) as http,
                trio.open_nursery() as clients,
            ):
                for model in (SEVEN, EIGHT):
                    answer = await http.post(
                        "/engine-rest/deployment/create", files={"data": ("moved.bpmn", model)}
                    )
                    assert answer.status_code == 200, answer.text
                for number in range(3):
                    clients.start_soon(work, http, seen, f"worker-{number}")
                phases: dict[str, list[str]] = {}
                for name, share in (("none", 0), ("half", 50), ("all", 100), ("back", 0)):
                    await route(http, share)
                    await start(http, seen, phases.setdefault(name, []), name)
                    assert_share(seen, phases[name], share / 100)
                assert not seen.doubtful
                # Of a job whose completion is under way at the cut, nobody could say what became.
                await until(lambda: set(seen.started) <= set(seen.worked), 2 * PATIENCE_S)
                await cut(http, seen, phases, eight, eight_grpc)
                await until(lambda: set(seen.started) <= set(seen.worked), 2 * PATIENCE_S)
                clients.cancel_scope.cancel()
        ways.cancel_scope.cancel()
    assert not seen.failed, json.dumps(seen.failed[:5], indent=1)
    again = {key: ids for key, ids in seen.worked.items() if len(ids) > 1}
    assert not again, again
    strangers = set(seen.worked) - set(seen.started) - seen.doubtful
    assert not strangers
    moved = {key for key, id in seen.started.items() if seen.worked[key] != [id]}
    assert not moved, moved


async def cut(
    http: httpx.AsyncClient,
    seen: Seen,
    phases: dict[str, list[str]],
    eight: Relay,
    eight_grpc: Relay,
) -> None:
    """Camunda 8 can't be reached for a while: its starts are refused, the others go on."""
    await route(http, 50)
    keys = phases.setdefault("cut", [])
    eight.cut()
    eight_grpc.cut()
    begun_s = trio.current_time()
    rounds = Counter[str]()
    while trio.current_time() - begun_s < CUT_S:
        rounds["all"] += 1
        await start(http, seen, keys, f"cut-{rounds['all']}")
    eight.mend()
    eight_grpc.mend()
    told = [key for key in keys if key in seen.started]
    assert told and not any(seen.lives_in_8(key) for key in told)
    assert seen.doubtful <= set(keys)
    bound = SIGMAS * math.sqrt(len(keys)) / 2
    assert abs(len(seen.doubtful) - len(keys) / 2) <= bound, (len(seen.doubtful), len(keys))
    await until_answers(http)
    after = phases.setdefault("after", [])
    await start(http, seen, after, "after")
    assert_share(seen, after, 0.5)
    assert not seen.doubtful & set(after)


async def until_answers(http: httpx.AsyncClient) -> None:
    """Camunda 8 answers again."""

    async def look() -> bool:
        return (await http.get("/v2/topology")).status_code == 200

    await patient(look)
