"""The hotel's workers in the real host, against the real microservices."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trio

from gossamer_hotel import ORIGINS, TOPICS, service_files
from gossamer_hotel.effects import Effects, read_effects, read_repeats
from gossamer_hotel.microservices import serve_microservices
from gossamer_hotel.reservations import Ending, make_reservations
from gossamer_hotel.rooms import CLOSED_ROOM_TYPE, ROOMS
from gossamer_node.jobs import BpmnError, Completed, Failed, Job, JobRef, Outcome
from gossamer_node.service import load
from gossamer_node.service.grants import Grants
from gossamer_node.variables import JsonValue, Variables
from gossamer_node.wasm import Detached, WasmHost, Worker

GOOD: dict[str, JsonValue] = {
    "reservation_id": "R-1",
    "first_name": "Ada",
    "last_name": "Lovelace",
    "email": "ada@example.com",
    "phone": "+44 1",
    "room_type": "suite",
    "check_in": "2032-02-28",
    "check_out": "2032-03-01",
    "guests": 2,
}


class Hotel:
    """The workers of the hotel, by topic."""

    def __init__(self, workers: dict[str, Worker], data_dir: Path) -> None:
        self._workers = workers
        self.data_dir = data_dir

    async def work(self, topic: str, key: str, variables: dict[str, JsonValue]) -> Outcome:
        job = Job(
            ref=JobRef(engine="e", key=key, topic=topic, worker_id="w"),
            variables=Variables(variables),
            lock_ms=30_000,
        )
        return await self._workers[topic].run(job, deadline_ms=10_000, context=Detached())

    async def reserve(self, variables: dict[str, JsonValue]) -> JsonValue:
        """Walks the process by hand. Returns the variable `status` at its end."""
        known = dict(variables)
        for topic in TOPICS:
            if topic == "create-client" and known.get("clientFound"):
                continue
            outcome = await self.work(topic, f"{known['reservation_id']} {topic}", known)
            assert not isinstance(outcome, Failed), outcome
            known |= outcome.variables.values
            if isinstance(outcome, BpmnError) or known.get("roomAvailable") is False:
                break
        return known["status"]


@asynccontextmanager
async def hotel(data_dir: Path, *, granted: bool = True) -> AsyncIterator[Hotel]:
    async with trio.open_nursery() as nursery, WasmHost(data_dir / "modules", threads=2) as host:
        origins = await nursery.start(partial(serve_microservices, data_dir))
        grants = Grants(origins={name: origins[name] for name in ORIGINS} if granted else {})
        workers: dict[str, Worker] = {}
        for spec in map(load.load, service_files()):
            grant, refused = grants.bind(spec)
            assert bool(refused) is (bool(spec.capabilities.http_origins) and not granted)
            worker = await host.load(spec, grant)
            workers |= dict.fromkeys((topic.name for topic in spec.topics), worker)
        yield Hotel(workers, data_dir)
        nursery.cancel_scope.cancel()


def test_the_services_work_on_the_topics_of_the_processes() -> None:
    topics = [topic.name for path in service_files() for topic in load.load(path).topics]
    assert sorted(topics) == sorted(TOPICS)


async def test_each_reservation_ends_as_it_must_with_each_effect_once(tmp_path: Path) -> None:
    async with hotel(tmp_path) as services:
        reservations = make_reservations(25, 11)
        for reservation in reservations:
            variables = dict(reservation.variables.values)
            assert await services.reserve(variables) == reservation.ending.value, reservation
        effects = read_effects(tmp_path)
        for reservation in reservations:
            done = effects.get(reservation.reservation_id, Effects())
            booked = int(reservation.ending is Ending.CONFIRMED)
            assert (done.blocked_rooms, done.bookings) == (booked, booked)
            assert not done.twice
        assert sum(done.clients for done in effects.values()) > 0


async def test_a_job_that_runs_twice_has_one_effect(tmp_path: Path) -> None:
    async with hotel(tmp_path) as services:
        known = {**GOOD, "client_id": "C-1", "room_id": "301", "selected_room_id": "301"}
        for topic in ("create-client", "block-room", "create-booking"):
            first = await services.work(topic, "the same key", known)
            again = await services.work(topic, "the same key", known)
            assert isinstance(first, Completed)
            assert again == first
        assert read_effects(tmp_path) == {"R-1": Effects(1, 1, 1)}
        assert read_repeats(tmp_path) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"email": None}, "email is missing"),
        ({"email": "ada"}, "email is no address: ada"),
        ({"email": "@example.com"}, "email is no address: @example.com"),
        ({"email": "a@b@example.com"}, "email is no address: a@b@example.com"),
        ({"email": "a@.com"}, "email is no address: a@.com"),
        ({"email": "a@com."}, "email is no address: a@com."),
        ({"email": "a b@example.com"}, "email is no address: a b@example.com"),
        ({"email": "a@"}, "email is no address: a@"),
        ({"last_name": "  "}, "last_name is missing"),
        ({"first_name": 7}, "first_name is missing"),
        ({"guests": 0}, "guests must be 1 to 8"),
        ({"guests": 9}, "guests must be 1 to 8"),
        ({"guests": "2"}, "guests must be 1 to 8"),
        ({"check_in": "28.02.2032"}, "check_in is no date: 28.02.2032"),
        ({"check_in": "2031-02-29"}, "check_in is no date: 2031-02-29"),
        ({"check_in": "2100-02-29"}, "check_in is no date: 2100-02-29"),
        ({"check_out": "2032-13-01"}, "check_out is no date: 2032-13-01"),
        ({"check_out": "2032-02-28"}, "check_out must be after check_in"),
        ({"check_out": "2032-03-30"}, "a stay lasts at most 30 nights"),
    ],
)
def test_an_invalid_input_is_a_task_error(
    tmp_path: Path, change: dict[str, JsonValue], message: str
) -> None:
    with WasmHost(tmp_path, threads=1) as host:
        (path,) = (path for path in service_files() if path.parent.name == "hotel-input")
        worker = host.load_blocking(load.load(path), Grants().bind(load.load(path))[0])
        job = Job(
            ref=JobRef(engine="e", key="1", topic="validate-input", worker_id="w"),
            variables=Variables(GOOD),
            lock_ms=1,
        )
        good = worker.run_blocking(job, deadline_ms=5_000, context=Detached())
        assert good == Completed(Variables({"valid": True, "nights": 2}))
        wrong = replace(job, variables=Variables(GOOD | change))
        outcome = worker.run_blocking(wrong, deadline_ms=5_000, context=Detached())
    said: dict[str, JsonValue] = {"valid": False, "status": "invalid", "error_message": message}
    assert outcome == BpmnError("TASK_ERROR", message, Variables(said))


async def test_the_last_room_may_go_between_the_look_and_the_block(tmp_path: Path) -> None:
    async with hotel(tmp_path) as services:
        wanted = {**GOOD, "selected_room_id": ROOMS["suite"][0]}
        for number in range(len(ROOMS["suite"])):
            assert isinstance(await services.work("block-room", f"{number}", wanted), Completed)
        outcome = await services.work("block-room", "late", wanted)
        assert isinstance(outcome, BpmnError)
        assert outcome.code == "TASK_ERROR"
        assert outcome.variables.values["status"] == "rejected"


async def test_without_its_grants_or_services_a_worker_fails_with_a_sentence(
    tmp_path: Path,
) -> None:
    async with hotel(tmp_path, granted=False) as services:
        for topic in ("search-client", "check-room-availability", "create-booking"):
            outcome = await services.work(topic, "1", GOOD)
            assert isinstance(outcome, Failed)
            assert "configuration does not say where" in outcome.message
    async with hotel(tmp_path) as services:
        known = {**GOOD, "room_type": CLOSED_ROOM_TYPE, "selected_room_id": ""}
        outcome = await services.work("block-room", "1", known)
        assert isinstance(outcome, BpmnError)
        nobody = await services.work("create-booking", "2", {**GOOD, "client_id": None})
        assert isinstance(nobody, Failed)
        assert "it answered 400 client_id is missing" in nobody.message
