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


async def test_json_for_who_asks_for_it(world: World) -> None:
    wants = {"accept": "application/json"}
    made = await world.http.post("/workflow/", json=FIRST, headers=wants)
    assert made.json() == {"id": "my-first-workflow", "version": 1}
    assert made.headers["location"] == "/workflow/my-first-workflow"
    told = await world.http.post("/workflow/my-first-workflow/trigger", headers=wants)
    assert told.headers["location"] == f"/workflow/run/{told.json()['runId']}"
    browser = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    plain = await world.http.post("/workflow/my-first-workflow/trigger", headers=browser)
    assert plain.headers["content-type"].startswith("text/plain")


async def test_a_change_makes_a_version_and_runs_keep_theirs(world: World) -> None:
    await world.define("flow", {"action": "old"})
    first = await world.trigger("flow")
    await world.define("flow", {"action": "old"})
    await world.define("flow", {"action": "new"}, name="Second")
    shown = (await world.http.get("/workflow/flow")).json()
    assert (shown["version"], shown["name"], shown["steps"]) == (2, "Second", 1)
    before = (await world.http.get("/workflow/flow?version=1")).json()
    assert before["definition"]["steps"][0]["action"] == "old"
    again = await world.http.post("/workflow/", json=before["definition"])
    assert again.status_code == 201  # as it is shown it can be defined, as the third version
    versions = (await world.http.get("/workflow/flow/versions")).json()
    assert [one["version"] for one in versions["items"]] == [3, 2, 1]
    page = (await world.http.get("/workflow/flow/versions?limit=2")).json()
    rest = (await world.http.get(f"/workflow/flow/versions?after={page['next']}")).json()
    assert [one["version"] for one in rest["items"]] == [1] and rest["next"] is None
    body = {"input": None, "version": 2}
    second = (await world.http.post("/workflow/flow/trigger", json=body)).text
    assert [(await world.run(id))["version"] for id in (first, second)] == [1, 2]
    assert (await world.job("new"))["run"] == second


async def test_lists_have_pages(world: World) -> None:
    for id in ("b", "c", "a"):
        await world.define(id, {"action": "work"})
    page = (await world.http.get("/workflow/?limit=2")).json()
    assert [one["id"] for one in page["items"]] == ["a", "b"]
    rest = (await world.http.get(f"/workflow/?limit=2&after={page['next']}")).json()
    assert [one["id"] for one in rest["items"]] == ["c"] and rest["next"] is None

    runs = [await world.trigger(id) for id in ("a", "a", "b", "a", "b")]
    found: list[str] = []
    after = ""
    while True:
        page = (await world.http.get(f"/workflow/runs?limit=2{after}")).json()
        found += [one["runId"] for one in page["items"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert sorted(found) == sorted(runs)
    starts = [(await world.run(id))["startTime"] for id in found]
    assert starts == sorted(starts, reverse=True)

    async def listed(query: str) -> set[str]:
        told = (await world.http.get(f"/workflow/runs?{query}")).json()
        return {one["runId"] for one in told["items"]}

    assert await listed("workflow=b") == {runs[2], runs[4]}
    await world.http.post(f"/workflow/run/{runs[0]}/cancel")
    assert await listed("status=Cancelled") == {runs[0]}
    assert await listed("status=Running&workflow=a") == {runs[1], runs[3]}
    assert await listed("since=2000-01-01T00:00:00%2B01:00") == set(runs)
    assert await listed("until=1000") == set()
    executions = (await world.http.get("/executions?workflow=b")).json()["items"]
    assert {one["executionId"] for one in executions} == {runs[2], runs[4]}


async def test_a_key_starts_one_run(world: World) -> None:
    await world.define("flow", {"action": "a"})
    await world.define("other", {"action": "a"})
    key = {"Idempotency-Key": "order-4711"}
    first = await world.trigger("flow", 1, **key)
    assert await world.trigger("flow", 2, **key) == first
    assert await world.trigger("other", 1, **key) != first
    run = await world.run(first)
    assert (run["input"], run["idempotencyKey"]) == (1, "order-4711")
    long = await world.http.post("/workflow/flow/trigger", headers={"Idempotency-Key": "x" * 201})
    assert long.status_code == 400
    body = {"workflow": {"id": "flow", "steps": [{"action": "a"}]}, "input": 3}
    made = [(await world.http.post("/executions", json=body, headers=key)) for _ in range(2)]
    assert [one.json()["executionId"] for one in made] == [first, first]


async def test_a_failed_run_goes_on_where_it_failed(world: World) -> None:
    await world.define(
        "flow", {"action": "a"}, {"action": "b", "retry": {"maxAttempts": 2, "initialDelayMs": 1}}
    )
    id = await world.trigger("flow", 1)
    early = await world.http.post(f"/workflow/run/{id}/retry")
    assert early.status_code == 409 and "Running" in early.json()["detail"]
    await world.complete(await world.job("a"), 2)
    for _ in range(2):
        await world.fail(await world.job("b"), "Broken", message="no luck")
    failed = await world.ended(id)
    assert (failed["status"], failed["currentStep"]) == ("Failed", None)
    assert failed["error"] == {
        "code": "Broken", "message": "no luck", "blame": "worker", "step": "b"
    }  # fmt: skip
    told = await world.http.post(f"/workflow/run/{id}/retry")
    assert (told.status_code, told.json()["status"], told.json()["currentStep"]) == (
        200, "Running", 1
    )  # fmt: skip
    job = await world.job("b")
    assert (job["attempt"], job["payload"], job["key"]) == (3, 2, f"{id}:b")
    await world.complete(job, "done")
    run = await world.ended(id)
    assert (run["status"], run["finalOutput"], run["error"]) == ("Completed", "done", None)
    assert [one["attempts"] for one in run["stepResults"]] == [1, 3]


async def test_a_cancelled_run_takes_nothing_more(world: World) -> None:
    await world.define("flow", {"action": "a"})
    id = await world.trigger("flow")
    job = await world.job("a")
    told = await world.http.post(f"/workflow/run/{id}/cancel", json={"reason": "a mistake"})
    assert (told.status_code, told.json()["status"]) == (200, "Cancelled")
    assert (await world.http.post(f"/workflow/run/{id}/cancel")).status_code == 200
    assert await world.complete(job, 1) == "late"
    (step,) = (await world.run(id))["stepResults"]
    assert (step["status"], step["output"]) == ("Left", None)
    events = (await world.http.get(f"/workflow/run/{id}/events")).json()["events"]
    assert events[-2]["kind"] == "run.cancelled" and events[-2]["reason"] == "a mistake"
    assert events[-1]["kind"] == "attempt.late"
    done = await world.trigger("flow")
    await world.complete(await world.job("a"))
    refused = await world.http.post(f"/workflow/run/{done}/cancel")
    assert refused.status_code == 409 and "Completed" in refused.json()["detail"]


async def test_events_are_read_in_pages(world: World) -> None:
    await world.define("flow", {"action": "a"}, {"action": "b"})
    id = await world.trigger("flow", "x")
    async with world.working(a=lambda _: 1, b=lambda _: 2):
        run = await world.ended(id)
    found: list[Any] = []
    after = ""
    while True:
        page = (await world.http.get(f"/workflow/run/{id}/events?limit=3{after}")).json()
        found += page["events"]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert [one["seq"] for one in found] == list(range(1, run["events"] + 1))
    assert (found[0]["kind"], found[-1]["kind"]) == ("run.triggered", "run.completed")
    assert all(one["run"] == id for one in found)


async def test_a_run_says_that_nobody_asks_for_its_jobs(world: World) -> None:
    await world.define("flow", {"action": "misspelt"})
    id = await world.trigger("flow")
    (step,) = (await world.run(id))["stepResults"]
    assert step["notice"] == "nobody has asked for jobs of misspelt; is its worker running?"
    job = await world.job("misspelt", worker="who")
    (step,) = (await world.run(id))["stepResults"]
    assert (step["notice"], step["worker"]) == (None, "who")
    await world.complete(job)
    (step,) = (await world.run(id))["stepResults"]
    assert (step["notice"], step["worker"]) == (None, None)


async def test_an_attempt_that_nobody_works_fails_and_says_so(world: World) -> None:
    await world.define("flow", {"action": "nobody", "timeoutMs": 50, "retry": {"maxAttempts": 1}})
    run = await world.ended(await world.trigger("flow"))
    assert (run["error"]["code"], run["error"]["blame"]) == ("Timeout", "time")
    assert "no worker of nobody answered within 0.05 s" in run["error"]["message"]


async def test_metrics_count_runs_and_jobs(world: World) -> None:
    await world.define("flow", {"action": "a", "retry": {"initialDelayMs": 1}})
    for _ in range(2):
        await world.trigger("flow")
    first = await world.job("a")
    await world.fail(first, "Broken")
    await world.step(first["run"], "a", "Running")
    told = (await world.http.get("/v1/metrics")).text
    for line in (
        'gossamer_gateway_workflow_runs_open{status="Running"} 2',
        'gossamer_gateway_workflow_jobs_open{action="a",state="free"} 2',
        'gossamer_gateway_workflow_events_total{kind="run.triggered"} 2',
        'gossamer_gateway_workflow_attempts_failed_total{blame="worker"} 1',
        "gossamer_gateway_workflow_jobs_fetched_total 1",
    ):
        assert line in told, told
