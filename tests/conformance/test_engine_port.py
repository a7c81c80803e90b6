"""The port's conformance suite: what every engine's adapter does, asked of the real engines.

Where engines differ, the difference has a name in DIFFERENCES.md and a test in
`test_engine_differences.py`; everything here holds for all of them.
"""

from dataclasses import replace

import pytest
import trio
import trio.testing
from tests.conformance.bench import EMPTY_MS, LOCK_LONG_MS, LOCK_SHORT_MS, PATIENCE_S, Bench
from tests.patience import patience
from tests.zeebe88.engine import NO_REST_URL

from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.factory import open_engine
from gossamer_node.engines.port import Capability, Effect, TopicRequest
from gossamer_node.errors import EngineError, EngineRefused, EngineUnavailable, Unsupported
from gossamer_node.jobs import BpmnError, Completed, Failed, Job
from gossamer_node.variables import Variables

LONG = 2**53 + 1
"""The first whole number that a double cannot hold."""

EVERY_PLAIN = Variables(
    {
        "integer": 7,
        "safe": 2**53 - 1,
        "long": str(LONG),
        "negative": str(-(2**63)),
        "small_long": 5,
        "double": 2.5,
        "whole_double": 3.0,
        "text": "héllo \u2028 \U0001f578",
        "empty": "",
        "yes": True,
        "no": False,
        "nothing": None,
        "list": [1, "two", None, [3.5]],
        "object": {"deep": {"long": LONG, "double": 2.0}, "": []},
    },
    {
        "long": "Long",
        "negative": "Long",
        "small_long": "Long",
        "double": "Double",
        "whole_double": "Double",
    },
)
"""Values that every engine can hold. `small_long` is a plain 5 where no type tells it apart."""


async def test_probe_tells_what_is_there(bench: Bench, engine_config: EngineConfig) -> None:
    info = await bench.engine.probe()
    assert info.product in ("camunda7", "camunda8", "gossamer")
    assert info.version[0].isdigit()
    # The same engine under another name is still the same engine, another tenant of it is not.
    again = open_engine(replace(engine_config, name="again"))
    tenant = open_engine(replace(engine_config, tenant="other"))
    assert (await again.probe()).fingerprint == info.fingerprint
    assert (await tenant.probe()).fingerprint != info.fingerprint
    await again.aclose()
    await tenant.aclose()


async def test_job_says_where_it_comes_from(bench: Bench) -> None:
    path = await bench.deploy_path()
    key = await bench.engine.start(path.process_id, variables=Variables())
    job = await bench.job(path.work)
    assert job.ref.engine == "bench"
    assert job.ref.topic == path.work
    assert job.ref.worker_id == "first"
    assert job.lock_ms == LOCK_LONG_MS
    assert job.process_id == path.process_id
    assert job.process_instance_key == key
    assert job.element_id == "work"
    assert job.tenant is None
    assert job.headers == {"colour": "blue"}
    await bench.engine.complete(job.ref, Completed())
    assert (await bench.job(path.after)).headers == {}


async def test_asking_for_nothing_brings_nothing(bench: Bench) -> None:
    path = await bench.start_path()
    assert await bench.poll(path.work, jobs_max=0) == []
    assert await bench.engine.activate([], jobs_max=1, wait_ms=0, worker_id="first") == []
    await bench.job(path.work)


@pytest.mark.parametrize("wait_ms", [0, EMPTY_MS])
async def test_poll_may_end_empty(bench: Bench, wait_ms: int) -> None:
    path = await bench.deploy_path()
    assert await bench.poll(path.work, wait_ms=wait_ms) == []


async def test_activation_takes_no_more_than_asked(bench: Bench) -> None:
    path = await bench.deploy_path()
    for _ in range(3):
        await bench.engine.start(path.process_id, variables=Variables())
    keys: set[str] = set()
    with patience():
        while len(keys) < 3:
            jobs = await bench.poll(path.work, jobs_max=2)
            assert len(jobs) <= 2
            assert keys.isdisjoint(job.ref.key for job in jobs)
            keys |= {job.ref.key for job in jobs}
    assert await bench.poll(path.work, wait_ms=0) == []


async def test_long_poll_is_woken(bench: Bench) -> None:
    path = await bench.deploy_path()
    jobs: list[Job] = []

    async def wait() -> None:
        jobs.extend(await bench.wait(path.work))

    with patience(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked(0.05)
            await bench.engine.start(path.process_id, variables=Variables())
    assert [job.ref.topic for job in jobs] == [path.work]


async def test_cancelled_poll_gives_back_what_it_brings(bench: Bench) -> None:
    path = await bench.deploy_path()
    caller = trio.CancelScope()

    async def wait() -> None:
        with caller:
            await bench.wait(path.work, worker="gone")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked(0.05)
        caller.cancel()
        await bench.engine.start(path.process_id, variables=Variables())
    assert caller.cancelled_caught
    # Locked for five minutes, had the poll been cut off or its job been forgotten.
    assert (await bench.job(path.work, worker="next")).ref.worker_id == "next"


async def test_closing_waits_for_the_polls(engine_config: EngineConfig) -> None:
    engine = open_engine(engine_config)
    ended: list[list[Job]] = []

    async def wait() -> None:
        topic = TopicRequest("conformance-nobody")
        ended.append(
            await engine.activate([topic], jobs_max=1, wait_ms=EMPTY_MS, worker_id="first")
        )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked(0.05)
        await engine.aclose()
        assert ended == [[]]
    with pytest.raises(EngineUnavailable, match="closed"):
        await engine.probe()
    with pytest.raises(EngineUnavailable, match="closed"):
        await wait()


async def test_expired_lock_frees_the_job(bench: Bench) -> None:
    path = await bench.start_path()
    first = await bench.job(path.work, lock_ms=LOCK_SHORT_MS)
    second = await bench.job(path.work, worker="second")
    assert second.ref.key == first.ref.key


async def test_extended_lock_holds(bench: Bench) -> None:
    path = await bench.start_path()
    with patience():
        while True:
            began_s = trio.current_time()
            job = await bench.job(path.work, lock_ms=1_000)
            extended = await bench.engine.extend(job.ref, LOCK_LONG_MS)
            if trio.current_time() - began_s < 1:
                break
            # The machine was slower than the lock, which may have ended before.
            await bench.engine.release(job.ref)
    assert extended.effect is Effect.APPLIED
    # Twice the first lock, so that its end lies within the poll.
    assert await bench.poll(path.work, worker="second", wait_ms=2_000) == []


async def test_released_job_is_free_at_once(bench: Bench) -> None:
    path = await bench.start_path()
    first = await bench.job(path.work)
    taken: list[Job] = []

    async def wait() -> None:
        taken.extend(await bench.wait(path.work, worker="second"))

    with patience(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert (await bench.engine.release(first.ref)).effect is Effect.APPLIED
    (second,) = taken
    assert second.ref.key == first.ref.key
    assert second.ref.retries == first.ref.retries


async def test_what_a_worker_id_has_locked(bench: Bench) -> None:
    path = await bench.deploy_path()
    worker = f"{bench.prefix}worker"
    if Capability.LIST_LOCKED not in bench.engine.capabilities:
        assert await bench.engine.locked_by(worker) is None
        return
    for _ in range(4):
        await bench.engine.start(path.process_id, variables=Variables({"kept": 1}))
    kept, released, done = await bench.poll(path.work, worker=worker, jobs_max=3)
    (other,) = await bench.poll(path.work, worker=f"{worker}-2")
    await bench.engine.release(released.ref)
    await bench.engine.complete(done.ref, Completed())
    assert await bench.engine.locked_by(worker) == [replace(kept.ref, types={})]
    assert await bench.engine.locked_by(f"{worker}-2") == [replace(other.ref, types={})]
    assert await bench.engine.locked_by(f"{worker}-3") == []
    # What it tells is enough to give the job back.
    (told,) = await bench.engine.locked_by(worker) or []
    assert (await bench.engine.release(told)).effect is Effect.APPLIED
    assert await bench.engine.locked_by(worker) == []


async def test_job_whose_lock_has_ended_is_not_locked(bench: Bench) -> None:
    path = await bench.start_path()
    worker = f"{bench.prefix}worker"
    job = await bench.job(path.work, worker=worker, lock_ms=LOCK_SHORT_MS)
    assert (await bench.job(path.work, worker="second")).ref.key == job.ref.key
    assert not await bench.engine.locked_by(worker)


async def test_variables_arrive_as_they_were_started(bench: Bench) -> None:
    path = await bench.start_path(EVERY_PLAIN)
    job = await bench.job(path.work)
    assert dict(job.variables.values) == dict(EVERY_PLAIN.values)
    for name in ("double", "whole_double"):
        assert isinstance(job.variables.values[name], float)
        assert job.variables.types[name] == "Double"
    assert job.variables.types["long"] == job.variables.types["negative"] == "Long"
    assert job.ref.types == job.variables.types


async def test_variables_survive_a_worker_that_knows_no_types(bench: Bench) -> None:
    path = await bench.start_path(EVERY_PLAIN)
    job = await bench.job(path.work)
    # What a JavaScript worker gives back: 3.0 has become 3, and the types are gone.
    echoed = {name: value for name, value in job.variables.values.items()} | {"whole_double": 3}
    assert (
        await bench.engine.complete(job.ref, Completed(Variables(echoed)))
    ).effect is Effect.APPLIED
    after = await bench.job(path.after)
    assert after.variables == job.variables
    assert isinstance(after.variables.values["whole_double"], float)


async def test_outputs_keep_their_types(bench: Bench) -> None:
    path = await bench.start_path()
    job = await bench.job(path.work)
    await bench.engine.complete(job.ref, Completed(EVERY_PLAIN))
    after = await bench.job(path.after)
    assert dict(after.variables.values) == dict(EVERY_PLAIN.values)
    assert isinstance(after.variables.values["whole_double"], float)


async def test_only_named_outputs_are_written(bench: Bench) -> None:
    path = await bench.start_path(Variables({"kept": 1, "changed": 1}))
    job = await bench.job(path.work)
    await bench.engine.complete(job.ref, Completed(Variables({"changed": 2, "new": [3]})))
    after = await bench.job(path.after)
    assert after.variables.values == {"kept": 1, "changed": 2, "new": [3]}


@pytest.mark.parametrize("names", [("b",), ()])
async def test_only_wanted_variables_are_fetched(bench: Bench, names: tuple[str, ...]) -> None:
    path = await bench.start_path(Variables({"a": 1, "b": 2}))
    job = await bench.job(path.work, names=names)
    assert tuple(job.variables.values) == names


@pytest.mark.parametrize("message", ["", "no room " * 500])
async def test_failed_job_comes_back(bench: Bench, message: str) -> None:
    path = await bench.start_path()
    first = await bench.job(path.work)
    failed_s = trio.current_time()
    await bench.back_off(first, Failed(message, retries=2, backoff_ms=500, details="at line 1"))
    second = await bench.job(path.work)
    # The engine's clock counts whole milliseconds, or coarser steps.
    assert trio.current_time() - failed_s > 0.45
    assert second.ref.key == first.ref.key
    assert second.ref.retries == 2


async def test_failure_takes_one_retry_when_none_is_said(bench: Bench) -> None:
    path = await bench.start_path()
    for left in (2, 1):
        job = await bench.job(path.work)
        assert (await bench.engine.fail(job.ref, Failed("no room"))).effect is Effect.APPLIED
        again = await bench.job(path.work)
        assert again.ref.retries == left
        await bench.engine.release(again.ref)


async def test_last_failure_stops_the_job(bench: Bench) -> None:
    path = await bench.start_path()
    job = await bench.job(path.work)
    assert (await bench.engine.fail(job.ref, Failed("no", retries=0))).effect is Effect.APPLIED
    assert await bench.poll(path.work) == []


@pytest.mark.parametrize("message", ["", "no room"])
async def test_thrown_error_takes_its_boundary_path(bench: Bench, message: str) -> None:
    path = await bench.start_path(Variables({"room": 1}))
    job = await bench.job(path.work)
    thrown = BpmnError("CAUGHT", message, Variables({"why": "full", "long": LONG}))
    assert (await bench.engine.throw_error(job.ref, thrown)).effect is Effect.APPLIED
    recover = await bench.job(path.recover)
    assert recover.variables.values["why"] == "full"
    assert recover.variables.values["long"] == str(LONG)
    assert await bench.poll(path.after, wait_ms=0) == []


async def test_error_needs_a_code(bench: Bench) -> None:
    path = await bench.start_path()
    job = await bench.job(path.work)
    with pytest.raises(EngineRefused):
        await bench.engine.throw_error(job.ref, BpmnError(""))
    assert (await bench.engine.complete(job.ref, Completed())).effect is Effect.APPLIED


async def test_settled_job_is_gone(bench: Bench) -> None:
    path = await bench.start_path()
    ref = (await bench.finish(path.work)).ref
    engine = bench.engine
    for settlement in (
        await engine.complete(ref, Completed(Variables({"late": True}))),
        await engine.fail(ref, Failed("late", retries=1)),
        await engine.throw_error(ref, BpmnError("CAUGHT")),
        await engine.extend(ref, LOCK_LONG_MS),
        await engine.release(ref),
    ):
        assert settlement.effect is Effect.GONE
        assert ref.key in settlement.message
    assert "late" not in (await bench.job(path.after)).variables.values


async def test_value_that_the_engine_cannot_hold_is_refused(bench: Bench) -> None:
    path = await bench.start_path()
    job = await bench.job(path.work)
    with pytest.raises(EngineRefused):
        await bench.engine.complete(job.ref, Completed(Variables({"value": float("nan")})))
    assert (await bench.engine.complete(job.ref, Completed())).effect is Effect.APPLIED


@pytest.mark.parametrize("size", [3_000_000, 5_000_000])
async def test_large_outcome_is_taken_failed_or_refused(bench: Bench, size: int) -> None:
    path = await bench.start_path()
    job = await bench.job(path.work)
    large = Completed(Variables({"large": "x" * size}))
    try:
        settlement = await bench.engine.complete(job.ref, large)
    except EngineRefused:
        settlement = await bench.engine.complete(job.ref, Completed())
    if settlement.effect is not Effect.APPLIED_AS_FAILURE:
        assert settlement.effect is Effect.APPLIED
        await bench.finish(path.after)


async def test_bad_bpmn_is_refused_with_the_engines_sentence(bench: Bench) -> None:
    with pytest.raises(EngineRefused, match=r"broken\.bpmn"):
        await bench.engine.deploy({"broken.bpmn": b"<bpmn:definitions"})


async def test_unknown_process_is_refused(bench: Bench) -> None:
    with pytest.raises(EngineRefused, match="no-such-process"):
        await bench.engine.start("no-such-process", variables=Variables())


async def test_wrong_url_is_refused(engine_config: EngineConfig) -> None:
    grpc = None if engine_config.grpc is None else "127.0.0.1:1"  # where nobody listens
    engine = open_engine(replace(engine_config, url=engine_config.url + "/elsewhere", grpc=grpc))
    error: type[EngineError] = EngineRefused
    said = "404"
    if engine_config.url == NO_REST_URL:
        error, said = EngineUnavailable, "Nor over gRPC"
    with pytest.raises(error, match=said):
        await engine.probe()
    with pytest.raises(error, match=said):
        await engine.activate([TopicRequest("t")], jobs_max=1, wait_ms=0, worker_id="first")
    await engine.aclose()


async def test_awaited_instance_gives_its_variables(bench: Bench) -> None:
    if Capability.START_AND_WAIT not in bench.engine.capabilities:
        with pytest.raises(Unsupported):
            await bench.engine.start_and_wait("any", variables=Variables(), wait_ms=1)
        return
    path = await bench.deploy_path()
    results: list[Variables | None] = []

    async def run(wait_ms: int) -> None:
        results.append(
            await bench.engine.start_and_wait(
                path.process_id, variables=Variables({"a": 1}), wait_ms=wait_ms
            )
        )

    with patience(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, int(PATIENCE_S * 1_000))
            job = await bench.job(path.work)
            await bench.engine.complete(job.ref, Completed(Variables({"long": LONG})))
            await bench.finish(path.after)
    assert results == [Variables({"a": 1, "long": str(LONG)}, {"long": "Long"})]
    await run(1)
    assert results[1:] == [None]
    # Or the engine, when it is stopped, waits for this result.
    await bench.finish(path.work)
    await bench.finish(path.after)


async def test_instances_and_their_variables_are_read_back(bench: Bench) -> None:
    if Capability.READ_VARIABLES not in bench.engine.capabilities:
        assert Capability.LIST_INSTANCES not in bench.engine.capabilities
        with pytest.raises(Unsupported):
            await bench.engine.read_variables("any")
        with pytest.raises(Unsupported):
            await bench.engine.list_instances("any")
        return
    path = await bench.deploy_path()
    engine = bench.engine

    async def states() -> dict[str, tuple[str, tuple[str, ...] | None]]:
        listed = await engine.list_instances(path.process_id)
        assert {instance.process_id for instance in listed} <= {path.process_id}
        return {instance.key: (instance.state, instance.end_element_ids) for instance in listed}

    assert await states() == {}
    done = await engine.start(path.process_id, variables=EVERY_PLAIN)
    assert await states() == {done: ("active", ())}
    running = await engine.read_variables(done)
    await bench.finish(path.work)
    await bench.finish(path.after)
    assert running == await engine.read_variables(done)
    assert dict(running.values) == dict(EVERY_PLAIN.values)

    rejected = await engine.start(path.process_id, variables=Variables())
    job = await bench.job(path.work)
    thrown = await engine.throw_error(job.ref, BpmnError("CAUGHT"))
    assert thrown.effect is Effect.APPLIED
    await bench.finish(path.recover)

    stuck = await engine.start(path.process_id, variables=Variables())
    job = await bench.job(path.work)
    await engine.fail(job.ref, Failed("no", retries=0))
    assert await states() == {
        done: ("completed", ("end",)),
        rejected: ("completed", ("end-recovered",)),
        stuck: ("incident", ()),
    }
    with pytest.raises(EngineRefused, match="no-such-instance"):
        await engine.read_variables("no-such-instance")
