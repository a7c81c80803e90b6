"""Nodes that die with jobs in their hands, on real engines: nothing is lost or done twice."""

import os
import signal
from pathlib import Path

import pytest
import trio
from tests.integration.nodes import (
    CAMUNDA7,
    CAMUNDA8,
    PATIENCE_S,
    SLOTS,
    agreed,
    deploy,
    instances,
    kill,
    leases_held,
    looked,
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
from gossamer_node.engines.port import Engine
from gossamer_node.local_engines.progress import silent

pytestmark = pytest.mark.processes

JOBS = 6

JOBS_FOR_TWO = SLOTS + 2
"""More than one node has room for: however little the claimer has heard of the others yet, it keeps
some and gives some away."""


def claimed(node: Node) -> dict[str, int]:
    """Counts of the node's one claimer, as of the last look."""
    (counts,) = node.status["claimed"].values()
    return dict(counts)


async def test_a_lost_holders_jobs_run_elsewhere_long_before_their_locks_end(
    engine: Engine, engine_config: EngineConfig, server: Server, telling: bytes, tmp_path: Path
) -> None:
    lock_s = 300
    topic = new_topic()
    service = write_service(tmp_path / "telling", telling, [topic], lock=f"{lock_s}s")
    settings = reaches(engine_config) | works(service, server.origin)
    async with open_nodes([settings] * 3, tmp_path, silent) as nodes:
        claimer = await agreed(nodes, engine_config.name)
        process_id = await deploy(engine, [topic])
        async with instances(engine, process_id, JOBS_FOR_TWO):
            await server.asked_for(JOBS_FOR_TWO)
            held = await leases_held(claimer, JOBS_FOR_TWO)
            victim = next(one for one in nodes if one is not claimer and held[one.name])
            await kill(victim)
            await server.asked_for(JOBS_FOR_TWO + held[victim.name])
            await leases_held(claimer, JOBS_FOR_TWO)
            server.answer()
        await looked(claimer)
    # Else the locks may have ended by themselves meanwhile.
    assert lock_s > 2 * PATIENCE_S
    assert claimed(claimer)["regranted"] == held[victim.name]
    assert len(server.effects) == JOBS_FOR_TWO
    assert sorted(server.asked.values()) == sorted(
        [1] * (JOBS_FOR_TWO - held[victim.name]) + [2] * held[victim.name]
    )


@on(CAMUNDA8)
async def test_a_lost_claimers_jobs_come_back_long_before_their_locks_end(
    engine: Engine, engine_config: EngineConfig, server: Server, telling: bytes, tmp_path: Path
) -> None:
    topic = new_topic()
    service = write_service(tmp_path / "telling", telling, [topic], lock="5m")
    settings = reaches(engine_config) | works(service, server.origin)
    async with open_nodes([settings] * 2, tmp_path, silent) as nodes:
        claimer = await agreed(nodes, engine_config.name)
        process_id = await deploy(engine, [topic])
        async with instances(engine, process_id, JOBS_FOR_TWO):
            await server.asked_for(JOBS_FOR_TWO)
            held = await leases_held(claimer, JOBS_FOR_TWO)
            assert held[claimer.name]
            await kill(claimer)
            assert await agreed(nodes, engine_config.name) is not claimer
            server.answer()
    assert len(server.effects) == len(server.asked) == JOBS_FOR_TWO
    assert server.asked.total() == JOBS_FOR_TWO + held[claimer.name]


async def test_jobs_that_a_lost_claimers_poll_gets_come_back_long_before_their_locks_end(
    engine: Engine, engine_config: EngineConfig, server: Server, telling: bytes, tmp_path: Path
) -> None:
    topic = new_topic()
    service = write_service(tmp_path / "telling", telling, [topic], lock="5m")
    settings = reaches(engine_config) | works(service, server.origin)
    server.answer()
    async with open_nodes([settings] * 3, tmp_path, silent) as nodes:
        claimer = await agreed(nodes, engine_config.name)
        process_id = await deploy(engine, [topic])

        async def polls() -> bool:
            await claimer.look()
            return any(one["polls_open"] for one in claimer.status["engines"])

        await until(polls)
        # Stopped, not killed: its connections stay, so that each engine gives its polls jobs.
        os.kill(claimer.pid, signal.SIGSTOP)
        try:
            async with instances(engine, process_id, JOBS):
                claimer.killed = True
                await agreed(nodes, engine_config.name)
                known_s = trio.current_time()
            print(f"{engine_config.name}: {trio.current_time() - known_s:.1f} s after detection")
        finally:
            await kill(claimer)
    assert len(server.effects) == server.asked.total() == JOBS


@on(CAMUNDA7)
async def test_outcomes_of_a_lost_claimers_leases_are_taken_by_the_next(
    engine: Engine, engine_config: EngineConfig, server: Server, telling: bytes, tmp_path: Path
) -> None:
    topic = new_topic()
    service = write_service(tmp_path / "telling", telling, [topic], lock="5m")
    claims, holds = reaches(engine_config), works(service, server.origin)
    async with open_nodes([claims, claims, holds], tmp_path, silent) as nodes:
        claimer = await agreed(nodes, engine_config.name)
        process_id = await deploy(engine, [topic])
        async with instances(engine, process_id, JOBS):
            await server.asked_for(JOBS)
            await leases_held(claimer, JOBS)
            await kill(claimer)
            successor = await agreed(nodes, engine_config.name)
            server.answer()

        async def settled() -> bool:
            await successor.look()
            return claimed(successor)["settled"] == JOBS

        await until(settled)
    assert claimed(successor)["activated"] == 0
    assert len(server.effects) == server.asked.total() == JOBS
