"""The hotel through `/engine-rest`: one worker of Camunda 7 works what lives in either Camunda.

The worker is Gossamer's adapter of Camunda 7, pointed at the gateway as at any engine; it knows
nothing of Camunda 8. How each reservation ended, the engines tell, and what was done for it the
microservices' databases.
"""

import math
import secrets
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import trio
from tests.gateway.gate import open_gate
from tests.integration.test_hotel_on_engines import (
    load_workers,
    run_on_camunda8,
    work_group,
)
from tests.patience import patience, seen, until

from gossamer_gateway.desk import ENGINE_HEADER
from gossamer_hotel import PROCESS_ID, TOPICS, bpmn_files
from gossamer_hotel.effects import Effects, read_effects
from gossamer_hotel.microservices import serve_microservices
from gossamer_hotel.reservations import Ending, Reservation, make_reservations
from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.factory import open_engine
from gossamer_node.engines.port import Engine
from gossamer_node.jobs import Job
from gossamer_node.wasm import WasmHost

RESERVATIONS = 15
END_S = 90


async def test_a_worker_of_camunda_7_works_the_hotel_in_both_at_once(
    camunda7_url: str, zeebe_url: str, tmp_path: Path
) -> None:
    seven = EngineConfig("old", "camunda7", camunda7_url)
    eight = EngineConfig("new", "camunda8", zeebe_url)
    old, new = open_engine(seven), open_engine(eight)
    await old.deploy(bpmn_files("camunda7"))
    await new.deploy(bpmn_files("camunda8"))
    made = make_reservations(RESERVATIONS, secrets.randbelow(10**6))
    in_old, in_new, started = made[:5], made[5:10], made[10:]
    async with (
        open_gate(seven, eight) as gate,
        trio.open_nursery() as nursery,
        WasmHost(tmp_path / "modules") as host,
    ):
        origins = await nursery.start(partial(serve_microservices, tmp_path))
        workers = await load_workers(host, origins)
        client = open_engine(EngineConfig("gate", "camunda7", f"{gate.url}/engine-rest"))
        send, settled = trio.open_memory_channel[Job](math.inf)
        nursery.start_soon(work_group, client, TOPICS, workers, send)
        with patience(END_S):
            for one in started:
                answer = await gate.http.post(
                    f"/engine-rest/process-definition/key/{PROCESS_ID}/start",
                    json={
                        "businessKey": one.reservation_id,
                        "variables": {
                            name: {"value": value} for name, value in one.variables.values.items()
                        },
                    },
                    headers={ENGINE_HEADER: "new"},
                )
                assert answer.status_code == 200, answer.text
                assert answer.json()["id"].startswith("676f7373-")
            async with trio.open_nursery() as both:
                both.start_soon(run_in_old, client, in_old)
                both.start_soon(run_on_camunda8, new, in_new, settled)
            booked = {one.reservation_id for one in started if one.ending is Ending.CONFIRMED}
            await until(lambda: booked <= booked_in(tmp_path))
        effects = read_effects(tmp_path)
        for one in made:
            done = effects.get(one.reservation_id, Effects())
            times = int(one.ending is Ending.CONFIRMED)
            assert (done.blocked_rooms, done.bookings, done.twice) == (times, times, False), one
        nursery.cancel_scope.cancel()
    for engine in (old, new, client):
        await engine.aclose()


async def run_in_old(engine: Engine, made: Sequence[Reservation]) -> None:
    """Starts these in Camunda 7 and waits for their ends, both through the gateway."""
    for one in made:
        await engine.start(PROCESS_ID, variables=one.variables, business_key=one.reservation_id)
    wanted = {one.reservation_id: (one.ending.end_event_id,) for one in made}

    async def ended() -> dict[str | None, tuple[str, ...] | None] | None:
        found = await engine.list_instances(PROCESS_ID)
        ours = [one for one in found if one.business_key in wanted]
        ends = {one.business_key: one.end_element_ids for one in ours if one.state == "completed"}
        return ends if len(ends) == len(wanted) else None

    assert await seen(ended, END_S, 0.2) == wanted


def booked_in(folder: Path) -> set[str]:
    return {id for id, done in read_effects(folder).items() if done.bookings}
