"""One service on one topic of two engines at the same time: a migration from both its sides."""

from pathlib import Path

import pytest
import trio
from tests.integration.nodes import (
    agreed,
    deploy,
    instances,
    new_topic,
    reaches,
    works,
    write_service,
)
from tests.integration.server import Server

from gossamer_hotel.demo.processes import open_nodes
from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.factory import open_engine
from gossamer_node.local_engines.progress import silent

INSTANCES = 6
"""On each engine."""


@pytest.mark.processes
async def test_one_service_works_on_camunda_7_and_camunda_8_at_once(
    camunda7_config: EngineConfig,
    zeebe_config: EngineConfig,
    server: Server,
    telling: bytes,
    tmp_path: Path,
) -> None:
    topic = new_topic()
    service = write_service(tmp_path / "telling", telling, [topic])
    configs = (camunda7_config, zeebe_config)
    settings = reaches(*configs) | works(service, server.origin)
    async with open_nodes([settings] * 3, tmp_path, silent) as nodes:

        async def run_on(config: EngineConfig) -> None:
            await agreed(nodes, config.name)
            engine = open_engine(config)
            async with instances(engine, await deploy(engine, [topic]), INSTANCES):
                # Jobs of both engines are in the workers' hands at the same time.
                await server.asked_for(INSTANCES * len(configs))
                server.answer()
            await engine.aclose()

        async with trio.open_nursery() as nursery:
            for config in configs:
                nursery.start_soon(run_on, config)
    assert len(server.effects) == server.asked.total() == INSTANCES * len(configs)
