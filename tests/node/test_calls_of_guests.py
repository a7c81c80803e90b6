"""`service.call` and `job.progress` by workers of the SDKs, as the how-to page has them, on nodes.

The page's workers are built and run as they stand: `trip` on the node that claims, `price` on
whichever has it. The engine is a source of jobs.
"""

import re
import runpy
import shutil
from argparse import Namespace
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from tests.made_once import made_once
from tests.node.registry_world import World, node, service
from tests.node.source_engine import SourceEngine
from tests.node.wasm.conftest import assemble
from tests.patience import until

from gossamer_mesh.leases.messages import TOPICS_MAX
from gossamer_node import cli, supervisor
from gossamer_node.cli.status import lines
from gossamer_node.config import load
from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.factory import open_engine
from gossamer_node.engines.port import Effect, Settlement
from gossamer_node.jobs import BpmnError, Completed, Failed, JobRef
from gossamer_node.service.grants import Grants
from gossamer_node.supervisor import open_node
from gossamer_node.variables import Variables

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "how-to" / "call-another-service.md"
BUILD = ROOT / "sdk-wasm" / "build.py"
FILE = re.compile(r"^`([\w./-]+)`:\n\n```\w+\n(.*?)^```$", flags=re.M | re.S)
BPMN = """<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL"
 xmlns:camunda="http://camunda.org/schema/1.0/bpmn" targetNamespace="t">
 <process id="Trip" isExecutable="true">
  <startEvent id="s"/><sequenceFlow id="f" sourceRef="s" targetRef="t"/>
  <serviceTask id="t" camunda:type="external" camunda:topic="price-trip"/>
  <sequenceFlow id="g" sourceRef="t" targetRef="e"/><endEvent id="e"/>
 </process></definitions>"""
POLL = (
    '(import "wasi_snapshot_preview1" "poll_oneoff"'
    " (func $poll (param i32 i32 i32 i32) (result i32)))"
)
SLEEPS = """
    (i32.store (i32.const 528) (i32.const 1))
    (i64.store (i32.const 536) (i64.const 3600000000000))
    (drop (call $poll (i32.const 512) (i32.const 640) (i32.const 1) (i32.const 704)))
    (i64.or (i64.shl (i64.const 128) (i64.const 32)) (i64.const 16))
"""
"""For an hour, in which one can look."""

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
    compile_worker = runpy.run_path(str(BUILD))["compile_worker"]

    def build(folder: Path) -> None:
        for name, text in FILE.findall(PAGE.read_text("utf-8")):
            file = folder / name
            file.parent.mkdir(exist_ok=True, parents=True)
            file.write_text(dedent(text))
            if file.suffix == ".ts":
                sdk = ROOT / "sdk-wasm" / "assemblyscript"
                shutil.copyfile(sdk / "job1.ts", file.with_name("job1.ts"))
            if file.suffix in (".c", ".ts"):
                compile_worker(file, file.with_name("worker.wasm"))

    return made_once(tmp_path_factory, "calls-of-guests", build)


@asynccontextmanager
async def nodes(
    folder: Path, engine: Engine, count: int, topics_max: int = TOPICS_MAX
) -> AsyncIterator[Sequence[World]]:
    engines: list[Any] = [engine]
    async with node(folder / "one", engines, grants=GRANTS, topics_max=topics_max) as one:
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


async def test_what_is_not_announced_is_called_and_what_was_removed_is_not(
    services: Path, tmp_path: Path
) -> None:
    engine = Engine()
    async with nodes(tmp_path, engine, 1, topics_max=1) as (one,):
        await one.stock.add(services / "price" / "service.yaml")
        await one.stock.add(service(tmp_path, "other"))
    # From now on it waits in the registry: the node announces one topic, which another has.
    async with nodes(tmp_path, engine, 1, topics_max=1) as (one,):
        assert [each.name for each in one.executor.services()] == ["other"]
        served = one.executor.callee("price")
        assert served is not None and served.spec.version == "1.4.0"
        assert one.executor.callee("price") is served
        await one.stock.add(services / "trip" / "service.yaml")
        engine.trip(1)
        await until(lambda: len(engine.outcomes) == 1)
        assert isinstance(engine.outcomes[0], Completed)
        await one.stock.remove("price", None)
        assert one.executor.callee("price") is None


async def test_a_keyed_service_is_not_called_beside_its_work(tmp_path: Path) -> None:
    file = service(tmp_path, profile="dense", dense={"key": "/variables/room"})
    async with nodes(tmp_path, Engine(), 1, topics_max=1) as (one,):
        await one.stock.add(file)
        await one.stock.add(service(tmp_path, "other"))
    async with nodes(tmp_path, Engine(), 1, topics_max=1) as (one,):
        assert one.state("rate", "1.0.0") == "waiting" and one.executor.callee("rate") is None


async def test_status_shows_calls_and_how_far_a_job_is(
    services: Path, tmp_path: Path, embedded_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two nodes as they are started; the one that works the job is not the one that claims it."""
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setattr(supervisor, "FINISH_MS", 0)  # nobody waits for the hour's end
    slow = service(tmp_path, "price", "1.2.0", limits={"time": "1h"}, topics=[])
    slow.with_name("worker.wasm").write_bytes(assemble("any", imports=POLL, handle=SLEEPS))
    keys = f"mesh: {{key_file: {tmp_path / 'mesh.key'}}}\n"
    common = f"listen: 127.0.0.1:0\ndiscovery: false\n{keys}"
    engines = f'engines: [{{name: small, kind: camunda7, url: "{embedded_url}"}}]\n'
    assert cli.main(["key", "new", str(tmp_path / "mesh.key")]) == 0
    engine = open_engine(EngineConfig("small", "camunda7", embedded_url))
    assert await engine.deploy({"trip.bpmn": BPMN.encode()}) == ["Trip"]
    claiming = f"name: claims\ndata_dir: {tmp_path / 'claims'}\nservices: []\n{engines}"
    (tmp_path / "one.yaml").write_text(common + claiming)
    async with open_node(load(Namespace(config=tmp_path / "one.yaml"))) as claims:
        working = (
            f"name: works\ndata_dir: {tmp_path / 'works'}\n"
            f"services: [{services / 'trip'}, {slow.parent}]\n"
            f"grants: {{trip: {{call: [price]}}}}\n"
            f'join: ["{claims.mesh.address[0]}:{claims.mesh.address[1]}"]\n'
        )
        (tmp_path / "two.yaml").write_text(common + working)
        async with open_node(load(Namespace(config=tmp_path / "two.yaml"))) as works:
            await engine.start("Trip", variables=Variables({"nights": 2}))
            seen: dict[str, Any] = {}

            def is_told() -> bool:
                seen["leases"] = claims.working.leasing.status()["leases"]
                seen["claims"] = "\n".join(lines(claims.status()))
                seen["works"] = "\n".join(lines(works.status()))
                seen["jobs"] = works.status()["jobs"]
                told = [one["done"] is not None for one in seen["leases"]]
                return told == [True] and len(seen["jobs"]) == 2

            await until(is_told)
            (lease,) = seen["leases"]
            assert (lease["done"], lease["doing"]) == (0.0, "asks for night 1")
            job, call = sorted(seen["jobs"], key=lambda one: len(one["job"]))
            assert (job["topic"], job["called_by"]) == ("price-trip", None)
            assert job["doing"] == "asks for night 1"
            assert (call["topic"], call["done"], call["called_by"]) == ("price", None, "trip")
            assert call["job"].startswith(f"{job['job']}/") and call["engine"] == "small"
            assert re.search(r"price-trip +0% +asks for night 1", seen["works"])
            assert re.search(r"calls of services: \d made here, 1 of them open", seen["works"])
            assert re.search(r"price-trip .* held +works +0%", seen["claims"])
    await engine.aclose()
