"""The demonstration as a person starts it: it judges itself, by the engine and the databases."""

import json
import sys
from collections.abc import Sequence
from typing import Any

import pytest
import trio

from gossamer_node.engines.config import EngineConfig

pytestmark = pytest.mark.processes


async def demo(engine: Sequence[str], *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "gossamer_node", "demo", "--json", *engine, *arguments]
    done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    result: dict[str, Any] = json.loads(done.stdout)
    assert result["lost"] == result["effective_twice"] == 0
    assert result["completed"] + result["rejected"] + result["invalid"] == result["started"]
    return result


@pytest.fixture
def engine_arguments(engine_config: EngineConfig) -> list[str]:
    if engine_config.name == "embedded":
        return []  # what a person gets who says nothing, started by the demonstration itself
    return ["--engine", engine_config.kind, "--url", engine_config.url]


async def test_every_reservation_ends_as_it_must(engine_arguments: list[str]) -> None:
    result = await demo(engine_arguments, "--reservations", "12")
    assert (result["started"], result["nodes"], result["nodes_killed"]) == (12, 3, 0)


async def test_every_reservation_ends_as_it_must_though_a_node_dies(
    engine_arguments: list[str],
) -> None:
    result = await demo(engine_arguments, "--reservations", "60", "--kill")
    assert (result["started"], result["nodes_killed"]) == (60, 1)
    assert result["recovered_leases"] >= 1
