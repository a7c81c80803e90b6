"""Job workers that nobody here wrote work the hotel reservation to its right ends.

Each does so on the engine that it was made for, and, through a gateway, on the other one: its
program is the same, and does not know.
"""

import secrets
from collections.abc import Iterator

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
from tests.conftest import NOT_RUN, EngineThread
from tests.downloads import downloads_shown
from tests.patience import patience

from gossamer_gateway.config import GatewayConfig
from gossamer_gateway.server import Gateway, open_gateway
from gossamer_node.address import Address
from gossamer_node.engines.config import EngineConfig
from gossamer_node.errors import LocalEngineMissing
from gossamer_node.local_engines import RunningCamunda7, RunningZeebe

PLACES: list[tuple[str, tuple[Dialect, ...], list[pytest.MarkDecorator]]] = [
    ("in_camunda7", ("7",), [pytest.mark.camunda7]),
    ("in_zeebe", ("8-rest", "8-grpc"), [pytest.mark.zeebe]),
    ("in_zeebe_by_gateway", ("7",), [pytest.mark.camunda7, pytest.mark.zeebe]),
    ("in_camunda7_by_gateway", ("8-rest", "8-grpc"), [pytest.mark.camunda7, pytest.mark.zeebe]),
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


@pytest.fixture(scope="module")
def gateway(
    camunda7: RunningCamunda7, zeebe: RunningZeebe, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A gateway in front of both."""
    folder = tmp_path_factory.mktemp("gateway")
    config = GatewayConfig(
        name="gateway",
        data_dir=folder / "data",
        cache_dir=folder / "cache",
        http=Address("127.0.0.1", 0),
        grpc=Address("127.0.0.1", 0),
        engines=(
            EngineConfig("seven", "camunda7", camunda7.url),
            EngineConfig("eight", "camunda8", zeebe.url, grpc=zeebe.grpc_address),
        ),
    )
    thread = EngineThread(open_gateway(config))
    try:
        yield thread.start()
    finally:
        thread.stop()


@pytest.fixture
def in_zeebe_by_gateway(gateway: Gateway, zeebe: RunningZeebe) -> Place:
    """A Zeebe that looks like a Camunda 7."""
    engine = EngineConfig("eight", "camunda8", zeebe.url, grpc=zeebe.grpc_address)
    return Place({"7": f"{gateway.url}/engine-rest"}, engine)


@pytest.fixture
def in_camunda7_by_gateway(gateway: Gateway, camunda7: RunningCamunda7) -> Place:
    """A Camunda 7 that looks like a Camunda 8."""
    addresses: dict[Dialect, str] = {"8-rest": gateway.url, "8-grpc": gateway.grpc}
    return Place(addresses, EngineConfig("seven", "camunda7", camunda7.url))


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
