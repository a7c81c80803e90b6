"""What is wrong with a request is said with its field, and where it can be with its line; nothing
of it takes effect, and nothing is a server error."""

import json
from typing import Any

from tests.runs.worlds import World

NO_RUN = "00000000-0000-4000-8000-000000000000"

FETCH = {"actions": ["a"], "worker": "w"}


def with_input(text: str) -> bytes:
    """A trigger whose input is this JSON text."""
    return f'{{"input": {text}}}'.encode()


async def refused(world: World, path: str, data: bytes, status: int = 400) -> str:
    told = await world.http.post(path, content=data, headers={"content-type": "application/json"})
    assert told.status_code == status, told.text[:1_000]
    assert told.headers["content-type"] == "application/problem+json"
    detail: str = told.json()["detail"]
    return detail


VALUES = [
    ("NaN", "no finite"),
    ("-Infinity", "no finite"),
    ("1e999", "no finite"),
    ("1" + "0" * 30, "64 bits"),
    ("1" + "0" * 5_000, "digits"),
    ('{"a": 1, "a": 2}', "'a' stands twice"),
    ('"\\ud800"', "surrogate"),
    ('{"\\udc00": 1}', "cannot be a name"),
    ("[" * 70 + "]" * 70, "deeper than 64"),
    ("[" * 100_000 + "]" * 100_000, "deeper than 64"),
    ("{", "no JSON"),
    ("'x'", "no JSON"),
]


async def test_a_value_that_not_all_can_hold(world: World) -> None:
    await world.define("flow", {"action": "a"})
    for text, said in VALUES:
        assert said in await refused(world, "/workflow/flow/trigger", with_input(text)), text[:80]
    assert (await world.http.get("/workflow/runs")).json()["items"] == []


async def test_an_input_that_is_too_large(world: World) -> None:
    await world.define("flow", {"action": "a"})
    large = json.dumps("x" * 2**20)
    told = await refused(world, "/workflow/flow/trigger", with_input(large), 413)
    assert "1048576 are the most" in told
    await world.http.post("/workflow/flow/trigger", content=with_input(json.dumps("x" * 1_000_000)))
    execution = json.dumps({"workflow": {"id": "flow", "steps": [{"action": "a"}]}, "input": large})
    await refused(world, "/executions", execution.encode(), 413)
    await refused(world, "/workflow/flow/trigger", b"x" * (16 * 2**20 + 1), 413)
    assert len((await world.http.get("/workflow/runs")).json()["items"]) == 1


WRONG: list[tuple[str, str, Any, int, str]] = [
    ("GET", "/workflow/nobody", None, 404, "nobody"),
    ("GET", "/workflow/flow?version=7", None, 404, "version 7 of workflow flow"),
    ("GET", "/workflow/flow?version=0", None, 400, "version"),
    ("GET", "/workflow/flow/versions?after=x", None, 400, "next"),
    ("POST", "/workflow/nobody/trigger", {"input": 1}, 404, "define it first"),
    ("POST", "/workflow/flow/trigger", {"inputs": 1}, 400, "inputs"),
    ("POST", "/workflow/flow/trigger", {"input": 1, "version": "1"}, 400, "version"),
    ("POST", "/workflow/flow/trigger", {"input": 1, "version": True}, 400, "version"),
    ("POST", "/workflow/flow/trigger", {"input": 1, "version": 9}, 404, "flow"),
    ("POST", "/workflow/flow/trigger", [1], 400, "object"),
    ("GET", f"/workflow/run/{NO_RUN}", None, 404, NO_RUN),
    ("GET", "/workflow/run/%00", None, 404, "no run"),
    ("GET", f"/workflow/run/{NO_RUN}/events", None, 404, NO_RUN),
    ("POST", f"/workflow/run/{NO_RUN}/cancel", {}, 404, NO_RUN),
    ("POST", f"/workflow/run/{NO_RUN}/cancel", {"reason": 1}, 400, "reason"),
    ("POST", f"/workflow/run/{NO_RUN}/retry", {}, 404, NO_RUN),
    ("POST", f"/workflow/run/{NO_RUN}/retry", {"now": True}, 400, "now"),
    ("GET", "/workflow/runs?status=running", None, 400, "Running"),
    ("GET", "/workflow/runs?since=yesterday", None, 400, "since"),
    ("GET", "/workflow/runs?since=2026-01-01T00:00:00", None, 400, "zone"),
    ("GET", "/workflow/runs?after=1-", None, 400, "next"),
    ("GET", "/workflow/runs?limit=501", None, 400, "limit"),
    (
        "GET",
        "/workflow/runs?cursor=1",
        None,
        400,
        "'cursor' here; there are after, limit, run,",
    ),
    ("GET", "/workflow/runs?run=", None, 400, "run must have 1 to 256 characters"),
    ("GET", "/workflow/runs?run=a,", None, 400, "with commas between"),
    ("GET", "/workflow/runs?run=%00", None, 400, "with commas between"),
    ("GET", "/executions?run=a%20b", None, 400, "with commas between"),
    ("GET", "/workflow/flow?id=other", None, 400, "'id' here; there are version"),
    ("POST", "/workflow/flow/trigger?x=1", {}, 400, "'x' here; there are none"),
    ("GET", "/workflow/run", None, 404, "GET /workflow/run/{run} shows a run"),
    ("GET", "/workflow/jobs", None, 404, "workers POST to /workflow/jobs/fetch"),
    ("GET", "/workflow/nobody/versions", None, 404, "GET /workflow/ lists them"),
    ("GET", f"/executions/{NO_RUN}", None, 404, NO_RUN),
    ("POST", "/executions", {"input": 1}, 400, "workflow"),
    ("POST", "/executions", {"workflow": 1}, 400, "workflow"),
    ("POST", "/workflow/jobs/fetch", FETCH | {"actions": []}, 400, "actions"),
    ("POST", "/workflow/jobs/fetch", FETCH | {"actions": "a"}, 400, "actions"),
    ("POST", "/workflow/jobs/fetch", FETCH | {"actions": [""]}, 400, "action"),
    ("POST", "/workflow/jobs/fetch", FETCH | {"actions": ["provider:AWS"]}, 400, "no action"),
    ("POST", "/workflow/jobs/fetch", FETCH | {"worker": ""}, 400, "worker"),
    ("POST", "/workflow/jobs/fetch", FETCH | {"max": 0}, 400, "max"),
    ("POST", "/workflow/jobs/fetch", FETCH | {"max": 1.5}, 400, "max"),
    ("POST", "/workflow/jobs/fetch", FETCH | {"waitMs": -1}, 400, "waitMs"),
    ("POST", "/workflow/jobs/fetch", FETCH | {"waitMs": 10**9}, 400, "waitMs"),
    ("POST", "/workflow/jobs/fetch", FETCH | {"lockMs": True}, 400, "lockMs"),
    ("POST", "/workflow/jobs/fetch", FETCH | {"wait": 1}, 400, "wait"),
    ("POST", "/workflow/jobs/results", {"worker": "w", "results": []}, 400, "results"),
    ("POST", "/workflow/jobs/results", {"worker": "w", "results": [1]}, 400, "results[0]"),
    ("POST", "/workflow/jobs/extend", {"worker": "w", "jobs": [{}]}, 400, "jobs[0]"),
]


async def test_a_request_that_is_wrong(world: World) -> None:
    """All of them at one gateway: none leaves a trace for the next."""
    await world.define("flow", {"action": "a"})
    for method, path, body, status, said in WRONG:
        told = await world.http.request(method, path, json=body)
        assert told.status_code == status, (method, path, body, told.text)
        assert told.headers["content-type"] == "application/problem+json", (method, path, body)
        assert said in told.json()["detail"], (method, path, body)


async def test_a_definition_is_refused_with_its_lines(world: World) -> None:
    text = b"""{
  "id": "run",
  "steps": [
    {"action": "a", "retry": {"jitter": 2}},
    {"id": "b", "provider": "AWS"}
  ]
}"""
    told = await world.http.post("/workflow/", content=text)
    assert told.status_code == 400
    found = [(one["line"], one["field"]) for one in told.json()["errors"]]
    assert found == [(2, "id"), (4, "steps[0].retry.jitter"), (5, "steps[1]")]
    assert (await world.http.get("/workflow/")).json()["items"] == []


async def test_an_execution_is_refused_with_the_lines_of_its_body(world: World) -> None:
    text = b"""{"input": 1,
 "workflow": {"id": "round", "startAt": "a", "steps": [
   {"id": "a", "action": "a", "next": "b"},
   {"id": "b", "action": "b", "next": "a"}]}}"""
    told = await world.http.post("/executions", content=text)
    assert told.status_code == 400
    (error,) = told.json()["errors"]
    assert error["line"] in (2, 3, 4) and error["field"].startswith("workflow.")
    assert "a" in error["message"]


async def test_yaml_is_taken_by_its_content_type_alone(world: World) -> None:
    text = b"id: greet\nsteps:\n  - action: hello\n  - action: bye\n"
    told = await world.http.post("/workflow", content=text)
    assert told.status_code == 400 and "application/yaml" in told.json()["detail"]
    told = await world.http.post(
        "/workflow", content=text, headers={"content-type": "application/yaml"}
    )
    assert (told.status_code, told.text) == (201, "greet")
    wrong = await world.http.post(
        "/workflow", content=b"id: x\nsteps: 7\n", headers={"content-type": "application/yaml"}
    )
    assert [one["line"] for one in wrong.json()["errors"]] == [2]


async def test_a_batch_with_one_bad_result_takes_none(world: World) -> None:
    await world.define("flow", {"action": "a"})
    id = await world.trigger("flow")
    job = await world.job("a")
    good = {"run": job["run"], "step": job["step"], "attempt": 1, "status": "completed"}
    bad: list[Any] = [
        good | {"attempt": 0}, good | {"attempt": "1"}, good | {"status": "done"},
        good | {"status": "failed", "failure": []}, good | {"step": None},
        good | {"status": "failed", "failure": {"code": 5}},
        good | {"status": "failed", "failure": {"retryable": "no"}},
    ]  # fmt: skip
    for one in bad:
        told = await world.http.post(
            "/workflow/jobs/results", json={"worker": "w", "results": [good, one]}
        )
        assert told.status_code == 400 and "results[1]" in told.json()["detail"]
    assert (await world.run(id))["status"] == "Running"
    assert await world.give(good) == ["taken"]


async def test_an_output_that_is_too_large_fails_its_step(world: World) -> None:
    await world.define("flow", {"action": "a"})
    id = await world.trigger("flow")
    assert await world.complete(await world.job("a"), "x" * 2**20) == "taken"
    run = await world.ended(id)
    assert (run["status"], run["error"]["code"], run["error"]["step"]) == (
        "Failed",
        "TooLarge",
        "a",
    )


ASTRAY = [
    ("GET", "/workflows", 404, "there is GET or POST /workflow/"),
    ("GET", f"/workflow/runs/{NO_RUN}", 404, "GET /workflow/run/{run}"),
    ("POST", "/workflow/run/x/start", 404, "POST /workflow/run/{run}/retry"),
    ("POST", "/workflow/trigger/flow/now", 404, "/v1/docs tells of all paths"),
    ("GET", "/execution/x", 404, "GET /executions/{run}"),
    ("POST", "/workflow/job/fetch", 404, "POST /workflow/jobs/fetch"),
    ("GET", "/workflow/engine-rest/process-definition", 404, "/workflow/engine-rest/"),
    ("GET", "/somewhere/else/altogether", 404, "/v1/docs tells of all paths"),
    ("GET", "/workflow/" + "x" * 5_000 + "/y/z", 404, "x" * 90 + "; "),
    ("DELETE", "/workflow/flow", 405, "DELETE is not for /workflow/flow; GET is"),
    ("GET", "/workflow/flow/trigger", 405, "GET is not for /workflow/flow/trigger; POST is"),
    ("PUT", "/executions", 405, "GET or POST is"),
    ("POST", "/workflow/runs", 405, "POST is not for /workflow/runs; GET is"),
]


async def test_a_path_or_method_that_there_is_not(world: World) -> None:
    for method, path, status, said in ASTRAY:
        told = await world.http.request(method, path)
        assert told.status_code == status, (method, path)
        detail = told.json()
        if path.startswith("/workflow/engine-rest"):
            assert said in detail["message"]
        else:
            assert told.headers["content-type"] == "application/problem+json", (method, path)
            assert said in detail["detail"], (method, path)
        assert ("allow" in told.headers) == (status == 405), (method, path)


async def test_the_dialects_of_engines_keep_their_words(world: World) -> None:
    told = await world.http.get("/engine-rest/no-such-path")
    assert (told.status_code, told.json()["message"]) == (404, "HTTP 404 Not Found")
