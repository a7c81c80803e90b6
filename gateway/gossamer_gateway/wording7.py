"""How Camunda 7 words an error and a time, whoever answers in its dialect.

The statuses are Camunda 7's but for three, where it answers 500, which on a completion means a
failed next step: 503 where nobody can serve now (too many polls or requests, a disk that refuses),
400 for a wrong field, 404 for what is not deployed or not running.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from gossamer_gateway.errors import (
    BadRequest,
    Forbidden,
    GatewayError,
    NotLockedByWorker,
    Overloaded,
    StepFailed,
    StorageFailed,
    UnknownDefinition,
    UnknownInstance,
    UnknownTask,
)

Json = dict[str, Any]

# Its sentences for a task that is another worker's.
COMPLETE = "External Task {} cannot be completed by"
BPMN_ERROR = "Bpmn error of External Task {} cannot be reported by"
FAILURE = "Failure of External Task {} cannot be reported by"
EXTEND = "The lock of the External Task {} cannot be extended by"
LOCK = "External Task {} cannot be locked by"

STATUSES: Mapping[type[GatewayError], tuple[int, str]] = {
    UnknownTask: (404, "RestException"),
    UnknownInstance: (404, "InvalidRequestException"),
    UnknownDefinition: (404, "RestException"),
    NotLockedByWorker: (400, "RestException"),
    BadRequest: (400, "InvalidRequestException"),
    Forbidden: (403, "AuthorizationException"),
    StepFailed: (500, "ProcessEngineException"),
    Overloaded: (503, "ServiceUnavailableException"),
    StorageFailed: (503, "ServiceUnavailableException"),
}
"""Status and Camunda's exception for each kind of error."""

HTTP_ERRORS = {
    404: "NotFoundException",
    405: "NotAllowedException",
    413: "RequestEntityTooLargeException",
    415: "NotSupportedException",
}


def stamp(time_ms: int | None) -> str | None:
    """`2026-11-21T09:23:53.322+0000`."""
    if time_ms is None:
        return None
    moment = datetime.fromtimestamp(time_ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ms % 1000:03d}+0000"


def error(kind: str, message: str, code: int | None = None) -> Json:
    return {"type": kind, "message": message, "code": code}


def task_row(row: Mapping[str, Any]) -> Json:
    """An external task, of an engine in which an instance has one token."""
    return {
        "activityId": row["node_id"],
        "activityInstanceId": row["activity_id"],
        "errorMessage": row["error_message"],
        # One token, so one execution: the instance is its own.
        "executionId": row["instance_id"],
        "id": row["id"],
        "lockExpirationTime": stamp(row["lock_until_ms"] or None),
        "createTime": stamp(row["created_ms"]),
        "processDefinitionId": row["definition_id"],
        "processDefinitionKey": row["definition_key"],
        "processDefinitionVersionTag": row["version_tag"],
        "processInstanceId": row["instance_id"],
        "retries": row["retries"],
        "suspended": False,
        "workerId": row["worker_id"],
        "topicName": row["topic"],
        "tenantId": None,
        "priority": row["priority"],
        "businessKey": row["business_key"],
    }


def not_locked_by(task_id: str, worker_id: str, holder: str | None, refusal: str) -> str:
    """What Camunda 7 says to a worker that has no lock; `refusal` is one of the sentences above."""
    return (
        f"{refusal.format(task_id)} worker '{worker_id}'. It is locked by worker "
        f"'{holder or 'null'}'."
    )
