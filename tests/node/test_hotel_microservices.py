"""The hotel's microservices: their answers, and that a repeated key has no second effect."""

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio
from tests.patience import PATIENCE_S

from gossamer_hotel.effects import Effects, read_effects, read_repeats
from gossamer_hotel.microservices import SERVICES, main, serve_microservices
from gossamer_hotel.rooms import ROOMS
from gossamer_node.errors import InputError

STAY = {"check_in": "2030-03-01", "check_out": "2030-03-03"}
BOOKING = {"reservation_id": "R-1", "client_id": "C-1", "room_id": "101", **STAY}
BLOCK = {"reservation_id": "R-1", "room_type": "suite", "room_id": ROOMS["suite"][0], **STAY}
CLIENT = {
    "reservation_id": "R-1",
    "first_name": "Ada",
    "last_name": "Lovelace",
    "email": "ada@example.com",
    "phone": "",
}


class Hotel:
    """A client of the running services."""

    def __init__(self, origins: dict[str, str], http: httpx.AsyncClient) -> None:
        self.origins = origins
        self._http = http

    async def get(self, service: str, path: str, **query: str) -> httpx.Response:
        return await self._http.get(self.origins[service] + path, params=query)

    async def post(
        self, service: str, path: str, body: object, key: str | None = None
    ) -> httpx.Response:
        headers = {} if key is None else {"idempotency-key": key}
        return await self._http.post(self.origins[service] + path, json=body, headers=headers)


@asynccontextmanager
async def hotel(data_dir: Path) -> AsyncIterator[Hotel]:
    async with trio.open_nursery() as nursery:
        origins = await nursery.start(partial(serve_microservices, data_dir))
        async with httpx.AsyncClient(timeout=PATIENCE_S) as http:
            yield Hotel(origins, http)
        nursery.cancel_scope.cancel()


async def test_a_repeated_key_gets_the_first_answer_and_no_second_effect(tmp_path: Path) -> None:
    async with hotel(tmp_path) as services:
        first = await services.post("booking", "/api/booking/create", BOOKING, "job-1")
        again = await services.post("booking", "/api/booking/create", BOOKING, "job-1")
        assert first.status_code == again.status_code == 201
        assert first.json() == again.json()
        assert first.json()["status"] == "confirmed"
        assert read_effects(tmp_path) == {"R-1": Effects(bookings=1)}
        assert read_repeats(tmp_path) == 1


async def test_another_key_for_the_same_reservation_shows_as_a_double_effect(
    tmp_path: Path,
) -> None:
    async with hotel(tmp_path) as services:
        for key in ("job-1", "job-2"):
            await services.post("booking", "/api/booking/create", BOOKING, key)
        assert read_effects(tmp_path)["R-1"].twice


async def test_a_key_is_for_one_request_only(tmp_path: Path) -> None:
    async with hotel(tmp_path) as services:
        await services.post("booking", "/api/booking/create", BOOKING, "job-1")
        other = await services.post(
            "booking", "/api/booking/create", BOOKING | {"room_id": "102"}, "job-1"
        )
        assert other.status_code == 422
        assert "job-1" in other.json()["error"]


@pytest.mark.parametrize(
    ("body", "key", "status", "part"),
    [
        (BOOKING, None, 400, "Idempotency-Key"),
        (BOOKING, "k" * 201, 400, "Idempotency-Key"),
        ([], "k", 400, "JSON object"),
        ({}, "k", 400, "reservation_id is missing"),
        (BOOKING | {"check_in": "soon"}, "k", 400, "'soon' is no date"),
        (BOOKING | {"check_out": "2030-03-01"}, "k", 400, "1 to 30 nights"),
    ],
)
async def test_a_request_that_is_wrong_is_refused_and_changes_nothing(
    tmp_path: Path, body: object, key: str | None, status: int, part: str
) -> None:
    async with hotel(tmp_path) as services:
        answer = await services.post("booking", "/api/booking/create", body, key)
        assert answer.status_code == status
        assert part in answer.json()["error"]
        assert read_effects(tmp_path) == {}


async def test_a_taken_room_is_replaced_until_its_type_has_none(tmp_path: Path) -> None:
    async with hotel(tmp_path) as services:
        blocked = []
        for number in range(len(ROOMS["suite"])):
            answer = await services.post("room", "/api/room/block", BLOCK, f"job-{number}")
            blocked.append(answer.json()["room_id"])
        assert sorted(blocked) == sorted(ROOMS["suite"])
        full = await services.post("room", "/api/room/block", BLOCK, "one too many")
        assert full.status_code == 409
        wanted = {"room_type": "suite", **STAY}
        none = await services.get("room", "/api/room/availability", **wanted)
        assert none.json() == {"available": False, "room_id": None}
        later = await services.get(
            "room", "/api/room/availability", **wanted | {"check_in": "2030-03-02"}
        )
        assert not later.json()["available"]
        next_day = {"check_in": "2030-03-03", "check_out": "2030-03-04"}
        free = await services.get("room", "/api/room/availability", **wanted | next_day)
        assert free.json()["available"]


async def test_a_client_is_found_by_email_and_created_once(tmp_path: Path) -> None:
    async with hotel(tmp_path) as services:
        unknown = await services.get("client", "/api/client/search", email="ada@example.com")
        assert unknown.json() == {"found": False, "client_id": None}
        made = await services.post("client", "/api/client/create", CLIENT, "job-1")
        other = await services.post(
            "client", "/api/client/create", CLIENT | {"reservation_id": "R-2"}, "job-2"
        )
        assert (made.status_code, other.status_code) == (201, 200)
        known = await services.get("client", "/api/client/search", email="ada@example.com")
        assert known.json() == {"found": True, "client_id": made.json()["client_id"]}
        assert other.json() == made.json()
        assert read_effects(tmp_path) == {"R-1": Effects(clients=1)}


async def test_the_restaurant_seats_no_more_than_it_can(tmp_path: Path) -> None:
    async with hotel(tmp_path) as services:
        table = {"reservation_id": "R-1", "day": "2030-03-01", "guests": 39}
        first = await services.post("restaurant", "/api/restaurant/reserve", table, "1")
        assert first.status_code == 201
        full = await services.post("restaurant", "/api/restaurant/reserve", table, "2")
        assert full.status_code == 409
        nobody = table | {"guests": 0}
        none = await services.post("restaurant", "/api/restaurant/reserve", nobody, "3")
        assert none.status_code == 400


async def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    async with hotel(tmp_path) as services:
        first = await services.post("booking", "/api/booking/create", BOOKING, "job-1")
    async with hotel(tmp_path) as services:
        again = await services.post("booking", "/api/booking/create", BOOKING, "job-1")
    assert again.json() == first.json()
    assert read_effects(tmp_path) == {"R-1": Effects(bookings=1)}


async def test_a_port_in_use_or_a_bad_directory_is_one_sentence(tmp_path: Path) -> None:
    async with hotel(tmp_path) as services:
        taken = int(services.origins["room"].rpartition(":")[2])
        with pytest.raises(InputError, match=f"room service cannot listen on port {taken}"):
            await serve_microservices(tmp_path / "other", ports={"room": taken})
    (tmp_path / "file").write_text("")
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "room.sqlite").write_text("no database, and long enough to be read as one")
    for unusable in ("file", "junk"):
        with pytest.raises(InputError, match="choose another directory"):
            await serve_microservices(tmp_path / unusable)


async def test_every_service_gets_a_port_of_its_own(tmp_path: Path) -> None:
    async with hotel(tmp_path) as services:
        assert list(services.origins) == list(SERVICES)
        assert len(set(services.origins.values())) == len(SERVICES)


@pytest.mark.processes
async def test_the_services_run_as_a_program_until_they_are_told_to_stop(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "gossamer_hotel.microservices", "--data", str(tmp_path)]
    async with trio.open_nursery() as nursery:
        process = await nursery.start(partial(trio.run_process, program, stdout=subprocess.PIPE))
        assert process.stdout is not None
        said = b""
        while said.count(b"\n") < len(SERVICES):
            more = await process.stdout.receive_some()
            assert more, said
            said += more
        origins = dict(line.split(": ") for line in said.decode().splitlines())
        async with httpx.AsyncClient(timeout=PATIENCE_S) as http:
            services = Hotel(origins, http)
            none = await services.get("client", "/api/client/search", email="a@example.com")
            assert none.json() == {"found": False, "client_id": None}
        process.terminate()


def test_what_is_wrong_with_a_port_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for option in ("bar=1", "room=x", "room=65536"):
        assert main(["--data", str(tmp_path), "--port", option]) == 2
        assert capsys.readouterr().err.startswith(f"gossamer_hotel: --port {option} is not")
