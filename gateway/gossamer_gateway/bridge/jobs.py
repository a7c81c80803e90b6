"""Jobs across: Camunda 8's activated jobs as Camunda 7's locked tasks, and the other way round.

A job of Camunda 8 has a deadline and no worker check, a task of Camunda 7 a lock that names its
worker. What one of them has no word for:

- Camunda 8 knows no business key, no creation time and no message of the last failure: null.
- Camunda 7 knows no retries before the first failure: three, as Camunda 8 counts by default.
- A definition is one number for Camunda 8 and `key:version:id` for Camunda 7.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gossamer_gateway.bridge.variables import to_7, to_8
from gossamer_gateway.wording7 import stamp
from gossamer_node.engines.exchange import text, whole
from gossamer_node.variables import TypeTag

RETRIES_FIRST = 3
"""Of a task that has never failed (Zeebe: the default of `zeebe:taskDefinition retries`)."""

DEFAULT_TENANT = "<default>"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Names7:
    """How Camunda 8's numbers are called in Camunda 7's dialect."""

    id_of: Callable[[int], str]


@dataclass(frozen=True, slots=True)
class Names8:
    """How Camunda 7's ids are called in Camunda 8's dialect."""

    number_of: Callable[[str], int]


def task_of_job(job: Mapping[str, Any], names: Names7, *, worker_id: str, until_ms: int) -> Json:
    """A job of Camunda 8's REST as `fetchAndLock` answers it.

    Args:
        until_ms: the end of the lock, in milliseconds since 1970.

    Raises: KeyError, TypeError, ValueError, AttributeError: `job` is none.
    """
    definition = names.id_of(_number(job["processDefinitionKey"]))
    process, version = text(job["processDefinitionId"]), whole(job["processDefinitionVersion"])
    element = text(job["elementId"])
    execution = names.id_of(_number(job["elementInstanceKey"]))
    tenant = job.get("tenantId")
    return {
        "activityId": element,
        "activityInstanceId": f"{element}:{execution}",
        "errorMessage": None,
        "errorDetails": None,
        "executionId": execution,
        "id": names.id_of(_number(job["jobKey"] if "jobKey" in job else job["key"])),
        "lockExpirationTime": stamp(until_ms),
        "createTime": None,
        "processDefinitionId": f"{process}:{version}:{definition}",
        "processDefinitionKey": process,
        "processDefinitionVersionTag": None,
        "processInstanceId": names.id_of(_number(job["processInstanceKey"])),
        "retries": whole(job["retries"]),
        "suspended": False,
        "workerId": worker_id,
        "topicName": text(job["type"]),
        "tenantId": None if tenant in (None, "", DEFAULT_TENANT) else str(tenant),
        "variables": to_7(job["variables"]),
        "priority": 0,
        "businessKey": None,
        "extensionProperties": {str(k): str(v) for k, v in job["customHeaders"].items()},
    }


def job_of_task(
    task: Mapping[str, Any], names: Names8, *, worker: str, until_ms: int
) -> tuple[Json, Mapping[str, TypeTag]]:
    """A task of Camunda 7 as Camunda 8's activation answers it, and the types to be remembered.

    Numbers are given as `key` and, in text, as `jobKey`, for clients of both generations.

    Raises: KeyError, TypeError, ValueError, AttributeError: `task` is none.
    """
    variables, types = to_8(task["variables"])
    number = names.number_of(text(task["id"]))
    definition = text(task["processDefinitionId"])
    parts = definition.split(":")
    retries = task.get("retries")
    job = {
        "key": number,
        "jobKey": str(number),
        "type": text(task["topicName"]),
        "processInstanceKey": names.number_of(text(task["processInstanceId"])),
        "processDefinitionId": text(task["processDefinitionKey"]),
        "processDefinitionVersion": int(parts[1]) if len(parts) == 3 else 1,
        "processDefinitionKey": names.number_of(definition),
        "elementId": text(task["activityId"]),
        "elementInstanceKey": names.number_of(text(task["activityInstanceId"])),
        "customHeaders": dict(task.get("extensionProperties") or {}),
        "worker": worker,
        "retries": RETRIES_FIRST if retries is None else whole(retries),
        "deadline": until_ms,
        "variables": variables,
        "tenantId": str(task.get("tenantId") or DEFAULT_TENANT),
    }
    return job, types


def _number(value: object) -> int:
    """A key as 8.6 tells it, a number, or as newer ones do, in text."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError(f"no key: {value!r}")
    return int(value)
