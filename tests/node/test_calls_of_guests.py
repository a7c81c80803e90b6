"""`service.call` and `job.progress` by workers of the SDKs, as the how-to page has them, on nodes.

The page's workers are built and run as they stand: `trip` on the node that claims, `price` on
whichever has it. The engine is a source of jobs.
"""

import re
import runpy
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from tests.node.registry_world import World, node
from tests.node.source_engine import SourceEngine
from tests.patience import until

from gossamer_node.engines.port import Effect, Settlement
from gossamer_node.jobs import BpmnError, Completed, Failed, JobRef
from gossamer_node.service.grants import Grants

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "how-to" / "call-another-service.md"
BUILD = ROOT / "sdk-wasm" / "build.py"
FILE = re.compile(r"^`([\w./-]+)`:\n\n```\w+\n(.*?)^```$", flags=re.M | re.S)
GRANTS = {"trip": Grants(calls=("price",)), "report": Grants()}


class Engine(SourceEngine):
    """Keeps what became of each job."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: list[Completed | BpmnError | Failed] = []

    def trip(self, nights: int) -> None:
        self._values: dict[str, Any] = {"nights": nights}
        self.add("price-trip", 1)

    async def complete(self, job: JobRef, outcome: Completed) -> Settlement:
        self.outcomes.append(outcome)
        return Settlement(Effect.APPLIED)

    async def throw_error(self, job: JobRef, outcome: BpmnError) -> Settlement:
        self.outcomes.append(outcome)
        return Settlement(Effect.APPLIED)

    async def fail(self, job: JobRef, outcome: Failed) -> Settlement:
        self.outcomes.append(outcome)
        return Settlement(Effect.APPLIED)


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's two services, built."""
    folder = tmp_path_factory.mktemp("page")
    build = runpy.run_path(str(BUILD))
    for name, text in FILE.findall(PAGE.read_text("utf-8")):
        file = folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(dedent(text))
        if file.suffix == ".ts":
            sdk = ROOT / "sdk-wasm" / "assemblyscript"
            shutil.copyfile(sdk / "job1.ts", file.with_name("job1.ts"))
        if file.suffix in (".c", ".ts"):
            build["compile_worker"](file, file.with_name("worker.wasm"))
    return folder


@asynccontextmanager
async def nodes(folder: Path, engine: Engine, count: int) -> AsyncIterator[Sequence[World]]:
    async with node(folder / "one", [engine], grants=GRANTS) as one:  # type: ignore[list-item]
        if count == 1:
            yield [one]
            return
        async with node(folder / "two", seeds=[one.mesh.address], grants=GRANTS) as other:
            await until(lambda: len(one.mesh.members()) == 2 == len(other.mesh.members()))
            yield [one, other]


async def test_the_pages_workers_on_one_node(services: Path, tmp_path: Path) -> None:
    engine = Engine()
    async with nodes(tmp_path, engine, 1) as (one,):
        await one.stock.add(services / "price" / "service.yaml")
        await one.stock.add(services / "trip" / "service.yaml")
        engine.trip(3)
        await until(lambda: len(engine.outcomes) == 1)
        engine.trip(6)
        await until(lambda: len(engine.outcomes) == 2)
    first, second = engine.outcomes
    assert isinstance(first, Completed) and first.variables.values == {"euros": 85 + 90 + 95}
    assert isinstance(second, BpmnError)
    assert (second.code, second.message) == ("FULL", "Night 6 is taken.")


async def test_the_pages_workers_on_two_nodes(services: Path, tmp_path: Path) -> None:
    engine = Engine()
    async with nodes(tmp_path, engine, 2) as (one, other):
        await other.stock.add(services / "price" / "service.yaml")
        await one.stock.add(services / "trip" / "service.yaml")
        await until(lambda: bool(one.leasing.calling.find("price", "^1.2.0")))
        assert one.leasing.calling.find("price", "^2") == []
        engine.trip(5)
        await until(lambda: len(engine.outcomes) == 1)
        (outcome,) = engine.outcomes
        assert isinstance(outcome, Completed) and outcome.variables.values == {"euros": 475}
        taken: Any = other.leasing.calling.status()["taken"]
        assert taken["answered"] == 5
        # It knows nobody else that offers it, once that one is gone.
        await other.stock.remove("price", None)
        await until(lambda: not one.leasing.calling.find("price", "*"))
