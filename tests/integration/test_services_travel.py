"""Real nodes and commands: a service that one node was given works on all, rolls out and back."""

import json
import subprocess
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from tests.integration.nodes import (
    EMBEDDED,
    agreed,
    complete,
    deploy,
    new_topic,
    on,
    reaches,
    until,
)
from tests.node.registry_world import service

from gossamer_hotel.demo.processes import Node, open_nodes
from gossamer_node.control import converse
from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.port import Engine
from gossamer_node.local_engines.progress import silent

AT_ONCE = 6
"""Instances that are kept running while versions change."""


async def gossamer(*arguments: object) -> str:
    """What a command prints; it must succeed."""
    command = [sys.executable, "-m", "gossamer_node", *map(str, arguments)]
    done = await trio.run_process(
        command, capture_stdout=True, stderr=subprocess.STDOUT, check=False
    )
    text = done.stdout.decode()
    assert done.returncode == 0, text
    return text


def config_of(node: Node) -> Path:
    return node.folder / "gossamer.yaml"


async def listed(node: Node) -> list[dict[str, Any]]:
    """What a node knows of each version, as it tells the command that lists them."""
    ask = partial(converse, node.data_dir, "service-list ")
    return await trio.to_thread.run_sync(lambda: list(ask()))


async def all_say(nodes: list[Node], wanted: dict[str, str]) -> None:
    def states(versions: Iterable[dict[str, Any]]) -> dict[str, str]:
        return {f"{one['service']}@{one['version']}": one["state"] for one in versions}

    async def look() -> bool:
        return all([states(await listed(node)) == wanted for node in nodes])

    await until(look)
    text = await gossamer("service", "list", "--config", config_of(nodes[0]), "--json")
    assert states(map(json.loads, text.splitlines())) == wanted


class Load:
    """Instances of a process, one after another, and which version each of them met."""

    def __init__(self, engine: Engine, process_id: str) -> None:
        self._engine = engine
        self._process_id = process_id
        self.over = False
        self.versions: list[Any] = []

    async def run(self) -> None:
        while not self.over:
            ended = await complete(self._engine, self._process_id)
            self.versions.append(ended.values["version"])

    async def until_all_are(self, version: str, count: int) -> None:
        """Waits until so many instances in a row have met a version."""

        async def look() -> bool:
            return self.versions[-count:] == [version] * count

        await until(look)


@pytest.mark.processes
@on(EMBEDDED)
async def test_a_service_works_on_all_nodes_and_rolls_out_and_back(
    engine: Engine, engine_config: EngineConfig, tmp_path: Path
) -> None:
    topic = new_topic()
    key = tmp_path / "operator.pem"
    operator = (await gossamer("key", "new", "--operator", key)).splitlines()[-1]
    files = {}
    for version in ("1.0.0", "2.0.0"):
        file = service(tmp_path, "rate", version, turns=1_000_000, topics=[{"name": topic}])
        await gossamer("service", "sign", file, "--operator", key)
        files[version] = file
    mesh = {"key_file": str(tmp_path / "mesh.key"), "operators": [operator]}
    settings = [{**reaches(engine_config), "mesh": mesh, "slots": 2}]
    settings += [{"mesh": mesh, "slots": 2}] * 2
    async with open_nodes(settings, tmp_path, silent) as nodes:
        claims, second, third = nodes
        await agreed(nodes, "embedded")
        said = await gossamer("service", "add", files["1.0.0"], "--config", config_of(second))
        assert said == "rate@1.0.0: added, and at work.\n"
        await all_say(nodes, {"rate@1.0.0": "live"})

        load = Load(engine, await deploy(engine, [topic]))
        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(load.run)

            async def all_have_worked() -> bool:
                looked = [await node.look() for node in nodes]
                return all(looked) and all(node.status["outcomes"]["completed"] for node in nodes)

            await until(all_have_worked)
            await load.until_all_are("1.0.0", AT_ONCE)
            await gossamer("service", "add", files["2.0.0"], "--config", config_of(third))
            await all_say(nodes, {"rate@1.0.0": "registered", "rate@2.0.0": "live"})
            await load.until_all_are("2.0.0", 3 * AT_ONCE)
            order = ["--operator", key, "--config", config_of(claims)]
            said = await gossamer("service", "rm", "rate@2.0.0", *order)
            assert said == "rate@2.0.0: removed.\n"
            await all_say(nodes, {"rate@1.0.0": "live"})
            await load.until_all_are("1.0.0", 3 * AT_ONCE)
            load.over = True

        rest = {"registered": 1, "live": 1, "parked": 0, "waiting": 0, "draining": 0}

        async def come_to_rest() -> bool:
            looked = [await node.look() for node in nodes]
            return all(looked) and all(node.status["registry"] == rest for node in nodes)

        await until(come_to_rest)
        for node in nodes:
            outcomes = node.status["outcomes"]
            assert outcomes["failed"] == outcomes["bpmn_error"] == 0
        assert "services: 1 registered, 1 live, 0 parked, 0 waiting" in await gossamer(
            "status", "--config", config_of(second)
        )
