"""f. What a mesh asks of an engine, beside as many pollers that know nothing of each other."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import trio
from benchmarks.mesh.charts import Chart, Series
from benchmarks.mesh.counting import counted
from benchmarks.mesh.formed import in_children
from benchmarks.mesh.nodes import ENGINE, Worker, bpmn, embedded_engine, engine_at, spec
from benchmarks.mesh.report import Goal, Part, Say, Table

from gossamer_mesh.drivers import Mesh, MeshConfig, open_mesh
from gossamer_mesh.identity import Identity
from gossamer_mesh.keyring import Keyring
from gossamer_node.engines.port import Engine
from gossamer_node.variables import Variables
from gossamer_node.work.executing import Executor
from gossamer_node.work.leasing import Leasing

NAME = "requests"
TITLE = "Requests at the engine"
HOW = """
Nodes with the real driver, leasing and Camunda 7 adapter, all in one process, against the
embedded engine, which speaks Camunda 7's dialect; a proxy before it counts the HTTP requests.
Each node has 4 slots for one topic and a worker that ends a job at once. *Mesh*: all nodes in one
mesh. *Pollers*: as many nodes, each a mesh of its own, so they share nothing but the engine. Both
sides fetch with long polls of 10 s, the longest that Gossamer makes. Idle counts begin when the
mesh has agreed and the first polls of a new claimer, which are short, are over. Then instances of
ten tasks in a row are started at once, and all requests until the engine has none left are
counted, `complete` included.
"""
TASKS = 10
SLOTS = 4
AGREE_S_MAX = 60.0
SETTLE_S = 25.0
"""A new claimer's polls grow to 10 s in less than 20 s."""

SIZES = {
    # (numbers of nodes, idle seconds, instances)
    "full": ((1, 10, 50), 60.0, 100),
    "quick": ((50,), 20.0, 4),
    "tiny": ((2,), 1.0, 1),
}
KEY = bytes(range(32))


def run(scale: str, say: Say, folder: Path) -> Part:
    """Measures."""
    counts, idle_s, instances = SIZES[scale]
    settle_s = 0.0 if scale == "tiny" else SETTLE_S
    idle = Table(
        "Requests a minute while nothing is to do",
        ["nodes", "mesh", "independent pollers", "ratio"],
    )
    busy = Table(
        f"Requests for 1,000 jobs ({instances} instances of {TASKS} tasks at once)",
        ["nodes", "side", "fetchAndLock", "complete", "others", "in all"],
    )
    goals = []
    mesh_line: list[list[float | None]] = []
    poll_line: list[list[float | None]] = []
    with embedded_engine(folder) as url:
        for count in counts:
            task = partial(trio.run, _measure, url, count, idle_s, settle_s, instances)
            ((idle_found, busy_found),) = in_children([task], say, f"{count} nodes")
            per_minute = {
                side: sum(found.values()) * 60 / idle_s for side, found in idle_found.items()
            }
            mesh, pollers = per_minute["mesh"], per_minute["pollers"]
            ratio = pollers / mesh if mesh else None
            idle.rows.append([count, mesh, pollers, ratio])
            mesh_line.append([count, mesh])
            poll_line.append([count, pollers])
            if count == 50:
                goals.append(
                    Goal("Idle requests at 50 nodes, pollers ÷ mesh", 20, "×", ratio, at_least=True)
                )
            share = 1_000 / (instances * TASKS)
            for side, found in busy_found.items():
                fetches, completes = found["POST fetchAndLock"], found["POST complete"]
                rest = sum(found.values()) - fetches - completes
                cells = [one * share for one in (fetches, completes, rest, sum(found.values()))]
                busy.rows.append([count, side, *cells])
    chart = Chart(
        "Requests at an idle engine",
        "nodes",
        "a minute",
        [
            Series("one mesh", mesh_line),
            Series("independent pollers", poll_line, dashed=True),
        ],
        log_x=True,
        log_y=True,
    )
    charts = [chart] if len(counts) > 1 else []
    return Part(NAME, TITLE, HOW, [], [idle, busy], goals, charts)


async def _measure(
    url: str, count: int, idle_s: float, settle_s: float, instances: int
) -> tuple[dict[str, "Counter[str]"], dict[str, "Counter[str]"]]:
    """Requests of each side while idle, and for the instances."""
    counts: dict[str, Counter[str]] = {"mesh": Counter(), "pollers": Counter()}
    topics = {side: f"bench-{side}-{count}" for side in counts}
    async with AsyncExitStack() as stack:
        for side, found in counts.items():
            through = await stack.enter_async_context(counted(url, found))
            nodes = _nodes(through, topics[side], count, alone=side == "pollers")
            await stack.enter_async_context(nodes)
        await trio.sleep(settle_s)
        before = {side: found.copy() for side, found in counts.items()}
        await trio.sleep(idle_s)
        idle = {side: found - before[side] for side, found in counts.items()}
        engine = engine_at(url)
        busy = {}
        for side, found in counts.items():
            earlier = found.copy()
            await _work(engine, f"{topics[side]}-process", topics[side], instances)
            busy[side] = found - earlier
        await engine.aclose()
    return idle, busy


async def _work(engine: Engine, process_id: str, topic: str, instances: int) -> None:
    await engine.deploy({"bench.bpmn": bpmn(process_id, topic, TASKS)})
    for _ in range(instances):
        await engine.start(process_id, variables=Variables())
    while any(  # noqa: ASYNC110 - it happens in another process
        one.state == "active" for one in await engine.list_instances(process_id)
    ):
        await trio.sleep(0.2)


@asynccontextmanager
async def _nodes(url: str, topic: str, count: int, *, alone: bool) -> AsyncIterator[None]:
    """Nodes that run, agreed, in this very process."""
    async with AsyncExitStack() as stack:
        meshes: list[Mesh] = []
        leasings = []
        for number in range(count):
            config = MeshConfig(
                identity=Identity.generate(),
                keyring=Keyring((KEY,)),
                mesh_name=f"bench-{number}" if alone else "bench",
                seeds=() if alone else tuple(one.address for one in meshes[:1]),
            )
            meshes.append(await stack.enter_async_context(open_mesh(config)))
        expected = 1 if alone else count
        with trio.fail_after(AGREE_S_MAX):
            while any(len(one.members()) != expected for one in meshes):  # noqa: ASYNC110
                await trio.sleep(0.1)
        nursery = await stack.enter_async_context(trio.open_nursery())
        for mesh in meshes:
            executor = Executor([(spec(topic, 30_000), Worker(_ignore, holds_jobs=False))])
            engine = engine_at(url)
            leasing = Leasing(mesh, {ENGINE: engine}, executor, slots=SLOTS, claims=True)
            await nursery.start(leasing.run)
            leasings.append(leasing)
        yield
        nursery.cancel_scope.cancel()


def _ignore(kind: str, value: object) -> None:
    del kind, value
