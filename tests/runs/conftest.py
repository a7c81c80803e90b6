"""Worlds in which workflows run."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.runs.worlds import EXECUTIONS, World, open_world


@pytest.fixture(params=EXECUTIONS)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """A gateway, by each execution."""
    async with open_world(tmp_path, request.param) as made:
        yield made
