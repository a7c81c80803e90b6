"""A node works a real Zeebe over gRPC, with streams beside its polls: nothing starves, nothing is
lost, and in calm times jobs are pushed.
"""

import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio
from tests.integration.nodes import bpmn
from tests.patience import patience, until
from tests.zeebe88.engine import RunningZeebe88

from gossamer_mesh.drivers import MeshConfig, open_mesh
from gossamer_mesh.identity import Identity
from gossamer_mesh.keyring import Keyring
from gossamer_node.engines import camunda8_grpc
from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.factory import open_engine
from gossamer_node.engines.port import Engine, StreamingEngine, TopicRequest
from gossamer_node.errors import EngineUnavailable
from gossamer_node.jobs import Completed, Job, Outcome
from gossamer_node.local_engines import RunningZeebe
from gossamer_node.service.spec import ServiceSpec, Topic
from gossamer_node.variables import Variables
from gossamer_node.wasm import JobContext
from gossamer_node.work.executing import Executor
from gossamer_node.work.leasing import Leasing

SLOTS = 8
BACKLOG = 2_000
BACKLOG_IN_MEMORY = 200
"""The 8.8 in memory walks through all its jobs at each activation: 2,000 take it two minutes."""
FRESH = 20
BACKLOG_S = 120.0
"""Patience with all of it."""

Gateway = RunningZeebe | RunningZeebe88
"""Where a Camunda 8 is to be asked over gRPC."""


@pytest.fixture(
    params=[
        pytest.param("zeebe", marks=pytest.mark.zeebe),
        pytest.param("zeebe88", marks=pytest.mark.zeebe88),
    ]
)
def gateway(request: pytest.FixtureRequest) -> Gateway:
    running: Gateway = request.getfixturevalue(request.param)
    return running


@dataclass
class Started:
    """Instances.

    Attributes:
        keys: of those that the engine said it started.
        unsure: how many more there may be: starts that were neither refused nor confirmed.
    """

    keys: list[str] = field(default_factory=list)
    unsure: int = 0


class Counting:
    """A worker that is done in a moment, and remembers which instances it saw, and when."""

    def __init__(self) -> None:
        self.seen: dict[str, float] = {}
        self.runs: Counter[str] = Counter()
        self.changed = trio.Event()

    async def run(self, job: Job, *, deadline_ms: int, context: JobContext) -> Outcome:
        self.runs[job.process_instance_key] += 1
        self.seen.setdefault(job.process_instance_key, trio.current_time())
        self.changed.set()
        self.changed = trio.Event()
        await trio.sleep(0.005)
        return Completed()


@asynccontextmanager
async def working(engine: Engine, topic: str, worker: Counting) -> AsyncIterator[Leasing]:
    """A mesh of one node that works the topic."""
    spec = ServiceSpec(
        name="s", version="1", path=Path(), topics=(Topic(topic),), concurrency=SLOTS
    )
    settings = MeshConfig(identity=Identity.generate(), keyring=Keyring((bytes(32),)))
    async with open_mesh(settings) as mesh, trio.open_nursery() as nursery:
        executor = Executor([(spec, worker)])
        node = Leasing(mesh, {engine.name: engine}, executor, slots=SLOTS, claims=True)
        await nursery.start(node.run)
        yield node
        await node.stop(10_000, 10_000)
        nursery.cancel_scope.cancel()


async def start_all(engine: Engine, process_id: str, count: int, started: Started) -> None:
    """Starts instances as fast as the engine takes them."""
    limit = trio.CapacityLimiter(8)

    async def start() -> None:
        async with limit:
            while True:
                try:
                    started.keys.append(await engine.start(process_id, variables=Variables()))
                except EngineUnavailable as error:
                    # Too much at once is refused, and says when to come again.
                    started.unsure += error.retry_after_ms is None
                    await trio.sleep(0.2)
                else:
                    return

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(start)


async def deployed(gateway: Gateway) -> tuple[Engine, str, str]:
    """The engine, and a topic and a process that no other test has."""
    engine = open_engine(EngineConfig("eight", "camunda8", gateway.url, grpc=gateway.grpc_address))
    topic = f"pushed{uuid.uuid4().hex[:10]}"
    process_id = f"{topic}-process"
    await engine.deploy({f"{topic}.bpmn": bpmn("camunda8", process_id, [topic]).encode()})
    return engine, topic, process_id


def its_engine(node: Leasing) -> dict[str, Any]:
    engines: Any = node.status()["engines"]
    (one,) = engines
    return dict(one)


def all_seen(worker: Counting, started: Started) -> bool:
    """Every instance was worked, and no other but those of which nobody knows."""
    assert len(set(worker.seen) - set(started.keys)) <= started.unsure
    return set(worker.seen) >= set(started.keys)


async def test_a_backlog_and_new_jobs_are_all_worked(gateway: Gateway) -> None:
    engine, topic, process_id = await deployed(gateway)
    count = BACKLOG if isinstance(gateway, RunningZeebe) else BACKLOG_IN_MEMORY
    started = Started()
    await start_all(engine, process_id, count, started)
    backlog = set(started.keys)
    worker = Counting()
    async with working(engine, topic, worker) as node:
        # New ones come all the while: a stream alone would bring them, and nothing of the backlog.
        with patience(BACKLOG_S):
            while len(started.keys) < count + FRESH or not set(worker.seen) >= backlog:
                await start_all(engine, process_id, 1, started)
        await until(lambda: all_seen(worker, started), BACKLOG_S)
        await until(lambda: not node.status()["leases"])
    assert all_seen(worker, started)
    again = {key: runs for key, runs in worker.runs.items() if runs > 1}
    assert not again, f"worked more than once: {again}"
    await engine.aclose()


async def test_in_calm_times_jobs_are_pushed(gateway: Gateway) -> None:
    engine, topic, process_id = await deployed(gateway)
    worker = Counting()
    calm = Started()
    async with working(engine, topic, worker) as node:
        await until(lambda: its_engine(node)["streams_open"] == 1)
        for _ in range(FRESH):
            await start_all(engine, process_id, 1, calm)
            await until(lambda: calm.keys[-1] in worker.seen)
        await until(lambda: not node.status()["leases"])
        told = its_engine(node)
        assert told["transport"] == "gRPC"
        # The first may come before the gateway has told the broker of the stream.
        assert told["jobs_pushed"] >= FRESH // 2, told
    assert its_engine(node)["streams_open"] == 0
    assert all_seen(worker, calm) and set(worker.runs.values()) == {1}
    await engine.aclose()


async def test_a_stream_whose_claimer_fell_silent_gets_no_job_for_long(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(camunda8_grpc, "STREAM_MS_MAX", 1_000)
    monkeypatch.setattr(camunda8_grpc, "STREAM_GRACE_MS", 0)
    engine, topic, process_id = await deployed(gateway)
    assert isinstance(engine, StreamingEngine)
    request = TopicRequest(topic, lock_ms=300_000)

    async def poll() -> list[Job]:
        return await engine.activate([request], jobs_max=FRESH, wait_ms=500, worker_id="next")

    late = Started()
    with patience():
        async with engine.stream(request, worker_id="silent"):
            while not await poll():  # the stream, which nobody reads, gets what there is
                await start_all(engine, process_id, 1, Started())
            await start_all(engine, process_id, FRESH, late)
            polled: set[str] = set()
            while not polled >= set(late.keys):
                polled |= {one.process_instance_key for one in await poll()}
    await engine.aclose()
