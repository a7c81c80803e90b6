"""Services that come, change and go while jobs run: none of the jobs fails."""

from pathlib import Path

import pytest
import trio
from tests.node.registry_world import SLOTS, CountingEngine, World, node, service
from tests.patience import until

from gossamer_node.errors import InputError, ServiceError
from gossamer_node.service.grants import Grants


def counts(world: World) -> tuple[int, ...]:
    """Registered, live, parked, waiting, draining."""
    return tuple(world.stock.status().values())


async def test_an_added_service_works_jobs_at_once(tmp_path: Path) -> None:
    engine = CountingEngine()
    engine.add("rate", 1)
    async with node(tmp_path / "node", [engine]) as world:
        told = await world.stock.add(service(tmp_path))
        assert (told["new"], told["state"], told["refused"]) == (True, "live", None)
        await until(lambda: engine.versions["1.0.0"] == 1)
        assert counts(world) == (1, 1, 0, 0, 0)


async def test_a_version_rolls_out_and_back_under_load_and_no_job_fails(tmp_path: Path) -> None:
    engine = CountingEngine()
    slow = 2_000_000
    first = service(tmp_path, version="1.0.0", turns=slow)
    second = service(tmp_path, version="2.0.0", turns=slow)
    given = 0
    async with node(tmp_path / "node", [engine]) as world, trio.open_nursery() as nursery:

        async def keep_busy() -> None:
            nonlocal given
            with busy:
                while True:
                    if engine.waiting() < 20:
                        engine.add("rate", 20)
                        given += 20
                    await trio.sleep(0.005)

        busy = trio.CancelScope()
        await world.stock.add(first)
        nursery.start_soon(keep_busy)
        await until(lambda: engine.versions["1.0.0"] >= 20)
        await world.stock.add(second)
        await until(lambda: engine.versions["2.0.0"] >= 20)
        assert world.state("rate", "2.0.0") == "live"
        await until(lambda: world.state("rate", "1.0.0") == "registered")
        old = engine.versions["1.0.0"]
        await until(lambda: engine.versions["2.0.0"] >= 40)
        assert engine.versions["1.0.0"] <= old + SLOTS, "the version before works on"
        await world.stock.remove("rate", "2.0.0")
        await until(lambda: engine.versions["1.0.0"] >= old + 20)
        busy.cancel()
        await until(lambda: len(engine.completed) == given)
        await until(lambda: world.stock.status()["draining"] == 0)
        assert len(list((tmp_path / "node" / "services").glob("*.wasm"))) == 1
    # `fail` of the engine raises; twice would be a run that was lost and granted anew.
    assert set(engine.completed.values()) == {1}


async def test_a_removed_service_ends_its_jobs_and_leaves_the_rest_to_others(
    tmp_path: Path,
) -> None:
    engine = CountingEngine()
    async with node(tmp_path / "node", [engine]) as world:
        await world.stock.add(service(tmp_path, turns=20_000_000))
        engine.add("rate", 40)
        await until(lambda: bool(world.executor._served["rate"].running))
        await world.stock.remove("rate", None)
        assert world.state("rate", "1.0.0") == "none"
        await until(lambda: world.stock.status()["draining"] == 0)
        assert list((tmp_path / "node" / "services").glob("*.wasm")) == []
        # What it did may be on its way to the engine still; more than that it does not do.
        done = world.executor.outcomes["completed"]
        await until(lambda: engine.waiting() + len(engine.completed) == 40)
        assert 0 < done == len(engine.completed) < 40
        # Added again it works on.
        await world.stock.add(service(tmp_path, turns=20_000_000))
        await until(lambda: len(engine.completed) == 40)


async def test_a_restart_finds_the_services_parked_and_the_first_job_loads_one(
    tmp_path: Path,
) -> None:
    engine = CountingEngine()
    async with node(tmp_path / "node", [engine]) as world:
        for name in ("a", "b", "c"):
            await world.stock.add(service(tmp_path, name))
    async with node(tmp_path / "node", [engine]) as world:
        assert counts(world) == (3, 0, 3, 0, 0)
        engine.add("b", 1)
        await until(lambda: engine.versions["1.0.0"] == 1)
        states = [world.state(name, "1.0.0") for name in ("a", "b", "c")]
        assert states == ["parked", "live", "parked"]


async def test_one_service_too_many_parks_the_longest_unused(tmp_path: Path) -> None:
    engine = CountingEngine()
    names = [f"s{number}" for number in range(6)]
    async with node(tmp_path / "node", [engine], live_max=2) as world:
        for name in names:
            await world.stock.add(service(tmp_path, name))
        assert [world.state(name, "1.0.0") for name in names] == ["parked"] * 4 + ["live"] * 2
        for number, name in enumerate([*names, *names], 1):
            engine.add(name, 1)
            await until(lambda: engine.versions["1.0.0"] == number)  # noqa: B023 - awaited here
            assert world.state(name, "1.0.0") == "live"
            assert world.loader.count() == 2


async def test_what_is_not_granted_is_kept_and_refused_until_it_is(tmp_path: Path) -> None:
    file = service(tmp_path, capabilities={"config": ["currency"]})
    async with node(tmp_path / "node") as world:
        await world.stock.add(service(tmp_path, version="0.9.0"))
        told = await world.stock.add(file)
        assert "which this node doesn't grant" in str(told["refused"])
        assert [world.state("rate", one) for one in ("0.9.0", "1.0.0")] == ["live", "refused"]
    grants = {"rate": Grants(config={"currency": "EUR"})}
    async with node(tmp_path / "node", grants=grants) as world:
        assert [world.state("rate", one) for one in ("0.9.0", "1.0.0")] == ["registered", "parked"]


async def test_two_services_never_claim_one_topic(tmp_path: Path) -> None:
    async with node(tmp_path / "node") as world:
        await world.stock.add(service(tmp_path, "a", topics=[{"name": "t"}]))
        told = await world.stock.add(service(tmp_path, "b", topics=[{"name": "t"}]))
        assert "b and a both claim topic t" in str(told["refused"])
        await world.stock.remove("a", None)
        assert world.executor.services() == []


async def test_a_module_that_cannot_run_is_not_taken_in(tmp_path: Path) -> None:
    file = service(tmp_path)
    file.with_name("worker.wasm").write_bytes(b"\0asm\1\0\0\0junk")
    async with node(tmp_path / "node") as world:
        await world.stock.add(service(tmp_path, version="0.9.0"))
        with pytest.raises(ServiceError, match="not a module that this host can run"):
            await world.stock.add(file)
        assert world.registry.get("rate", "1.0.0") is None
        assert world.state("rate", "0.9.0") == "live"
        assert len(list((tmp_path / "node" / "services").glob("*.wasm"))) == 1


async def test_a_module_that_changed_on_the_disk_is_not_compiled(tmp_path: Path) -> None:
    engine = CountingEngine()
    async with node(tmp_path / "node", [engine]) as world:
        await world.stock.add(service(tmp_path))
    (file,) = (tmp_path / "node" / "services").glob("*.wasm")
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    async with node(tmp_path / "node") as world:
        one = world.executor._served["rate"].worker
        with pytest.raises(ServiceError, match="is not the one that was added"):
            await world.loader.live(one)  # type: ignore[arg-type]


async def test_removing_what_is_not_there_says_so(tmp_path: Path) -> None:
    async with node(tmp_path / "node") as world:
        with pytest.raises(InputError, match=r"there is no rate@3\.0\.0 here"):
            await world.stock.remove("rate", "3.0.0")


async def test_beyond_what_a_node_announces_the_last_used_ones_work(
    tmp_path: Path,
) -> None:
    engine = CountingEngine()
    names = ["a", "b", "c", "d"]
    async with node(tmp_path / "node", [engine], topics_max=3) as world:
        for name in names[:3]:
            await world.stock.add(service(tmp_path, name))
        engine.add("a", 1)
        await until(lambda: engine.versions["1.0.0"] == 1)
        told = await world.stock.add(service(tmp_path, "d"))
        assert "1 of the added services is beyond the 3 topics" in str(told["beyond"])
        await until(lambda: world.stock.status()["draining"] == 0)
        assert [world.state(name, "1.0.0") for name in names] == ["live", "waiting", "live", "live"]
        assert counts(world) == (4, 3, 0, 1, 0)
    async with node(tmp_path / "node", [engine], topics_max=3) as world:
        states = [world.state(name, "1.0.0") for name in names]
        assert states == ["parked", "waiting", "parked", "parked"]
        # What waits comes to work as soon as there is room.
        await world.stock.remove("c", None)
        assert world.state("b", "1.0.0") == "parked" and world.stock.beyond() == ""
        engine.add("b", 1)
        await until(lambda: engine.versions["1.0.0"] == 2)


async def test_a_parked_dense_service_lets_its_live_instances_go(tmp_path: Path) -> None:
    engine = CountingEngine()
    async with node(tmp_path / "node", [engine], live_max=1) as world:
        host = world.loader._host
        await world.stock.add(service(tmp_path, "dense", profile="dense"))
        engine.add("dense", 1)
        await until(lambda: engine.versions["1.0.0"] == 1)
        assert host.statistics() == {"registered": 1, "live": 1, "parked": 0}
        await world.stock.add(service(tmp_path, "other"))
        assert world.state("dense", "1.0.0") == "parked"
        assert host.statistics() == {"registered": 1, "live": 0, "parked": 0}
        engine.add("dense", 1)
        await until(lambda: engine.versions["1.0.0"] == 2)
        assert host.statistics()["live"] == 1
