"""A node that doubts its engine asks it who it is, and claims only from one that answers."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from tests.node.source_engine import SourceEngine
from tests.node.work_mesh import SLOTS, Gate, Node, mesh_of
from tests.patience import until

from gossamer_mesh.drivers import MeshConfig, open_mesh
from gossamer_mesh.identity import Identity
from gossamer_mesh.keyring import Keyring
from gossamer_node.engines.port import EngineInfo, Settlement, TopicRequest
from gossamer_node.errors import EngineUnavailable
from gossamer_node.jobs import Job, JobRef
from gossamer_node.service.spec import Topic
from gossamer_node.work import probing
from gossamer_node.work.executing import Executor
from gossamer_node.work.leasing import Leasing
from gossamer_node.work.probing import LOOK_MS, QUIET_MS, Probing

LOCK_MS, LONG_MS = 1_000, 3_600_000


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


async def test_a_claimer_that_calls_nobody_asks_whether_its_engine_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All slots are taken, by long jobs: no poll and no renewal that could fail."""
    monkeypatch.setattr(probing, "QUIET_MS", 1_000)
    engine, gate = AbsentEngine("x", is_there=True), Gate()
    async with mesh_of([{"x": engine}], Topic("t", lock_ms=LONG_MS), gate, tmp_path) as (node,):
        engine.add("t", SLOTS)
        await until(lambda: gate.running == SLOTS and engine.probes >= 2)
        engine.is_there = False
        await until(lambda: not node.claims("x"))
        assert engine.polls_failed == 0
        engine.is_there = True
        await until(lambda: node.claims("x"))
        gate.open.set()
        await until(lambda: sum(engine.completed.values()) == SLOTS)
        assert gate.runs == SLOTS


class SlowEngine(SourceEngine):
    """One that stands still at times: what it is asked then, it answers afterwards."""

    def __init__(self) -> None:
        super().__init__("x")
        self.goes_on = trio.Event()
        self.goes_on.set()
        self.probes = self.probes_answered = 0

    async def probe(self) -> EngineInfo:
        self.probes += 1
        await self.goes_on.wait()
        self.probes_answered += 1
        return await super().probe()

    async def answer_call(self) -> None:
        await self.goes_on.wait()


class Verdicts:
    """What a `Probing` says of an engine, and since when."""

    def __init__(self, engine: SlowEngine) -> None:
        self.depends = False
        self.probing = Probing({"x": engine}, self._note, lambda name: self.depends)
        self.changes: list[tuple[bool, float]] = []

    def _note(self) -> None:
        answers = self.probing.answers("x")
        if not self.changes or self.changes[-1][0] != answers:
            self.changes.append((answers, trio.current_time()))

    async def call(self, engine: SlowEngine, wait_ms: int = 0) -> None:
        with self.probing.watch("x", wait_ms):
            await engine.answer_call()
        self.probing.heard("x")


@asynccontextmanager
async def watched() -> AsyncIterator[tuple[SlowEngine, Verdicts, trio.Nursery]]:
    """An engine that has answered its first probe, and stands still from now on."""
    engine = SlowEngine()
    verdicts = Verdicts(engine)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(verdicts.probing.run)
        await trio.sleep(10)
        assert verdicts.probing.is_sure("x")
        engine.goes_on = trio.Event()
        yield engine, verdicts, nursery
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("wait_ms", [0, 10_000])
async def test_silence_is_noticed_long_before_the_calls_deadline(
    autojump_clock: object, wait_ms: int
) -> None:
    async with watched() as (engine, verdicts, nursery):
        begun_s = trio.current_time()
        nursery.start_soon(verdicts.call, engine, wait_ms)
        await trio.sleep(60)
        (_, lost) = verdicts.changes
        assert lost[0] is False
        assert 6 < lost[1] - begun_s - wait_ms / 1_000 <= 7
        engine.goes_on.set()
        await trio.sleep(10)
        assert verdicts.changes[-1][0] is True
        assert verdicts.probing.is_sure("x")


async def test_a_claimer_that_asks_nothing_notices_silence_all_the_same(
    autojump_clock: object,
) -> None:
    async with watched() as (engine, verdicts, _):
        asked = engine.probes
        await trio.sleep(60)
        assert engine.probes == asked  # it matters to nobody
        verdicts.depends = True
        begun_s = trio.current_time()
        await trio.sleep(60)
        (_, lost) = verdicts.changes
        assert lost[0] is False
        assert lost[1] - begun_s <= 5
        engine.goes_on.set()
        await trio.sleep(10)
        assert verdicts.probing.is_sure("x")


async def test_a_claimer_that_hears_nothing_asks_once_in_a_while(autojump_clock: object) -> None:
    async with watched() as (engine, verdicts, _):
        engine.goes_on.set()
        verdicts.depends = True
        asked = engine.probes
        for _ in range(60):
            await trio.sleep(1)
            verdicts.probing.heard("x")
        assert engine.probes == asked  # who hears something does not ask
        await trio.sleep(60)
        assert engine.probes == asked + 60 * 1_000 // (QUIET_MS + LOOK_MS)


@pytest.mark.parametrize("pause_s", [3, 5, 6])
async def test_an_engine_that_only_stands_still_for_a_while_stays_in_reach(
    autojump_clock: object, pause_s: int
) -> None:
    async with watched() as (engine, verdicts, nursery):
        nursery.start_soon(verdicts.call, engine)
        await trio.sleep(2.5)
        assert not verdicts.probing.is_sure("x")
        await trio.sleep(pause_s - 2.5)
        engine.goes_on.set()
        await trio.sleep(30)
        assert len(verdicts.changes) == 1
        assert verdicts.probing.is_sure("x")


async def test_an_engine_that_still_answers_calls_is_within_reach_until_it_does_not(
    autojump_clock: object,
) -> None:
    async with watched() as (engine, verdicts, nursery):
        nursery.start_soon(verdicts.call, engine)
        for _ in range(20):
            await trio.sleep(1)
            verdicts.probing.heard("x")
        assert len(verdicts.changes) == 1
        last_s = trio.current_time()
        await trio.sleep(120)
        assert verdicts.changes[-1][0] is False
        assert verdicts.changes[-1][1] - last_s <= 2 * (2 + 5)


async def test_a_call_that_is_slow_costs_one_probe(autojump_clock: object) -> None:
    async with watched() as (engine, verdicts, nursery):
        stuck, engine.goes_on = engine.goes_on, trio.Event()
        engine.goes_on.set()
        before = engine.probes_answered

        async def call() -> None:
            with verdicts.probing.watch("x"):
                await stuck.wait()

        nursery.start_soon(call)
        await trio.sleep(25)
        assert engine.probes_answered == before + 1
        stuck.set()
