"""Functions of clouds through a whole gateway, over HTTP."""

from pathlib import Path

from tests.gateway.whole_gateway import open_whole
from tests.patience import seen
from tests.runs.providers.scripted import open_scripted, reply
from tests.runs.worlds import World

from gossamer_gateway.runs.config import WorkflowsConfig
from gossamer_gateway.runs.providers.config import AzureConfig

EXECUTION = {
    "workflow": {
        "id": "my-flow",
        "startAt": "step1",
        "steps": [{"id": "step1", "type": "TASK", "provider": "AWS", "functionId": "my-func"}],
    },
    "input": {"hello": "world"},
}


async def test_a_cloud_that_nobody_configured_is_a_clear_failure(tmp_path: Path) -> None:
    async with open_whole(tmp_path) as whole:
        told = await whole.http.post("/executions", json=EXECUTION)
        assert told.status_code == 201, told.text
        id = told.json()["executionId"] if "executionId" in told.json() else told.json()["id"]
        run = await World(whole, whole.http).ended(id)
        assert run["status"] == "Failed"
        assert run["error"]["code"] == "NotConfigured"
        assert run["error"]["message"].startswith("AWS is not configured: my-func cannot be called")
        health = (await whole.http.get("/v1/workflow/providers")).json()
        (aws,) = health["providers"]
        assert (aws["name"], aws["configured"], aws["kind"]) == ("AWS", False, None)


async def test_how_providers_are_is_told(tmp_path: Path) -> None:
    async with open_scripted(reply({"ok": True})) as server:
        config = WorkflowsConfig(
            providers=(AzureConfig(base_url=server.url, key="a key of a function"),)
        )
        async with open_whole(tmp_path, workflows=config) as whole:
            steps = [{"id": "pay", "type": "TASK", "provider": "AZURE", "functionId": "pay"}]
            body = {"workflow": {"id": "w", "startAt": "pay", "steps": steps}, "input": 1}
            assert (await whole.http.post("/executions", json=body)).status_code == 201

            async def look() -> dict[str, object] | None:
                told = (await whole.http.get("/v1/workflow/providers")).json()
                regions = told["providers"][0]["regions"]
                return regions[0] if regions and regions[0]["calls"] else None

            region = await seen(look)
            assert region["circuit"] == "closed" and region["failures"] == {}
            metrics = (await whole.http.get("/v1/metrics")).text
            assert 'function_calls_total{provider="AZURE",region="",ended="well"} 1\n' in metrics
            assert "function_call_seconds_bucket" in metrics and "a key of" not in metrics
            document = (await whole.http.get("/v1/openapi.json")).json()
            assert "/v1/workflow/providers" in document["paths"]
