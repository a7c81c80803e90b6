"""Services that are registered and not announced: found by name, brought to life, parked again."""

import random
from pathlib import Path
from typing import Any

import pytest
from tests.node.registry_world import World, node, service
from tests.patience import until

from gossamer_node.jobs import Completed, Job, JobRef, Outcome
from gossamer_node.service.grants import Grants
from gossamer_node.variables import Variables
from gossamer_node.wasm import Detached
from gossamer_node.work.executing import Served

LIVE_MAX = 3


def job(key: str = "1") -> Job:
    return Job(JobRef("none", key, "by name", "test", retries=3), Variables(), lock_ms=60_000)


def version(outcome: Outcome) -> object:
    assert isinstance(outcome, Completed), outcome
    return outcome.variables.values["version"]


async def call(world: World, served: Served | None) -> object:
    assert served is not None
    return version(await served.worker.run(job(), deadline_ms=60_000, context=Detached()))


async def test_any_registered_service_runs_a_job_and_no_more_stay_loaded_than_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gossamer_node.registry.by_name.KEPT_MAX", LIVE_MAX)
    names = [f"s{number}" for number in range(12)]
    async with node(tmp_path / "node", topics_max=2, live_max=LIVE_MAX) as world:
        for name in names:
            await world.stock.add(service(tmp_path, name))
        await until(lambda: world.stock.status()["draining"] == 0)
        assert world.stock.status()["waiting"] == 10
        for name in random.Random(1).choices(names, k=40):
            assert await call(world, world.executor.callee(name)) == "1.0.0"
            assert world.state(name, "1.0.0") == "live"
            assert world.loader.count() <= LIVE_MAX
            assert len(list(world.stock._by_name.workers())) <= 2 * LIVE_MAX
        # To be called by name takes nobody's topics away.
        assert [one.name for one in world.executor.services()] == names[-2:]
        assert world.executor.callee("s99") is None


async def test_a_version_that_is_removed_ends_the_jobs_that_found_it(tmp_path: Path) -> None:
    async with node(tmp_path / "node", topics_max=1) as world:
        await world.stock.add(service(tmp_path, "rate", "1.0.0"))
        await world.stock.add(service(tmp_path, "other"))
        one = world.executor.callee("rate")
        assert one is not None and world.executor.callee("rate") is one
        one.begin()
        await world.stock.remove("rate", "1.0.0")
        assert world.executor.callee("rate") is None
        # It was not loaded yet: its module is still there for it, also when those jobs have ended
        # that it had as the version at work.
        await until(lambda: world.stock.status()["draining"] == 1)
        assert await call(world, one) == "1.0.0"
        one.end()
        services = tmp_path / "node" / "services"
        await until(lambda: world.stock.status()["draining"] == 0)
        assert len(list(services.glob("*.wasm"))) == 1


async def test_one_with_state_by_key_is_not_called_beside(tmp_path: Path) -> None:
    keyed: dict[str, Any] = {"profile": "dense", "dense": {"key": "/job/key"}}
    async with node(tmp_path / "node", topics_max=1) as world:
        await world.stock.add(service(tmp_path, "keyed", **keyed))
        assert world.executor.callee("keyed") is not None
        await world.stock.add(service(tmp_path, "other"))
        await until(lambda: world.state("keyed", "1.0.0") == "waiting")
        assert world.executor.callee("keyed") is None


async def test_what_is_not_granted_is_not_found(tmp_path: Path) -> None:
    file = service(tmp_path, capabilities={"config": ["currency"]})
    grants = {"rate": Grants(config={"currency": "EUR"})}
    async with node(tmp_path / "node", topics_max=1, grants=grants) as world:
        await world.stock.add(file)
        await world.stock.add(service(tmp_path, "other"))
        assert world.executor.callee("rate") is not None
    async with node(tmp_path / "node", topics_max=1) as world:
        assert world.state("rate", "1.0.0") == "waiting"
        assert world.executor.callee("rate") is None


async def test_a_service_of_more_topics_than_there_are_takes_nobodys(tmp_path: Path) -> None:
    many = [{"name": f"t{number}"} for number in range(4)]
    async with node(tmp_path / "node", topics_max=3) as world:
        await world.stock.add(service(tmp_path, "small"))
        told = await world.stock.add(service(tmp_path, "large", topics=many))
        assert told["state"] == "waiting"
        assert [one.name for one in world.executor.services()] == ["small"]
        assert await call(world, world.executor.callee("large")) == "1.0.0"


async def test_what_was_refused_is_judged_again_page_by_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gossamer_node.registry.store.LISTED_AT_ONCE", 2)
    monkeypatch.setattr("gossamer_node.registry.stock.AGAIN_S", 0.0)
    names = [f"s{number}" for number in range(7)]
    async with node(tmp_path / "node") as world:
        for name in names:
            await world.stock.add(service(tmp_path, name, capabilities={"config": ["c"]}))
        assert {world.state(name, "1.0.0") for name in names} == {"refused"}
    grants = {name: Grants(config={"c": "1"}) for name in names}
    async with node(tmp_path / "node", grants=grants) as world:
        await until(lambda: {world.state(n, "1.0.0") for n in names} <= {"live", "parked"})
