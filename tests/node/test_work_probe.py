"""A node that doubts its engine asks it who it is, and claims only from one that answers."""

from collections.abc import Sequence
from pathlib import Path

import trio
from tests.node.source_engine import SourceEngine
from tests.node.work_mesh import SLOTS, Gate, Node, mesh_of, until

from gossamer_mesh.drivers import MeshConfig, open_mesh
from gossamer_mesh.identity import Identity
from gossamer_mesh.keyring import Keyring
from gossamer_node.engines.port import EngineInfo, Settlement, TopicRequest
from gossamer_node.errors import EngineUnavailable
from gossamer_node.jobs import Job, JobRef
from gossamer_node.service.spec import Topic
from gossamer_node.work.executing import Executor
from gossamer_node.work.leasing import Leasing

LOCK_MS = 1_000


class AbsentEngine(SourceEngine):
    """One that can be out of reach; it counts who asks what of it meanwhile."""

    def __init__(self, name: str, *, is_there: bool) -> None:
        super().__init__(name)
        self.is_there = is_there
        self.probes = 0
        self.polls_failed = 0

    async def probe(self) -> EngineInfo:
        self.probes += 1
        self._refuse()
        return await super().probe()

    async def activate(
        self, topics: Sequence[TopicRequest], *, jobs_max: int, wait_ms: int, worker_id: str
    ) -> list[Job]:
        self.polls_failed += not self.is_there
        self._refuse()
        return await super().activate(
            topics, jobs_max=jobs_max, wait_ms=wait_ms, worker_id=worker_id
        )

    async def extend(self, job: JobRef, lock_ms: int) -> Settlement:
        self._refuse()
        return await super().extend(job, lock_ms)

    def _refuse(self) -> None:
        if not self.is_there:
            raise EngineUnavailable("out of reach")


async def test_who_does_not_reach_its_engine_at_the_start_asks_until_it_does() -> None:
    engine = AbsentEngine("x", is_there=False)
    settings = MeshConfig(identity=Identity.generate(), keyring=Keyring((bytes(32),)))
    async with open_mesh(settings) as mesh, trio.open_nursery() as nursery:
        leasing = Leasing(mesh, {"x": engine}, Executor([]), slots=SLOTS, claims=True)
        await nursery.start(leasing.run)
        node = Node(mesh, leasing, nursery.cancel_scope)
        await until(lambda: engine.probes >= 3)
        assert not node.claims("x")
        engine.is_there = True
        await until(lambda: node.claims("x"))
        assert engine.polls_failed == 0
        answered = engine.probes
        await until(lambda: engine.probes > answered)  # once more, as it claims from now
        nursery.cancel_scope.cancel()


async def test_a_renewal_without_an_answer_is_enough_to_doubt(tmp_path: Path) -> None:
    """With all slots taken nobody polls, so that no poll can fail."""
    engine, gate = AbsentEngine("x", is_there=True), Gate()
    async with mesh_of([{"x": engine}], Topic("t", lock_ms=LOCK_MS), gate, tmp_path) as (node,):
        engine.add("t", SLOTS)
        await until(lambda: gate.running == SLOTS)
        engine.is_there = False
        await until(lambda: not node.claims("x"))
        assert engine.polls_failed == 0
        assert len(node.leases()) == SLOTS  # nobody else could have them
        engine.is_there = True
        await until(lambda: node.claims("x"))
        gate.open.set()
        await until(lambda: sum(engine.completed.values()) == SLOTS)
        assert gate.runs == SLOTS
