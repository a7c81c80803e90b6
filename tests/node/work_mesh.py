"""A mesh of real members in one process, for tests of how nodes share an engine's work."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from gossamer_mesh.drivers import Mesh, MeshConfig, open_mesh
from gossamer_mesh.identity import Identity
from gossamer_mesh.keyring import Keyring
from gossamer_node.engines.port import Engine
from gossamer_node.jobs import Completed, Job, Outcome
from gossamer_node.service.spec import ServiceSpec, Topic
from gossamer_node.wasm import JobContext
from gossamer_node.work.electing import engines_of
from gossamer_node.work.executing import Executor
from gossamer_node.work.leasing import Leasing

SLOTS = 4
"""Of each node."""
PATIENCE_S = 60


class Gate:
    """A worker whose jobs end when the gate is open."""

    def __init__(self) -> None:
        self.open = trio.Event()
        self.running = 0
        self.runs = 0

    async def run(self, job: Job, *, deadline_ms: int, context: JobContext) -> Outcome:
        self.running += 1
        self.runs += 1
        try:
            await self.open.wait()
        finally:
            self.running -= 1
        return Completed()


class Node:
    """One member, until `kill` or `leave`."""

    def __init__(self, mesh: Mesh, leasing: Leasing, scope: trio.CancelScope) -> None:
        self.mesh = mesh
        self.leasing = leasing
        self._scope = scope

    def kill(self) -> None:
        """From now on it says nothing and does nothing."""
        self._scope.cancel()

    async def leave(self) -> None:
        """A stop in good order, of a node that has not got the time to see all its leases end."""
        await self.leasing.stop(0, 300)
        await self.mesh.leave()
        self._scope.cancel()

    def claimers(self) -> dict[str, str]:
        return {one["engine"]: one["id"] for one in self._told("claimers")}

    def claims(self, engine: str) -> bool:
        return self.claimers().get(engine) == self.mesh.node_id

    def leases(self) -> list[str]:
        return [one["job"] for one in self._told("leases")]

    def mirrors(self) -> int:
        claimed = self.leasing.status()["claimed"]
        assert isinstance(claimed, dict)
        return sum(one["mirrored"] for one in claimed.values())

    def _told(self, what: str) -> list[dict[str, str]]:
        told = self.leasing.status()[what]
        assert isinstance(told, list)
        return told


async def until(condition: Callable[[], bool]) -> float:
    """Waits; returns how many seconds it took."""
    started_s = trio.current_time()
    with trio.fail_after(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - nodes change when they do, not when we are told
            await trio.sleep(0.01)
    return trio.current_time() - started_s


@asynccontextmanager
async def mesh_of(
    reached: Sequence[Mapping[str, Engine]], topic: Topic, gate: Gate, path: Path
) -> AsyncIterator[list[Node]]:
    """Members that serve a topic, see each other, and agree on who claims.

    Args:
        reached: of each member, its engines by name.
    """
    spec = ServiceSpec(name="s", version="1", path=path, topics=(topic,), concurrency=SLOTS)
    seeds: tuple[tuple[str, int], ...] = ()
    async with trio.open_nursery() as nursery:

        async def run_node(
            engines: Mapping[str, Engine],
            task_status: trio.TaskStatus[Node] = trio.TASK_STATUS_IGNORED,
        ) -> None:
            nonlocal seeds
            settings = MeshConfig(
                identity=Identity.generate(), keyring=Keyring((bytes(32),)), seeds=seeds
            )
            with trio.CancelScope() as scope:
                async with open_mesh(settings) as mesh, trio.open_nursery() as inner:
                    seeds = seeds or (mesh.address,)
                    executor = Executor([(spec, gate)])
                    leasing = Leasing(mesh, engines, executor, slots=SLOTS, claims=True)
                    await inner.start(leasing.run)
                    task_status.started(Node(mesh, leasing, scope))
                    await trio.sleep_forever()

        nodes = [await nursery.start(run_node, engines) for engines in reached]
        await until(lambda: agreed(nodes, reached))
        yield nodes
        nursery.cancel_scope.cancel()


def agreed(nodes: Sequence[Node], reached: Sequence[Mapping[str, Engine]]) -> bool:
    """Whether all know of all what they reach: who claims is settled only then."""
    truth = {
        node.mesh.node_id: sorted(engines) for node, engines in zip(nodes, reached, strict=True)
    }
    claimers = [node.claimers() for node in nodes]
    return all(one == claimers[0] for one in claimers) and all(
        {one.id: sorted(engines_of(one)) for one in node.mesh.members()} == truth for node in nodes
    )
