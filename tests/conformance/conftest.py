"""The engines that the port's conformance suite runs against."""

from collections.abc import AsyncIterator

import pytest
from tests.conformance.bench import Bench

from gossamer_node.engines.config import EngineConfig, Kind
from gossamer_node.engines.factory import open_engine

ENGINES: list[tuple[str, Kind, str, list[pytest.MarkDecorator]]] = [
    ("camunda7", "camunda7", "camunda7_url", [pytest.mark.camunda7]),
    ("camunda8", "camunda8", "zeebe_url", [pytest.mark.zeebe]),
    ("embedded", "camunda7", "embedded_url", []),
]
"""Name, dialect, fixture with its URL, marks. One line more puts an engine under the suite."""


@pytest.fixture(
    params=[
        pytest.param((name, kind, fixture), id=name, marks=marks)
        for name, kind, fixture, marks in ENGINES
    ]
)
def engine_config(request: pytest.FixtureRequest) -> EngineConfig:
    _, kind, url_fixture = request.param
    return EngineConfig(name="bench", kind=kind, url=request.getfixturevalue(url_fixture))


@pytest.fixture
async def bench(
    request: pytest.FixtureRequest, engine_config: EngineConfig
) -> AsyncIterator[Bench]:
    engine = open_engine(engine_config)
    yield Bench(request.node.callspec.params["engine_config"][0], engine)
    await engine.aclose()
