"""What the tests of the spine stand on: meshes of node processes, and processes on an engine.

The nodes run as the demonstration's do. Each test has processes and topics of its own, so that
tests share an engine without meeting. Conditions are looked at again and again, for `PATIENCE_S`.
"""

import json
import os
import signal
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio
import yaml
from tests.patience import patience, seen

from gossamer_hotel.demo.processes import Node
from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.port import Capability, Engine
from gossamer_node.variables import Variables

PATIENCE_S = 120.0
"""How long a test waits for what must happen, before it fails. Nothing is measured by it."""

LOOK_S = 0.1
"""Between two looks."""

SLOTS = 8
"""Jobs at once on a node that works."""

EMBEDDED = pytest.param("embedded_config", id="embedded")
CAMUNDA7 = pytest.param("camunda7_config", id="camunda7", marks=pytest.mark.camunda7)
CAMUNDA8 = pytest.param("zeebe_config", id="camunda8", marks=pytest.mark.zeebe)
ENGINES = (EMBEDDED, CAMUNDA7, CAMUNDA8)
"""Parameters of the fixture `engine_config`, which gives each of them in turn by itself."""

T = TypeVar("T")


def on(*engines: Any) -> pytest.MarkDecorator:
    """Runs a test on these engines alone, where one shows as much as all."""
    return pytest.mark.parametrize("engine_config", engines, indirect=True)


async def until(look: Callable[[], Awaitable[T | None]]) -> T:
    """Looks until there is something to see; returns it."""
    return await seen(look, PATIENCE_S, LOOK_S)


# --- nodes


def write_service(
    folder: Path, module: bytes, topics: Sequence[str], *, lock: str = "5m", **fields: Any
) -> Path:
    """A service that may reach the test's server, as `{server}`, and works on topics."""
    folder.mkdir()
    (folder / "worker.wasm").write_bytes(module)
    service = {
        "name": folder.name,
        "version": "1.0.0",
        "module": "worker.wasm",
        "topics": [{"name": one, "lock": lock} for one in topics],
        "limits": {"time": "5m"},
        "capabilities": {"http": ["{server}"]},
        **fields,
    }
    (folder / "service.yaml").write_text(yaml.safe_dump(service))
    return folder


def reaches(*engines: EngineConfig) -> dict[str, Any]:
    """A node's settings: the engines that it reaches."""
    return {"engines": [{"name": one.name, "kind": one.kind, "url": one.url} for one in engines]}


def works(service: Path, server: str) -> dict[str, Any]:
    """A node's settings: the service that it runs, and where that finds the test's server."""
    return {
        "services": [str(service)],
        "grants": {service.name: {"origins": {"server": server}}},
        "slots": SLOTS,
    }


async def looked(*nodes: Node) -> None:
    """Looks at nodes until each has answered; a busy one may not in its time."""
    for one in nodes:
        await until(one.look)


async def see_each_other(nodes: Sequence[Node]) -> None:
    """Waits until each node lists all of them. Not all do yet when the last one answers."""

    async def look() -> bool:
        found = [await one.look() and len(one.status["members"]) == len(nodes) for one in nodes]
        return all(found)

    await until(look)


async def agreed(nodes: Sequence[Node], engine: str) -> Node:
    """Waits until all nodes that live see each other and one claimer, and nobody else has a poll
    open from when it claimed; returns that claimer.

    Nodes that are configured for the engine reach it by then: one that comes late may be preferred
    to who claims until then.
    """
    alive = [one for one in nodes if not one.killed]

    async def look() -> Node | None:
        for one in alive:
            if not await one.look():
                return None
        named = {_claimer_id(one, engine) for one in alive}
        if len(named) > 1 or any(len(one.status["members"]) != len(alive) for one in alive):
            return None
        claimer = next((one for one in alive if one.status["node"]["id"] in named), None)
        if any(_polls(one, engine) for one in alive if one is not claimer):
            return None
        if not all(_reaches(one, engine) for one in alive):
            return None
        return claimer

    return await until(look)


def _claimer_id(node: Node, engine: str) -> str | None:
    for one in node.status["claimers"]:
        if one["engine"] == engine:
            return str(one["id"])
    return None


def _reaches(node: Node, engine: str) -> bool:
    return all(one["reachable"] for one in node.status["engines"] if one["name"] == engine)


def _polls(node: Node, engine: str) -> int:
    return sum(one["polls_open"] for one in node.status["engines"] if one["name"] == engine)


async def leases_held(claimer: Node, count: int) -> Counter[str]:
    """Waits until so many leases are held; returns how many by which node."""

    async def look() -> Counter[str] | None:
        await claimer.look()
        held = Counter(one["holder"] for one in claimer.status["leases"] if one["state"] == "held")
        return held if held.total() == count else None

    return await until(look)


async def kill(node: Node) -> None:
    """Ends a node as a power cut would."""
    os.kill(node.pid, signal.SIGKILL)
    node.killed = True
    await node.process.wait()


async def stop(node: Node, when_stopping: Callable[[], Awaitable[object]] | None = None) -> int:
    """Asks a node to stop; returns its exit status when it has.

    Args:
        when_stopping: is done when the node has begun to stop.
    """
    os.kill(node.pid, signal.SIGTERM)
    node.killed = True

    async def stops() -> bool:
        return any(one["msg"].startswith("stopping") for one in records(node))

    await until(stops)
    if when_stopping is not None:
        await when_stopping()
    with patience(PATIENCE_S):
        return await node.process.wait()


def records(node: Node) -> list[dict[str, Any]]:
    """What the node has logged so far."""
    lines = (node.folder / "log").read_text().splitlines(keepends=True)
    return [json.loads(one) for one in lines if one.endswith("\n")]


# --- processes


async def deploy(engine: Engine, topics: Sequence[str]) -> str:
    """Deploys a process of one task a topic, in a row. Returns its id."""
    process_id = f"spine-{uuid.uuid4().hex[:10]}"
    content = bpmn(engine.kind, process_id, topics).encode()
    assert await engine.deploy({f"{process_id}.bpmn": content}) == [process_id]
    return process_id


def new_topic() -> str:
    """A topic that no other test has."""
    return f"topic-{uuid.uuid4().hex[:10]}"


@asynccontextmanager
async def instances(engine: Engine, process_id: str, count: int) -> AsyncIterator[None]:
    """Starts instances. The block ends when the engine says that each has completed."""
    with patience(PATIENCE_S * 2):
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(complete, engine, process_id)
            yield


async def complete(
    engine: Engine, process_id: str, variables: Variables | None = None
) -> Variables:
    """Starts an instance and waits until the engine says that it has completed.

    Returns its variables.
    """
    given = variables or Variables()
    if Capability.LIST_INSTANCES not in engine.capabilities:
        wait_ms = round(PATIENCE_S * 1_000)
        result = await engine.start_and_wait(process_id, variables=given, wait_ms=wait_ms)
        assert result is not None
        return result
    key = await engine.start(process_id, variables=given)

    async def ended() -> bool:
        found = await engine.list_instances(process_id)
        return any(one.key == key and one.state == "completed" for one in found)

    await until(ended)
    return await engine.read_variables(key)


def bpmn(kind: str, process_id: str, topics: Sequence[str]) -> str:
    """A process of external tasks in a row, in an engine's dialect."""
    attributes, task = DIALECTS[kind]
    steps = ["start", *(f"task-{number}" for number in range(len(topics))), "end"]
    tasks = (
        task.format(id=one, topic=topic) for one, topic in zip(steps[1:], topics, strict=False)
    )
    flows = (
        f'<sequenceFlow id="after-{source}" sourceRef="{source}" targetRef="{target}"/>'
        for source, target in pairwise(steps)
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL"
    xmlns:camunda="http://camunda.org/schema/1.0/bpmn"
    xmlns:zeebe="http://camunda.org/schema/zeebe/1.0"
    id="definitions" targetNamespace="http://gossamer/spine">
  <process id="{process_id}" isExecutable="true" {attributes}>
    <startEvent id="start"/>
    {"".join(tasks)}
    <endEvent id="end"/>
    {"".join(flows)}
  </process>
</definitions>"""


DIALECTS: Mapping[str, tuple[str, str]] = {
    "camunda7": (
        'camunda:historyTimeToLive="P1D"',
        '<serviceTask id="{id}" camunda:type="external" camunda:topic="{topic}"/>',
    ),
    "camunda8": (
        "",
        '<serviceTask id="{id}"><extensionElements><zeebe:taskDefinition type="{topic}"/>'
        "</extensionElements></serviceTask>",
    ),
}
"""Attributes of the process, and a task."""
