"""A mesh of real members in one process, for tests of how nodes share an engine's work."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from tests.patience import until

from gossamer_mesh.drivers import Mesh, MeshConfig, open_mesh
from gossamer_mesh.identity import Identity
from gossamer_mesh.keyring import Keyring
from gossamer_node.engines.port import Engine
from gossamer_node.jobs import Completed, Job, Outcome
from gossamer_node.service.spec import Limits, ServiceSpec, Topic
from gossamer_node.wasm import JobContext
from gossamer_node.work.electing import engines_of
from gossamer_node.work.executing import Executor
from gossamer_node.work.leasing import Leasing

SLOTS = 4
"""Of each node."""

TIME_MS_MAX = 3_600_000
"""Of a job: it waits for its test, however slow the machine is, and is not taken for stuck."""


class Gate:
    """A worker whose jobs end when the gate is open."""

    def __init__(self) -> None:
        self.open = trio.Event()
        self.running = 0
        self.runs = 0

    def __repr__(self) -> str:
        return f"Gate(running={self.running}, runs={self.runs})"

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

    def __repr__(self) -> str:
        """What a test that waits in vain shows of it."""
        members = [one.id[:4] for one in self.mesh.members()]
        return f"Node({self.mesh.node_id[:4]} of {members}, {self.leasing.status()})"

    def kill(self) -> None:
        """From now on it says nothing and does nothing."""
        self._scope.cancel()

    async def leave(self) -> None:
        """A stop in good order, of a node that has not got the time to see all its leases end."""
        await self.leasing.stop(0, 300)
        await self.mesh.leave()
        self._scope.cancel()

    def claimer(self, engine: str) -> str | None:
        """The id of the member that claims, as far as this one knows."""
        ids = [one["id"] for one in self._told("claimers") if one["engine"] == engine]
        return ids[0] if ids else None

    def claims(self, engine: str) -> bool:
        return self.claimer(engine) == self.mesh.node_id

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


@asynccontextmanager
async def mesh_of(
    reached: Sequence[Mapping[str, Engine]], topic: Topic, gate: Gate, path: Path
) -> AsyncIterator[list[Node]]:
    """Members that serve a topic, see each other, and agree on who claims.

    Args:
        reached: of each member, its engines by name.
    """
    spec = ServiceSpec(
        name="s",
        version="1",
        path=path,
        topics=(topic,),
        limits=Limits(time_ms_max=TIME_MS_MAX),
        concurrency=SLOTS,
    )
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
    """Whether all see all, have heard of each what it reaches, and name one claimer for each
    engine. Before that a node may claim for a moment that will not when it has heard of the rest.
    """
    reaches = {one.mesh.node_id: set(engines) for one, engines in zip(nodes, reached, strict=True)}
    return all(
        {member.id: set(engines_of(member)) for member in one.mesh.members()} == reaches
        for one in nodes
    ) and all(len({one.claimer(engine) for one in nodes}) == 1 for engine in set().union(*reached))
