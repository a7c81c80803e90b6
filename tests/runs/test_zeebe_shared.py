"""A Zeebe that others use as well: their processes, their workers, their hands."""

from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
from tests.patience import seen
from tests.runs.zeebe_world import ZeebeWorld, address, zeebe_world

from gossamer_gateway.runs.model import events as e
from gossamer_gateway.runs.model.deciding import Answer
from gossamer_gateway.runs.model.run import Run, Status
from gossamer_gateway.runs.store import Job
from gossamer_gateway.runs.zeebe import executor
from gossamer_gateway.runs.zeebe.client import Effect
from gossamer_gateway.storage import SqlitePlace
from gossamer_node.engines.zeebe.gateway_pb2 import ActivatedJob

__all__ = ["address"]

LOCK_MS = 60_000

FOREIGN = """<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL"
 xmlns:zeebe="http://camunda.org/schema/zeebe/1.0" id="d" targetNamespace="t">
<process id="theirs-MARK" isExecutable="true"><startEvent id="s"/>
<sequenceFlow id="f" sourceRef="s" targetRef="t"/>
<serviceTask id="t"><extensionElements><zeebe:taskDefinition type="MARK-a"/></extensionElements>
</serviceTask><sequenceFlow id="g" sourceRef="t" targetRef="e"/><endEvent id="e"/></process>
</definitions>"""


@pytest.fixture
def mark() -> str:
    """Makes names of this test its own, on an engine that all share."""
    return token_hex(4)


@pytest.fixture
def place(tmp_path: Path) -> SqlitePlace:
    return SqlitePlace(tmp_path / "gateway.sqlite")


def listed(mark: str, *actions: str) -> dict[str, Any]:
    return {"id": f"list-{mark}", "steps": [{"action": f"{mark}-{one}"} for one in actions]}


def done(job: Job) -> Answer:
    return Answer(job.step, job.attempt, [job.step, job.payload])


async def start_theirs(world: ZeebeWorld, mark: str, count: int) -> set[int]:
    """Starts instances of a process of somebody else, whose jobs are called as an action is."""
    key = await world.zeebe.deploy("theirs.bpmn", FOREIGN.replace("MARK", mark).encode())
    assert key is not None
    made = [await world.zeebe.create(key, {"run": "theirs"}) for _ in range(count)]
    return {one for one in made if one is not None}


async def taken(world: ZeebeWorld, type: str, count: int = 1) -> list[ActivatedJob]:
    """So many jobs, as somebody else's worker takes and completes them."""
    found: dict[int, ActivatedJob] = {}

    async def enough() -> bool | None:
        for job in await world.zeebe.activate(type, jobs_max=count, lock_ms=LOCK_MS):
            assert await world.zeebe.complete(job.key, {}) is Effect.DONE
            found[job.key] = job
        return len(found) >= count or None

    await seen(enough)
    return list(found.values())


async def passed_by(world: ZeebeWorld, mark: str, *actions: str) -> Run:
    """A run whose first step somebody else's worker has done, while nobody was here."""
    assert world.executor is not None
    await world.define(listed(mark, *actions))
    await world.executor.stop()
    run = await world.engine.trigger(f"list-{mark}", 7)
    await taken(world, f"{mark}-a")
    return run


async def test_jobs_of_somebody_else_are_handed_back(
    address: str, place: SqlitePlace, mark: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with zeebe_world(place, address) as world:
        theirs = await start_theirs(world, mark, 3)
        await world.define(listed(mark, "a"))
        world.works([f"{mark}-a"], done)
        run = await world.engine.trigger(f"list-{mark}", 7)
        assert (await world.ended(run.id)).status is Status.COMPLETED
        jobs = await taken(world, f"{mark}-a", 3)
        assert {one.processInstanceKey for one in jobs} == theirs
        assert all(one.retries == 3 for one in jobs)
    told = [one for one in caplog.messages if "of no run of ours" in one]
    assert len(told) == 1 and "workflows.job_prefix" in caplog.text


async def test_with_a_prefix_nobody_meets(
    address: str, place: SqlitePlace, mark: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither do we see their jobs, nor their workers ours."""
    async with zeebe_world(place, address, job_prefix=f"{mark}:") as world:
        theirs = await start_theirs(world, mark, 2)
        await world.define(listed(mark, "a", "b"))
        run = await world.engine.trigger(f"list-{mark}", 7)
        job = await world.job(f"{mark}-a")
        assert job.queue == f"{mark}-a"
        jobs = await taken(world, f"{mark}-a", 2)
        assert {one.processInstanceKey for one in jobs} == theirs
        assert await world.zeebe.activate(f"{mark}-a", jobs_max=9, lock_ms=LOCK_MS) == []
        world.works([f"{mark}-b"], done)
        await world.engine.answer(job.run, done(job))
        assert (await world.ended(run.id)).status is Status.COMPLETED
    assert "of no run of ours" not in caplog.text


async def test_a_run_whose_step_somebody_else_did_fails_and_can_be_retried(
    address: str, place: SqlitePlace, mark: str
) -> None:
    async with zeebe_world(place, address) as world:
        run = await passed_by(world, mark, "a", "b")
    async with zeebe_world(place, address) as world:
        failed = await world.ended(run.id)
        assert failed.failure is not None and failed.status is Status.FAILED
        assert (failed.failure.code, failed.failure.blame) == ("OutOfStep", "engine")
        assert "workflows.job_prefix" in failed.failure.message
        assert (await world.engine.retry(run.id)).status is Status.PENDING
        world.works([f"{mark}-a", f"{mark}-b"], done)
        await completed_once(world, run.id, failed.place, "a", "b")


async def test_a_run_whose_last_step_somebody_else_did_fails_and_can_be_retried(
    address: str, place: SqlitePlace, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing tells of it: the instance is gone, and no job comes."""
    monkeypatch.setattr(executor, "LOOK_S", 0.1)
    async with zeebe_world(place, address) as world:
        run = await passed_by(world, mark, "a")
    async with zeebe_world(place, address, quiet_ms=100) as world:
        failed = await world.ended(run.id)
        assert failed.failure is not None and failed.failure.code == "InstanceGone"
        await world.engine.retry(run.id)
        world.works([f"{mark}-a"], done)
        await completed_once(world, run.id, failed.place, "a")


async def test_an_instance_that_was_ended_is_begun_anew_by_a_retry(
    address: str, place: SqlitePlace, mark: str
) -> None:
    """What is done stays done, also in a branch; what was at work goes on."""
    text = {
        "id": f"graph-{mark}", "startAt": "first",
        "steps": [
            {"id": "first", "action": f"{mark}-first", "next": "which"},
            {"id": "which", "type": "CHOICE", "default": "fork",
             "choices": [{"when": {"path": "$.previous", "equals": 1}, "next": "last"}]},
            {"id": "fork", "type": "PARALLEL", "branches": ["left", "right"], "next": "join"},
            {"id": "left", "action": f"{mark}-left", "next": "join"},
            {"id": "right", "action": f"{mark}-right", "next": "join"},
            {"id": "join", "type": "JOIN", "next": "last"},
            {"id": "last", "action": f"{mark}-last"},
        ],
    }  # fmt: skip
    async with zeebe_world(place, address) as world:
        await world.define(text)
        run = await world.engine.trigger(f"graph-{mark}", 7)
        world.works([f"{mark}-first", f"{mark}-left"], done)
        right = await world.job(f"{mark}-right")
        run = await world.until(run.id, lambda run: "left" in run.joins.get("join", {}))
        assert run.place is not None
        assert await world.zeebe.cancel(int(run.place)) is Effect.DONE
        failing = Answer("right", right.attempt, [right.step, right.payload])
        await world.engine.answer(run.id, failing)
        failed = await world.ended(run.id)
        assert failed.failure is not None and failed.failure.code == "InstanceGone"
        await world.engine.retry(run.id)
        world.works([f"{mark}-last"], done)
        await completed_once(world, run.id, failed.place, "first", "left", "right", "last")


async def completed_once(world: ZeebeWorld, id: str, left: str | None, *steps: str) -> None:
    """The run completes in another instance than the one it left, each step once, and that ends."""
    run = await world.ended(id)
    assert run.status is Status.COMPLETED, run.failure
    assert run.place not in (None, left)
    history = await world.history(id)
    assert [one.seq for one in history] == list(range(1, len(history) + 1))
    found = [one.step for one in history if isinstance(one, e.StepCompleted)]
    assert sorted(one.rpartition("-")[2] for one in found) == sorted(steps)
    assert run.place is not None
    instance = int(run.place)

    async def gone() -> bool | None:
        return not await world.zeebe.has(instance) or None

    await seen(gone)
