"""A claimer is lost in a real mesh: its jobs go on, and nothing waits for the engine's long locks.

Three members in one process share engines that lock as Camunda 7 does. A member that is killed
falls silent without goodbye, as a crash looks to the others.
"""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from tests.node.source_engine import SourceEngine

from gossamer_mesh.drivers import Mesh, MeshConfig, open_mesh
from gossamer_mesh.identity import Identity
from gossamer_mesh.keyring import Keyring
from gossamer_node.engines.port import Effect, Settlement
from gossamer_node.jobs import Completed, Job, JobRef, Outcome
from gossamer_node.service.spec import ServiceSpec, Topic
from gossamer_node.wasm import JobContext
from gossamer_node.work.executing import Executor
from gossamer_node.work.leasing import Leasing

SLOTS = 4
PATIENCE_S = 60
LOCK_MS = 3_600_000
"""An hour: what waits for its end fails the test."""


class LockingEngine(SourceEngine):
    """Knows who has a job's lock, and takes nobody else's word."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.locks: dict[str, str] = {}
        self.extended = 0

    async def activate(self, *args: object, **named: object) -> list[Job]:
        jobs = await super().activate(*args, **named)  # type: ignore[arg-type]
        self.locks.update({one.ref.key: one.ref.worker_id for one in jobs})
        return jobs

    async def extend(self, job: JobRef, lock_ms: int) -> Settlement:
        self.extended += 1
        return self._answer(job)

    async def release(self, job: JobRef) -> Settlement:
        answer = self._answer(job)
        if answer.effect is Effect.APPLIED:
            del self.locks[job.key]
            await super().release(job)
        return answer

    async def locked_by(self, worker_id: str) -> list[JobRef] | None:
        keys = sorted(key for key, locker in self.locks.items() if locker == worker_id)
        return [JobRef(self.name, key, "t", worker_id) for key in keys]

    async def complete(self, job: JobRef, outcome: Completed) -> Settlement:
        answer = self._answer(job)
        if answer.effect is Effect.APPLIED:
            del self.locks[job.key]
            await super().complete(job, outcome)
        return answer

    def _answer(self, job: JobRef) -> Settlement:
        ours = self.locks.get(job.key) == job.worker_id
        return Settlement(Effect.APPLIED if ours else Effect.NOT_OURS)


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

    def claims(self, engine: str) -> bool:
        return any(
            one["id"] == self.mesh.node_id and one["engine"] == engine
            for one in self._told("claimers")
        )

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
    count: int, engines: list[LockingEngine], gate: Gate, path: Path
) -> AsyncIterator[list[Node]]:
    """Members that all reach all engines and see each other."""
    spec = ServiceSpec(
        name="s", version="1", path=path, topics=(Topic("t", lock_ms=LOCK_MS),), concurrency=SLOTS
    )
    seeds: tuple[tuple[str, int], ...] = ()
    async with trio.open_nursery() as nursery:

        async def run_node(task_status: trio.TaskStatus[Node] = trio.TASK_STATUS_IGNORED) -> None:
            nonlocal seeds
            settings = MeshConfig(
                identity=Identity.generate(), keyring=Keyring((bytes(32),)), seeds=seeds
            )
            with trio.CancelScope() as scope:
                async with open_mesh(settings) as mesh, trio.open_nursery() as inner:
                    seeds = seeds or (mesh.address,)
                    reached = {one.name: one for one in engines}
                    executor = Executor([(spec, gate)])
                    leasing = Leasing(mesh, reached, executor, slots=SLOTS, claims=True)
                    await inner.start(leasing.run)
                    task_status.started(Node(mesh, leasing, scope))
                    await trio.sleep_forever()

        nodes = [await nursery.start(run_node) for _ in range(count)]
        await until(lambda: agreed(nodes, engines))
        yield nodes
        nursery.cancel_scope.cancel()


def agreed(nodes: list[Node], engines: list[LockingEngine]) -> bool:
    """Whether all see all, and one claimer for each engine."""
    return all(len(one.mesh.members()) == len(nodes) for one in nodes) and all(
        sum(one.claims(engine.name) for one in nodes) == 1 for engine in engines
    )


def completed_once(engine: LockingEngine, count: int) -> bool:
    return len(engine.completed) == count and set(engine.completed.values()) == {1}


@pytest.mark.parametrize("lost", ["killed", "stopped"])
async def test_what_other_nodes_hold_goes_on_when_its_claimer_is_lost(
    tmp_path: Path, lost: str, caplog: pytest.LogCaptureFixture
) -> None:
    engine, gate = LockingEngine("one"), Gate()
    async with mesh_of(3, [engine], gate, tmp_path) as nodes:
        engine.add("t", 3 * SLOTS)
        await until(lambda: gate.running == 3 * SLOTS)
        claimer = next(one for one in nodes if one.claims("one"))
        others = [one for one in nodes if one is not claimer]
        await until(lambda: max(one.mirrors() for one in others) == 3 * SLOTS)
        extended = engine.extended
        caplog.set_level(logging.INFO)
        if lost == "killed":
            claimer.kill()
        else:
            await claimer.leave()
        detected_s = await until(
            lambda: all(len(one.mesh.members()) == len(others) for one in others)
        )
        # What the others hold is renewed by its new claimer; what the lost one ran is worked anew.
        taken_s = await until(
            lambda: (
                engine.extended >= extended + 2 * SLOTS
                and sum(len(one.leases()) for one in others) >= 2 * SLOTS
            )
        )
        assert gate.runs == 3 * SLOTS or lost == "stopped"
        gate.open.set()
        worked_s = await until(lambda: completed_once(engine, 3 * SLOTS))
        await until(lambda: not any(one.leases() for one in others))
        assert gate.runs == 4 * SLOTS  # once each, and again those that ran on the claimer
        print(f"{lost}: detected {detected_s:.2f} s, +{taken_s:.2f} s taken, +{worked_s:.2f} s all")
        assert taken_s < 1


async def test_two_engines_at_once(tmp_path: Path) -> None:
    engines, gate = [LockingEngine("one"), LockingEngine("two")], Gate()
    async with mesh_of(3, engines, gate, tmp_path) as nodes:
        for engine in engines:
            engine.add("t", 6)
        await until(lambda: gate.running == 12)
        await until(lambda: sum(one.mirrors() for one in nodes) == 12)
        claimer = next(one for one in nodes if one.claims("one"))
        others = [one for one in nodes if one is not claimer]
        claimer.kill()
        await until(lambda: all(len(one.mesh.members()) == 2 for one in others))
        gate.open.set()
        await until(lambda: all(completed_once(engine, 6) for engine in engines))
        await until(lambda: not any(one.leases() for one in others))
