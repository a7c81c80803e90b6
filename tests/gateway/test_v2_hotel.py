"""An untouched client of Camunda 8 works the hotel, whichever engine it lives in."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import trio
from tests.gateway.eight_clients import Client, WireJob, open_client
from tests.gateway.eight_engines import deploy_hotel, prefix
from tests.gateway.gate import Gate, open_gate
from tests.patience import patience

from gossamer_hotel import TOPICS
from gossamer_hotel.reservations import Ending, make_reservations
from gossamer_node.engines.config import EngineConfig

pytestmark = [
    pytest.mark.camunda7,
    pytest.mark.zeebe,
    pytest.mark.usefixtures("short_polls"),
]

WIRES = ["rest", "grpc"]
RESERVATIONS = 5
END_S = 300.0
"""Three engines at once, and perhaps a busy machine."""


Configs = Mapping[str, EngineConfig]


@pytest.fixture
def configs(
    camunda7_url: str, zeebe_url: str, zeebe_grpc_address: str, embedded_url: str
) -> Configs:
    return {
        "old": EngineConfig("old", "camunda7", camunda7_url),
        "new": EngineConfig("new", "camunda8", zeebe_url, grpc=zeebe_grpc_address),
        "small": EngineConfig("small", "camunda7", embedded_url),
    }


@pytest.fixture
async def gate(configs: Configs) -> AsyncIterator[Gate]:
    async with open_gate(*configs.values()) as gate:
        yield gate


async def work(client: Client, topic: str, named: str, ends: dict[str, Ending]) -> None:
    """A worker of one job type, as anybody would write it."""
    while True:
        for job in await client.activate(f"{named}{topic}", wait_ms=5_000):
            await settle(client, topic, job, ends[job.variables["reservation_id"]])


async def settle(client: Client, topic: str, job: WireJob, end: Ending) -> None:
    match topic:
        case "validate-input" if end is Ending.INVALID:
            told = {"status": "invalid", "error_message": "no"}
            await client.throw(job.key, "TASK_ERROR", message="no", variables=told)
        case "search-client":
            await client.complete(job.key, {"clientFound": False})
        case "create-client":
            await client.complete(job.key, {"client_id": 7})
        case "check-room-availability":
            room = end is Ending.CONFIRMED
            told = {} if room else {"status": "rejected"}
            await client.complete(job.key, {"roomAvailable": room, **told})
        case "create-booking":
            await client.complete(job.key, {"status": "confirmed"})
        case _:
            await client.complete(job.key)


@pytest.mark.parametrize("wire", WIRES)
async def test_an_untouched_client_works_the_hotel_of_every_engine(
    gate: Gate, configs: Configs, wire: str
) -> None:
    named = prefix()
    ends: dict[str, Ending] = {}
    statuses: dict[str, str] = {}

    async def reserve(client: Client, engine: str, name: str, variables: Mapping[str, Any]) -> None:
        made = await client.create(
            f"{named}HotelReservationProcess",
            variables,
            engine=engine,
            wait_ms=round(END_S * 1_000),
        )
        statuses[name] = made.variables["status"]

    async with open_client(gate, wire) as client:
        with patience(END_S):
            for one in configs.values():
                await deploy_hotel(one, named)
            async with trio.open_nursery() as working:
                for topic in TOPICS:
                    working.start_soon(work, client, topic, named, ends)
                async with trio.open_nursery() as reserving:
                    for engine in configs:
                        for made in make_reservations(RESERVATIONS, 7):
                            name = f"{engine} {made.reservation_id}"
                            ends[name] = made.ending
                            told: dict[str, Any] = {**made.variables.values, "reservation_id": name}
                            reserving.start_soon(reserve, client, engine, name, told)
                working.cancel_scope.cancel()
    assert statuses == {name: end.value for name, end in ends.items()}
