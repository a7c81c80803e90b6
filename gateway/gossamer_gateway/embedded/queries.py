"""Lists and counts: Camunda 7's filters, as tables of SQL.

A filter or order that stands in no table is refused: Camunda 7 ignores it, which answers more than
was asked for. A page is bounded; a list that is longer has to be read in pages.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from gossamer_gateway.embedded.store import Store
from gossamer_gateway.errors import BadRequest
from gossamer_node.variables import JsonValue

ROWS_MAX = 20_000
"""Rows of one answer, about 10 MB of JSON."""
TEXTS_MAX = 1_000
"""Values of one filter that takes several."""


class Kind(Enum):
    TEXT = auto()
    TEXTS = auto()
    """Comma-separated in a URL, a list in JSON."""
    FLAG = auto()
    """Filters when true; false is as if it were not there, as in Camunda 7."""
    NUMBER = auto()


@dataclass(frozen=True, slots=True)
class Listing:
    """One kind of thing that can be listed.

    Attributes:
        columns: SQL of what a row has, by name.
        source: SQL after FROM.
        filters: name → kind and SQL; `?` stands for the value, `:now` for the time.
        orders: `sortBy` → SQL.
        last_order: decides between equals, so that pages never overlap.
    """

    columns: Mapping[str, str]
    source: str
    filters: Mapping[str, tuple[Kind, str]]
    orders: Mapping[str, str]
    last_order: str


_DEFINED = "JOIN definition d ON d.id = i.definition_id"
_DEFINITION_COLUMNS = {
    "definition_id": "d.id",
    "definition_key": "d.key",
    "definition_version": "d.version",
    "definition_name": "d.name",
    "version_tag": "d.version_tag",
}
_BY_DEFINITION = {
    "processDefinitionId": (Kind.TEXT, "d.id = ?"),
    "processDefinitionKey": (Kind.TEXT, "d.key = ?"),
    "processDefinitionKeyIn": (Kind.TEXTS, "d.key IN (?)"),
}
_INSTANCE_ORDERS = {"instanceId": "i.id", "definitionId": "d.id", "definitionKey": "d.key",
                    "businessKey": "i.business_key"}  # fmt: skip

DEFINITIONS = Listing(
    {
        "id": "d.id", "key": "d.key", "version": "d.version", "name": "d.name",
        "version_tag": "d.version_tag", "deployment_id": "d.deployment_id",
        "resource": "d.resource",
    },
    "definition d",
    {
        "processDefinitionId": (Kind.TEXT, "d.id = ?"),
        "key": (Kind.TEXT, "d.key = ?"),
        "keysIn": (Kind.TEXTS, "d.key IN (?)"),
        "name": (Kind.TEXT, "d.name = ?"),
        "version": (Kind.NUMBER, "d.version = ?"),
        "versionTag": (Kind.TEXT, "d.version_tag = ?"),
        "deploymentId": (Kind.TEXT, "d.deployment_id = ?"),
        "latestVersion": (
            Kind.FLAG, "d.version = (SELECT max(version) FROM definition WHERE key = d.key)"
        ),
        "active": (Kind.FLAG, "1"),
    },
    {"key": "d.key", "version": "d.version", "id": "d.id", "name": "d.name"},
    "d.key, d.version",
)  # fmt: skip

INSTANCES = Listing(
    {"id": "i.id", "business_key": "i.business_key", **_DEFINITION_COLUMNS},
    f"instance i {_DEFINED} AND i.end_ms IS NULL",
    {
        "processInstanceIds": (Kind.TEXTS, "i.id IN (?)"),
        "businessKey": (Kind.TEXT, "i.business_key = ?"),
        "superProcessInstance": (Kind.TEXT, "i.super_id = ?"),
        "rootProcessInstances": (Kind.FLAG, "i.super_id IS NULL"),
        "active": (Kind.FLAG, "1"),
        "withIncident": (
            Kind.FLAG,
            "EXISTS (SELECT 1 FROM task WHERE instance_id = i.id AND incident_id IS NOT NULL)",
        ),
        **_BY_DEFINITION,
    },
    _INSTANCE_ORDERS,
    "i.rowid",
)  # fmt: skip

HISTORIC_INSTANCES = Listing(
    {
        "id": "i.id", "business_key": "i.business_key", "start_ms": "i.start_ms",
        "end_ms": "i.end_ms", "state": "i.state", "super_id": "i.super_id",
        "root_id": "i.root_id", "delete_reason": "i.delete_reason", **_DEFINITION_COLUMNS,
    },
    f"instance i {_DEFINED}",
    {
        "processInstanceId": (Kind.TEXT, "i.id = ?"),
        "processInstanceIds": (Kind.TEXTS, "i.id IN (?)"),
        "processInstanceBusinessKey": (Kind.TEXT, "i.business_key = ?"),
        "superProcessInstanceId": (Kind.TEXT, "i.super_id = ?"),
        "rootProcessInstances": (Kind.FLAG, "i.super_id IS NULL"),
        "finished": (Kind.FLAG, "i.end_ms IS NOT NULL"),
        "unfinished": (Kind.FLAG, "i.end_ms IS NULL"),
        "active": (Kind.FLAG, "i.state = 'ACTIVE'"),
        "completed": (Kind.FLAG, "i.state = 'COMPLETED'"),
        "externallyTerminated": (Kind.FLAG, "i.state = 'EXTERNALLY_TERMINATED'"),
        "internallyTerminated": (Kind.FLAG, "i.state = 'INTERNALLY_TERMINATED'"),
        **_BY_DEFINITION,
    },
    {**_INSTANCE_ORDERS, "startTime": "i.start_ms", "endTime": "i.end_ms",
     "duration": "i.end_ms - i.start_ms"},
    "i.rowid",
)  # fmt: skip

TASKS = Listing(
    {
        "id": "t.id", "instance_id": "i.id", "activity_id": "t.activity_id",
        "node_id": "t.node_id", "topic": "t.topic", "priority": "t.priority",
        "created_ms": "t.created_ms", "lock_until_ms": "t.lock_until_ms",
        "worker_id": "t.worker_id", "retries": "t.retries", "error_message": "t.error_message",
        "business_key": "i.business_key", **_DEFINITION_COLUMNS,
    },
    f"task t JOIN instance i ON i.id = t.instance_id {_DEFINED}",
    {
        "externalTaskId": (Kind.TEXT, "t.id = ?"),
        "externalTaskIdIn": (Kind.TEXTS, "t.id IN (?)"),
        "topicName": (Kind.TEXT, "t.topic = ?"),
        "workerId": (Kind.TEXT, "t.worker_id = ?"),
        "locked": (Kind.FLAG, "t.lock_until_ms > :now"),
        "notLocked": (Kind.FLAG, "t.lock_until_ms <= :now"),
        "withRetriesLeft": (Kind.FLAG, "t.incident_id IS NULL"),
        "noRetriesLeft": (Kind.FLAG, "t.incident_id IS NOT NULL"),
        "activityId": (Kind.TEXT, "t.node_id = ?"),
        "activityIdIn": (Kind.TEXTS, "t.node_id IN (?)"),
        "processInstanceId": (Kind.TEXT, "i.id = ?"),
        "processInstanceIdIn": (Kind.TEXTS, "i.id IN (?)"),
        "active": (Kind.FLAG, "1"),
        **_BY_DEFINITION,
    },
    {"id": "t.id", "lockExpirationTime": "t.lock_until_ms", "taskPriority": "t.priority",
     "createTime": "t.created_ms", "processInstanceId": "i.id", "processDefinitionId": "d.id",
     "processDefinitionKey": "d.key"},
    "t.rowid",
)  # fmt: skip

INCIDENTS = Listing(
    {
        "id": "t.incident_id", "task_id": "t.id", "instance_id": "i.id", "node_id": "t.node_id",
        "activity_id": "t.activity_id", "incident_ms": "t.incident_ms",
        "error_message": "t.error_message", **_DEFINITION_COLUMNS,
    },
    f"task t JOIN instance i ON i.id = t.instance_id AND t.incident_id IS NOT NULL {_DEFINED}",
    {
        "incidentId": (Kind.TEXT, "t.incident_id = ?"),
        "incidentType": (Kind.TEXT, "'failedExternalTask' = ?"),
        "incidentMessage": (Kind.TEXT, "t.error_message = ?"),
        "configuration": (Kind.TEXT, "t.id = ?"),
        "activityId": (Kind.TEXT, "t.node_id = ?"),
        "processInstanceId": (Kind.TEXT, "i.id = ?"),
        "processInstanceIdIn": (Kind.TEXTS, "i.id IN (?)"),
        **_BY_DEFINITION,
    },
    {"incidentId": "t.incident_id", "incidentTimestamp": "t.incident_ms",
     "incidentMessage": "t.error_message", "activityId": "t.node_id", "processInstanceId": "i.id",
     "processDefinitionId": "d.id", "configuration": "t.id"},
    "t.rowid",
)  # fmt: skip

HISTORIC_ACTIVITIES = Listing(
    {
        "id": "a.id", "instance_id": "i.id", "root_id": "i.root_id", "node_id": "a.node_id",
        "name": "a.name", "type": "a.type", "start_ms": "a.start_ms", "end_ms": "a.end_ms",
        "canceled": "a.canceled", "called_instance_id": "a.called_instance_id",
        **_DEFINITION_COLUMNS,
    },
    f"activity a JOIN instance i ON i.id = a.instance_id {_DEFINED}",
    {
        "activityInstanceId": (Kind.TEXT, "a.id = ?"),
        "processInstanceId": (Kind.TEXT, "i.id = ?"),
        "activityId": (Kind.TEXT, "a.node_id = ?"),
        "activityName": (Kind.TEXT, "a.name = ?"),
        "activityType": (Kind.TEXT, "a.type = ?"),
        "finished": (Kind.FLAG, "a.end_ms IS NOT NULL"),
        "unfinished": (Kind.FLAG, "a.end_ms IS NULL"),
        "canceled": (Kind.FLAG, "a.canceled"),
        **_BY_DEFINITION,
    },
    {"occurrence": "a.rowid", "startTime": "a.start_ms", "endTime": "a.end_ms",
     "activityInstanceId": "a.id", "instanceId": "i.id", "activityId": "a.node_id",
     "activityName": "a.name", "activityType": "a.type", "definitionId": "d.id",
     "definitionKey": "d.key", "duration": "a.end_ms - a.start_ms"},
    "a.rowid",
)  # fmt: skip

HISTORIC_VARIABLES = Listing(
    {
        "name": "v.key", "wire": "v.value", "instance_id": "i.id", "root_id": "i.root_id",
        "start_ms": "i.start_ms", **_DEFINITION_COLUMNS,
    },
    f"instance i {_DEFINED}, json_each(i.variables) v",
    {
        "processInstanceId": (Kind.TEXT, "i.id = ?"),
        "processInstanceIdIn": (Kind.TEXTS, "i.id IN (?)"),
        "variableName": (Kind.TEXT, "v.key = ?"),
        "variableNameIn": (Kind.TEXTS, "v.key IN (?)"),
        **_BY_DEFINITION,
    },
    {"instanceId": "i.id", "variableName": "v.key"},
    "i.rowid, v.id",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Query:
    """What of a listing is asked for.

    Attributes:
        filters: by Camunda's names; texts as in a URL, or JSON values.
        sorting: (`sortBy`, whether it ascends), the first is the most important.
        first: rows to skip.
        rows_max: rows to answer; None for all, which must not be more than `ROWS_MAX`.
    """

    filters: Mapping[str, JsonValue]
    sorting: Sequence[tuple[str, bool]] = ()
    first: int = 0
    rows_max: int | None = None


def find(store: Store, listing: Listing, query: Query, now_ms: int) -> list[dict[str, Any]]:
    """The rows asked for, each by the names of the listing's columns.

    Raises: BadRequest for an unknown filter or order, a wrong value, or too many rows.
    """
    where, values = _where(listing, query.filters, now_ms)
    orders = [*(_order(listing, name, up) for name, up in query.sorting), listing.last_order]
    limit = ROWS_MAX + 1 if query.rows_max is None else query.rows_max
    if query.rows_max is not None and query.rows_max > ROWS_MAX:
        raise _too_many()
    columns = ", ".join(listing.columns.values())
    rows = store.connection.execute(
        f"SELECT {columns} FROM {listing.source} WHERE {where} "  # noqa: S608 - the tables' own SQL
        f"ORDER BY {', '.join(orders)} LIMIT ? OFFSET ?",
        (*values, limit, query.first),
    ).fetchall()
    if len(rows) > ROWS_MAX:
        raise _too_many()
    return [dict(zip(listing.columns, row, strict=True)) for row in rows]


def count(store: Store, listing: Listing, query: Query, now_ms: int) -> int:
    """How many rows there are. Raises: as `find`."""
    where, values = _where(listing, query.filters, now_ms)
    (rows,) = store.connection.execute(
        f"SELECT count(*) FROM {listing.source} WHERE {where}",  # noqa: S608 - the tables' own SQL
        values,
    ).fetchone()
    return int(rows)


def _too_many() -> BadRequest:
    return BadRequest(f"One answer has at most {ROWS_MAX} rows; set maxResults and firstResult")


def _order(listing: Listing, name: str, ascending: bool) -> str:
    if name not in listing.orders:
        raise BadRequest(f"Cannot set query parameter 'sortBy' to value '{name}'")
    return f"{listing.orders[name]} {'ASC' if ascending else 'DESC'}"


def _where(
    listing: Listing, filters: Mapping[str, JsonValue], now_ms: int
) -> tuple[str, list[str | int]]:
    parts, values = ["1"], list[str | int]()
    for name, given in filters.items():
        if name not in listing.filters:
            raise BadRequest(
                f"The filter '{name}' is not known here; there are {', '.join(listing.filters)}"
            )
        kind, sql = listing.filters[name]
        if given is None:
            continue
        value = _value(name, kind, given)
        if value is False:
            continue
        if isinstance(value, list):
            sql = sql.replace("?", ", ".join("?" * len(value)))
            values += value
        elif value is not True:
            values.append(value)
        elif ":now" in sql:
            sql = sql.replace(":now", "?")
            values.append(now_ms)
        parts.append(sql)
    return " AND ".join(parts), values


def _value(name: str, kind: Kind, given: JsonValue) -> str | int | bool | list[str]:
    match kind, given:
        case Kind.TEXT, str():
            return given
        case Kind.TEXTS, str():
            given = list(given.split(","))
        case Kind.FLAG, bool():
            return given
        case Kind.FLAG, "true" | "false":
            return given == "true"
        case Kind.NUMBER, int() if not isinstance(given, bool) and abs(given) < 2**63:
            return given
        case Kind.NUMBER, str() if given.isdecimal() and len(given) < 10:
            return int(given)
    if kind is Kind.TEXTS and isinstance(given, list) and len(given) <= TEXTS_MAX:
        texts = [entry for entry in given if isinstance(entry, str)]
        if len(texts) == len(given):
            return texts
    raise BadRequest(f"Cannot set query parameter '{name}' to value '{str(given)[:80]}'")
