"""What lives in Camunda 8 and is known here, as rows of Camunda 7's lists.

Jobs are known once a client was handed them, instances once they were started through a gateway or
seen at a job, definitions once they were deployed or started through one. Each list has the filters
that these rows can answer; who lists (`lists`) asks nothing else of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gossamer_gateway import handed
from gossamer_gateway.engine_rest.deploying import definition_row
from gossamer_gateway.engine_rest.ids import definition_name, name_of
from gossamer_gateway.engine_rest.instances import instance_row
from gossamer_gateway.engine_rest.tasks import task_row
from gossamer_gateway.errors import BadRequest
from gossamer_gateway.index import definitions, instances
from gossamer_gateway.index.instances import Instance, State
from gossamer_gateway.sink.freshness import Watch
from gossamer_gateway.storage.port import Rows
from gossamer_gateway.upstreams.upstream import Upstream
from gossamer_gateway.wording7 import stamp
from gossamer_node.variables import JsonValue

ROWS_MAX = 20_000
"""That are looked through for one list; the newest instances, where there are more."""

Row = dict[str, Any]
Fits = Callable[[Row, JsonValue], bool]


@dataclass(frozen=True, slots=True)
class Own:
    """One list.

    Attributes:
        read: all rows of an engine, at most `ROWS_MAX`.
        filters: by Camunda 7's names: whether a row fits a value.
    """

    read: Callable[[Rows, Upstream, int], list[Row]]
    filters: Mapping[str, Fits]

    def fits(self, row: Row, wanted: Mapping[str, JsonValue]) -> bool:
        """Raises: BadRequest for a value of a wrong type."""
        return all(self.filters[name](row, value) for name, value in wanted.items())

    def of(self, rows: Rows, eight: Upstream, now_ms: int, _watch: Watch) -> list[Row] | None:
        """The rows; None where they are not known now."""
        return self.read(rows, eight, now_ms)


def equals(field: str) -> Fits:
    def fits(row: Row, value: JsonValue) -> bool:
        if not isinstance(value, str | int):
            raise BadRequest(f"The filter for {field} must be a text")
        return row[field] is not None and str(row[field]) == str(value)

    return fits


def is_among(field: str) -> Fits:
    def fits(row: Row, value: JsonValue) -> bool:
        values = value.split(",") if isinstance(value, str) else value
        if not isinstance(values, list):
            raise BadRequest(f"The filter for {field} must be a list")
        return row[field] in values

    return fits


def _flag(test: Callable[[Row], bool]) -> Fits:
    def fits(row: Row, value: JsonValue) -> bool:
        if value not in (True, False, "true", "false"):
            raise BadRequest("A filter that is true or false has another value")
        return value in (False, "false") or test(row)

    return fits


_ALL = _flag(lambda _: True)
_NONE = _flag(lambda _: False)
_DEFAULT_TENANT = _flag(lambda row: row["tenantId"] is None)


def _tasks(rows: Rows, eight: Upstream, now_ms: int) -> list[Row]:
    found = []
    for one in handed.all_of(rows, eight.name, ROWS_MAX):
        if one.task:
            row = task_row(one)
            row["_locked"] = bool(one.worker) and one.until_ms > now_ms
            found.append(row)
    return found


def _living(rows: Rows, eight: Upstream, _: int) -> list[Row]:
    only = _only_definitions(rows, eight)
    return [
        instance_row(name_of(eight, int(one.id)), one, only.get(one.process))
        for one in _instances(rows, eight)
        if one.state in (State.ACTIVE, State.INCIDENT)
    ]


def _instances(rows: Rows, eight: Upstream) -> list[Instance]:
    processes = sorted({c.process for c in instances.counts(rows) if c.engine == eight.name})
    found: list[Instance] = []
    for process in processes:
        page = instances.by_process(rows, process, engine=eight.name)
        while page and len(found) < ROWS_MAX:
            found += page
            page = instances.by_process(rows, process, engine=eight.name, before=page[-1])
    return found[:ROWS_MAX]


_STATES = {
    State.ACTIVE: "ACTIVE",
    State.INCIDENT: "ACTIVE",
    State.COMPLETED: "COMPLETED",
    State.CANCELLED: "EXTERNALLY_TERMINATED",
}


def historic_row(eight: Upstream, one: Instance, definition: str | None = None) -> Row:
    """An instance as the history answers it; what nobody told is null."""
    id, ended = name_of(eight, int(one.id)), one.state in (State.COMPLETED, State.CANCELLED)
    return {
        "id": id,
        "businessKey": one.business_key,
        "processDefinitionId": definition,
        "processDefinitionKey": one.process,
        "processDefinitionName": None,
        "processDefinitionVersion": None,
        "startTime": stamp(one.started_ms),
        "endTime": stamp(one.seen_ms) if ended else None,
        "removalTime": None,
        "durationInMillis": one.seen_ms - one.started_ms if ended else None,
        "startUserId": None,
        "startActivityId": None,
        "deleteReason": None,
        "rootProcessInstanceId": None,
        "superProcessInstanceId": None,
        "superCaseInstanceId": None,
        "caseInstanceId": None,
        "tenantId": None,
        "state": _STATES[one.state],
        "restartedProcessInstanceId": None,
    }


def _historic(rows: Rows, eight: Upstream, _: int) -> list[Row]:
    only = _only_definitions(rows, eight)
    return [historic_row(eight, one, only.get(one.process)) for one in _instances(rows, eight)]


def _only_definitions(rows: Rows, eight: Upstream) -> Mapping[str, str]:
    """The definition's id by process, of processes of which one version alone is known: which of
    several an instance has, nobody told."""
    found: dict[str, str | None] = {}
    for one in definitions.all_of(rows, eight.name, ROWS_MAX):
        id = definition_name(eight, one.process, one.version, int(one.id))
        found[one.process] = None if one.process in found else id
    return {process: id for process, id in found.items() if id is not None}


def _definitions(rows: Rows, eight: Upstream, _: int) -> list[Row]:
    found = definitions.all_of(rows, eight.name, ROWS_MAX)
    newest = {one.process: one.version for one in sorted(found, key=lambda one: one.version)}
    listed = []
    for one in found:
        id = definition_name(eight, one.process, one.version, int(one.id))
        deployment = name_of(eight, int(one.deployment)) if one.deployment else None
        row = definition_row(id, one.process, one.version, deployment, None)
        row["_newest"] = newest[one.process] == one.version
        listed.append(row)
    return listed


def _deployments(rows: Rows, eight: Upstream, _: int) -> list[Row]:
    found = definitions.all_of(rows, eight.name, ROWS_MAX)
    ids = sorted({int(one.deployment) for one in found if one.deployment})
    return [
        {"links": [], "id": name_of(eight, id), "name": None, "source": None,
         "deploymentTime": None, "tenantId": None}
        for id in ids
    ]  # fmt: skip


OWN: Mapping[str, Own] = {
    "/external-task": Own(
        _tasks,
        {
            "externalTaskId": equals("id"),
            "externalTaskIdIn": is_among("id"),
            "topicName": equals("topicName"),
            "workerId": equals("workerId"),
            "locked": _flag(lambda row: bool(row["_locked"])),
            "notLocked": _flag(lambda row: not row["_locked"]),
            "withRetriesLeft": _flag(lambda row: row["retries"] is None or row["retries"] > 0),
            "noRetriesLeft": _flag(lambda row: row["retries"] == 0),
            "activityId": equals("activityId"),
            "activityIdIn": is_among("activityId"),
            "executionId": equals("executionId"),
            "processInstanceId": equals("processInstanceId"),
            "processInstanceIdIn": is_among("processInstanceId"),
            "processDefinitionId": equals("processDefinitionId"),
            "processDefinitionKey": equals("processDefinitionKey"),
            "processDefinitionKeyIn": is_among("processDefinitionKey"),
            "businessKey": equals("businessKey"),
            "tenantIdIn": is_among("tenantId"),
            "active": _ALL,
            "suspended": _NONE,
        },
    ),
    "/process-instance": Own(
        _living,
        {
            "processInstanceIds": is_among("id"),
            "businessKey": equals("businessKey"),
            "processDefinitionKey": equals("definitionKey"),
            "processDefinitionKeyIn": is_among("definitionKey"),
            "active": _ALL,
            "suspended": _NONE,
        },
    ),
    "/process-definition": Own(
        _definitions,
        {
            "processDefinitionId": equals("id"),
            "processDefinitionIdIn": is_among("id"),
            "key": equals("key"),
            "keysIn": is_among("key"),
            "version": equals("version"),
            "latest": _flag(lambda row: bool(row["_newest"])),
            "latestVersion": _flag(lambda row: bool(row["_newest"])),
            "deploymentId": equals("deploymentId"),
            "active": _ALL,
            "suspended": _NONE,
        },
    ),
    "/deployment": Own(_deployments, {"id": equals("id"), "withoutTenantId": _DEFAULT_TENANT}),
    "/history/process-instance": Own(
        _historic,
        {
            "processInstanceId": equals("id"),
            "processInstanceIds": is_among("id"),
            "processInstanceBusinessKey": equals("businessKey"),
            "processDefinitionKey": equals("processDefinitionKey"),
            "processDefinitionKeyIn": is_among("processDefinitionKey"),
            "active": _flag(lambda row: row["state"] == "ACTIVE"),
            "completed": _flag(lambda row: row["state"] == "COMPLETED"),
            "finished": _flag(lambda row: row["endTime"] is not None),
            "unfinished": _flag(lambda row: row["endTime"] is None),
            "externallyTerminated": _flag(lambda row: row["state"] == "EXTERNALLY_TERMINATED"),
        },
    ),
}
"""By the list's path."""
