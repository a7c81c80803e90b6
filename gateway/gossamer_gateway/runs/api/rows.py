"""The endpoints of workflows: a row each, out of which come their routes and their OpenAPI."""

from functools import partial

from gossamer_gateway.runs.api import bodies, shapes
from gossamer_gateway.runs.api.serving import Serving
from gossamer_gateway.runs.model.run import Status
from gossamer_gateway.v1.operations import AFTER, LIMIT, Operation, Parameter
from gossamer_gateway.v1.shapes import Page

WORKFLOW = "/workflow"
EXECUTIONS = "/executions"

_ID = Parameter("id", "The workflow's id.", "path")
_RUN = Parameter("run", "The run's id.", "path")
_NO_WORKFLOW = {404: "There is no such workflow."}
_NO_RUN = {404: "There is no such run."}
_NOT_AS_IT_IS = _NO_RUN | {409: "The run is not in a state for it."}
_TOO_LARGE = {413: "The input is larger than 1 MiB."}
_BUSY = {503: "The rows can't be written or read now."}
_KEY = (
    "With the header `Idempotency-Key` a repetition starts nothing: it answers the run that the "
    "first one with this key started."
)
_FILTERS = (
    Parameter("workflow", "Of this workflow."),
    Parameter("status", "In this state.", choices=tuple(one.value for one in Status)),
    Parameter("since", "Triggered then or later: RFC 3339, or milliseconds since 1970."),
    Parameter("until", "Triggered before."),
    Parameter("run", "Whose id is this, or begins so; several with commas between."),
    LIMIT,
    AFTER,
)


def rows(serving: Serving) -> tuple[Operation, ...]:
    """All of them, but for workers' jobs."""
    workflow = partial(Operation, base=WORKFLOW, about="workflows")
    executions = partial(Operation, base=EXECUTIONS, about="executions")
    return (
        workflow(
            "POST", "/", "Define a workflow, or a new version of it", shapes.Made, serving.define,
            description="What is the same as the newest version makes none.",
            takes=bodies.DEFINITION,
            status=201, plainly=True, errors=_BUSY,
        ),
        workflow(
            "GET", "/", "Workflows by their ids, each in its newest version",
            Page[shapes.WorkflowShown], serving.workflows, parameters=(LIMIT, AFTER), errors=_BUSY,
        ),
        workflow(
            "GET", "/{id}", "A workflow", shapes.WorkflowShown, serving.workflow,
            parameters=(
                _ID,
                Parameter("version", "This one, not the newest.", whole=999_999_999),
            ),
            errors=_NO_WORKFLOW | _BUSY,
        ),
        workflow(
            "GET", "/{id}/versions", "Versions of a workflow, the newest first",
            Page[shapes.WorkflowShown], serving.versions, parameters=(_ID, LIMIT, AFTER),
            errors=_NO_WORKFLOW | _BUSY,
        ),
        workflow(
            "POST", "/{id}/trigger", "Start a run", shapes.Triggered, serving.trigger,
            description=_KEY, parameters=(_ID,), takes=bodies.TRIGGER, plainly=True,
            errors=_NO_WORKFLOW | _TOO_LARGE | _BUSY,
        ),
        workflow(
            "GET", "/runs", "Runs, the newest first", Page[shapes.RunListed], serving.runs,
            parameters=_FILTERS, errors=_BUSY,
        ),
        workflow(
            "GET", "/run/{run}", "A run, and its steps", shapes.RunShown, serving.run,
            parameters=(_RUN,), errors=_NO_RUN | _BUSY,
        ),
        workflow(
            "GET", "/run/{run}/events", "What happened in a run", shapes.History, serving.events,
            parameters=(_RUN, LIMIT, AFTER), errors=_NO_RUN | _BUSY,
        ),
        workflow(
            "POST", "/run/{run}/cancel", "End a run", shapes.RunShown, serving.cancel,
            parameters=(_RUN,), takes=bodies.REASON, errors=_NOT_AS_IT_IS | _BUSY,
        ),
        workflow(
            "POST", "/run/{run}/retry", "Have a failed run go on where it failed",
            shapes.RunShown, serving.retry, parameters=(_RUN,), takes=bodies.NOTHING,
            errors=_NOT_AS_IT_IS | _BUSY,
        ),
        executions(
            "POST", "", "Define a workflow and start it", shapes.Execution, serving.execute,
            description=_KEY, takes=bodies.EXECUTION, status=201,
            errors=_TOO_LARGE | _BUSY,
        ),
        executions(
            "GET", "", "Executions, the newest first", Page[shapes.ExecutionListed],
            serving.executions, parameters=_FILTERS, errors=_BUSY,
        ),
        executions(
            "GET", "/{run}", "An execution, and its steps", shapes.Execution, serving.execution,
            parameters=(_RUN,), errors=_NO_RUN | _BUSY,
        ),
        executions(
            "POST", "/{run}/cancel", "End an execution", shapes.Execution,
            serving.cancel_execution, parameters=(_RUN,), takes=bodies.REASON,
            errors=_NOT_AS_IT_IS | _BUSY,
        ),
    )  # fmt: skip
