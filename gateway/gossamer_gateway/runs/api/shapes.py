"""What the doors to workflows answer. The OpenAPI document is made of these."""

from typing import Any

from msgspec import Struct

from gossamer_gateway.runs.model.problems import Problem


class Refused(Struct, frozen=True, rename="camel"):
    """Why a definition is refused (RFC 9457). `errors`: each with its line, column and field.

    Attributes:
        left_out: errors beyond those that are told.
    """

    title: str
    status: int
    detail: str
    errors: list[Problem]
    left_out: int = 0
    type: str = "about:blank"


class Triggered(Struct, frozen=True, rename="camel"):
    """A run that was started, or was before, by the same key."""

    run_id: str


class Made(Struct, frozen=True, rename="camel"):
    """A workflow that was defined. `version`: the one before, if nothing changed."""

    id: str
    version: int


class WorkflowShown(Struct, frozen=True, rename="camel"):
    """A version of a workflow.

    Attributes:
        definition: as it was understood, with everything that was left to defaults left out.
        created: when this version was made.
    """

    id: str
    version: int
    name: str | None
    steps: int
    created: str
    definition: dict[str, Any]


class Error(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Why an attempt, a step or a run failed.

    Attributes:
        code: for programs, as `Timeout`.
        message: for people.
        blame: `worker`, `function`, `provider`, `time` or `definition`.
        retryable: False: another attempt is no use.
        step: of a run: which step failed.
    """

    code: str
    message: str
    blame: str
    retryable: bool = True
    details: str = ""
    step: str | None = None


class StepResult(Struct, frozen=True, rename="camel"):
    """A step that has begun.

    Attributes:
        step_index: its place in the definition, from 0.
        action: whose jobs its workers take; null: it is a function in a cloud, or no task.
        provider: where its function is asked for now, or was last; null for an action.
        status: `Running`, `Waiting` (for its next attempt), `Completed`, `Failed`, or `Left` (its
            run ended without it).
        attempts: made so far, at all providers and through retries of the run.
        due_time: when its attempt counts as failed, or its next one begins.
        worker: who has its job, or had it last; null: nobody fetched it here.
        notice: why nothing happens, where that is known.
    """

    step_id: str
    step_index: int
    type: str
    action: str | None
    provider: str | None
    status: str
    attempts: int
    input: Any
    output: Any
    error: Error | None
    start_time: str
    end_time: str | None
    due_time: str | None
    worker: str | None = None
    notice: str | None = None


class RunShown(Struct, frozen=True, rename="camel"):
    """A run.

    Attributes:
        status: `Pending`, `Running`, `Completed`, `Failed` or `Cancelled`.
        current_step: index of the first step at work; null: none is.
        step_results: steps that have begun, in that order.
        final_output: what its last step gave.
    """

    run_id: str
    workflow_id: str
    version: int
    status: str
    current_step: int | None
    step_results: list[StepResult]
    start_time: str
    end_time: str | None
    input: Any
    final_output: Any
    error: Error | None
    idempotency_key: str | None
    execution: str
    events: int


class RunListed(Struct, frozen=True, rename="camel"):
    """A run, as lists have it."""

    run_id: str
    workflow_id: str
    version: int
    status: str
    start_time: str
    end_time: str | None
    idempotency_key: str | None
    execution: str


class Execution(Struct, frozen=True, rename="camel"):
    """A run, as `/executions` shows it.

    Attributes:
        current_step_id: the first step at work; null: none is.
    """

    execution_id: str
    workflow_id: str
    version: int
    status: str
    current_step_id: str | None
    steps: list[StepResult]
    input: Any
    output: Any
    error: Error | None
    start_time: str
    end_time: str | None


class ExecutionListed(Struct, frozen=True, rename="camel"):
    """A run, as the list of executions has it."""

    execution_id: str
    workflow_id: str
    version: int
    status: str
    start_time: str
    end_time: str | None


class History(Struct, frozen=True, rename="camel"):
    """Events of a run, in their order, as they are stored. `next`: `after` of the next page."""

    events: list[dict[str, Any]]
    next: str | None
