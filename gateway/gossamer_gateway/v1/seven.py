"""What runs on an engine of Camunda 7's dialect, asked over its REST.

The engine that comes with Gossamer knows a part of it, so what it answers 404 to is asked in
another way where there is one. Dates come as Camunda 7 writes them, `2026-01-31T12:00:00.000+0100`.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

import trio

from gossamer_gateway.errors import RequestError, UnknownDefinition
from gossamer_gateway.upstreams.upstream import Upstream
from gossamer_gateway.v1.shapes import (
    Diagram,
    Incident,
    Instance,
    Job,
    ProcessOnEngine,
    State,
    Tokens,
)

PROCESSES_MAX = 200
"""Of an engine that are shown; each costs it three counts."""

ASKING_MAX = 4
"""Questions for counts at the same time."""

TOKENS_MAX = 2_000
"""Activities that are read one by one, where the engine does not count them itself."""

_STATES: dict[str, State] = {
    "ACTIVE": "active",
    "SUSPENDED": "suspended",
    "COMPLETED": "completed",
    "EXTERNALLY_TERMINATED": "cancelled",
    "INTERNALLY_TERMINATED": "cancelled",
}

FILTERS = {
    "active": {"unfinished": "true"},
    "suspended": {"suspended": "true"},
    "completed": {"completed": "true"},
    "cancelled": {"externallyTerminated": "true"},
}
"""States that may be asked for, as the history of Camunda 7 knows them."""


class UnknownIncident(RequestError):
    """There is no such incident, or it is over."""


class Seven:
    """See `work.EngineWork`."""

    def __init__(self, engine: Upstream) -> None:
        self._engine = engine

    async def progress(self) -> Sequence[tuple[str, str | None, ProcessOnEngine]]:
        rows = await self._list(
            "/process-definition", latestVersion="true", maxResults=PROCESSES_MAX, sortBy="key",
            sortOrder="asc",
        )  # fmt: skip
        found: dict[str, ProcessOnEngine] = {}
        limit = trio.CapacityLimiter(ASKING_MAX)

        async def count(key: str, version: int | None) -> None:
            async with limit:
                live = await self._count("/process-instance/count", processDefinitionKey=key)
                total = await self._count(
                    "/history/process-instance/count", processDefinitionKey=key
                )
                stuck = await self._count(
                    "/process-instance/count", processDefinitionKey=key, withIncident="true"
                )
            done = None if total is None or live is None else max(0, total - live)
            found[key] = ProcessOnEngine(
                self._engine.name, version, live, total, done, stuck, "engine"
            )

        async with trio.open_nursery() as nursery:
            for row in rows:
                if isinstance(row.get("key"), str):
                    nursery.start_soon(count, row["key"], _whole(row.get("version")))
        names = {row["key"]: _text(row.get("name")) for row in rows if "key" in row}
        return [(key, names.get(key), found[key]) for key in sorted(found)]

    async def instances(
        self, process: str | None, state: str | None, limit: int
    ) -> Sequence[Instance]:
        query: dict[str, Any] = {"maxResults": limit, "sortBy": "startTime", "sortOrder": "desc"}
        if process is not None:
            query["processDefinitionKey"] = process
        query |= FILTERS.get(state or "", {})
        rows = await self._list("/history/process-instance", **query)
        return [
            Instance(
                id=str(row.get("id")),
                engine=self._engine.name,
                process=str(row.get("processDefinitionKey")),
                version=_whole(row.get("processDefinitionVersion")),
                business_key=_text(row.get("businessKey")),
                state=_STATES.get(str(row.get("state")), "unknown"),
                started_ms=_ms(row.get("startTime")),
                ended_ms=_ms(row.get("endTime")),
                incidents=None,
            )
            for row in rows
        ]

    async def jobs(self, topic: str | None, limit: int) -> Sequence[Job]:
        query: dict[str, str | int] = {"maxResults": limit}
        if topic is not None:
            query["topicName"] = topic
        return [self._job(row) for row in await self._list("/external-task", **query)]

    def _job(self, row: dict[str, Any]) -> Job:
        retries = row.get("retries")
        return Job(
            id=str(row.get("id")),
            engine=self._engine.name,
            topic=str(row.get("topicName")),
            process=_text(row.get("processDefinitionKey")),
            instance=_text(row.get("processInstanceId")),
            element=_text(row.get("activityId")),
            worker=_text(row.get("workerId")),
            locked_until_ms=_ms(row.get("lockExpirationTime")),
            retries=retries if isinstance(retries, int) else None,
            message=_text(row.get("errorMessage")),
        )

    async def incidents(self, limit: int) -> Sequence[Incident]:
        query = {"maxResults": limit, "sortBy": "incidentTimestamp", "sortOrder": "desc"}
        return [self._incident(row) for row in await self._list("/incident", **query)]

    def _incident(self, row: dict[str, Any]) -> Incident:
        definition = _text(row.get("processDefinitionId"))
        return Incident(
            id=str(row.get("id")),
            engine=self._engine.name,
            process=definition.split(":")[0] if definition else None,
            instance=_text(row.get("processInstanceId")),
            element=_text(row.get("activityId")),
            kind=str(row.get("incidentType")),
            message=_text(row.get("incidentMessage")),
            at_ms=_ms(row.get("incidentTimestamp")),
        )

    async def retry(self, incident: str) -> None:
        rows = await self._list("/incident", incidentId=incident)
        if not rows:
            raise UnknownIncident(f"{self._engine.name} has no open incident {incident}")
        kind, subject = rows[0].get("incidentType"), quote(str(rows[0].get("configuration")), "")
        paths = {
            "failedExternalTask": f"/external-task/{subject}/retries",
            "failedJob": f"/job/{subject}/retries",
        }
        if kind not in paths:
            raise UnknownIncident(
                f"an incident of type {kind} cannot be tried again from here; see to it in "
                f"{self._engine.name} itself"
            )
        answer = await self._engine.ask("PUT", paths[kind], {"retries": 1})
        if answer.status == 404:
            raise UnknownIncident(f"incident {incident} of {self._engine.name} is over")
        if answer.status >= 400:
            raise self._engine.error(answer, f"try incident {incident} again")

    async def diagram(self, process: str) -> Diagram:
        path = f"/process-definition/key/{quote(process, safe='')}"
        answer = await self._engine.ask("GET", path)
        if answer.status == 404:
            raise UnknownDefinition(f"{self._engine.name} has no process {process}")
        if answer.status >= 400:
            raise self._engine.error(answer, f"show process {process}")
        definition = answer.json_object()
        answer = await self._engine.ask("GET", f"{path}/xml")
        if answer.status >= 400:
            raise self._engine.error(answer, f"show the diagram of {process}")
        return Diagram(
            process,
            self._engine.name,
            _whole(definition.get("version")),
            str(answer.json_object().get("bpmn20Xml", "")),
            await self._tokens(process, str(definition.get("id"))),
        )

    async def _tokens(self, process: str, definition: str) -> list[Tokens] | None:
        answer = await self._engine.ask(
            "GET", f"/process-definition/key/{quote(process, safe='')}/statistics?incidents=true"
        )
        if answer.status == 200:
            return [
                Tokens(
                    str(row.get("id")),
                    _whole(row.get("instances")) or 0,
                    sum(_whole(one.get("incidentCount")) or 0 for one in _rows(row["incidents"])),
                )
                for row in _rows(_json(answer.body, answer.json))
                if "incidents" in row
            ]
        rows = await self._list(
            "/history/activity-instance", processDefinitionId=definition, unfinished="true",
            maxResults=TOKENS_MAX,
        )  # fmt: skip
        if len(rows) == TOKENS_MAX:
            return None  # there may be more: unknown is better than wrong
        stuck = await self._list("/incident", processDefinitionId=definition)
        counted = Counter(str(row.get("activityId")) for row in rows)
        incidents = Counter(str(row.get("activityId")) for row in stuck)
        return [Tokens(one, counted[one], incidents[one]) for one in sorted(counted)]

    async def _count(self, path: str, **query: Any) -> int | None:
        answer = await self._engine.ask("GET", f"{path}?{urlencode(query)}")
        return _whole(answer.json_object().get("count")) if answer.status == 200 else None

    async def _list(self, path: str, **query: Any) -> list[dict[str, Any]]:
        answer = await self._engine.ask("GET", f"{path}?{urlencode(query)}")
        if answer.status >= 400:
            raise self._engine.error(answer, f"list {path.strip('/')}")
        return _rows(_json(answer.body, answer.json))


def _json(body: bytes, read: Any) -> Any:
    try:
        return read() if body else None
    except ValueError:
        return None


def _rows(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _whole(value: Any) -> int | None:
    return value if type(value) is int else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _ms(value: Any) -> int | None:
    if not isinstance(value, str):
        return None
    try:
        return round(datetime.strptime(value, "%Y-%m-%dT%H:%M:%S.%f%z").timestamp() * 1_000)
    except ValueError:
        return None
