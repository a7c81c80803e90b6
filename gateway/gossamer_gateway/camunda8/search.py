"""Searches, as far as one engine can answer them: no part is told as if it were the whole.

A Camunda 8 answers its own (8.6 only with its exporter's database, newer ones always). An engine of
Camunda 7's answers for its instances, variables, incidents and jobs, with the filters that stand in
each function; any other filter is refused, and so is a search that names none of several engines.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from gossamer_gateway.bridge.jobs import DEFAULT_TENANT, RETRIES_FIRST
from gossamer_gateway.bridge.variables import to_8
from gossamer_gateway.camunda8 import seven
from gossamer_gateway.camunda8.fields import Fields, Json
from gossamer_gateway.camunda8.places import Place, Request, engine_named, place_of
from gossamer_gateway.camunda8.refusals import INVALID_ARGUMENT, NOT_FOUND, UNSUPPORTED, Refused
from gossamer_gateway.desk import ENGINE_HEADER, Desk

LIMIT_DEFAULT, LIMIT_MAX = 100, 1_000

KEYS = ("processInstanceKey", "processDefinitionKey", "incidentKey", "jobKey", "scopeKey")
"""Filters that name an engine."""


async def place_to_search(desk: Desk, request: Request) -> Place:
    named = engine_named(desk, request)
    if named is not None:
        return Place(named)
    filter = Fields(request.body.object("filter"))
    for name in KEYS:
        key = None if isinstance(filter.all.get(name), dict) else filter.key(name)
        if key is not None:
            return await place_of(desk, key, Refused(NOT_FOUND, f"There is no {name} {key}"))
    if len(desk.engines.all) == 1:
        return Place(desk.engines.all[0])
    names = ", ".join(one.name for one in desk.engines.all) or "none"
    raise Refused(
        UNSUPPORTED,
        f"This gateway has several engines ({names}) and searches one at a time: name it in the "
        f"header {ENGINE_HEADER}, or filter by a key",
    )


Write = Callable[[Mapping[str, Any], Mapping[str, int]], Json]


async def _search(
    desk: Desk,
    place: Place,
    request: Request,
    resource: str,
    filters: Mapping[str, str],
    ids: tuple[str, ...],
    write: Write,
    fixed: Mapping[str, str] | None = None,
) -> Json:
    """Rows of a list of Camunda 7's.

    Args:
        filters: Camunda 8's names and Camunda 7's.
        ids: the fields of a row that need a number.
    """
    query: dict[str, Any] = dict(fixed or {})
    filter = Fields(request.body.object("filter"))
    for name in filter.all:
        if name not in filters:
            raise Refused(INVALID_ARGUMENT, f"{place.engine.name} cannot filter by {name}")
        if name in KEYS:
            key = filter.key(name) or 0
            goal = await place_of(desk, key, Refused(NOT_FOUND, f"There is no {name} {key}"))
            if goal.engine is not place.engine:
                return _page([], 0)
            query[filters[name]] = goal.id
        elif filters[name]:
            query[filters[name]] = filter.text(name)
    page = Fields(request.body.object("page"))
    first, limit = page.number("from"), page.number("limit", LIMIT_DEFAULT)
    if first < 0 or not 0 < limit <= LIMIT_MAX:
        raise Refused(INVALID_ARGUMENT, f"The page's limit must be 1 to {LIMIT_MAX}")
    doing = f"search {resource}"
    paged = urlencode({**query, "firstResult": first, "maxResults": limit})
    listed = await seven.ask(
        place.engine, "GET", f"/{resource}?{paged}", command="SEARCH", doing=doing
    )
    counted = await seven.ask(
        place.engine, "GET", f"/{resource}/count?{urlencode(query)}", command="SEARCH", doing=doing
    )
    rows = seven.read(place.engine, listed, doing, lambda rows: [dict(row) for row in rows])
    total = seven.read(place.engine, counted, doing, lambda told: int(told["count"]))
    wanted = [str(row[name]) for row in rows for name in ids if row.get(name)]
    numbers = await seven.numbers(desk, place.engine, wanted)
    items = seven.read(place.engine, listed, doing, lambda _: [write(row, numbers) for row in rows])
    return _page(items, total)


def _page(items: list[Json], total: int) -> Json:
    return {"items": items, "page": {"totalItems": total, "hasMoreTotalItems": False}}


def _tenant(row: Mapping[str, Any]) -> str:
    return str(row.get("tenantId") or DEFAULT_TENANT)


_STATES = {"ACTIVE": "ACTIVE", "SUSPENDED": "ACTIVE", "COMPLETED": "COMPLETED"}


def _instance(row: Mapping[str, Any], numbers: Mapping[str, int]) -> Json:
    return {
        "processInstanceKey": numbers[str(row["id"])],
        "processDefinitionId": row["processDefinitionKey"],
        "processDefinitionKey": numbers[str(row["processDefinitionId"])],
        "processDefinitionVersion": row.get("processDefinitionVersion"),
        "startDate": row["startTime"],
        "endDate": row.get("endTime"),
        "state": _STATES.get(str(row["state"]), "CANCELED"),
        "tenantId": _tenant(row),
    }


async def instances(desk: Desk, place: Place, request: Request) -> Json:
    filter = Fields(request.body.object("filter"))
    state, fixed = filter.text("state"), {}
    if state:
        flag = {
            "ACTIVE": "unfinished",
            "COMPLETED": "completed",
            "CANCELED": "externallyTerminated",
        }
        if state not in flag:
            raise Refused(INVALID_ARGUMENT, f"There is no state {state[:100]}")
        fixed[flag[state]] = "true"
    return await _search(
        desk, place, request, "history/process-instance",
        {"processInstanceKey": "processInstanceId", "processDefinitionKey": "processDefinitionId",
         "processDefinitionId": "processDefinitionKey", "state": ""},
        ("id", "processDefinitionId"), _instance, fixed,
    )  # fmt: skip


def _variable(row: Mapping[str, Any], numbers: Mapping[str, int]) -> Json:
    plain, _ = to_8({"value": {**row}})
    scope = str(row.get("activityInstanceId") or row["processInstanceId"])
    return {
        "variableKey": numbers[str(row["id"])],
        "name": row["name"],
        "value": json.dumps(plain["value"]),
        "isTruncated": False,
        "scopeKey": numbers[scope],
        "processInstanceKey": numbers[str(row["processInstanceId"])],
        "tenantId": _tenant(row),
    }


async def variables(desk: Desk, place: Place, request: Request) -> Json:
    return await _search(
        desk, place, request, "history/variable-instance",
        {"processInstanceKey": "processInstanceId", "name": "variableName",
         "scopeKey": "activityInstanceIdIn"},
        ("id", "processInstanceId", "activityInstanceId"), _variable,
        {"deserializeValues": "false"},
    )  # fmt: skip


def _incident(row: Mapping[str, Any], numbers: Mapping[str, int]) -> Json:
    is_task = row["incidentType"] == "failedExternalTask"
    told: Json = {
        "incidentKey": numbers[str(row["id"])],
        "processInstanceKey": numbers[str(row["processInstanceId"])],
        "processDefinitionKey": numbers[str(row["processDefinitionId"])],
        "errorType": "JOB_NO_RETRIES" if is_task else "UNKNOWN",
        "errorMessage": row.get("incidentMessage") or "",
        "elementId": row["activityId"],
        "state": "ACTIVE",
        "creationTime": row["incidentTimestamp"],
        "tenantId": _tenant(row),
    }
    if is_task:
        told["jobKey"] = numbers[str(row["configuration"])]
    return told


async def incidents(desk: Desk, place: Place, request: Request) -> Json:
    return await _search(
        desk, place, request, "incident",
        {"processInstanceKey": "processInstanceId", "processDefinitionKey": "processDefinitionId",
         "incidentKey": "incidentId", "elementId": "activityId"},
        ("id", "processInstanceId", "processDefinitionId", "configuration"), _incident,
    )  # fmt: skip


def _job(row: Mapping[str, Any], numbers: Mapping[str, int]) -> Json:
    retries = row.get("retries")
    return {
        "jobKey": numbers[str(row["id"])],
        "type": row["topicName"],
        "worker": row.get("workerId") or "",
        "state": "FAILED" if retries == 0 else "CREATED",
        "retries": RETRIES_FIRST if retries is None else retries,
        "deadline": row.get("lockExpirationTime"),
        "elementId": row["activityId"],
        "processDefinitionId": row["processDefinitionKey"],
        "processDefinitionKey": numbers[str(row["processDefinitionId"])],
        "processInstanceKey": numbers[str(row["processInstanceId"])],
        "tenantId": _tenant(row),
    }


async def jobs(desk: Desk, place: Place, request: Request) -> Json:
    return await _search(
        desk, place, request, "external-task",
        {"processInstanceKey": "processInstanceId", "processDefinitionKey": "processDefinitionId",
         "jobKey": "externalTaskId", "type": "topicName", "elementId": "activityId",
         "worker": "workerId"},
        ("id", "processInstanceId", "processDefinitionId"), _job,
    )  # fmt: skip


Searching = Callable[[Desk, Place, Request], Awaitable[Json]]

ALL: Mapping[str, Searching] = {
    "process-instances": instances,
    "variables": variables,
    "incidents": incidents,
    "jobs": jobs,
}
"""What engines of Camunda 7's can be searched for, by REST's word."""
