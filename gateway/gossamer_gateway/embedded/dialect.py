"""How Camunda 7 writes things: the JSON of its REST API, from the engine's records and rows.

Fields that this engine has no use for (tenants, suspension, cases, users) are there with the value
that Camunda 7 gives them when nobody uses them, because clients read them.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from gossamer_gateway.embedded.engine import LockedTask
from gossamer_gateway.embedded.model import Definition, Deployment, Instance, InstanceState
from gossamer_gateway.embedded.values import BINARY, Wire, Wires, answered
from gossamer_gateway.errors import ProcessRefused
from gossamer_gateway.wording7 import Json, error, stamp, task_row


def parse_error(refused: ProcessRefused) -> Json:
    return error("ParseException", str(refused), 0) | {
        "details": {
            resource: {
                "errors": [
                    {
                        "message": problem.message,
                        "line": problem.line,
                        "column": 0,
                        "mainElementId": problem.element_id,
                        "elementIds": [problem.element_id] if problem.element_id else [],
                    }
                    for problem in problems
                ],
                "warnings": [],
            }
            for resource, problems in refused.problems.items()
        }
    }


def variables(wires: Wires, *, deserialize: bool) -> Json:
    return {name: answered(wire, deserialize=deserialize) for name, wire in wires.items()}


# --- definitions ---


def deployment(made: Deployment, url: str) -> Json:
    return {
        "links": _self_link(f"{url}/deployment/{made.id}"),
        "id": made.id,
        "name": made.name,
        "source": made.source,
        "deploymentTime": stamp(made.time_ms),
        "tenantId": None,
        "deployedProcessDefinitions": {entry.id: definition(entry) for entry in made.definitions},
        "deployedCaseDefinitions": None,
        "deployedDecisionDefinitions": None,
        "deployedDecisionRequirementsDefinitions": None,
    }


def definition(entry: Definition) -> Json:
    return definition_row(
        {
            "id": entry.id,
            "key": entry.key,
            "version": entry.version,
            "name": entry.process.name,
            "version_tag": entry.process.version_tag,
            "deployment_id": entry.deployment_id,
            "resource": entry.resource,
        }
    )


def definition_row(row: Mapping[str, Any]) -> Json:
    return {
        "id": row["id"],
        "key": row["key"],
        "category": None,
        "description": None,
        "name": row["name"],
        "version": row["version"],
        "resource": row["resource"],
        "deploymentId": row["deployment_id"],
        "diagram": None,
        "suspended": False,
        "tenantId": None,
        "versionTag": row["version_tag"],
        "historyTimeToLive": None,
        "startableInTasklist": True,
    }


# --- instances ---


def _self_link(href: str) -> list[Json]:
    return [{"method": "GET", "href": href, "rel": "self"}]


def started(instance: Instance, definition_key: str, url: str) -> Json:
    return _instance(
        instance.id,
        instance.definition_id,
        definition_key,
        instance.business_key,
        ended=instance.state is not InstanceState.ACTIVE,
    ) | {"links": _self_link(f"{url}/process-instance/{instance.id}")}


def instance_row(row: Mapping[str, Any]) -> Json:
    return _instance(
        row["id"], row["definition_id"], row["definition_key"], row["business_key"], ended=False
    )


def _instance(
    instance_id: str,
    definition_id: str,
    definition_key: str,
    business_key: str | None,
    *,
    ended: bool,
) -> Json:
    return {
        "links": [],
        "id": instance_id,
        "definitionId": definition_id,
        "businessKey": business_key,
        "caseInstanceId": None,
        "ended": ended,
        "suspended": False,
        "tenantId": None,
        "definitionKey": definition_key,
    }


# --- external tasks ---


def locked_task(
    locked: LockedTask, *, names: Sequence[str] | None, local_only: bool, deserialize: bool
) -> Json:
    """A task as fetchAndLock answers it, with the variables that the worker asked for."""
    task, instance = locked.task, locked.instance
    visible = task.local_variables if local_only else instance.variables | task.local_variables
    if names is not None:
        visible = {name: visible[name] for name in names if name in visible}
    return task_row(
        {
            "id": task.id,
            "instance_id": instance.id,
            "activity_id": task.activity_id,
            "node_id": task.node_id,
            "topic": task.topic,
            "priority": task.priority,
            "created_ms": task.created_ms,
            "lock_until_ms": task.lock_until_ms,
            "worker_id": task.worker_id,
            "retries": task.retries,
            "error_message": task.error_message,
            "business_key": instance.business_key,
            "definition_id": locked.definition.id,
            "definition_key": locked.definition.key,
            "version_tag": locked.definition.process.version_tag,
        }
    ) | {
        "errorDetails": task.error_details,
        "variables": variables(visible, deserialize=deserialize),
    }


def incident_row(row: Mapping[str, Any]) -> Json:
    return {
        "id": row["id"],
        "processDefinitionId": row["definition_id"],
        "processInstanceId": row["instance_id"],
        "executionId": row["instance_id"],
        "incidentTimestamp": stamp(row["incident_ms"]),
        "incidentType": "failedExternalTask",
        "activityId": row["node_id"],
        "failedActivityId": row["node_id"],
        "causeIncidentId": row["id"],
        "rootCauseIncidentId": row["id"],
        "configuration": row["task_id"],
        "incidentMessage": row["error_message"],
        "tenantId": None,
        "jobDefinitionId": None,
        "annotation": None,
    }


# --- history ---


def _defined(row: Mapping[str, Any]) -> Json:
    return {
        "processDefinitionId": row["definition_id"],
        "processDefinitionKey": row["definition_key"],
        "tenantId": None,
        "removalTime": None,
        "rootProcessInstanceId": row["root_id"],
    }


def _duration(row: Mapping[str, Any]) -> Json:
    end_ms = row["end_ms"]
    return {
        "startTime": stamp(row["start_ms"]),
        "endTime": stamp(end_ms),
        "durationInMillis": None if end_ms is None else end_ms - row["start_ms"],
    }


def historic_instance_row(row: Mapping[str, Any]) -> Json:
    return {
        "id": row["id"],
        "businessKey": row["business_key"],
        **_defined(row),
        "processDefinitionName": row["definition_name"],
        "processDefinitionVersion": row["definition_version"],
        **_duration(row),
        "startUserId": None,
        "deleteReason": row["delete_reason"],
        "superProcessInstanceId": row["super_id"],
        "superCaseInstanceId": None,
        "caseInstanceId": None,
        "state": row["state"],
        "restartedProcessInstanceId": None,
    }


def historic_activity_row(row: Mapping[str, Any]) -> Json:
    return {
        "id": row["id"],
        "parentActivityInstanceId": row["instance_id"],
        "activityId": row["node_id"],
        "activityName": row["name"],
        "activityType": row["type"],
        **_defined(row),
        "processInstanceId": row["instance_id"],
        "executionId": row["instance_id"],
        "taskId": None,
        "calledProcessInstanceId": row["called_instance_id"],
        "calledCaseInstanceId": None,
        "assignee": None,
        **_duration(row),
        "canceled": bool(row["canceled"]),
        "completeScope": False,
    }


def historic_variable(row: Mapping[str, Any], wire: Wire, *, deserialize: bool) -> Json:
    """In the history's lists all binary values are left out; they are read from `/data`."""
    shown = answered(wire, deserialize=deserialize)
    return {
        **(shown if wire["type"] not in BINARY else {**shown, "value": None}),
        "id": variable_id(row["instance_id"], row["name"]),
        "name": row["name"],
        **_defined(row),
        "processInstanceId": row["instance_id"],
        "executionId": row["instance_id"],
        "activityInstanceId": row["instance_id"],
        "caseDefinitionKey": None,
        "caseDefinitionId": None,
        "caseInstanceId": None,
        "caseExecutionId": None,
        "taskId": None,
        "errorMessage": None,
        "state": "CREATED",
        "createTime": stamp(row["start_ms"]),
    }


def variable_id(instance_id: str, name: str) -> str:
    """A variable has no id of its own: its instance and name make one that fits into a path."""
    encoded = base64.urlsafe_b64encode(name.encode(errors="surrogatepass")).decode()
    return f"{instance_id}.{encoded.rstrip('=')}"


def variable_of(variable_id: str) -> tuple[str, str]:
    """The instance and name behind `variable_id`. Raises: ValueError."""
    instance_id, _, encoded = variable_id.partition(".")
    padded = encoded + "=" * (-len(encoded) % 4)
    return instance_id, base64.urlsafe_b64decode(padded).decode(errors="surrogatepass")
