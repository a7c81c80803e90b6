"""Each line of DIFFERENCES.md, asserted: the test of line `cut-poll` is `test_cut_poll`.

`of` picks the expectation for the engine under test: by its name in conftest.py, or else by the
dialect that it speaks.
"""

import re
from pathlib import Path
from typing import TypeVar

import httpx
import pytest
import trio
import trio.testing
from tests.conformance.bench import (
    LOCK_LONG_MS,
    LOCK_SHORT_MS,
    PATIENCE_S,
    WOKEN_MS,
    Bench,
    PathProcess,
)
from tests.patience import patience

from gossamer_node import engines
from gossamer_node.engines import camunda7, camunda8, camunda8_grpc
from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.port import Capability, Effect, StreamingEngine, TopicRequest
from gossamer_node.errors import EngineError, EngineRefused, EngineUnavailable, Unsupported
from gossamer_node.jobs import BpmnError, Completed, Failed, Job
from gossamer_node.variables import Variables

DIFFERENCES = Path(engines.__file__).parent / "DIFFERENCES.md"

T = TypeVar("T")


def of(bench: Bench, *, camunda7: T, camunda8: T, **others: T) -> T:
    """The expectation for the engine under test."""
    expected = {"camunda7": camunda7, "camunda8": camunda8, **others}
    return expected.get(bench.name, expected[bench.engine.kind])


def test_every_line_has_its_test() -> None:
    lines = re.findall(r"^\| `([a-z0-9-]+)` \|", DIFFERENCES.read_text(), re.MULTILINE)
    tests = [name for name in globals() if name.startswith("test_")]
    tests.remove("test_every_line_has_its_test")
    assert tests == ["test_" + line.replace("-", "_") for line in lines]


async def test_group_activation(bench: Bench) -> None:
    path = await bench.start_path()
    await bench.finish(path.work)
    await bench.engine.start(path.process_id, variables=Variables())
    topics = [TopicRequest(path.after), TopicRequest(path.work)]
    assert bench.engine.topics_per_activation_max == of(bench, camunda7=None, camunda8=1)
    if bench.engine.topics_per_activation_max == 1:
        with pytest.raises(Unsupported):
            await bench.engine.activate(topics, jobs_max=9, wait_ms=0, worker_id="first")
    else:
        jobs = await bench.engine.activate(topics, jobs_max=9, wait_ms=0, worker_id="first")
        assert {job.ref.topic for job in jobs} == {path.after, path.work}


async def test_first_retries(bench: Bench) -> None:
    path = await bench.start_path()
    job = await bench.job(path.work)
    assert job.ref.retries == of(bench, camunda7=None, camunda8=3)


async def test_business_key(bench: Bench) -> None:
    path = await bench.deploy_path()
    start = bench.engine.start
    if of(bench, camunda7=True, camunda8=False):
        await start(path.process_id, variables=Variables(), business_key="room 7")
    else:
        with pytest.raises(Unsupported):
            await start(path.process_id, variables=Variables(), business_key="room 7")
        await start(path.process_id, variables=Variables())
    job = await bench.job(path.work)
    assert job.business_key == of(bench, camunda7="room 7", camunda8=None)


TYPED = Variables(
    {
        "short": 5,
        "long": 5,
        "date": "2026-11-21T09:00:00.123+0000",
        "bytes": "aGVsbG8=",
        "json": "a text",
        "object": {"a": [1, 2.5]},
        "file": "aGVsbG8=",
        "no_date": None,
    },
    {
        "short": "Short",
        "long": "Long",
        "date": "Date",
        "bytes": "Bytes",
        "json": "Json",
        "object": {
            "type": "Object",
            "objectTypeName": "java.util.LinkedHashMap",
            "serializationDataFormat": "application/json",
        },
        "file": {"type": "File", "filename": "room.txt", "encoding": "utf-8"},
        "no_date": "Date",
    },
)


async def test_variable_types(bench: Bench, engine_config: EngineConfig) -> None:
    path = await bench.start_path(TYPED)
    job = await bench.job(path.work)
    arrived = of(bench, camunda7=dict(TYPED.values) | {"file": None}, camunda8=TYPED.values)
    assert job.variables.values == arrived
    assert job.variables.types == of(bench, camunda7=TYPED.types, camunda8={})
    # An echo without types, with one new instant for the date: what a plain worker writes.
    echo = dict(job.variables.values) | {"date": "2026-11-22T10:30:00+01:00"}
    settled = await bench.engine.complete(job.ref, Completed(Variables(echo)))
    assert settled.effect is Effect.APPLIED
    after = await bench.job(path.after)
    assert after.variables.types == job.variables.types
    assert after.variables.values == echo | of(
        bench, camunda7={"date": "2026-11-22T09:30:00.000+0000"}, camunda8={}
    )
    if of(bench, camunda7=True, camunda8=False):
        # The file itself never travelled, and is still there.
        url = f"/process-instance/{job.process_instance_key}/variables/file/data"
        async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
            assert (await client.get(engine_config.url + url)).content == b"hello"


async def test_long_text(bench: Bench) -> None:
    path = await bench.start_path()
    job = await bench.job(path.work)
    settled = await bench.engine.complete(job.ref, Completed(Variables({"text": "x" * 4_001})))
    assert settled.effect is of(
        bench,
        camunda7=Effect.APPLIED_AS_FAILURE,
        camunda8=Effect.APPLIED,
        embedded=Effect.APPLIED,
    )


async def test_error_variables(bench: Bench) -> None:
    path = await bench.start_path()
    job = await bench.job(path.work)
    # The boundary event of path.camunda8.bpmn maps `why` and `long` out, and nothing else.
    values = Variables({"why": 1, "long": 2, "unmapped": 3})
    await bench.engine.throw_error(job.ref, BpmnError("CAUGHT", "", values))
    recover = await bench.job(path.recover)
    assert ("unmapped" in recover.variables.values) is of(bench, camunda7=True, camunda8=False)
    assert {"why", "long"} <= set(recover.variables.values)


async def test_uncaught_error(bench: Bench) -> None:
    path = await bench.start_path()
    job = await bench.job(path.work)
    thrown = await bench.engine.throw_error(job.ref, BpmnError("NOBODY"))
    assert thrown.effect is Effect.APPLIED
    later = await bench.engine.complete(job.ref, Completed())
    assert later.effect is of(bench, camunda7=Effect.GONE, camunda8=Effect.NOT_OURS)
    if Capability.LIST_INSTANCES in bench.engine.capabilities:
        (instance,) = await bench.engine.list_instances(path.process_id)
        assert (instance.state, instance.end_element_ids) == ("completed", ())
    else:
        assert "ERROR_THROWN" in later.message


async def test_next_step_fails(bench: Bench) -> None:
    gate = await bench.deploy("gate")
    await bench.engine.start(gate, variables=Variables())
    job = await bench.job(f"{gate}-work")
    settled = await bench.engine.complete(job.ref, Completed(Variables({"way": "up"})))
    if of(bench, camunda7=True, camunda8=False):
        assert settled.effect is Effect.APPLIED_AS_FAILURE
        assert "gate" in settled.message
        again = await bench.job(f"{gate}-work")
        assert (again.ref.key, again.ref.retries) == (job.ref.key, 2)
        # The failed commit left nothing behind, so the next try starts from the same variables.
        assert again.variables == job.variables
        job = again
    else:
        assert settled.effect is Effect.APPLIED
    done = await bench.engine.complete(job.ref, Completed(Variables({"way": "left"})))
    assert done.effect is of(bench, camunda7=Effect.APPLIED, camunda8=Effect.GONE)


async def lost_and_relocked(bench: Bench, *, worker: str) -> tuple[PathProcess, Job]:
    """A job whose lock ended and that `worker` then locked. Returns it as it was first locked."""
    path = await bench.start_path()
    first = await bench.job(path.work, lock_ms=LOCK_SHORT_MS)
    second = await bench.job(path.work, worker=worker)
    assert second.ref.key == first.ref.key
    return path, first


async def test_late_completion(bench: Bench) -> None:
    _, job = await lost_and_relocked(bench, worker="first")
    assert (await bench.engine.complete(job.ref, Completed())).effect is Effect.APPLIED


async def test_stale_completion(bench: Bench) -> None:
    _, job = await lost_and_relocked(bench, worker="second")
    settled = await bench.engine.complete(job.ref, Completed())
    assert settled.effect is of(bench, camunda7=Effect.NOT_OURS, camunda8=Effect.APPLIED)


async def test_stale_failure(bench: Bench) -> None:
    path, job = await lost_and_relocked(bench, worker="second")
    settled = await bench.engine.fail(job.ref, Failed("late", retries=1))
    assert settled.effect is of(bench, camunda7=Effect.NOT_OURS, camunda8=Effect.APPLIED)
    if settled.effect is Effect.APPLIED:
        assert (await bench.job(path.work, worker="third")).ref.key == job.ref.key


async def test_stale_extension(bench: Bench) -> None:
    _, job = await lost_and_relocked(bench, worker="second")
    settled = await bench.engine.extend(job.ref, LOCK_LONG_MS)
    assert settled.effect is of(bench, camunda7=Effect.NOT_OURS, camunda8=Effect.APPLIED)


async def test_stale_release(bench: Bench) -> None:
    path, job = await lost_and_relocked(bench, worker="second")
    released = await bench.engine.release(job.ref)
    assert released.effect is of(bench, camunda7=Effect.NOT_OURS, camunda8=Effect.APPLIED)
    if released.effect is Effect.APPLIED:
        assert (await bench.job(path.work, worker="third")).ref.key == job.ref.key
    else:
        assert not await bench.poll(path.work, worker="third")


async def test_completion_after_failure(bench: Bench) -> None:
    path = await bench.start_path()
    job = await bench.job(path.work)
    await bench.engine.fail(job.ref, Failed("no", retries=2, backoff_ms=LOCK_LONG_MS))
    settled = await bench.engine.complete(job.ref, Completed())
    assert settled.effect is of(bench, camunda7=Effect.APPLIED, camunda8=Effect.NOT_OURS)


async def test_cut_poll(bench: Bench, engine_config: EngineConfig) -> None:
    if not bench.holds_polls:
        pytest.skip("no poll of it is open for long enough to be cut: held-poll")
    path = await bench.deploy_path()
    lock_ms, wait_ms = LOCK_LONG_MS, 10_000
    route, body = of(
        bench,
        camunda7=(
            "/external-task/fetchAndLock",
            {
                "workerId": "cut",
                "maxTasks": 1,
                "asyncResponseTimeout": wait_ms,
                "topics": [{"topicName": path.work, "lockDuration": lock_ms}],
            },
        ),
        camunda8=(
            "/v2/jobs/activation",
            {
                "type": path.work,
                "worker": "cut",
                "timeout": lock_ms,
                "maxJobsToActivate": 1,
                "requestTimeout": wait_ms,
            },
        ),
    )
    async with httpx.AsyncClient(timeout=PATIENCE_S) as client, trio.open_nursery() as nursery:
        nursery.start_soon(lambda: client.post(engine_config.url + route, json=body))
        await trio.testing.wait_all_tasks_blocked(0.05)
        nursery.cancel_scope.cancel()
    if of(bench, camunda7=False, camunda8=False, embedded=True):
        await bench.engine.start(path.process_id, variables=Variables())
        assert (await bench.job(path.work)).ref.worker_id == "first"
        return
    with patience(PATIENCE_S):
        while True:
            await bench.engine.start(path.process_id, variables=Variables())
            # A job that we see was quicker to reach us than the poll that was cut: try the next.
            if not await bench.poll(path.work):
                break
    assert await bench.poll(path.work, wait_ms=1_000) == []


async def test_lock_listing(bench: Bench) -> None:
    path = await bench.start_path()
    worker = f"{bench.prefix}worker"
    job = await bench.job(path.work, worker=worker)
    locked = await bench.engine.locked_by(worker)
    told = None if locked is None else [one.key for one in locked]
    assert told == of(bench, camunda7=[job.ref.key], camunda8=None)
    tells = Capability.LIST_LOCKED in bench.engine.capabilities
    assert tells is of(bench, camunda7=True, camunda8=False)


async def test_backoff_end(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    # Longer than this test has patience: what nothing wakes does not end here.
    unwoken_ms = int(2 * PATIENCE_S * 1_000)
    for adapter in (camunda7, camunda8, camunda8_grpc):
        monkeypatch.setattr(adapter, "WAIT_MS_MAX", unwoken_ms)
    path = await bench.start_path()
    job = await bench.job(path.work)
    await bench.back_off(job, Failed("no", retries=2, backoff_ms=LOCK_SHORT_MS))
    woken = of(bench, camunda7=False, camunda8=True, embedded=True)
    waiting: list[Job] = []

    async def wait() -> None:
        waiting.extend(
            await (
                bench.wait(path.work, wait_ms=unwoken_ms)
                if woken
                else bench.poll(path.work, wait_ms=1_000)
            )
        )

    with patience(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked(0.05)
            if not woken:
                while not await bench.poll(path.work, worker="second", wait_ms=0):
                    await trio.lowlevel.checkpoint()
    assert len(waiting) == woken


async def test_read_back(bench: Bench) -> None:
    path = await bench.deploy_path()
    key = await bench.engine.start(path.process_id, variables=Variables({"a": 1}))
    if of(bench, camunda7=True, camunda8=False):
        assert (await bench.engine.read_variables(key)).values == {"a": 1}
        assert [one.key for one in await bench.engine.list_instances(path.process_id)] == [key]
    else:
        with pytest.raises(Unsupported):
            await bench.engine.read_variables(key)
        with pytest.raises(Unsupported):
            await bench.engine.list_instances(path.process_id)


async def test_pushed_jobs(bench: Bench) -> None:
    path = await bench.deploy_path()
    engine = bench.engine
    pushes = of(bench, camunda7=False, camunda8=False, camunda88=True, **{"camunda8-grpc": True})
    assert isinstance(engine, StreamingEngine) is pushes
    if not isinstance(engine, StreamingEngine):
        return
    topic = TopicRequest(path.after, LOCK_LONG_MS)
    pushed: list[Job] = []
    with patience(PATIENCE_S):
        async with engine.stream(topic, worker_id="second") as stream:
            while not pushed:
                # A gateway tells its brokers of a stream in its own time: a job that came before
                # is for a poll.
                await engine.start(path.process_id, variables=Variables())
                await bench.finish_all(path.work)
                with trio.move_on_after(1):
                    pushed += await stream.receive()
            pushed += await stream.cease()
    assert {job.ref.worker_id for job in pushed} == {"second"}
    assert {job.ref.topic for job in pushed} == {path.after}
    for job in pushed:
        assert (await engine.complete(job.ref, Completed())).effect is Effect.APPLIED


async def test_awaited_result(bench: Bench) -> None:
    path = await bench.deploy_path()
    start_and_wait = bench.engine.start_and_wait
    if of(bench, camunda7=True, camunda8=False):
        with pytest.raises(Unsupported):
            await start_and_wait(path.process_id, variables=Variables(), wait_ms=1)
    else:
        result = await start_and_wait(path.process_id, variables=Variables(), wait_ms=1)
        assert result is None
        await bench.finish(path.work)
        await bench.finish(path.after)


async def test_held_poll(bench: Bench) -> None:
    path = await bench.deploy_path()
    wait_ms = of(bench, camunda7=500, camunda8=500, camunda88=WOKEN_MS)
    began_s = trio.current_time()
    with patience(PATIENCE_S):
        assert await bench.poll(path.work, wait_ms=wait_ms) == []
    held = trio.current_time() - began_s > 0.9 * wait_ms / 1_000
    assert held is of(bench, camunda7=True, camunda8=True, camunda88=False)
    assert held is bench.holds_polls


async def test_huge_number(bench: Bench) -> None:
    path = await bench.start_path()
    job = await bench.job(path.work)
    expected: type[EngineError] = of(
        bench, camunda7=EngineRefused, camunda8=EngineRefused, camunda88=EngineUnavailable
    )
    with pytest.raises(expected):
        await bench.engine.complete(job.ref, Completed(Variables({"value": 2**70})))
    assert (await bench.engine.complete(job.ref, Completed())).effect is Effect.APPLIED
