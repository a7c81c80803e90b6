"""Runs and workflows as the doors show them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from gossamer_gateway.runs.api import shapes
from gossamer_gateway.runs.jobs.holding import Held
from gossamer_gateway.runs.listing import Defined, Found
from gossamer_gateway.runs.model.definition import Definition
from gossamer_gateway.runs.model.events import Failure
from gossamer_gateway.runs.model.reading import as_written
from gossamer_gateway.runs.model.run import Run, StepState
from gossamer_gateway.settings.http import instant


@dataclass(frozen=True, slots=True)
class Around:
    """What is shown of a run beside itself.

    Attributes:
        held: its jobs, by step.
        notices: why nothing happens in a step, by its id.
    """

    definition: Definition
    held: Mapping[str, Held]
    notices: Mapping[str, str]


def run_shown(run: Run, around: Around) -> shapes.RunShown:
    """A run as `/workflow/run/{runId}` has it."""
    steps = _steps(run, around)
    current = _current(run)
    return shapes.RunShown(
        run_id=run.id,
        workflow_id=run.workflow,
        version=run.version,
        status=run.status.value,
        current_step=None if current is None else _index(around.definition)[current],
        step_results=steps,
        start_time=instant(run.triggered_ms),
        end_time=_instant(run.ended_ms),
        input=run.input,
        final_output=run.output,
        error=_run_error(run),
        idempotency_key=run.key,
        execution=run.executor,
        events=run.seq,
    )


def execution(run: Run, around: Around) -> shapes.Execution:
    """A run as `/executions/{id}` has it."""
    return shapes.Execution(
        execution_id=run.id,
        workflow_id=run.workflow,
        version=run.version,
        status=run.status.value,
        current_step_id=_current(run),
        steps=_steps(run, around),
        input=run.input,
        output=run.output,
        error=_run_error(run),
        start_time=instant(run.triggered_ms),
        end_time=_instant(run.ended_ms),
    )


def run_listed(found: Found) -> shapes.RunListed:
    return shapes.RunListed(
        run_id=found.id,
        workflow_id=found.workflow,
        version=found.version,
        status=found.status,
        start_time=instant(found.triggered_ms),
        end_time=_instant(found.ended_ms),
        idempotency_key=found.key,
        execution=found.executor,
    )


def execution_listed(found: Found) -> shapes.ExecutionListed:
    return shapes.ExecutionListed(
        execution_id=found.id,
        workflow_id=found.workflow,
        version=found.version,
        status=found.status,
        start_time=instant(found.triggered_ms),
        end_time=_instant(found.ended_ms),
    )


def workflow_shown(found: Defined) -> shapes.WorkflowShown:
    of = found.definition
    return shapes.WorkflowShown(
        id=of.id,
        version=of.version,
        name=of.name,
        steps=len(of.steps),
        created=instant(found.at_ms),
        definition=as_written(of),
    )


def _steps(run: Run, around: Around) -> list[shapes.StepResult]:
    index = _index(around.definition)
    return [_step(id, index[id], state, around) for id, state in run.steps.items()]


def _step(id: str, index: int, state: StepState, around: Around) -> shapes.StepResult:
    step, job = around.definition.steps[id], around.held.get(id)
    return shapes.StepResult(
        step_id=id,
        step_index=index,
        type=step.type.value,
        action=step.action,
        provider=step.places[state.place].provider if step.places else None,
        status=state.status.value,
        attempts=state.attempt,
        input=state.input,
        output=state.output,
        error=None if state.failure is None else _error(state.failure),
        start_time=instant(state.begun_ms),
        end_time=_instant(state.ended_ms),
        due_time=_instant(state.due_ms),
        worker=None if job is None else job.worker,
        notice=around.notices.get(id),
    )


def _current(run: Run) -> str | None:
    return next((id for id, one in run.steps.items() if one.status.is_open), None)


def _index(definition: Definition) -> Mapping[str, int]:
    return {id: index for index, id in enumerate(definition.steps)}


def _run_error(run: Run) -> shapes.Error | None:
    if run.failure is None:
        return None
    failed = next(
        (id for id, one in run.steps.items() if one.failure == run.failure and one.ended_ms), None
    )
    return _error(run.failure, failed)


def _error(failure: Failure, step: str | None = None) -> shapes.Error:
    return shapes.Error(
        code=failure.code,
        message=failure.message,
        blame=failure.blame,
        retryable=failure.retryable,
        details=failure.details,
        step=step,
    )


def _instant(at_ms: int | None) -> str | None:
    return None if at_ms is None else instant(at_ms)
