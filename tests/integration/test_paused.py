"""Nodes that stop running for a while, and an engine that is killed: nothing is lost or done twice.

A paused process is worse than a dead one: it comes back and goes on where it was, with leases that
others have by now.
"""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.embedded_fixture import EmbeddedEngine
from tests.integration.nodes import (
    EMBEDDED,
    SLOTS,
    agreed,
    deploy,
    instances,
    leases_held,
    new_topic,
    on,
    reaches,
    until,
    works,
    write_service,
)
from tests.integration.server import Server

from gossamer_hotel.demo.processes import Node, open_nodes
from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.factory import open_engine
from gossamer_node.engines.port import Engine
from gossamer_node.errors import EngineUnavailable
from gossamer_node.local_engines.processes import free_ports
from gossamer_node.local_engines.progress import silent
from gossamer_node.variables import Variables

pytestmark = pytest.mark.processes

JOBS = 4
"""One node has room for what it works on itself and for all of them once more."""


@contextmanager
def paused(node: Node) -> Iterator[None]:
    """A node that does not run for the length of a block, its streams open."""
    os.kill(node.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(node.pid, signal.SIGCONT)


@on(EMBEDDED)
@pytest.mark.parametrize("claims", [True, False], ids=["claimer", "holder"])
async def test_a_paused_node_does_nothing_twice(
    engine: Engine,
    engine_config: EngineConfig,
    server: Server,
    telling: bytes,
    tmp_path: Path,
    claims: bool,
) -> None:
    topic = new_topic()
    service = write_service(tmp_path / "telling", telling, [topic], lock="5m")
    settings = reaches(engine_config) | works(service, server.origin)
    async with open_nodes([settings] * 2, tmp_path, silent) as nodes:
        claimer = await agreed(nodes, engine_config.name)
        process_id = await deploy(engine, [topic])
        async with instances(engine, process_id, JOBS):
            await server.asked_for(JOBS)
            held = await leases_held(claimer, JOBS)
            victim = claimer if claims else next(one for one in nodes if one is not claimer)
            with paused(victim):
                # What it held itself is worked anew, also when it was the claimer.
                await server.asked_for(JOBS + held[victim.name])
            server.answer()
        await agreed(nodes, engine_config.name)

        async def quiet() -> bool:
            looked = [await one.look() for one in nodes]
            return all(looked) and not any(one.status["leases"] for one in nodes)

        await until(quiet)
    assert len(server.effects) == len(server.asked) == JOBS


async def test_an_engine_that_is_killed_and_comes_back_loses_nothing(
    embedded_engine: EmbeddedEngine, server: Server, telling: bytes, tmp_path: Path
) -> None:
    jobs = 50
    # A port that the kernel gives to nobody while the engine is away.
    (port,) = free_ports(1)
    url = embedded_engine.start("--port", str(port))
    config = EngineConfig("embedded", "camunda7", url)
    engine = open_engine(config)
    topic = new_topic()
    service = write_service(tmp_path / "telling", telling, [topic], lock="5m")
    settings = reaches(config) | works(service, server.origin)
    async with open_nodes([settings] * 2, tmp_path, silent) as nodes:
        await agreed(nodes, config.name)
        process_id = await deploy(engine, [topic])
        keys = {await engine.start(process_id, variables=Variables()) for _ in range(jobs)}
        await server.asked_for(2 * SLOTS)
        embedded_engine.kill()
        # While nobody takes them, the outcomes wait with the holders.
        server.answer()
        embedded_engine.start("--port", str(port))

        async def ended() -> bool:
            try:
                found = await engine.list_instances(process_id)
            except EngineUnavailable:
                return False
            return {one.key for one in found if one.state == "completed"} == keys

        await until(ended)

        async def settled() -> Counter[str] | None:
            counts: Counter[str] = Counter()
            for one in nodes:
                await one.look()
                for group in one.status["claimed"].values():
                    counts.update(group)
            return counts if not counts["open"] else None

        counts = await until(settled)
    await engine.aclose()
    # A job that finds no credit any more goes back unworked, and is activated again.
    assert counts["activated"] - counts["released"] == counts["settled"] == jobs
    assert len(server.effects) == server.asked.total() == jobs
