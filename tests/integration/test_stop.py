"""A node that is asked to stop: it finishes or hands back, says goodbye, keeps nothing locked."""

import os
import signal
from pathlib import Path

import pytest
from tests.integration.nodes import (
    CAMUNDA8,
    EMBEDDED,
    PATIENCE_S,
    agreed,
    deploy,
    instances,
    new_topic,
    on,
    reaches,
    records,
    stop,
    until,
    works,
    write_service,
)
from tests.integration.server import Server

from gossamer_hotel.demo.processes import open_nodes
from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.port import WAIT_MS_MAX, Engine, TopicRequest
from gossamer_node.jobs import Job
from gossamer_node.local_engines.progress import silent
from gossamer_node.variables import Variables

pytestmark = pytest.mark.processes

LOCK_S = 300
"""Of the services here. No test lasts as long, so a job that is seen again was given back."""

LONG_POLL = 6
"""A claimer's first polls are short. The sixth lasts for seconds, so it is open at a node that has
only just begun to stop."""

assert LOCK_S > 2 * PATIENCE_S


async def stranger_gets(engine: Engine, topic: str) -> Job:
    """What another client of the engine gets to work on."""

    async def look() -> Job | None:
        jobs = await engine.activate(
            [TopicRequest(topic)], jobs_max=1, wait_ms=WAIT_MS_MAX, worker_id="stranger"
        )
        return jobs[0] if jobs else None

    return await until(look)


@on(EMBEDDED)
async def test_a_stopping_node_finishes_its_job_and_leaves(
    engine: Engine, engine_config: EngineConfig, server: Server, telling: bytes, tmp_path: Path
) -> None:
    topic = new_topic()
    service = write_service(tmp_path / "telling", telling, [topic], lock=f"{LOCK_S}s")
    settings = [reaches(engine_config), works(service, server.origin)]
    async with open_nodes(settings, tmp_path, silent) as nodes:
        claimer, holder = nodes
        assert await agreed(nodes, engine_config.name) is claimer
        process_id = await deploy(engine, [topic])
        async with instances(engine, process_id, 1):
            await server.asked_for(1)

            async def answer() -> None:
                server.answer()

            assert await stop(holder, answer) == 0
        await agreed([claimer], engine_config.name)

        async def told() -> list[str] | None:
            changes = [one["change"] for one in records(claimer) if one["msg"] == "member"]
            return changes if {"left", "died"} & set(changes) else None

        # A node lists its members before it has logged what happened to them.
        changes = await until(told)
    assert changes[-1] == "left"
    assert "died" not in changes
    assert server.asked.total() == 1


@on(CAMUNDA8)
async def test_a_stopping_node_gives_back_what_it_has_not_finished(
    engine: Engine, engine_config: EngineConfig, server: Server, telling: bytes, tmp_path: Path
) -> None:
    topic = new_topic()
    service = write_service(tmp_path / "telling", telling, [topic], lock=f"{LOCK_S}s")
    settings = reaches(engine_config) | works(service, server.origin)
    async with open_nodes([settings], tmp_path, silent) as nodes:
        (node,) = nodes
        await agreed(nodes, engine_config.name)
        await engine.start(await deploy(engine, [topic]), variables=Variables())
        await server.asked_for(1)
        assert await stop(node) == 0
        (key,) = server.asked
        assert (await stranger_gets(engine, topic)).ref.key == key


async def test_a_job_that_comes_while_the_node_stops_is_given_back(
    engine: Engine, engine_config: EngineConfig, server: Server, telling: bytes, tmp_path: Path
) -> None:
    topic = new_topic()
    service = write_service(tmp_path / "telling", telling, [topic], lock=f"{LOCK_S}s")
    settings = reaches(engine_config) | works(service, server.origin)
    async with open_nodes([settings], tmp_path, silent) as nodes:
        (node,) = nodes
        await agreed(nodes, engine_config.name)
        process_id = await deploy(engine, [topic])

        async def polls() -> bool:
            await node.look()
            (one,) = node.status["engines"]
            return bool(one["polls_open"]) and one["polls"] >= LONG_POLL

        async def start() -> None:
            await engine.start(process_id, variables=Variables())

        await until(polls)
        assert await stop(node, start) == 0
        await stranger_gets(engine, topic)
    assert not server.asked


@on(EMBEDDED)
async def test_a_second_signal_does_not_wait_for_an_open_poll(
    engine: Engine, engine_config: EngineConfig, server: Server, telling: bytes, tmp_path: Path
) -> None:
    topic = new_topic()
    service = write_service(tmp_path / "telling", telling, [topic])
    settings = reaches(engine_config) | works(service, server.origin)
    async with open_nodes([settings], tmp_path, silent) as nodes:
        (node,) = nodes
        await agreed(nodes, engine_config.name)
        await engine.start(await deploy(engine, [topic]), variables=Variables())
        await server.asked_for(1)

        async def again() -> None:
            os.kill(node.pid, signal.SIGTERM)

        assert await stop(node, again) == 128 + signal.SIGTERM
