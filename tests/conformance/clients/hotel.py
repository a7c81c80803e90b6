"""The hotel's reservations for clients of others: started at an engine, judged at that engine.

Every run has a prefix, which the topics and the ids of the processes begin with, so that runs
beside each other, or beside other tests on the same engine, never take each other's jobs. What the
clients do is the same in all of them and needs no microservice: the type of the room, the guests
and the address say how a reservation ends.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import trio
from tests.conformance.clients.programs import Dialect, JobSeen
from tests.patience import seen

from gossamer_hotel import PROCESS_ID, TOPICS, bpmn_files
from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.factory import open_engine
from gossamer_node.engines.port import Engine, ProcessInstance
from gossamer_node.variables import Variables

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
    asked: dict[str, Any]
    ending: str
    end_event: str
    message: str | None
    topics: tuple[str, ...]


_USUAL = {
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

LAST_TOPIC = "create-booking"

_JOBS = Counter(topic for one in RESERVATIONS for topic in one.topics)
"""By topic, of all reservations."""


class Reception:
    """Starts reservations of one run at an engine, and tells how they ended."""

    def __init__(self, engine: Engine, prefix: str) -> None:
        self._engine = engine
        self._prefix = prefix
        self._process_id = prefix + PROCESS_ID
        self.instances: dict[str, Reservation] = {}
        """By key, where the engine tells keys of instances at their start."""

    async def deploy(self) -> None:
        """Deploys the hotel's processes under this run's names."""
        dialect = "camunda7" if self._engine.kind == "camunda7" else "camunda8"
        files = bpmn_files(dialect)
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
        asked = Variables({"reservation_id": self.id_of(one), **_USUAL, **one.asked})
        if self._engine.kind == "camunda7":
            left = await self._reserve7(one, asked)
        else:
            ended = await self._engine.start_and_wait(
                self._process_id, variables=asked, wait_ms=END_MS_MAX
            )
            assert ended is not None, f"{one.name} is not at its end"
            left = ended
        values: dict[str, Any] = dict(left.values)
        assert (values["status"], values.get("error_message")) == (one.ending, one.message)
        return values

    async def _reserve7(self, one: Reservation, asked: Variables) -> Variables:
        key = await self._engine.start(
            self._process_id, variables=asked, business_key=self.id_of(one)
        )

        async def ended() -> ProcessInstance | None:
            instances = await self._engine.list_instances(self._process_id)
            return next((i for i in instances if i.key == key and i.state != "active"), None)

        instance = await seen(ended, pause_s=_PAUSE_S)
        assert (instance.state, instance.end_element_ids) == ("completed", (one.end_event,))
        return await self._engine.read_variables(key)

    def id_of(self, one: Reservation) -> str:
        """The reservation's id."""
        return f"{one.name}-{self._prefix}"


async def run_hotel(place: Place, prefix: str) -> dict[str, dict[str, Any]]:
    """Starts all `RESERVATIONS` and sees each to its right end.

    Returns:
        Their variables at the end, by name.
    """
    engine = open_engine(place.engine)
    try:
        reception = Reception(engine, prefix)
        ended: dict[str, dict[str, Any]] = {}

        async def reserve(one: Reservation) -> None:
            ended[one.name] = await reception.reserve(one)

        async with trio.open_nursery() as nursery:
            for one in RESERVATIONS:
                nursery.start_soon(reserve, one)
        return ended
    finally:
        await engine.aclose()


async def deploy_hotel(place: Place, prefix: str) -> None:
    """Deploys the processes at the engine."""
    engine = open_engine(place.engine)
    try:
        await Reception(engine, prefix).deploy()
    finally:
        await engine.aclose()


def check_jobs(jobs: Sequence[JobSeen]) -> JobSeen:
    """Each job of each reservation was taken once; returns the last one of `room`."""
    assert Counter(job.topic for job in jobs) == _JOBS
    assert len({job.job for job in jobs}) == len(jobs)
    (last,) = (
        job
        for job in jobs
        if job.topic == LAST_TOPIC and job.variables["reservation_id"].startswith("room-")
    )
    return last
