"""A claimer loses its engine, but lives: its leases go to who claims now, and nothing runs again.

Real members of a mesh, each with a way of its own to one embedded engine.
"""

import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trio
from tests.gateway.bpmn_text import bpmn, end, flow, start, task
from tests.node.cut_link import Link
from tests.node.work_mesh import SLOTS, Gate, Node, mesh_of
from tests.patience import until

from gossamer_node.engines.camunda7 import Camunda7
from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.port import Effect, Settlement
from gossamer_node.jobs import Completed, JobRef
from gossamer_node.service.spec import Topic
from gossamer_node.variables import Variables

pytestmark = pytest.mark.processes

NODES = 3

LOCK_MS = 9_000
SWALLOWED_LOCK_MS = 30_000
"""The next renewal is 10 s away at most, then it takes 8 s until another claimer has the leases."""
RENEWALS = 4
"""Each comes a third of the lock after the one before: so many last longer than the lock."""

LONG_LOCK_MS = 600_000
"""Where renewals are not looked at: a machine that stands still for a minute loses no lease."""


class WatchedEngine(Camunda7):
    """Counts what the engine has taken."""

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config)
        self.renewed: Counter[str] = Counter()
        self.completed: Counter[str] = Counter()

    async def extend(self, job: JobRef, lock_ms: int) -> Settlement:
        return self._count(self.renewed, job, await super().extend(job, lock_ms))

    async def complete(self, job: JobRef, outcome: Completed) -> Settlement:
        return self._count(self.completed, job, await super().complete(job, outcome))

    def _count(self, counts: Counter[str], job: JobRef, answer: Settlement) -> Settlement:
        counts[job.key] += answer.effect is Effect.APPLIED
        return answer


@dataclass(slots=True)
class World:
    """The nodes, their ways to the engine, and jobs that run on all of them."""

    nodes: list[Node]
    links: list[Link]
    engines: list[WatchedEngine]
    gate: Gate

    def claimer(self) -> int:
        return next(n for n, one in enumerate(self.nodes) if one.claims("x"))

    def renewed(self) -> Counter[str]:
        return sum((one.renewed for one in self.engines), Counter())

    def completed(self) -> Counter[str]:
        return sum((one.completed for one in self.engines), Counter())


@asynccontextmanager
async def world_of(url: str, path: Path, lock_ms: int = LONG_LOCK_MS) -> AsyncIterator[World]:
    topic = f"t-{uuid.uuid4().hex[:8]}"
    process = bpmn(
        start(), task("t", topic=topic), end(), flow("s", "t"), flow("t", "e"),
        process_id=f"P-{topic}",
    )  # fmt: skip
    gate = Gate()
    host, port = urlsplit(url).hostname, urlsplit(url).port
    assert host is not None
    assert port is not None
    links = [Link(host, port) for _ in range(NODES)]
    async with trio.open_nursery() as nursery:
        for link in links:
            await nursery.start(link.run)
        urls = [f"http://127.0.0.1:{link.port}{urlsplit(url).path}" for link in links]
        engines = [WatchedEngine(EngineConfig("x", "camunda7", one)) for one in urls]
        assert await engines[0].deploy({f"{topic}.bpmn": process})
        for _ in range(NODES * SLOTS):
            await engines[0].start(f"P-{topic}", variables=Variables())
        served = Topic(topic, lock_ms=lock_ms)
        async with mesh_of([{"x": one} for one in engines], served, gate, path) as nodes:
            await until(lambda: gate.running == NODES * SLOTS)
            yield World(nodes, links, engines, gate)
        for engine in engines:
            await engine.aclose()
        nursery.cancel_scope.cancel()


async def test_long_jobs_go_on_under_the_claimer_that_reaches_the_engine(
    embedded_url: str, tmp_path: Path
) -> None:
    async with world_of(embedded_url, tmp_path, LOCK_MS) as world:
        old = world.claimer()
        world.links[old].cut()
        handed_s = await until(
            lambda: (
                not world.nodes[old].leases()
                and sum(len(one.leases()) for one in world.nodes) == NODES * SLOTS
            )
        )
        before = world.renewed()
        await until(
            lambda: (
                len(world.renewed()) == NODES * SLOTS
                and min((world.renewed() - before).values()) >= RENEWALS
                and len(world.renewed() - before) == NODES * SLOTS
            )
        )
        world.gate.open.set()
        done_s = await until(lambda: len(world.completed()) == NODES * SLOTS)
        await until(lambda: not any(one.leases() for one in world.nodes))
        assert world.gate.runs == NODES * SLOTS
        assert set(world.completed().values()) == {1}
        print(f"handed over after {handed_s:.2f} s; all outcomes {done_s:.2f} s after the jobs")


async def test_outcomes_that_the_old_claimer_could_not_report_get_through(
    embedded_url: str, tmp_path: Path
) -> None:
    async with world_of(embedded_url, tmp_path) as world:
        world.links[world.claimer()].cut()
        world.gate.open.set()
        done_s = await until(lambda: len(world.completed()) == NODES * SLOTS)
        await until(lambda: not any(one.leases() for one in world.nodes))
        assert world.gate.runs == NODES * SLOTS
        assert set(world.completed().values()) == {1}
        print(f"all outcomes {done_s:.2f} s after the cut")


async def test_a_claimer_that_has_its_engine_again_claims_and_takes_no_lease_back(
    embedded_url: str, tmp_path: Path
) -> None:
    async with world_of(embedded_url, tmp_path) as world:
        old = world.claimer()
        world.links[old].cut()
        await until(lambda: not world.nodes[old].leases())
        world.links[old].mend()
        await until(lambda: all(one.claims("x") == (n == old) for n, one in enumerate(world.nodes)))
        assert world.nodes[old].leases() == []
        world.gate.open.set()
        await until(lambda: len(world.completed()) == NODES * SLOTS)
        await until(lambda: not any(one.leases() for one in world.nodes))
        assert world.gate.runs == NODES * SLOTS


async def test_a_link_that_swallows_everything_is_noticed_long_before_its_calls_time_out(
    embedded_url: str, tmp_path: Path
) -> None:
    async with world_of(embedded_url, tmp_path, lock_ms=SWALLOWED_LOCK_MS) as world:
        old = world.claimer()
        world.links[old].block()
        handed_s = await until(lambda: not world.nodes[old].leases())
        world.gate.open.set()
        await until(lambda: len(world.completed()) == NODES * SLOTS)
        world.links[old].free()
        await until(lambda: not any(one.leases() for one in world.nodes))
        assert world.gate.runs == NODES * SLOTS
        print(f"handed over {handed_s:.2f} s after the link swallowed everything")
