"""A whole gateway whose workflows are tested over HTTP, by what executes them.

A test that takes the fixture `world`, or opens its own by `opens`, runs on each execution: the API
is the same, and so are its tests.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

import httpx
import pytest
import trio
from tests.gateway.whole_gateway import Whole, open_whole
from tests.patience import seen

from gossamer_gateway.runs.config import WorkflowsConfig
from gossamer_gateway.runs.model.deciding import ZEEBE
from gossamer_node.engines.config import EngineConfig
from gossamer_node.local_engines.starting import RunningZeebe

EXECUTIONS = ("own", pytest.param("zeebe", marks=pytest.mark.zeebe))
"""By what the suites of the API are run."""

ENDED = ("Completed", "Failed", "Cancelled")

Handler = Callable[[Any], Any]
"""Makes an output of a payload, or raises."""


@dataclass(frozen=True)
class World:
    """A running gateway."""

    whole: Whole
    http: httpx.AsyncClient

    async def define(self, id: str, *steps: Mapping[str, Any], **more: Any) -> None:
        """Defines a workflow of these steps."""
        made = await self.http.post("/workflow/", json={"id": id, "steps": list(steps), **more})
        assert made.status_code == 201, made.text

    async def trigger(self, id: str, given: Any = None, **headers: str) -> str:
        """Starts a run; returns its id once its first step has begun."""
        told = await self.http.post(
            f"/workflow/{id}/trigger", json={"input": given}, headers=headers
        )
        assert told.status_code == 200, told.text

        async def has_begun() -> bool:
            run = await self.run(told.text)
            return run["currentStep"] is not None or run["status"] in ENDED

        await seen(has_begun)
        return told.text

    async def run(self, id: str) -> Any:
        told = await self.http.get(f"/workflow/run/{id}")
        assert told.status_code == 200, told.text
        return told.json()

    async def ended(self, id: str) -> Any:
        """The run, once it has ended."""

        async def look() -> Any:
            found = await self.run(id)
            return found if found["status"] in ENDED else None

        return await seen(look)

    async def step(self, id: str, step: str, status: str) -> Any:
        """The step of a run, once it is in that state."""

        async def look() -> Any:
            found = await self.run(id)
            return next(
                (
                    one
                    for one in found["stepResults"]
                    if one["stepId"] == step and one["status"] == status
                ),
                None,
            )

        return await seen(look)

    async def fetch(self, *actions: str, worker: str = "w", **more: Any) -> list[Any]:
        """Jobs of these actions."""
        body = {"actions": list(actions), "worker": worker, "max": 10, **more}
        told = await self.http.post("/workflow/jobs/fetch", json=body)
        assert told.status_code == 200, told.text
        jobs: list[Any] = told.json()["jobs"]
        return jobs

    async def waits(self, count: int) -> None:
        """Until so many workers wait for jobs."""
        line = f"gossamer_gateway_workflow_polls_waiting {count}\n"

        async def look() -> bool:
            return line in (await self.http.get("/v1/metrics")).text

        await seen(look)

    async def job(self, action: str, worker: str = "w", **more: Any) -> Any:
        """A job of an action, once there is one."""

        async def look() -> list[Any]:
            return await self.fetch(action, worker=worker, max=1, waitMs=30_000, **more)

        (job,) = await seen(look)
        return job

    async def give(self, *results: Mapping[str, Any], worker: str = "w") -> list[str]:
        """Sends results; returns their verdicts."""
        told = await self.http.post(
            "/workflow/jobs/results", json={"worker": worker, "results": list(results)}
        )
        assert told.status_code == 200, told.text
        return [one["verdict"] for one in told.json()["results"]]

    async def complete(self, job: Mapping[str, Any], output: Any = None) -> str:
        (verdict,) = await self.give(completed(job, output))
        return verdict

    async def fail(self, job: Mapping[str, Any], code: str, **more: Any) -> str:
        (verdict,) = await self.give(failed(job, code, **more))
        return verdict

    @asynccontextmanager
    async def working(self, **handlers: Handler) -> AsyncIterator[None]:
        """Works jobs of these actions until the block is left."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._work, handlers)
            yield
            nursery.cancel_scope.cancel()

    async def _work(self, handlers: Mapping[str, Handler]) -> None:
        while True:
            for job in await self.fetch(*handlers, waitMs=10_000):
                try:
                    said = completed(job, handlers[job["action"]](job["payload"]))
                except Exception as error:  # what the handler's mistake is, the run has to tell
                    said = failed(job, type(error).__name__, message=str(error))
                await self.give(said)


def completed(job: Mapping[str, Any], output: Any = None) -> dict[str, Any]:
    return {**_of(job), "status": "completed", "output": output}


def failed(job: Mapping[str, Any], code: str, **more: Any) -> dict[str, Any]:
    return {**_of(job), "status": "failed", "failure": {"code": code, **more}}


def _of(job: Mapping[str, Any]) -> dict[str, Any]:
    return {name: job[name] for name in ("run", "step", "attempt")}


@asynccontextmanager
async def open_world(
    place: Path, execution: str = "own", *engines: EngineConfig, **door: Any
) -> AsyncIterator[World]:
    """Runs until the block is left. What runs at an engine is cancelled then, so that its jobs
    are not in the way of the next world's."""
    # On an engine that many tests share each has types of jobs of its own.
    prefix = f"{token_hex(4)}:" if execution == ZEEBE else ""
    config = WorkflowsConfig(execution=execution, job_prefix=prefix)
    async with open_whole(place, *engines, workflows=config, **door) as whole:
        world = World(whole, whole.http)
        yield world
        if engines:
            headers = {"x-api-key": whole.keys["admin"]} if whole.keys else {}
            told = await world.http.get("/workflow/runs?limit=100", headers=headers)
            for run in told.json()["items"]:
                doors = {"Failed": ("retry", "cancel")}.get(run["status"], ("cancel",))
                for way in doors if run["status"] not in ("Completed", "Cancelled") else ():
                    path = f"/workflow/run/{run['runId']}/{way}"
                    await world.http.post(path, headers=headers)


Opens = Callable[..., AbstractAsyncContextManager[World]]


@pytest.fixture(params=EXECUTIONS)
def execution(request: pytest.FixtureRequest) -> str:
    """Who executes the runs of a test."""
    of: str = request.param
    return of


@pytest.fixture
def opens(request: pytest.FixtureRequest, execution: str) -> Opens:
    """`open_world`, but for the place and settings of the door."""
    engines = []
    if execution == "zeebe":
        zeebe: RunningZeebe = request.getfixturevalue("zeebe")
        engines = [EngineConfig("eight", "camunda8", zeebe.url, grpc=zeebe.grpc_address)]

    def open_one(place: Path, **door: Any) -> AbstractAsyncContextManager[World]:
        return open_world(place, execution, *engines, **door)

    return open_one


@pytest.fixture
async def world(opens: Opens, tmp_path: Path) -> AsyncIterator[World]:
    """A gateway, by each execution."""
    async with opens(tmp_path) as made:
        yield made
