"""A service with a range of instances follows the mesh's demand, and the node's slots follow it."""

from pathlib import Path

import pytest
import trio
from tests.node.source_engine import SourceEngine
from tests.patience import until

from gossamer_mesh.drivers import MeshConfig, open_mesh
from gossamer_mesh.identity import Identity
from gossamer_mesh.keyring import Keyring
from gossamer_mesh.leases import demand
from gossamer_mesh.leases.demand import Instances
from gossamer_node.jobs import Completed, Job, Outcome
from gossamer_node.schema.source import Invalid
from gossamer_node.service.load import load
from gossamer_node.service.spec import InstanceRange, ServiceSpec, Topic
from gossamer_node.wasm import JobContext
from gossamer_node.work.executing import Executor
from gossamer_node.work.leasing import Leasing
from gossamer_node.work.signals import Signal


class Echo:
    """A worker that is done in a moment; it knows how many ran at once."""

    def __init__(self) -> None:
        self.running = self.most = 0

    async def run(self, job: Job, *, deadline_ms: int, context: JobContext) -> Outcome:
        self.running += 1
        self.most = max(self.most, self.running)
        await trio.sleep(0.02)  # the work
        self.running -= 1
        return Completed()


def spec(name: str, *engines: str, instances: InstanceRange | None = None) -> ServiceSpec:
    topics = (Topic(f"of-{name}", engines=engines or None),)
    return ServiceSpec(name=name, version="1", path=Path(), topics=topics, instances=instances)


async def test_a_service_follows_its_own_engines_and_the_slots_are_their_sum() -> None:
    ranged = spec("ranged", "x", instances=InstanceRange(2, 16))
    fixed = spec("fixed")
    executor = Executor([(ranged, Echo()), (fixed, Echo())])
    assert executor.slots(32) == 2 + 8
    busy, idle = Signal(40, 10), Signal(0, 10)
    assert not executor.follow({"y": busy}, 10_000)  # not an engine of it
    assert executor.follow({"x": busy, "y": idle}, 20_000)
    assert executor.instances(ranged) == 4 and executor.instances(fixed) == 8
    now_ms = 20_000
    for _ in range(5):
        now_ms += Instances.UP_MS
        executor.follow({"x": busy}, now_ms)
    assert executor.instances(ranged) == 16 and executor.slots(32) == 24
    assert executor.slots(12) == 12  # the node's own bound
    now_ms += Instances.DOWN_MS
    assert executor.follow({"x": idle}, now_ms) and executor.instances(ranged) == 14
    assert Executor([(fixed, Echo())]).slots(32) == 32


def test_a_range_is_read_and_one_that_is_upside_down_refused(tmp_path: Path) -> None:
    path = tmp_path / "service.yaml"
    text = "name: s\nversion: 1.0.0\ntopics: [{name: t}]\ninstances: "
    path.write_text(text + "{min: 2, max: 9}")
    assert load(path).instances == InstanceRange(2, 9)
    path.write_text(text + "{min: 20}")
    with pytest.raises(Invalid, match="exchange them"):
        load(path)


async def test_a_node_scales_itself_by_what_its_mesh_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demand, "TOLD_MS_MIN", 500)
    monkeypatch.setattr(Instances, "UP_MS", 1_000)
    engine, worker = SourceEngine(), Echo()
    executor = Executor([(spec("s", instances=InstanceRange(1, 8)), worker)])
    async with (
        open_mesh(MeshConfig(identity=Identity.generate(), keyring=Keyring((bytes(32),)))) as mesh,
        trio.open_nursery() as nursery,
    ):
        leasing = Leasing(mesh, {engine.name: engine}, executor, slots=32, claims=True)
        await nursery.start(leasing.run)
        engine.add("of-s", 5)

        def is_fed_and_busy() -> bool:
            engine.add("of-s", max(0, 200 - engine.waiting()))
            return worker.most >= 8

        await until(is_fed_and_busy)
        assert executor.slots(32) == 8

        def wants_more() -> bool:
            told = leasing.status()["demand"]
            assert is_fed_and_busy() and isinstance(told, list)
            return [one["desired"] > one["capacity"] > 0 for one in told] == [True]

        await until(wants_more)
        nursery.cancel_scope.cancel()
