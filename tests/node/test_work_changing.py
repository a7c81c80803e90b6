"""The executor's services come and go: what drains, what waits for it, what is too much."""

from pathlib import Path

import pytest
import trio
from tests.node.work_mesh import Gate
from trio.testing import wait_all_tasks_blocked

from gossamer_mesh.leases.messages import TOPICS_MAX
from gossamer_node.errors import InputError
from gossamer_node.jobs import Completed, Job, JobRef
from gossamer_node.service.spec import Dense, ServiceSpec, Topic
from gossamer_node.variables import Variables
from gossamer_node.wasm import Detached
from gossamer_node.work.executing import Executor


def spec(name: str, *topics: str, version: str = "1.0.0", key: str | None = None) -> ServiceSpec:
    return ServiceSpec(
        Path(),
        name,
        version,
        topics=tuple(Topic(one) for one in topics),
        profile="dense" if key else "fast",
        dense=Dense(key=key) if key else None,
    )


def job(topic: str) -> Job:
    return Job(JobRef("engine", "1", topic, "worker"), Variables({}), lock_ms=30_000)


def announced(executor: Executor) -> list[str]:
    return sorted(one.name for one in executor.topics("engine", 4))


async def test_a_removed_service_is_announced_no_more_and_ends_its_jobs(
    autojump_clock: trio.testing.MockClock,
) -> None:
    gate, executor = Gate(), Executor()
    executor.put(spec("s", "a", "b"), gate)
    executor.put(spec("other", "c"), gate)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(executor.run, job("a"), Detached())
        await wait_all_tasks_blocked()
        served = executor.remove("s")
        assert served is not None and executor.draining() == [served]
        assert announced(executor) == ["c"]
        # A job that was granted before finds it.
        nursery.start_soon(executor.run, job("b"), Detached())
        await wait_all_tasks_blocked()
        assert served.running == 2
        drained = False

        async def see_off() -> None:
            nonlocal drained
            await executor.drained(served)
            drained = True

        nursery.start_soon(see_off)
        await trio.sleep(60)
        assert not drained
        gate.open.set()
    assert drained and executor.draining() == []
    assert executor.outcomes == {"completed": 2, "bpmn_error": 0, "failed": 0}
    await executor.run(job("a"), Detached())
    assert executor.outcomes["failed"] == 1
    assert executor.remove("s") is None


@pytest.mark.parametrize("key", [None, "/job/key"])
async def test_versions_work_side_by_side_unless_they_have_keys(key: str | None) -> None:
    old, new, executor = Gate(), Gate(), Executor()
    new.open.set()
    executor.put(spec("s", "t", key=key), old)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(executor.run, job("t"), Detached())
        await wait_all_tasks_blocked()
        before = executor.put(spec("s", "t", version="2.0.0", key=key), new)
        assert before is not None and before.spec.version == "1.0.0"
        nursery.start_soon(executor.run, job("t"), Detached())
        await wait_all_tasks_blocked()
        # Two jobs of one key never run at the same time.
        assert (old.runs, new.runs) == (1, 0 if key else 1)
        old.open.set()
        await wait_all_tasks_blocked()
        assert new.runs == 1


async def test_a_version_may_have_other_topics() -> None:
    gate, executor = Gate(), Executor()
    gate.open.set()
    executor.put(spec("s", "a", "b"), gate)
    executor.put(spec("s", "b", "c", version="2.0.0"), gate)
    assert announced(executor) == ["b", "c"]
    assert isinstance(await executor.run(job("c"), Detached()), Completed)


def test_what_cannot_be_announced_is_refused_and_changes_nothing() -> None:
    executor = Executor()
    executor.put(spec("s", *(f"t{number}" for number in range(TOPICS_MAX))), Gate())
    with pytest.raises(InputError, match="1025 topics"):
        executor.put(spec("more", "t"), Gate())
    assert [one.name for one in executor.services()] == ["s"]
    # A version that takes over does not count beside the one before.
    executor.put(spec("s", "t", version="2.0.0"), Gate())
    executor.put(spec("more", "u"), Gate())
    assert announced(executor) == ["t", "u"]


def test_rivals_are_found_by_topic_and_engine() -> None:
    executor = Executor()
    seven = Topic("t", engines=("seven",))
    executor.put(ServiceSpec(Path(), "s", "1.0.0", topics=(seven,)), Gate())
    eight = ServiceSpec(Path(), "e", "1.0.0", topics=(Topic("t", engines=("eight",)),))
    assert executor.rival(eight) is None
    found = executor.rival(spec("all", "t"))
    assert found is not None and (found[0].name, found[1]) == ("s", "t")
    assert executor.rival(spec("s", "t", version="2.0.0")) is None
