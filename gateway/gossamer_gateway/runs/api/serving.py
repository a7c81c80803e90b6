"""What the doors to workflows do: asks the engine and the rows, and nothing else.

Each method takes a request whose parameters and body were read, and gives what is answered. Who is
limited to some workflows is asked about each that a request turns out to be about (`door.asking`).
"""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from quart import request
from quart.wrappers import Response

from gossamer_gateway.door.asking import check_process, check_role
from gossamer_gateway.door.principals import Role
from gossamer_gateway.errors import BadRequest, RequestError
from gossamer_gateway.runs import listing
from gossamer_gateway.runs.api import bodies, shapes, views
from gossamer_gateway.runs.engine import UnknownWorkflow
from gossamer_gateway.runs.jobs import holding
from gossamer_gateway.runs.jobs.notices import notices
from gossamer_gateway.runs.listing import Place, Wanted
from gossamer_gateway.runs.model.definition import Definition
from gossamer_gateway.runs.model.run import Run, Status
from gossamer_gateway.runs.opening import Workflows
from gossamer_gateway.v1.operations import Asked, json_response
from gossamer_gateway.v1.shapes import Page

KEY_HEADER = "Idempotency-Key"

_PLACE = re.compile(r"(\d{1,15})-(.{1,100})", re.ASCII)
"""A cursor: when the last run of a page was triggered, and its id."""

_ID_BEGIN = re.compile(r"[!-+\--~]{1,100}", re.ASCII)
"""Of a run's id: whatever can be printed, but for blanks and the comma that parts them."""

_PATHS = {
    "engine-rest": "nodes of the mesh find tasks under /workflow/engine-rest",
    "events": "GET /workflow/events follows what happens",
    "jobs": "workers POST to /workflow/jobs/fetch, /workflow/jobs/results and "
    "/workflow/jobs/extend",
    "run": "GET /workflow/run/{run} shows a run, and GET /workflow/runs lists them",
    "runs": "GET /workflow/runs lists the runs",
}
"""What begins with a word that is no workflow's id."""

_LISTED = "GET /workflow/ lists them"


class Conflict(RequestError):
    """What is asked for cannot be with a run as it is."""


class Serving:
    """The doors of one gateway. `who`: the name of who sent the request at hand."""

    def __init__(self, workflows: Workflows, who: Callable[[], str]) -> None:
        self._workflows = workflows
        self._engine = workflows.engine
        self._submit = workflows.storage.submit
        self._who = who

    # --- workflows

    async def define(self, asked: Asked) -> Response:
        definition: Definition = asked.body
        check_process(definition.id)
        made = await self._workflows.define(definition)
        return _plainly(shapes.Made(made.id, made.version), made.id, 201, f"/workflow/{made.id}")

    async def workflows(self, asked: Asked) -> Page[shapes.WorkflowShown]:
        after, limit = asked.get("after"), asked.limit
        found = await self._submit(lambda rows, _: listing.workflows(rows, after, limit + 1))
        return _page(found, limit, views.workflow_shown, lambda one: one.definition.id)

    async def workflow(self, asked: Asked) -> shapes.WorkflowShown:
        id, version = asked["id"], asked.get("version")
        number = None if version is None else int(version)
        found = await self._submit(lambda rows, _: listing.version(rows, id, number))
        if found is None:
            what = f"workflow {id}" if version is None else f"version {version} of workflow {id}"
            raise UnknownWorkflow(f"there is no {what}; {_PATHS.get(id, _LISTED)}")
        return views.workflow_shown(found)

    async def versions(self, asked: Asked) -> Page[shapes.WorkflowShown]:
        id, after, limit = asked["id"], asked.get("after"), asked.limit
        below = None if after is None else _whole(after, "after")
        found = await self._submit(lambda rows, _: listing.versions(rows, id, below, limit + 1))
        if not found and below is None:
            raise UnknownWorkflow(f"there is no workflow {id}; {_PATHS.get(id, _LISTED)}")
        return _page(found, limit, views.workflow_shown, lambda one: str(one.definition.version))

    # --- runs

    async def trigger(self, asked: Asked) -> Response:
        said: bodies.Trigger = asked.body
        key = bodies.key(request.headers.get(KEY_HEADER))
        run = await self._engine.trigger(asked["id"], said.given, key=key, version=said.version)
        return _plainly(shapes.Triggered(run.id), run.id, 200, f"/workflow/run/{run.id}")

    async def run(self, asked: Asked) -> shapes.RunShown:
        return await self._shown(await self._run(asked["run"]))

    async def runs(self, asked: Asked) -> Page[shapes.RunListed]:
        return await self._runs(asked, views.run_listed)

    async def cancel(self, asked: Asked) -> shapes.RunShown:
        return await self._shown(await self._cancelled(asked["run"], asked.body))

    async def retry(self, asked: Asked) -> shapes.RunShown:
        run = await self._run(asked["run"])
        if run.status is not Status.FAILED:
            raise Conflict(
                f"run {run.id} is {run.status.value}; one that has failed can be retried"
            )
        return await self._shown(await self._engine.retry(run.id, who=self._who()))

    async def events(self, asked: Asked) -> Response:
        run = await self._run(asked["run"])
        after = _whole(asked.get("after") or "0", "after")
        found = await self._engine.history(run.id, after, asked.limit)
        is_more = bool(found) and found[-1].seq < run.seq and len(found) == asked.limit
        next_ = str(found[-1].seq) if is_more else None
        return json_response({"events": found, "next": next_})

    # --- executions: the same runs

    async def execute(self, asked: Asked) -> Response:
        said: bodies.Executed = asked.body
        key = bodies.key(request.headers.get(KEY_HEADER))
        check_process(said.definition.id)
        check_role(Role.START, said.definition.id)
        made = await self._workflows.define(said.definition)
        run = await self._engine.trigger(made.id, said.given, key=key, version=made.version)
        run = await self._workflows.begun(run)
        answer = json_response(await self._execution(run), 201)
        answer.headers["Location"] = f"/executions/{run.id}"
        return answer

    async def execution(self, asked: Asked) -> shapes.Execution:
        return await self._execution(await self._run(asked["run"]))

    async def executions(self, asked: Asked) -> Page[shapes.ExecutionListed]:
        return await self._runs(asked, views.execution_listed)

    async def cancel_execution(self, asked: Asked) -> shapes.Execution:
        return await self._execution(await self._cancelled(asked["run"], asked.body))

    # --- what several have in common

    async def _run(self, id: str) -> Run:
        run = await self._engine.run(id)
        check_process(run.workflow)
        return run

    async def _around(self, run: Run) -> views.Around:
        """What is shown of a run beside itself."""
        found, held = await self._submit(
            lambda rows, _: (
                listing.version(rows, run.workflow, run.version),
                [] if run.status.has_ended else holding.of_run(rows, run.id),
            )
        )
        assert found is not None, "a run's definition is kept"
        of = self._workflows
        told = await notices(
            of.config.is_offered,
            of.asked,
            of.kafka.workers.idle if of.kafka is not None else None,
            run,
            found.definition,
            held,
        )
        return views.Around(found.definition, {one.step: one for one in held}, told)

    async def _shown(self, run: Run) -> shapes.RunShown:
        return views.run_shown(run, await self._around(run))

    async def _execution(self, run: Run) -> shapes.Execution:
        return views.execution(run, await self._around(run))

    async def _cancelled(self, id: str, reason: str) -> Run:
        await self._run(id)
        run = await self._engine.cancel(id, reason=reason, who=self._who())
        if run.status is not Status.CANCELLED:
            raise Conflict(f"run {id} is {run.status.value} already")
        return run

    async def _runs(self, asked: Asked, shown: Callable[[listing.Found], Any]) -> Page[Any]:
        limit = asked.limit
        wanted = Wanted(
            asked.get("workflow"),
            asked.get("status"),
            _moment(asked, "since"),
            _moment(asked, "until"),
            _ids(asked.get("run")),
        )
        check_process(wanted.workflow)
        after = None if (cursor := asked.get("after")) is None else _place(cursor)
        found = await self._submit(lambda rows, _: listing.runs(rows, wanted, after, limit + 1))
        return _page(found, limit, shown, lambda one: f"{one.triggered_ms}-{one.id}")


def _page(
    found: list[Any], limit: int, shown: Callable[[Any], Any], place: Callable[[Any], str]
) -> Page[Any]:
    """A page of what was found, of which one more than asked for tells whether there is more."""
    on_it = found[:limit]
    return Page([shown(one) for one in on_it], place(on_it[-1]) if len(found) > limit else None)


def _plainly(value: Any, text: str, status: int, location: str) -> Response:
    """JSON for who asks for it; for others a word, as a shell wants it."""
    wanted = request.accept_mimetypes.best_match(("text/plain", "application/json"))
    if wanted == "application/json":
        answer = json_response(value, status)
    else:
        answer = Response(text, status, content_type="text/plain; charset=utf-8")
    answer.headers["Location"] = location
    return answer


def _whole(text: str, name: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise BadRequest(f"{name} must be `next` of the page before")
    return int(text)


def _place(text: str) -> Place:
    found = _PLACE.fullmatch(text)
    if found is None:
        raise BadRequest("after must be `next` of the page before")
    return Place(int(found[1]), found[2])


def _ids(text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    ids = tuple(text.split(","))
    if not all(_ID_BEGIN.fullmatch(one) for one in ids):
        raise BadRequest(
            "run must be ids of runs, or how they begin, with commas between: "
            "550e8400,6ba7b810-9dad-11d1-80b4-00c04fd430c8"
        )
    return ids


def _moment(asked: Asked, name: str) -> int | None:
    text = asked.get(name)
    if text is None:
        return None
    if text.isascii() and text.isdecimal() and len(text) <= 15:
        return int(text)
    try:
        # In a query a plus is a blank, and who wrote +01:00 meant it.
        moment = datetime.fromisoformat(text.replace(" ", "+"))
        if moment.tzinfo is not None:
            return round(moment.timestamp() * 1_000)
    except (ValueError, OverflowError):
        pass
    raise BadRequest(
        f"{name} must be a time with its zone, as 2026-11-22T09:30:00Z, or milliseconds since 1970"
    )
