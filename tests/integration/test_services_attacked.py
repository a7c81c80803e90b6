"""Real nodes and commands, under load: what operators and machines do at the wrong moment."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio
from tests.integration.nodes import (
    EMBEDDED,
    agreed,
    deploy,
    kill,
    looked,
    new_topic,
    on,
    reaches,
    until,
)
from tests.integration.test_services_travel import Load, config_of, gossamer, listed
from tests.node.registry_world import service, sign

from gossamer_hotel.demo.processes import Node, gossamer_process, open_nodes, wait_until_ready
from gossamer_mesh.identity import create_operator_key, load_operator_key
from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.port import Engine
from gossamer_node.local_engines.progress import silent
from gossamer_node.mesh_config import MeshConfig

NODE_MESH = MeshConfig().name


async def versions(node: Node) -> dict[str, tuple[str, str]]:
    """State and module of each version that a node knows."""
    return {one["version"]: (one["state"], one["module"]) for one in await listed(node)}


@pytest.mark.processes
@on(EMBEDDED)
async def test_two_who_add_at_once_a_node_that_is_away_and_a_removal_fail_no_job(
    engine: Engine, engine_config: EngineConfig, tmp_path: Path
) -> None:
    topic, key = new_topic(), tmp_path / "operator.pem"
    operator = create_operator_key(key)
    signing = load_operator_key(key)

    def signed(version: str, turns: int = 1_000_000) -> Path:
        file = service(
            tmp_path / str(turns), "rate", version, turns=turns, topics=[{"name": topic}]
        )
        return sign(file, signing, mesh=NODE_MESH)

    mesh = {"key_file": str(tmp_path / "mesh.key"), "operators": [operator]}
    settings = [{**reaches(engine_config), "mesh": mesh, "slots": 2}]
    settings += [{"mesh": mesh, "slots": 2}] * 2
    async with AsyncExitStack() as stack, open_nodes(settings, tmp_path, silent) as nodes:
        await agreed(nodes, "embedded")
        await gossamer("service", "add", signed("1.0.0"), "--config", config_of(nodes[0]))
        load = Load(engine, await deploy(engine, [topic]))

        async def all_agree(version: str, present: list[Node]) -> None:
            async def look() -> bool:
                found = [await versions(one) for one in present]
                newest = {one.get(version, ("none", "")) for one in found}
                return len(newest) == 1 and newest.pop()[0] == "live"

            await until(look)

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(load.run)
            await load.until_all_are("1.0.0", 4)
            # Two operators decide at once, on two nodes, for other bytes of one version.
            files = [signed("2.0.0", turns) for turns in (900_000, 1_100_000)]
            async with trio.open_nursery() as both:
                for file, node in zip(files, nodes[1:], strict=True):
                    both.start_soon(_add, file, node)
            await all_agree("2.0.0", nodes)
            await load.until_all_are("2.0.0", 8)

            # A node is away while a version comes and one goes.
            away = nodes[2]
            await kill(away)
            of_first = ["--config", config_of(nodes[0])]
            await gossamer("service", "add", signed("3.0.0"), *of_first)
            await gossamer("service", "rm", "rate@2.0.0", "--operator", key, *of_first)
            await all_agree("3.0.0", nodes[:2])
            process = await stack.enter_async_context(
                gossamer_process(["node", "--config", str(config_of(away))], away.folder)
            )
            back = Node(away.name, away.folder, process)
            await wait_until_ready(back.name, process, back.folder, back.look)
            await all_agree("3.0.0", [*nodes[:2], back])

            async def back_knows_both() -> bool:
                return set(await versions(back)) == {"1.0.0", "3.0.0"}

            # What came while it was away and what went need not reach it together.
            await until(back_knows_both)
            await load.until_all_are("3.0.0", 8)

            # All of it is removed while jobs run, and signed anew.
            await gossamer("service", "rm", "rate", "--operator", key, *of_first)
            await until(lambda: _knows_nothing([*nodes[:2], back]))
            await gossamer("service", "add", signed("1.0.0"), "--config", config_of(back))
            await load.until_all_are("1.0.0", 8)
            load.over = True
        present = (*nodes[:2], back)
        await looked(*present)
        for one in present:
            assert one.status["outcomes"]["failed"] == one.status["outcomes"]["bpmn_error"] == 0


async def _add(file: Path, node: Node) -> None:
    """The later of two orders may have come to the node before the earlier one is given to it."""
    try:
        await gossamer("service", "add", file, "--config", config_of(node))
    except AssertionError as error:
        if "was decided on by a later order" not in str(error):
            raise


async def _knows_nothing(nodes: list[Node]) -> bool:
    return not any([await listed(one) for one in nodes])
