"""Who may do what with workflows: roles, and grants that are limited to some of them."""

from pathlib import Path
from typing import Any

from tests.runs.worlds import Opens, World

from gossamer_gateway.door.principals import Grant, Role

KEYS = {
    "admin": [Grant(Role.ADMIN)],
    "reader": [Grant(Role.READ)],
    "starter": [Grant(Role.START)],
    "worker": [Grant(Role.WORK)],
    "deployer": [Grant(Role.DEPLOY)],
    "mine": [Grant(role, ("mine",)) for role in (Role.READ, Role.START, Role.DEPLOY)],
}

FLOW = {"steps": [{"action": "a"}]}


async def test_roles_and_limits(opens: Opens, tmp_path: Path) -> None:
    async with opens(tmp_path, keys=KEYS) as world:

        async def asks(key: str, method: str, path: str, body: Any = None) -> int:
            headers = {"x-api-key": world.whole.keys[key]} if key else {}
            told = await world.http.request(method, path, json=body, headers=headers)
            if path.startswith("/workflow/engine-rest") and told.status_code in (401, 403):
                assert "message" in told.json()
            return told.status_code

        for id in ("mine", "theirs"):
            assert await asks("admin", "POST", "/workflow/", {"id": id, **FLOW}) == 201
        runs = {id: await _started(world, id) for id in ("mine", "theirs")}
        mine, theirs = (f"/workflow/run/{runs[id]}" for id in ("mine", "theirs"))

        assert await asks("", "GET", "/workflow/") == 401
        assert await asks("", "POST", "/workflow/mine/trigger") == 401
        for key, method, path, body, status in (
            ("reader", "GET", "/workflow/", None, 200),
            ("reader", "GET", mine, None, 200),
            ("reader", "POST", "/workflow/mine/trigger", {}, 403),
            ("reader", "POST", "/workflow/", {"id": "x", **FLOW}, 403),
            ("reader", "POST", "/workflow/jobs/fetch", {"actions": ["a"], "worker": "w"}, 403),
            ("reader", "POST", f"{mine}/cancel", {}, 403),
            ("starter", "POST", "/workflow/mine/trigger", {}, 200),
            ("starter", "GET", mine, None, 403),
            ("worker", "POST", "/workflow/jobs/fetch", {"actions": ["b"], "worker": "w"}, 200),
            ("worker", "GET", "/workflow/engine-rest/version", None, 403),
            ("worker", "POST", "/workflow/engine-rest/external-task/x/complete",
             {"workerId": "w"}, 404),
            ("starter", "POST", "/workflow/engine-rest/external-task/x/complete",
             {"workerId": "w"}, 403),
            ("deployer", "POST", "/workflow", {"id": "x", **FLOW}, 201),
            ("deployer", "POST", "/executions", {"workflow": {"id": "x", **FLOW}}, 403),
            ("admin", "POST", "/executions", {"workflow": {"id": "x", **FLOW}}, 201),
            ("mine", "GET", "/workflow/", None, 403),
            ("mine", "GET", "/workflow/runs", None, 403),
            ("mine", "GET", "/workflow/runs?workflow=theirs", None, 403),
            ("mine", "GET", "/workflow/runs?workflow=mine", None, 200),
            ("mine", "GET", "/executions?workflow=mine", None, 200),
            ("mine", "GET", "/executions", None, 403),
            ("mine", "GET", "/workflow/mine", None, 200),
            ("mine", "GET", "/workflow/theirs", None, 403),
            ("mine", "GET", mine, None, 200),
            ("mine", "GET", theirs, None, 403),
            ("mine", "GET", f"{theirs}/events", None, 403),
            ("mine", "POST", "/workflow/theirs/trigger", {}, 403),
            ("mine", "POST", f"{theirs}/cancel", {}, 403),
            ("mine", "POST", f"{theirs}/retry", {}, 403),
            ("mine", "POST", "/workflow/", {"id": "theirs", **FLOW}, 403),
            ("mine", "POST", "/workflow/", {"id": "mine", **FLOW}, 201),
            ("mine", "POST", "/executions", {"workflow": {"id": "theirs", **FLOW}}, 403),
            ("mine", "POST", "/executions", {"workflow": {"id": "mine", **FLOW}}, 201),
            ("mine", "POST", f"{mine}/cancel", {}, 200),
            ("admin", "DELETE", "/workflow/mine", None, 405),
        ):  # fmt: skip
            assert await asks(key, method, path, body) == status, (key, method, path)


async def _started(world: World, id: str) -> str:
    headers = {"x-api-key": world.whole.keys["admin"]}
    told = await world.http.post(f"/workflow/{id}/trigger", headers=headers)
    return told.text
