"""Worlds in which workflows run."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.runs.worlds import EXECUTIONS, World, open_world

from gossamer_node.engines.config import EngineConfig
from gossamer_node.local_engines.starting import RunningZeebe


@pytest.fixture(params=EXECUTIONS)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """A gateway, by each execution."""
    engines = []
    if request.param == "zeebe":
        zeebe: RunningZeebe = request.getfixturevalue("zeebe")
        engines = [EngineConfig("eight", "camunda8", zeebe.url, grpc=zeebe.grpc_address)]
    async with open_world(tmp_path, request.param, *engines) as made:
        yield made
