"""The engines that the tests of the spine run on, their worker, and the server that it reaches."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from tests.integration.compiling import compile_guest
from tests.integration.nodes import ENGINES
from tests.integration.server import Server

from gossamer_hotel.demo.stage import open_engine_process
from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.factory import open_engine
from gossamer_node.engines.port import Engine
from gossamer_node.local_engines.progress import silent


@pytest.fixture
def camunda7_config(camunda7_url: str) -> EngineConfig:
    return EngineConfig("seven", "camunda7", camunda7_url)


@pytest.fixture
def zeebe_config(zeebe_url: str) -> EngineConfig:
    return EngineConfig("eight", "camunda8", zeebe_url)


@pytest.fixture
async def embedded_config(tmp_path: Path) -> AsyncIterator[EngineConfig]:
    """The engine that comes with Gossamer, one for each test."""
    async with open_engine_process("embedded", None, tmp_path, silent) as config:
        yield config


@pytest.fixture(params=ENGINES)
def engine_config(request: pytest.FixtureRequest) -> EngineConfig:
    """Each engine in turn."""
    config: EngineConfig = request.getfixturevalue(request.param)
    return config


@pytest.fixture
async def engine(engine_config: EngineConfig) -> AsyncIterator[Engine]:
    opened = open_engine(engine_config)
    yield opened
    await opened.aclose()


@pytest.fixture
async def server(nursery: trio.Nursery) -> Server:
    running = Server()
    await nursery.start(running.run)
    return running


@pytest.fixture(scope="session")
def telling(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The module of guests/telling.c."""
    return compile_guest("telling", tmp_path_factory.mktemp("guests"))


@pytest.fixture(autouse=True)
def at_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What processes of a test leave, they leave in the session's folder."""
    home = tmp_path_factory.getbasetemp() / "home"
    for variable, name in (("XDG_STATE_HOME", "state"), ("TMPDIR", "tmp")):
        folder = home / name
        folder.mkdir(parents=True, exist_ok=True)
        monkeypatch.setenv(variable, str(folder))
