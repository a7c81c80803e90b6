"""The engines that the port's conformance suite runs against."""

from collections.abc import AsyncIterator

import pytest
from tests.conformance.bench import Bench

from gossamer_node.engines.config import EngineConfig, Kind
from gossamer_node.engines.factory import open_engine

ENGINES: list[tuple[str, Kind, str, str | None, list[pytest.MarkDecorator]]] = [
    ("camunda7", "camunda7", "camunda7_url", None, [pytest.mark.camunda7]),
    ("camunda8", "camunda8", "zeebe_url", None, [pytest.mark.zeebe]),
    ("camunda8-grpc", "camunda8", "zeebe_url", "zeebe_grpc_address", [pytest.mark.zeebe]),
    ("camunda88", "camunda8", "zeebe88_url", "zeebe88_grpc_address", [pytest.mark.zeebe88]),
    ("embedded", "camunda7", "embedded_url", None, []),
]
"""Name, dialect, fixtures with its URL and its gRPC address, marks. One line more puts an engine
under the suite."""


@pytest.fixture(
    params=[
        pytest.param((name, kind, url, grpc), id=name, marks=marks)
        for name, kind, url, grpc, marks in ENGINES
    ]
)
def engine_config(request: pytest.FixtureRequest) -> EngineConfig:
    _, kind, url, grpc = request.param
    address = request.getfixturevalue(grpc) if grpc else None
    return EngineConfig("bench", kind, request.getfixturevalue(url), grpc=address)


@pytest.fixture
async def bench(
    request: pytest.FixtureRequest, engine_config: EngineConfig
) -> AsyncIterator[Bench]:
    engine = open_engine(engine_config)
    if engine_config.grpc is not None:
        await engine.probe()
        assert engine.transport == "gRPC"
    yield Bench(request.node.callspec.params["engine_config"][0], engine)
    await engine.aclose()
