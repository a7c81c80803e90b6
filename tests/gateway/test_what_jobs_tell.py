"""What starts and jobs tell the gateway beside: instances for the index, keys for the sink."""

from collections.abc import AsyncIterator, Mapping

import pytest
import trio
import trio.testing
from tests.gateway.eight_clients import open_client
from tests.gateway.eight_engines import at_engine, deploy_path, prefix
from tests.gateway.gate import Gate, open_gate
from tests.patience import seen

from gossamer_gateway.errors import StorageFailed
from gossamer_gateway.index import instances
from gossamer_gateway.index.instances import Instance, Source
from gossamer_gateway.index.sightings import NOTED_MAX, Sighting, Sightings
from gossamer_gateway.sink.freshness import DEAF_MS
from gossamer_gateway.storage import SqlitePlace, open_storage
from gossamer_gateway.tables import FORM
from gossamer_node.engines.config import EngineConfig
from gossamer_node.variables import Variables

LATER_MS = 10**14

Configs = Mapping[str, EngineConfig]


@pytest.fixture
def configs(camunda7_url: str, zeebe_url: str, zeebe_grpc_address: str) -> Configs:
    return {
        "old": EngineConfig("old", "camunda7", camunda7_url),
        "new": EngineConfig("new", "camunda8", zeebe_url, grpc=zeebe_grpc_address),
    }


@pytest.fixture
async def gate(configs: Configs) -> AsyncIterator[Gate]:
    async with open_gate(*configs.values()) as gate:
        yield gate


async def listed(gate: Gate, process: str) -> list[Instance]:
    return await gate.desk.storage.submit(lambda rows, _: instances.by_process(rows, process))


def is_behind(gate: Gate) -> bool:
    """Whether the gateway was told of a key of the Camunda 8's that a sink would lack."""
    return gate.desk.watch.behind_ms("new", {}, LATER_MS) > DEAF_MS


async def fetch(gate: Gate, topic: str, how: str) -> None:
    if how == "seven":
        topics = [{"topicName": topic, "lockDuration": 60_000}]
        body = {"workerId": "w", "maxTasks": 1, "asyncResponseTimeout": 500, "topics": topics}

        async def once() -> object:
            answer = await gate.http.post("/engine-rest/external-task/fetchAndLock", json=body)
            return answer.json()

        await seen(once)
    else:
        async with open_client(gate, how) as client:
            await seen(lambda: client.activate(topic, wait_ms=1_000))


@pytest.mark.camunda7
@pytest.mark.zeebe
@pytest.mark.parametrize("engine", ["old", "new"])
@pytest.mark.parametrize("how", ["seven", "rest", "grpc"])
async def test_instances_are_known_by_their_jobs(
    gate: Gate, configs: Configs, engine: str, how: str
) -> None:
    """They were started past the gateway."""
    process = await deploy_path(configs[engine], prefix())
    async with at_engine(configs[engine]) as there:
        key = "B" if engine == "old" else None
        await there.start(process, variables=Variables(), business_key=key)
    await fetch(gate, f"{process}-work", how)
    (one,) = await seen(lambda: listed(gate, process))
    assert (one.engine, one.source) == (engine, Source.JOB)
    assert one.business_key == key
    assert is_behind(gate) == (engine == "new")


@pytest.mark.camunda7
@pytest.mark.zeebe
@pytest.mark.parametrize("how", ["seven", "rest", "grpc"])
async def test_a_start_tells_how_far_the_engine_is(gate: Gate, configs: Configs, how: str) -> None:
    process = await deploy_path(configs["new"], prefix())
    assert not is_behind(gate)
    if how == "seven":
        path = f"/engine-rest/process-definition/key/{process}/start"
        answer = await gate.http.post(path, json={}, headers={"Gossamer-Engine": "new"})
        assert answer.status_code == 200
    else:
        async with open_client(gate, how) as client:
            await client.create(process, engine="new")
    assert is_behind(gate)
    (one,) = await listed(gate, process)
    assert one.source == Source.GATEWAY


async def test_what_could_not_be_written_is_seen_again() -> None:
    class Broken:
        """Refuses, until it is mended."""

        mended = False

        async def submit(self, command: object) -> object:
            if not self.mended:
                raise StorageFailed("The file could not be written: it is away")
            return await storage.submit(command)  # type: ignore[arg-type]

    async with open_storage(SqlitePlace(None), FORM) as storage, trio.open_nursery() as nursery:
        broken = Broken()
        sightings = Sightings(broken)  # type: ignore[arg-type]
        nursery.start_soon(sightings.run)
        sightings.note([Sighting("old", "a", "p")])
        await trio.testing.wait_all_tasks_blocked()
        broken.mended = True
        sightings.note([Sighting("old", "\ud800", "p")])  # an engine's junk
        await trio.testing.wait_all_tasks_blocked(0.01)
        # More than it takes at once: the rest comes with its next jobs.
        sightings.note(Sighting("old", f"{n}", "p") for n in range(NOTED_MAX + 1))

        async def count() -> int | None:
            (one,) = await storage.submit(lambda rows, _: instances.counts(rows, "p")) or (None,)
            return None if one is None else one.count

        assert await seen(count) == NOTED_MAX
        nursery.cancel_scope.cancel()
