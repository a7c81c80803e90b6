"""Workflows over HTTP, as the documents that ask for them show it, and as their readers use it."""

from typing import Any

from tests.runs.worlds import World

FIRST = {
    "id": "my-first-workflow",
    "steps": [{"action": "step1", "stepIndex": 0}, {"action": "step2", "stepIndex": 1}],
}


async def test_a_list_of_steps_runs_to_its_end(world: World) -> None:
    made = await world.http.post("/workflow/", json=FIRST)
    assert (made.status_code, made.text) == (201, "my-first-workflow")
    told = await world.http.post(
        "/workflow/my-first-workflow/trigger", json={"input": "Hello World"}
    )
    assert told.status_code == 200
    id = told.text
    async with world.working(
        step1=lambda payload: f"Processed: {payload}", step2=lambda payload: payload.upper()
    ):
        run = await world.ended(id)
    assert run["status"] == "Completed"
    assert run["finalOutput"] == "PROCESSED: HELLO WORLD"
    assert [
        (one["stepId"], one["stepIndex"], one["action"], one["status"], one["attempts"])
        for one in run["stepResults"]
    ] == [("step1", 0, "step1", "Completed", 1), ("step2", 1, "step2", "Completed", 1)]
    assert run["stepResults"][1]["input"] == "Processed: Hello World"
    assert (run["currentStep"], run["workflowId"], run["input"]) == (
        None, "my-first-workflow", "Hello World"
    )  # fmt: skip


async def test_an_execution_is_a_workflow_and_its_input(world: World) -> None:
    body: dict[str, Any] = {
        "workflow": {
            "id": "my-flow",
            "startAt": "step1",
            "steps": [{"id": "step1", "type": "TASK", "action": "work"}],
        },
        "input": {"hello": "world"},
    }
    told = await world.http.post("/executions", json=body)
    assert told.status_code == 201, told.text
    execution = told.json()
    id = execution["executionId"]
    assert (execution["status"], execution["currentStepId"]) == ("Running", "step1")
    assert told.headers["location"] == f"/executions/{id}"
    await world.complete(await world.job("work"), {"done": True})
    ended = (await world.http.get(f"/executions/{id}")).json()
    assert (ended["status"], ended["output"]) == ("Completed", {"done": True})
