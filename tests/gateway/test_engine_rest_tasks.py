"""External tasks through `/engine-rest`, in Camunda 7 and in Camunda 8: the same words for both."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from tests.gateway.compatibility import WORKS, differs, proves, refused
from tests.gateway.seven_stage import NEW, OLD, SMALL, Stage, new, old, open_stage, small
from tests.patience import patience

from gossamer_gateway.engine_rest import ids

pytestmark = [
    pytest.mark.camunda7,
    pytest.mark.zeebe,
    pytest.mark.usefixtures("short_polls"),
]


TASK = "/external-task/{id}"


@pytest.fixture
async def stage(camunda7_url: str, embedded_url: str, zeebe_url: str) -> AsyncIterator[Stage]:
    """All three kinds of engine."""
    async with open_stage(old(camunda7_url), small(embedded_url), new(zeebe_url)) as stage:
        await stage.deploy()
        yield stage


@proves("engine_rest", f"POST {TASK}/complete", camunda7=WORKS, embedded=WORKS, camunda8=WORKS)
@proves(
    "engine_rest",
    "POST /external-task/fetchAndLock",
    camunda7=WORKS,
    embedded=WORKS,
    camunda8=differs("each topic is polled by itself; no priority, no creation time"),
)
@pytest.mark.parametrize("engine", [OLD, SMALL, NEW])
async def test_a_task_is_fetched_and_completed(stage: Stage, engine: str) -> None:
    sent = {
        "text": {"value": "ü", "type": "String"},
        "whole": {"value": 2**53 + 1, "type": "Long"},
        "half": {"value": 0.5, "type": "double"},
        "flag": {"value": True},
        "none": {"value": None, "type": "null"},
        "json": {"value": '{"a":[1]}', "type": "json"},
    }
    started = await stage.start(engine, sent, businessKey="B1", withVariablesInReturn=True)
    assert started["businessKey"] == "B1" and started["definitionKey"] == stage.name
    assert started["variables"]["whole"]["value"] == 2**53 + 1
    (task,) = await stage.fetch(includeExtensionProperties=True)
    assert task["processInstanceId"] == started["id"]
    assert task["businessKey"] == "B1"
    assert task["processDefinitionId"] == started["definitionId"]
    assert (task["topicName"], task["activityId"], task["workerId"]) == (stage.name, "work", "w")
    assert task["extensionProperties"] == ({"colour": "blue"} if engine == NEW else {})
    told = {name: (one["type"], one["value"]) for name, one in task["variables"].items()}
    assert told == {
        "text": ("String", "ü"), "whole": ("Long", 2**53 + 1), "half": ("Double", 0.5),
        "flag": ("Boolean", True), "none": ("Null", None), "json": ("Json", '{"a":[1]}'),
    }  # fmt: skip
    assert await stage.look() == []
    wrong = await stage.settle(task, "complete", "x")
    assert wrong.status_code == 400
    assert wrong.json() == {
        "type": "RestException",
        "message": f"External Task {task['id']} cannot be completed by worker 'x'. It is locked "
        "by worker 'w'.",
        "code": 0,
    }
    done = await stage.settle(
        task, "complete", variables={"answer": {"value": {"deep": [1.5]}}}, localVariables={}
    )
    assert (done.status_code, done.content) == (204, b"")
    again = await stage.settle(task, "complete")
    assert (again.status_code, again.json()["type"]) == (404, "RestException")


@pytest.mark.parametrize("engine", [OLD, SMALL, NEW])
async def test_one_fetch_serves_both_engines(stage: Stage, engine: str) -> None:
    """Who waits is woken by whichever engine has something."""
    got: list[Any] = []
    with patience():
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                got.extend(await stage.look(wait_ms=20_000))

            nursery.start_soon(wait)
            started = await stage.start(engine)
    assert [task["processInstanceId"] for task in got] == [started["id"]]


@proves(
    "engine_rest",
    f"POST {TASK}/failure",
    f"GET {TASK}/errorDetails",
    f"GET {TASK}",
    camunda7=WORKS,
    embedded=WORKS,
    camunda8=WORKS,
)
@proves(
    "engine_rest",
    f"PUT {TASK}/retries",
    camunda7=WORKS,
    embedded=WORKS,
    camunda8=differs("an incident stays until it is resolved in Camunda 8"),
)
@pytest.mark.parametrize("engine", [OLD, SMALL, NEW])
async def test_a_failure_comes_again_and_ends_in_an_incident(stage: Stage, engine: str) -> None:
    await stage.start(engine)
    (task,) = await stage.fetch()
    failed = await stage.settle(
        task, "failure", errorMessage="no", errorDetails="a\nb", retries=2, retryTimeout=0,
        variables={"seen": {"value": 1}}, localVariables={"here": {"value": 2}},
    )  # fmt: skip
    assert failed.status_code == 204, failed.text
    row = (await stage.get(f"/external-task/{task['id']}")).json()
    assert (row["retries"], row["errorMessage"]) == (2, "no")
    details = await stage.get(f"/external-task/{task['id']}/errorDetails")
    assert details.text == "a\nb" and details.headers["content-type"].startswith("text/plain")

    (second,) = await stage.fetch("w2")
    assert (second["id"], second["retries"]) == (task["id"], 2)
    assert {name: one["value"] for name, one in second["variables"].items()} == {
        "seen": 1,
        "here": 2,
    }
    assert (await stage.settle(second, "failure", "w2", retries=0)).status_code == 204
    retries = await stage.http.put(f"/external-task/{task['id']}/retries", json={"retries": 3})
    assert retries.status_code == 204, retries.text
    row = (await stage.get(f"/external-task/{task['id']}")).json()
    assert row["retries"] == 3
    bad = await stage.http.put(f"/external-task/{task['id']}/retries", json={"retries": -1})
    assert bad.status_code == 400


@proves(
    "engine_rest",
    f"POST {TASK}/bpmnError",
    camunda7=WORKS,
    embedded=WORKS,
    camunda8=differs(
        "variables stay at the event that catches it unless that maps them on; an error that "
        "nothing catches becomes an incident"
    ),
)
@pytest.mark.parametrize("engine", [OLD, SMALL, NEW])
async def test_a_bpmn_error_takes_its_way(stage: Stage, engine: str) -> None:
    await stage.start(engine)
    (task,) = await stage.fetch()
    thrown = await stage.settle(
        task, "bpmnError", errorCode="CODE", errorMessage="so", variables={"v": {"value": 1}}
    )
    assert thrown.status_code == 204, thrown.text
    gone = await stage.get(f"/process-instance/{task['processInstanceId']}")
    assert (gone.status_code, gone.json()["type"]) == (404, "InvalidRequestException")


@proves(
    "engine_rest",
    f"POST {TASK}/extendLock",
    f"POST {TASK}/unlock",
    camunda7=WORKS,
    embedded=WORKS,
    camunda8=WORKS,
)
@proves("engine_rest", f"POST {TASK}/lock", camunda7=WORKS, embedded=WORKS)
@pytest.mark.parametrize("engine", [OLD, SMALL, NEW])
async def test_locks_are_extended_and_given_back(stage: Stage, engine: str) -> None:
    await stage.start(engine)
    (task,) = await stage.fetch()
    assert (await stage.settle(task, "extendLock", newDuration=120_000)).status_code == 204
    assert (await stage.settle(task, "lock", lockDuration=130_000)).status_code == 204
    wrong = await stage.settle(task, "extendLock", "x", newDuration=5)
    assert wrong.status_code == 400 and "It is locked by worker 'w'." in wrong.json()["message"]
    for verb, name in (("extendLock", "newDuration"), ("lock", "lockDuration")):
        more: dict[str, Any] = {name: 0}
        none = await stage.settle(task, verb, **more)
        assert none.status_code in (400, 500), none.text
    row = (await stage.get(f"/external-task/{task['id']}")).json()
    assert row["lockExpirationTime"] > task["lockExpirationTime"]
    assert (await stage.settle(task, "unlock")).status_code == 204
    row = (await stage.get(f"/external-task/{task['id']}")).json()
    assert row["workerId"] is None

    (again,) = await stage.fetch("w2")
    assert again["id"] == task["id"]
    late = await stage.settle(task, "complete")
    assert late.status_code == 400
    assert (await stage.settle(again, "complete", "w2")).status_code == 204


@proves(
    "engine_rest",
    f"POST {TASK}/complete",
    camunda8=differs("refused once the lock has run out"),
)
@proves(
    "engine_rest",
    f"POST {TASK}/lock",
    camunda8=differs("prolongs a lock; a job that is free is got by fetchAndLock alone"),
)
async def test_a_late_worker_is_refused_in_camunda_8(stage: Stage) -> None:
    await stage.start(NEW)
    (task,) = await stage.fetch(lockDuration=1)
    late = await stage.settle(task, "complete")
    assert late.status_code == 400, late.text
    assert "its lock has run out" in late.json()["message"]
    lock = await stage.settle(task, "lock", lockDuration=5_000)
    assert (lock.status_code, lock.json()["type"]) == (501, "UnsupportedOperationException")


@proves(
    "engine_rest",
    "POST /external-task/fetchAndLock",
    camunda8=differs(
        "filters by process, definition, tenant and business key are applied to what Camunda 8 "
        "hands out; one by variables or version tag leaves it out"
    ),
)
async def test_what_a_worker_did_not_ask_for_stays(camunda7_url: str, zeebe_url: str) -> None:
    """Filters that Camunda 8 has not are applied to what it hands out."""
    async with open_stage(old(camunda7_url), new(zeebe_url)) as stage:
        await stage.deploy()
        await filter_in_camunda_8(stage)


async def filter_in_camunda_8(stage: Stage) -> None:
    wanted = await stage.start(NEW, businessKey="B2")
    other = await stage.start(NEW, businessKey="B3")
    for filters in (
        {"processDefinitionKey": "another"},
        {"processDefinitionIdIn": ["another:1:676f7373-0000-8000-8000-000000000001"]},
        {"businessKey": "B4"},
        {"tenantIdIn": ["t"]},
    ):
        assert await stage.look(**filters) == []

    (task,) = await stage.fetch(
        tasks=2, businessKey="B2", processDefinitionKeyIn=[stage.name],
        processDefinitionId=wanted["definitionId"],
    )  # fmt: skip
    assert task["processInstanceId"] == wanted["id"]

    (left,) = await stage.fetch("w2")
    assert left["processInstanceId"] == other["id"]


async def test_only_the_variables_that_are_asked_for(stage: Stage) -> None:
    for engine in (OLD, NEW):
        await stage.start(engine, {"a": {"value": 1}, "b": {"value": 2}, "o": {"value": {"x": 1}}})
        (task,) = await stage.fetch(variables=["a", "missing"])
        assert set(task["variables"]) == {"a"}
        await stage.start(engine, {"a": {"value": 1}})
        (task,) = await stage.fetch(variables=[])
        assert task["variables"] == {}
        await stage.start(engine, {"o": {"value": {"x": 1}}})
        (task,) = await stage.fetch(deserializeValues=True)
        assert task["variables"]["o"]["value"] == {"x": 1}


@proves(
    "engine_rest",
    "GET /external-task",
    "POST /external-task",
    "GET /external-task/count",
    "POST /external-task/count",
    "GET /external-task/topic-names",
    camunda7=WORKS,
    camunda8=differs(
        "jobs that a client was handed; a filter that those do not answer leaves Camunda 8 out, "
        "as the header Gossamer-Left-Out says"
    ),
)
async def test_lists_and_counts_over_both(camunda7_url: str, zeebe_url: str) -> None:
    async with open_stage(old(camunda7_url), new(zeebe_url)) as stage:
        await stage.deploy()
        await list_both(stage)


async def list_both(stage: Stage) -> None:
    await stage.start(OLD)
    await stage.start(NEW)
    tasks = [*await stage.fetch("w"), *await stage.fetch("w")]
    params = {"topicName": stage.name, "sortBy": "id", "sortOrder": "asc"}
    listed = (await stage.get("/external-task", params=params)).json()
    assert [row["id"] for row in listed] == sorted(task["id"] for task in tasks)
    assert set(listed[0]) == set(listed[1])
    for first, last in ((0, 1), (1, 2), (1, 3), (2, 4)):
        page = await stage.get(
            "/external-task", params=params | {"firstResult": first, "maxResults": last - first}
        )
        assert page.json() == listed[first:last]
    assert (await stage.get("/external-task/count", params=params)).json() == {"count": 2}
    free = await stage.post(
        "/external-task/count", json={"topicName": stage.name, "notLocked": True}
    )
    assert free.json() == {"count": 0}
    mine = await stage.post("/external-task", json={"topicName": stage.name, "workerId": "w"})
    assert len(mine.json()) == 2
    instance = tasks[1]["processInstanceId"]
    one = await stage.get("/external-task", params={"processInstanceId": instance})
    assert [row["id"] for row in one.json()] == [tasks[1]["id"]]
    assert stage.name in (await stage.get("/external-task/topic-names")).json()
    left = await stage.get("/external-task", params={"priorityHigherThanOrEquals": 0})
    assert left.headers["gossamer-left-out"].startswith("new;")


@proves("engine_rest", f"PUT {TASK}/priority", camunda7=WORKS, embedded=refused("it has no such "
        "resource"), camunda8=refused("jobs have no priority"))  # fmt: skip
@pytest.mark.parametrize("engine", [OLD, SMALL, NEW])
async def test_a_priority_is_set_where_there_is_one(stage: Stage, engine: str) -> None:
    await stage.start(engine)
    (task,) = await stage.fetch()
    put = await stage.http.put(f"/external-task/{task['id']}/priority", json={"priority": 5})
    assert put.status_code == {OLD: 204, SMALL: 404, NEW: 501}[engine], put.text
    if engine == NEW:
        assert put.json()["type"] == "UnsupportedOperationException"


@proves("engine_rest", f"PUT {TASK}/retries", camunda8=differs("0 is refused"))
async def test_no_retries_are_left_by_a_failure_alone(stage: Stage) -> None:
    await stage.start(NEW)
    (task,) = await stage.fetch()
    none = await stage.http.put(f"/external-task/{task['id']}/retries", json={"retries": 0})
    assert none.status_code == 501


async def test_an_id_of_nothing_is_unknown(camunda7_url: str, zeebe_url: str) -> None:
    async with open_stage(old(camunda7_url), new(zeebe_url)) as stage:
        for id in (
            "nope", "676f7373-0000-8000-8000-000000000001", name_of(stage, 2**51 + 1),
            name_of(stage, 1), "%00", "a%2Fb", "..%2F..%2Fversion", "'",
        ):  # fmt: skip
            for method, path, body in (
                ("GET", f"/external-task/{id}", None),
                ("POST", f"/external-task/{id}/complete", {"workerId": "w"}),
                ("GET", f"/process-instance/{id}", None),
                ("DELETE", f"/process-instance/{id}", None),
                ("GET", f"/process-definition/{id}", None),
                ("GET", f"/deployment/{id}", None),
            ):
                answer = await stage.http.request(method, path, json=body)
                assert answer.status_code in (400, 404), (method, path, answer.text)


def name_of(stage: Stage, number: int) -> str:
    eight = stage.gate.desk.engines.eight
    assert eight is not None
    return ids.name_of(eight, number)
