"""Jobs across the two Camundas: every field has a place, and what is no job is refused."""

from typing import Any

import pytest

from gossamer_gateway.bridge.jobs import Names7, Names8, job_of_task, task_of_job
from gossamer_gateway.names import forms

JOB = {
    "key": 2251799813685261,
    "type": "book-room",
    "processInstanceKey": 2251799813685255,
    "processDefinitionId": "Hotel",
    "processDefinitionVersion": 3,
    "processDefinitionKey": 2251799813685250,
    "elementId": "book",
    "elementInstanceKey": 2251799813685260,
    "customHeaders": {"floor": "2"},
    "worker": "w",
    "retries": 3,
    "deadline": 1795000000000,
    "variables": {"guest": "Ada", "nights": 2, "tags": ["a"]},
    "tenantId": "<default>",
}
TASK = {
    "activityId": "book",
    "activityInstanceId": "book:9",
    "executionId": "e-1",
    "id": "task-1",
    "lockExpirationTime": "2026-11-21T09:23:53.322+0000",
    "processDefinitionId": "Hotel:3:def-1",
    "processDefinitionKey": "Hotel",
    "processInstanceId": "instance-1",
    "retries": None,
    "workerId": "w",
    "topicName": "book-room",
    "tenantId": None,
    "variables": {
        "guest": {"type": "String", "value": "Ada", "valueInfo": {}},
        "when": {"type": "Date", "value": "2026-11-21T09:23:53.322+0000", "valueInfo": {}},
    },
    "priority": 5,
    "businessKey": "b-1",
}
NAMES_7 = Names7(lambda number: forms.to_uuid(1, number))
GIVEN: dict[str, int] = {}
NAMES_8 = Names8(lambda id: GIVEN.setdefault(id, len(GIVEN) + 1))


def test_a_job_of_8_as_a_task_of_7() -> None:
    task = task_of_job(JOB, NAMES_7, worker_id="py", until_ms=1795000000000)
    assert forms.from_uuid(task["id"]) == (1, JOB["key"])
    assert forms.from_uuid(task["processInstanceId"]) == (1, JOB["processInstanceKey"])
    assert task["processDefinitionId"] == f"Hotel:3:{forms.to_uuid(1, 2251799813685250)}"
    assert (task["workerId"], task["topicName"], task["retries"]) == ("py", "book-room", 3)
    assert task["lockExpirationTime"] == "2026-11-18T11:06:40.000+0000"
    assert task["variables"]["nights"] == {"value": 2, "type": "Integer"}
    assert task["variables"]["tags"] == {"value": '["a"]', "type": "Json"}
    assert task["extensionProperties"] == {"floor": "2"} and task["tenantId"] is None
    newer = JOB | {"jobKey": str(JOB["key"]), "tenantId": "acme"}
    del newer["key"]
    found = task_of_job(newer, NAMES_7, worker_id="py", until_ms=1795000000000)
    assert found == task | {"tenantId": "acme"}


def test_a_task_of_7_as_a_job_of_8() -> None:
    job, types = job_of_task(TASK, NAMES_8, worker="zb", until_ms=5)
    assert job["key"] == GIVEN["task-1"] and job["jobKey"] == str(job["key"])
    assert job["processInstanceKey"] == GIVEN["instance-1"]
    assert job["processDefinitionKey"] == GIVEN["Hotel:3:def-1"]
    assert (job["processDefinitionVersion"], job["retries"], job["deadline"]) == (3, 3, 5)
    assert job["variables"] == {"guest": "Ada", "when": "2026-11-21T09:23:53.322+0000"}
    assert types == {"when": "Date"} and job["customHeaders"] == {}
    assert job_of_task(TASK | {"retries": 0}, NAMES_8, worker="", until_ms=5)[0]["retries"] == 0
    # What Camunda 8's clients read of a job is all there.
    assert set(JOB) <= set(job)


@pytest.mark.parametrize("field", sorted(set(JOB) - {"worker", "deadline", "tenantId"}))
@pytest.mark.parametrize("value", [None, "junk", ...])
def test_what_is_no_job(field: str, value: Any) -> None:
    job = {k: v for k, v in JOB.items() if k != field}
    if value is not ...:
        job[field] = value
    if field in ("type", "processDefinitionId", "elementId") and value == "junk":
        return  # any text is one
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        task_of_job(job, NAMES_7, worker_id="py", until_ms=0)
