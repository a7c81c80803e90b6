"""Engines behind a gateway whose clients speak Camunda 8, and processes of a test's own on them.

Every test deploys under names that no other test has, at the engines themselves; what became of a
job is seen in the job that the engine hands out next.
"""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gossamer_hotel import PROCESS_ID, TOPICS, bpmn_files
from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.factory import open_engine
from gossamer_node.engines.port import Engine

PATHS = Path(__file__).parents[1] / "conformance" / "bpmn"


def prefix() -> str:
    return f"v8-{uuid.uuid4().hex[:10]}-"


@asynccontextmanager
async def at_engine(config: EngineConfig) -> AsyncIterator[Engine]:
    """The engine itself, past the gateway."""
    engine = open_engine(config)
    try:
        yield engine
    finally:
        await engine.aclose()


async def deploy_path(config: EngineConfig, named: str) -> str:
    """The process `path`: PREFIXpath-work, then -after; -recover, when work throws CAUGHT."""
    text = (PATHS / f"path.{config.kind}.bpmn").read_text().replace("conf-", named)
    async with at_engine(config) as engine:
        (process,) = await engine.deploy({f"{named}path.bpmn": text.encode()})
    return process


async def deploy_hotel(config: EngineConfig, named: str) -> str:
    """The hotel, its job types and processes under names of the test's own."""
    files = {}
    for name, data in bpmn_files(config.kind).items():
        text = data.decode()
        for word in (*TOPICS, PROCESS_ID, "ClientCreationProcess"):
            text = text.replace(f'"{word}"', f'"{named}{word}"')
        files[f"{named}{name}"] = text.encode()
    async with at_engine(config) as engine:
        await engine.deploy(files)
    return f"{named}{PROCESS_ID}"
