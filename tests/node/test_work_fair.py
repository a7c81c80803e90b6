"""On a real engine: a topic with a backlog, whose jobs are slow, does not keep out another."""

import uuid
from pathlib import Path

import pytest
import trio
from tests.gateway.bpmn_text import bpmn, end, flow, start, task
from tests.patience import patience

from gossamer_mesh.drivers import MeshConfig, open_mesh
from gossamer_mesh.identity import Identity
from gossamer_mesh.keyring import Keyring
from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.factory import open_engine
from gossamer_node.jobs import Completed, Job, Outcome
from gossamer_node.service.spec import ServiceSpec, Topic
from gossamer_node.variables import Variables
from gossamer_node.wasm import JobContext
from gossamer_node.work.executing import Executor
from gossamer_node.work.leasing import Leasing

SLOTS = 4
BACKLOG = 80
WORK_S = 0.5
"""How long a slow job takes, at least."""


class Timed:
    """Works a topic slowly, the other at once, and knows in which order. Of the slow jobs only as
    many as there are slots end before it may go on."""

    def __init__(self, slow: str) -> None:
        self.slow = slow
        self.goes_on = trio.Event()
        self.done: list[str] = []
        self.changed = trio.Event()

    async def run(self, job: Job, *, deadline_ms: int, context: JobContext) -> Outcome:
        if job.ref.topic == self.slow:
            await trio.sleep(WORK_S)
            if len(self.done) >= SLOTS:
                await self.goes_on.wait()
        self.done.append(job.ref.topic)
        self.changed.set()
        self.changed = trio.Event()
        return Completed()

    async def wait_for(self, topic: str, count: int) -> None:
        while self.done.count(topic) < count:
            await self.changed.wait()


@pytest.mark.processes
async def test_a_backlog_of_slow_jobs_leaves_room_for_a_late_quick_one(
    embedded_url: str, tmp_path: Path
) -> None:
    engine = open_engine(EngineConfig("x", "camunda7", embedded_url))
    name = uuid.uuid4().hex[:8]
    topics = (f"slow-{name}", f"quick-{name}")
    for topic in topics:
        process = bpmn(
            start(), task("t", topic=topic), end(), flow("s", "t"), flow("t", "e"),
            process_id=f"P-{topic}",
        )  # fmt: skip
        assert await engine.deploy({f"{topic}.bpmn": process})
    for _ in range(BACKLOG):
        await engine.start(f"P-{topics[0]}", variables=Variables())
    worker = Timed(topics[0])
    spec = ServiceSpec(
        name="s", version="1", path=tmp_path, topics=tuple(Topic(one) for one in topics)
    )
    async with (
        open_mesh(MeshConfig(identity=Identity.generate(), keyring=Keyring((bytes(32),)))) as mesh,
        trio.open_nursery() as nursery,
    ):
        executor = Executor([(spec, worker)])
        leasing = Leasing(mesh, {"x": engine}, executor, slots=SLOTS, claims=True)
        await nursery.start(leasing.run)
        with patience():
            await worker.wait_for(topics[0], SLOTS)
            await engine.start(f"P-{topics[1]}", variables=Variables())
            worker.goes_on.set()
            await worker.wait_for(topics[1], 1)
        # Behind the backlog it would have come after all of it.
        assert worker.done.count(topics[0]) < BACKLOG // 2
        await leasing.stop(1_000, 1_000)
        nursery.cancel_scope.cancel()
    await engine.aclose()
