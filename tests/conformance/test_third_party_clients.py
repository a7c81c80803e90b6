"""Job workers that nobody here wrote work the hotel reservation to its right ends.

Here each does so on the engine that it was made for.
"""

import secrets

import pytest
import trio
from tests.conformance.clients.hotel import Place, check_ended, check_jobs, reception_at
from tests.conformance.clients.programs import (
    CLIENTS,
    Client,
    Dialect,
    client_program,
    provide_client,
)
from tests.conftest import NOT_RUN, downloads_shown
from tests.patience import patience

from gossamer_node.engines.config import EngineConfig
from gossamer_node.errors import LocalEngineMissing
from gossamer_node.local_engines import RunningCamunda7, RunningZeebe

PLACES: list[tuple[str, tuple[Dialect, ...], list[pytest.MarkDecorator]]] = [
    ("in_camunda7", ("7",), [pytest.mark.camunda7]),
    ("in_zeebe", ("8-rest", "8-grpc"), [pytest.mark.zeebe]),
]
"""Fixtures, the dialects whose clients are tried there, marks. One line more tries them there."""

HOTEL_S = 90.0
"""For all reservations; the client in Python waits half a minute for its first job at most."""


@pytest.fixture
def in_camunda7(camunda7: RunningCamunda7) -> Place:
    """A Camunda 7, with nothing between it and the client."""
    return Place({"7": camunda7.url}, EngineConfig("seven", "camunda7", camunda7.url))


@pytest.fixture
def in_zeebe(zeebe: RunningZeebe) -> Place:
    """A Zeebe, with nothing between it and the client."""
    addresses: dict[Dialect, str] = {"8-rest": zeebe.url, "8-grpc": zeebe.grpc_address}
    return Place(addresses, EngineConfig("eight", "camunda8", zeebe.url, grpc=zeebe.grpc_address))


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Place:
    """The place whose fixture is named."""
    named: Place = request.getfixturevalue(request.param)
    return named


@pytest.fixture
def client(request: pytest.FixtureRequest) -> Client:
    """The client, installed."""
    named: Client = request.param
    try:
        trio.run(provide_client, named, downloads_shown(request.config))
    except LocalEngineMissing as error:
        pytest.skip(f"{NOT_RUN}{error}")
    return named


@pytest.mark.parametrize(
    ("client", "place"),
    [
        pytest.param(client, place, id=f"{client.name}-{place}", marks=marks)
        for place, dialects, marks in PLACES
        for client in CLIENTS
        if client.dialect in dialects
    ],
    indirect=True,
)
async def test_works_the_hotel(client: Client, place: Place) -> None:
    prefix = f"{client.name}-{secrets.token_hex(4)}-"
    async with (
        reception_at(place, prefix) as reception,
        client_program(client, place.addresses[client.dialect], prefix) as program,
    ):
        with patience(HOTEL_S):
            ended = await reception.reserve_all()
    check_jobs(client, place, program.jobs)
    check_ended(client, ended)
