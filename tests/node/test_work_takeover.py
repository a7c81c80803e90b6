"""A claimer is lost in a real mesh: its jobs go on, and nothing waits for the engine's long locks.

Three members in one process share engines that lock as Camunda 7 does. A member that is killed
falls silent without goodbye, as a crash looks to the others.
"""

import logging
from pathlib import Path

import pytest
from tests.node.source_engine import SourceEngine
from tests.node.work_mesh import SLOTS, Gate, mesh_of
from tests.patience import until

from gossamer_node.engines.port import Effect, Settlement
from gossamer_node.jobs import Completed, Job, JobRef
from gossamer_node.service.spec import Topic

TOPIC = Topic("t", lock_ms=3_600_000)
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


def completed_once(engine: LockingEngine, count: int) -> bool:
    return len(engine.completed) == count and set(engine.completed.values()) == {1}


@pytest.mark.parametrize("lost", ["killed", "stopped"])
async def test_what_other_nodes_hold_goes_on_when_its_claimer_is_lost(
    tmp_path: Path, lost: str, caplog: pytest.LogCaptureFixture
) -> None:
    engine, gate = LockingEngine("one"), Gate()
    async with mesh_of([{"one": engine}] * 3, TOPIC, gate, tmp_path) as nodes:
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


async def test_what_a_dead_claimers_polls_lock_comes_back_at_once(tmp_path: Path) -> None:
    engine, gate = LockingEngine("one"), Gate()
    async with mesh_of([{"one": engine}] * 3, TOPIC, gate, tmp_path) as nodes:
        claimer = next(one for one in nodes if one.claims("one"))
        engine.add("t", 1)
        # What a claimer's first second was like, nobody can know.
        await until(lambda: len(claimer.leases()) == sum(one.mirrors() for one in nodes) == 1)
        gate.open.set()
        await until(lambda: completed_once(engine, 1))
        worker_id = next(one for one in engine.asked_by if claimer.mesh.node_id[:8] in one)
        others = [one for one in nodes if one is not claimer]
        claimer.kill()
        # The engine fills its open polls, and nobody reads the answer.
        engine.locks |= {"unread-1": worker_id, "unread-2": worker_id, "another's": "someone else"}
        await until(lambda: all(len(one.mesh.members()) == 2 for one in others))
        known_s = await until(lambda: completed_once(engine, 3))
        engine.locks["unread-3"] = worker_id
        later_s = await until(lambda: completed_once(engine, 4))
        assert engine.locks == {"another's": "someone else"}
        print(f"{known_s:.2f} s after detection; {later_s:.2f} s after a later poll was filled")


async def test_two_engines_at_once(tmp_path: Path) -> None:
    engines, gate = [LockingEngine("one"), LockingEngine("two")], Gate()
    async with mesh_of([{one.name: one for one in engines}] * 3, TOPIC, gate, tmp_path) as nodes:
        for engine in engines:
            engine.add("t", 4)  # each node keeps a slot free for an engine that it runs nothing of
        await until(lambda: gate.running == 8)
        await until(lambda: sum(one.mirrors() for one in nodes) == 8)
        claimer = next(one for one in nodes if one.claims("one"))
        others = [one for one in nodes if one is not claimer]
        claimer.kill()
        await until(lambda: all(len(one.mesh.members()) == 2 for one in others))
        gate.open.set()
        await until(lambda: all(completed_once(engine, 4) for engine in engines))
        await until(lambda: not any(one.leases() for one in others))
