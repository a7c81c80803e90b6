"""The hotel on real engines: each reservation reaches its end event, with each effect once.

Engine, adapters, WASM host, workers and microservices are the real ones; only the mesh between
claimer and holder is left out: one loop for each claim group activates, works and settles.
"""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
import trio
from tests.patience import PATIENCE_S, patience

from gossamer_hotel import ORIGINS, PROCESS_ID, TOPICS, bpmn_files, service_files
from gossamer_hotel.effects import Effects, read_effects
from gossamer_hotel.microservices import serve_microservices
from gossamer_hotel.reservations import Ending, Reservation, make_reservations
from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.factory import open_engine
from gossamer_node.engines.port import Effect, Engine, TopicRequest
from gossamer_node.jobs import BpmnError, Completed, Job
from gossamer_node.service import load
from gossamer_node.service.grants import Grants
from gossamer_node.wasm import Detached, WasmHost, Worker

WAIT_MS = 1_000
JOB_MS_MAX = 60_000
LOCK_MS = 300_000
"""However busy the machine is, no job comes twice."""
RESERVATIONS = 9


async def load_workers(host: WasmHost, origins: dict[str, str]) -> dict[str, Worker]:
    grants = Grants(origins={name: origins[name] for name in ORIGINS})
    workers: dict[str, Worker] = {}
    for spec in map(load.load, service_files()):
        worker = await host.load(spec, grants.bind(spec)[0])
        workers |= dict.fromkeys((topic.name for topic in spec.topics), worker)
    return workers


async def work_group(
    engine: Engine,
    topics: Sequence[str],
    workers: dict[str, Worker],
    settled: trio.MemorySendChannel[Job],
) -> None:
    requests = [TopicRequest(name, lock_ms=LOCK_MS) for name in topics]
    while True:
        jobs = await engine.activate(requests, jobs_max=8, wait_ms=WAIT_MS, worker_id="hotel")
        for job in jobs:
            worker = workers[job.ref.topic]
            outcome = await worker.run(job, deadline_ms=JOB_MS_MAX, context=Detached())
            if isinstance(outcome, BpmnError):
                settlement = await engine.throw_error(job.ref, outcome)
            else:
                assert isinstance(outcome, Completed), outcome
                settlement = await engine.complete(job.ref, outcome)
            assert settlement.effect is Effect.APPLIED, settlement
            await settled.send(job)


async def run_on_camunda7(
    engine: Engine, made: Sequence[Reservation], settled: trio.MemoryReceiveChannel[Job]
) -> None:
    for one in made:
        await engine.start(PROCESS_ID, variables=one.variables, business_key=one.reservation_id)
    ended: dict[str | None, tuple[str, ...] | None] = {}
    while len(ended) < len(made):
        await settled.receive()
        instances = await engine.list_instances(PROCESS_ID)
        ours = [one for one in instances if (one.business_key or "").startswith("R-7-")]
        ended = {one.business_key: one.end_element_ids for one in ours if one.state == "completed"}
    assert ended == {one.reservation_id: (one.ending.end_event_id,) for one in made}


async def run_on_camunda8(
    engine: Engine, made: Sequence[Reservation], settled: trio.MemoryReceiveChannel[Job]
) -> None:
    async def run(one: Reservation) -> None:
        variables = await engine.start_and_wait(
            PROCESS_ID, variables=one.variables, wait_ms=round(PATIENCE_S * 1_000)
        )
        assert variables is not None
        assert variables.values["status"] == one.ending.value

    async with trio.open_nursery() as nursery:
        for one in made:
            nursery.start_soon(run, one)


async def reserve(engine: Engine, data_dir: Path, seed: int) -> None:
    seven = engine.kind == "camunda7"
    groups = [TOPICS] if engine.topics_per_activation_max is None else [(one,) for one in TOPICS]
    made = make_reservations(RESERVATIONS, seed)
    async with trio.open_nursery() as nursery, WasmHost(data_dir / "modules") as host:
        origins = await nursery.start(partial(serve_microservices, data_dir))
        workers = await load_workers(host, origins)
        await engine.deploy(bpmn_files("camunda7" if seven else "camunda8"))
        send, settled = trio.open_memory_channel[Job](math.inf)
        for topics in groups:
            nursery.start_soon(work_group, engine, topics, workers, send)
        await (run_on_camunda7 if seven else run_on_camunda8)(engine, made, settled)
        nursery.cancel_scope.cancel()
    effects = read_effects(data_dir)
    for one in made:
        done = effects.get(one.reservation_id, Effects())
        booked = int(one.ending is Ending.CONFIRMED)
        assert (done.blocked_rooms, done.bookings, done.twice) == (booked, booked, False)


@pytest.mark.camunda7
async def test_the_hotel_on_camunda_7(camunda7_url: str, tmp_path: Path) -> None:
    engine = open_engine(EngineConfig("seven", "camunda7", camunda7_url))
    try:
        with patience():
            await reserve(engine, tmp_path, 7)
    finally:
        await engine.aclose()


@pytest.mark.zeebe
async def test_the_hotel_on_camunda_8(zeebe_url: str, tmp_path: Path) -> None:
    engine = open_engine(EngineConfig("eight", "camunda8", zeebe_url))
    try:
        with patience():
            await reserve(engine, tmp_path, 8)
    finally:
        await engine.aclose()
