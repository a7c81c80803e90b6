"""The hotel's reservations for clients of others: started at an engine, judged at that engine.

Every run has a prefix, which the topics and the ids of the processes begin with, so that runs
beside each other, or beside other tests on the same engine, never take each other's jobs. What the
clients do is the same in all of them and needs no microservice: the type of the room, the guests
and the address say how a reservation ends.
"""

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import trio
from tests.conformance.clients.programs import Client, Dialect, JobSeen
from tests.patience import seen

from gossamer_hotel import PROCESS_ID, TOPICS, bpmn_files
from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.factory import open_engine
from gossamer_node.engines.port import Engine, ProcessInstance
from gossamer_node.variables import JsonValue, Variables

END_MS_MAX = 60_000

_CALLED = "ClientCreationProcess"

_PAUSE_S = 0.1


@dataclass(frozen=True)
class Place:
    """Where a client works: what it is told, and the engine in which the processes live.

    Attributes:
        addresses: for each dialect that is spoken here, as `programs.Dialect` says.
        engine: asked directly, whatever stands between it and the client.
    """

    addresses: dict[Dialect, str]
    engine: EngineConfig


@dataclass(frozen=True)
class Reservation:
    """One to start, with what must become of it.

    Attributes:
        name: how its id begins.
        asked: variables that differ from `_USUAL`.
        ending: what the variable `status` says at the end.
        end_event: where the process ends.
        message: in the variable `error_message`, when a BPMN error led there.
        topics: the jobs on its way.
    """

    name: str
    asked: dict[str, JsonValue]
    ending: str
    end_event: str
    message: str | None
    topics: tuple[str, ...]


_USUAL: dict[str, JsonValue] = {
    "first_name": "Søren",
    "last_name": "Núñez",
    "email": "new@example.com",
    "phone": "+33 1 23 45 67 89",
    "room_type": "double",
    "check_in": "2030-01-07",
    "check_out": "2030-01-10",
    "guests": 2,
}

RESERVATIONS = (
    Reservation("room", {}, "confirmed", "End_Confirmed", None, TOPICS),
    Reservation(
        "known",
        {"email": "regular@example.com"},
        "confirmed",
        "End_Confirmed",
        None,
        tuple(topic for topic in TOPICS if topic != "create-client"),
    ),
    Reservation("closed", {"room_type": "penthouse"}, "rejected", "End_Rejected", None, TOPICS[:4]),
    Reservation(
        "taken",
        {"room_type": "suite"},
        "rejected",
        "End_Rejected",
        "the last suite went to somebody else meanwhile",
        TOPICS[:5],
    ),
    Reservation(
        "invalid", {"guests": 0}, "invalid", "End_Invalid", "guests must be 1 to 8", TOPICS[:1]
    ),
)
"""With a room, for a new client and for a known one; without a room, found out before and after
it was chosen; and one that is refused at once."""

_WRITTEN: dict[str, Any] = {
    "nights": 3,
    "price": 120.5,
    "discount": None,
    "room": {"floor": 3, "beds": ["queen", "sofa"], "view": None},
    "roomAvailable": True,
    "room_blocked": True,
    "room_id": "301",
    "blocked_until": datetime(2030, 1, 1, tzinfo=UTC),
    "guests": 2,
    "last_name": "Núñez",
}
"""Variables of `room` that handlers, or whoever started it, wrote before the last one ran."""

_TYPES = {
    "nights": "integer",
    "price": "double",
    "rate_code": "long",
    "discount": "null",
    "room": "json",
    "roomAvailable": "boolean",
    "blocked_until": "date",
    "last_name": "string",
}
"""Their types at a Camunda 7, in the words of clients that know types."""

_ASKED = {"search-client": 1, "create-client": 2}
"""How many variables of these topics the clients ask for; of the others, all."""

_JOBS = Counter(topic for one in RESERVATIONS for topic in one.topics)
"""By topic, of all reservations."""


class Reception:
    """Starts reservations of one run at an engine, and tells how they ended."""

    def __init__(self, engine: Engine, prefix: str) -> None:
        self._engine = engine
        self._prefix = prefix
        self._process_id = prefix + PROCESS_ID

    async def deploy(self) -> None:
        """Deploys the hotel's processes under this run's names."""
        files = bpmn_files("camunda7" if self._engine.kind == "camunda7" else "camunda8")
        await self._engine.deploy({n: self._renamed(text) for n, text in files.items()})

    def _renamed(self, text: bytes) -> bytes:
        for name in (PROCESS_ID, _CALLED, *TOPICS):
            text = text.replace(f'"{name}"'.encode(), f'"{self._prefix}{name}"'.encode())
        return text

    async def reserve(self, one: Reservation) -> dict[str, Any]:
        """Starts a reservation, waits for its end, and judges it; returns its variables.

        Raises:
            trio.TooSlowError: It hasn't ended.
        """
        number = f"{one.name}-{self._prefix}"
        asked = Variables({"reservation_id": number, **_USUAL, **one.asked})
        if self._engine.kind == "camunda7":
            left = await self._reserve7(one, number, asked)
        else:
            ended = await self._engine.start_and_wait(
                self._process_id, variables=asked, wait_ms=END_MS_MAX
            )
            assert ended is not None, f"{one.name} is not at its end"
            left = ended
        values: dict[str, Any] = dict(left.values)
        assert (values["status"], values.get("error_message")) == (one.ending, one.message)
        return values

    async def _reserve7(self, one: Reservation, number: str, asked: Variables) -> Variables:
        key = await self._engine.start(self._process_id, variables=asked, business_key=number)

        async def ended() -> ProcessInstance | None:
            instances = await self._engine.list_instances(self._process_id)
            return next((i for i in instances if i.key == key and i.state != "active"), None)

        instance = await seen(ended, pause_s=_PAUSE_S)
        assert (instance.state, instance.end_element_ids) == ("completed", (one.end_event,))
        return await self._engine.read_variables(key)

    async def reserve_all(self) -> dict[str, dict[str, Any]]:
        """Starts all `RESERVATIONS` and sees each to its end; their variables then, by name."""
        ended: dict[str, dict[str, Any]] = {}

        async def reserve(one: Reservation) -> None:
            ended[one.name] = await self.reserve(one)

        async with trio.open_nursery() as nursery:
            for one in RESERVATIONS:
                nursery.start_soon(reserve, one)
        return ended


@asynccontextmanager
async def reception_at(place: Place, prefix: str) -> AsyncIterator[Reception]:
    """Where reservations are made, with the processes deployed."""
    engine = open_engine(place.engine)
    try:
        await engine.probe()  # from here on it is asked over gRPC, where it has that
        reception = Reception(engine, prefix)
        await reception.deploy()
        yield reception
    finally:
        await engine.aclose()


def check_jobs(client: Client, place: Place, jobs: Sequence[JobSeen]) -> None:
    """Each job of each reservation was taken once, in the client's own terms, and its last
    handler saw what the ones before it had written."""
    assert Counter(job.topic for job in jobs) == _JOBS
    assert len({job.job for job in jobs}) == len(jobs)
    if client.dialect != "7":  # ids are keys there, of 64 bits with a sign
        assert all(0 < int(number) < 2**63 for job in jobs for number in (job.job, job.instance))
    if client.asks:
        for job in jobs:
            assert len(job.variables) == _ASKED.get(job.topic, len(job.variables)), job
    (last,) = (
        job
        for job in jobs
        if job.topic == TOPICS[-1] and job.variables["reservation_id"].startswith("room-")
    )
    seen_last = last.variables | {"blocked_until": instant(last.variables["blocked_until"])}
    written = _WRITTEN | {"rate_code": client.rate_code}
    assert {name: seen_last[name] for name in written} == written
    assert {type(seen_last[name]) for name in ("nights", "rate_code")} == {int}
    if place.engine.kind == "camunda7" and last.types:
        assert {name: last.types[name] for name in _TYPES} == _TYPES


def check_ended(client: Client, ended: Mapping[str, Mapping[str, Any]]) -> None:
    """What the handlers wrote is what the engine has."""
    room = ended["room"]
    written = _WRITTEN | {"rate_code": client.rate_code, "total": 361.5}
    values = {name: room[name] for name in written}
    values |= {"blocked_until": instant(room["blocked_until"]), "rate_code": int(room["rate_code"])}
    assert values == written
    assert room["booking_id"] == f"B-{room['reservation_id']}"
    assert room["client_id"] == f"C-{room['reservation_id']}"
    assert ended["known"]["client_id"] == "C-regular"


def instant(text: str) -> datetime:
    """The instant that a text in one of ISO 8601's forms says."""
    return datetime.fromisoformat(text)
