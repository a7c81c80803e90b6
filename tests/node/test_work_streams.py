"""A claimer whose engine can push: streams while there is room, polls for everything else."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from tests.node.source_engine import SourceEngine
from tests.patience import until

from gossamer_mesh.drivers import MeshConfig, open_mesh
from gossamer_mesh.identity import Identity
from gossamer_mesh.keyring import Keyring
from gossamer_node.engines.port import JobStream, TopicRequest
from gossamer_node.errors import EngineUnavailable
from gossamer_node.jobs import Completed, Job, JobRef, Outcome
from gossamer_node.service.spec import ServiceSpec, Topic
from gossamer_node.variables import Variables
from gossamer_node.wasm import JobContext
from gossamer_node.work import pushing
from gossamer_node.work.claiming import WAIT_MS_MIN
from gossamer_node.work.executing import Executor
from gossamer_node.work.leasing import Leasing

SLOTS = 4


class PushingSource(SourceEngine):
    """Pushes a job where a stream is open, and keeps it for a poll where none is."""

    topics_per_activation_max: int | None = 1

    def __init__(self) -> None:
        super().__init__()
        self._streams: dict[str, _Stream] = {}
        self.pushed = 0

    @asynccontextmanager
    async def stream(self, topic: TopicRequest, *, worker_id: str) -> AsyncIterator[JobStream]:
        await trio.lowlevel.checkpoint()
        stream = self._streams[topic.name] = _Stream()
        try:
            yield stream
        finally:
            self._streams.pop(topic.name, None)

    def come(self, topic: str, count: int) -> None:
        """New jobs."""
        for _ in range(count):
            if topic not in self._streams or self._streams[topic].ceased:
                self.add(topic, 1)
                continue
            self.pushed += 1
            ref = JobRef(self.name, f"pushed-{self.pushed}", topic, "w")
            self._streams[topic].send.send_nowait(Job(ref, Variables(), 30_000))

    def streams_open(self) -> int:
        """Streams that jobs are pushed on."""
        return sum(not one.ceased for one in self._streams.values())

    def break_off(self) -> None:
        """The engine restarts: no stream survives."""
        for one in self._streams.values():
            one.ceased = True
            one.send.close()


class HastySource(PushingSource):
    """Has long polling switched off."""

    async def activate(
        self, topics: Sequence[TopicRequest], *, jobs_max: int, wait_ms: int, worker_id: str
    ) -> list[Job]:
        return await super().activate(topics, jobs_max=jobs_max, wait_ms=0, worker_id=worker_id)


class _Stream:
    def __init__(self) -> None:
        self.send, self._receive = trio.open_memory_channel[Job](100)
        self.ceased = False

    async def receive(self) -> list[Job]:
        try:
            return [await self._receive.receive()]
        except trio.EndOfChannel:
            self.ceased = True
            raise EngineUnavailable("it broke off the stream") from None

    async def cease(self) -> list[Job]:
        self.ceased = True
        await trio.lowlevel.checkpoint()
        late: list[Job] = []
        while self._receive.statistics().current_buffer_used:
            late.append(self._receive.receive_nowait())
        return late


class Gate:
    """A worker that is done when the gate is open."""

    def __init__(self) -> None:
        self.open = trio.Event()
        self.running = 0

    async def run(self, job: Job, *, deadline_ms: int, context: JobContext) -> Outcome:
        self.running += 1
        await self.open.wait()
        self.running -= 1
        return Completed()


@asynccontextmanager
async def working(
    engine: PushingSource, worker: Gate, tmp_path: Path
) -> AsyncIterator[Callable[[str], Any]]:
    """A mesh of one node. Yields what asks its status about the engine."""
    spec = ServiceSpec(
        name="s", version="1", path=tmp_path, topics=(Topic("a"),), concurrency=SLOTS
    )
    settings = MeshConfig(identity=Identity.generate(), keyring=Keyring((bytes(32),)))
    async with open_mesh(settings) as mesh, trio.open_nursery() as nursery:
        executor = Executor([(spec, worker)])
        node = Leasing(mesh, {engine.name: engine}, executor, slots=SLOTS, claims=True)
        await nursery.start(node.run)

        def told(what: str) -> Any:
            engines: Any = node.status()["engines"]
            return engines[0][what]

        yield told
        await node.stop(1_000, 1_000)
        await until(lambda: told("streams_open") == 0)
        nursery.cancel_scope.cancel()


async def test_streams_live_on_credits_that_no_poll_was_promised(tmp_path: Path) -> None:
    engine, worker = PushingSource(), Gate()
    async with working(engine, worker, tmp_path) as told:
        await until(lambda: engine.streams_open() == 1)
        engine.come("a", SLOTS - 1)
        await until(lambda: worker.running == SLOTS - 1)
        assert engine.pushed == told("jobs_pushed") == SLOTS - 1
        # The last slot is the waiting poll's.
        await until(lambda: told("streams_open") == engine.streams_open() == 0)
        engine.come("a", 3 * SLOTS + 1)
        assert engine.pushed == SLOTS - 1
        await until(lambda: worker.running == SLOTS)
        assert engine.waiting() == 3 * SLOTS
        worker.open.set()
        await until(lambda: len(engine.completed) == 4 * SLOTS)
        await until(lambda: engine.streams_open() == 1)  # calm again
        engine.come("a", 1)
        await until(lambda: engine.completed[f"pushed-{SLOTS}"] == 1)
        assert set(engine.completed.values()) == {1} and engine.released == 0


async def test_an_engine_that_does_not_wait_is_not_asked_without_end(tmp_path: Path) -> None:
    engine, worker = HastySource(), Gate()
    worker.open.set()
    async with working(engine, worker, tmp_path) as told:
        begun_s = trio.current_time()
        await until(lambda: told("polls") >= 4)
        assert trio.current_time() - begun_s >= 3 * WAIT_MS_MIN / 1_000
        engine.add("a", 3)
        await until(lambda: len(engine.completed) == 3)


async def test_a_stream_that_breaks_is_opened_again_and_polls_bring_what_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushing, "REOPEN_MS", 50)
    engine, worker = PushingSource(), Gate()
    worker.open.set()
    async with working(engine, worker, tmp_path) as told:
        for _ in range(3):
            await until(lambda: engine.streams_open() == 1)
            engine.come("a", 1)
            engine.break_off()
            engine.come("a", 5)
        await until(lambda: told("streams_open") == engine.streams_open() == 1)
        await until(lambda: len(engine.completed) == 18)
        assert engine.waiting() == 0 and engine.pushed == 3
        assert set(engine.completed.values()) == {1}
