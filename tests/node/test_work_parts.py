"""A group that outgrows its claimer is split, and joined again, and no job is lost or done twice.

Four members of a real mesh in one process, and one source of jobs that all of them reach.
"""

from pathlib import Path

import pytest
import trio
from tests.node.source_engine import SourceEngine
from tests.patience import until

from gossamer_mesh.drivers import MeshConfig, open_mesh
from gossamer_mesh.identity import Identity
from gossamer_mesh.keyring import Keyring
from gossamer_mesh.leases import demand, parts
from gossamer_node.engines.port import Settlement
from gossamer_node.jobs import Completed, Failed, Job, JobRef, Outcome
from gossamer_node.service.spec import ServiceSpec, Topic
from gossamer_node.wasm import JobContext
from gossamer_node.work import signals
from gossamer_node.work.executing import Executor
from gossamer_node.work.leasing import Leasing

NODES = 4
SLOTS = 4


class Engine(SourceEngine):
    """Has tries left: nodes of a machine that stands still count as lost, and their jobs fail."""

    async def fail(self, job: JobRef, outcome: Failed) -> Settlement:
        assert "were lost while they had this job" in outcome.message, outcome
        return await self.release(job)


class Echo:
    """A worker that is done in a moment."""

    async def run(self, job: Job, *, deadline_ms: int, context: JobContext) -> Outcome:
        await trio.sleep(0.005)  # the work
        return Completed()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same decisions in seconds, and a limit that is reached on the slowest machine."""
    monkeypatch.setattr(parts, "JOBS_PER_S_MAX", 4)
    monkeypatch.setattr(parts, "GROW_MS", 500)
    monkeypatch.setattr(parts, "SHRINK_MS", 2_000)
    monkeypatch.setattr(signals, "LOAD_MS", 500)
    monkeypatch.setattr(demand, "TOLD_MS_MIN", 500)


def parts_of(node: Leasing) -> list[str]:
    """The claimers that a node knows, by part."""
    claimers = node.status()["claimers"]
    assert isinstance(claimers, list)
    return [one["id"] for one in claimers]


@pytest.mark.usefixtures("hasty")
async def test_a_group_is_split_by_its_load_and_joined_again(tmp_path: Path) -> None:
    engine = Engine()
    key = bytes(range(32))
    spec = ServiceSpec(
        name="s", version="1", path=tmp_path, topics=(Topic("a"), Topic("b")), concurrency=SLOTS
    )
    nodes: list[Leasing] = []
    seeds: tuple[tuple[str, int], ...] = ()
    async with trio.open_nursery() as nursery, trio.open_nursery() as meshes:

        async def run_node(
            task_status: trio.TaskStatus[Leasing] = trio.TASK_STATUS_IGNORED,
        ) -> None:
            nonlocal seeds
            settings = MeshConfig(
                identity=Identity.generate(), keyring=Keyring((key,)), seeds=seeds
            )
            async with open_mesh(settings) as mesh, trio.open_nursery() as inner:
                seeds = seeds or (mesh.address,)
                executor = Executor([(spec, Echo())])
                node = Leasing(mesh, {engine.name: engine}, executor, slots=SLOTS, claims=True)
                await inner.start(node.run)
                task_status.started(node)
                await trio.sleep_forever()

        nodes = [await meshes.start(run_node) for _ in range(NODES)]
        await until(lambda: all(len(node.status()["claimers"]) == 1 for node in nodes))  # type: ignore[arg-type]
        busy = True

        async def feed() -> None:
            while busy:
                engine.add("a", 30)
                engine.add("b", 5)
                await until(lambda: engine.waiting() < 60)

        nursery.start_soon(feed)
        await until(lambda: all(len(set(parts_of(node))) == NODES for node in nodes))
        assert parts_of(nodes[0]) == parts_of(nodes[-1])
        before = dict(engine.asked_by)
        await until(
            lambda: (
                sum(count > before.get(who, 0) for who, count in engine.asked_by.items()) == NODES
            )
        )
        assert len({who.rpartition("-")[2] for who in engine.asked_by}) == NODES
        busy = False
        await until(lambda: all(len(parts_of(node)) == 1 for node in nodes))
        await until(lambda: engine.waiting() == 0)
        await until(lambda: not any(node.status()["leases"] for node in nodes))
        assert set(engine.completed.values()) == {1}
        assert len(engine.completed) == engine._number
        meshes.cancel_scope.cancel()
