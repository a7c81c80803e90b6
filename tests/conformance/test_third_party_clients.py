"""Job workers that nobody here wrote work the hotel reservation to its right ends.

Here each does so on the engine that it was made for.
"""

import secrets
from collections.abc import Callable

import pytest
from tests.conformance.clients.hotel import Place, check_jobs, deploy_hotel, run_hotel
from tests.conformance.clients.programs import CLIENTS, Client, Dialect, client_program
from tests.conftest import NOT_RUN

from gossamer_node.engines.config import EngineConfig
from gossamer_node.errors import LocalEngineMissing
from gossamer_node.local_engines import RunningCamunda7, RunningZeebe
from gossamer_node.local_engines.progress import Progress


@pytest.fixture
def in_camunda7(camunda7: RunningCamunda7) -> Place:
    return Place({"7": camunda7.url}, EngineConfig("seven", "camunda7", camunda7.url))


@pytest.fixture
def in_zeebe(zeebe: RunningZeebe) -> Place:
    return Place(
        {"8-rest": zeebe.url, "8-grpc": zeebe.grpc_address},
        EngineConfig("eight", "camunda8", zeebe.url),
    )


PLACES: list[tuple[str, tuple[Dialect, ...], list[pytest.MarkDecorator]]] = [
    ("in_camunda7", ("7",), [pytest.mark.camunda7]),
    ("in_zeebe", ("8-rest", "8-grpc"), [pytest.mark.zeebe]),
]
"""Fixtures, the dialects whose clients are tried there, marks. One line more tries them there."""


@pytest.mark.parametrize(
    ("client", "place"),
    [
        pytest.param(client, place, id=f"{client.name}-{place}", marks=marks)
        for place, dialects, marks in PLACES
        for client in CLIENTS
        if client.dialect in dialects
    ],
)
async def test_works_the_hotel(
    client: Client, place: str, request: pytest.FixtureRequest
) -> None:
    here: Place = request.getfixturevalue(place)
    prefix = f"{client.name}-{secrets.token_hex(4)}-"
    await deploy_hotel(here, prefix)
    address = here.addresses[client.dialect]
    async with client_program(client, address, prefix, lambda t, f: None) as program:
        ended = await run_hotel(here, prefix)
    last = check_jobs(program.jobs)
    print(client.name, last)
    print(client.name, ended["room"])
