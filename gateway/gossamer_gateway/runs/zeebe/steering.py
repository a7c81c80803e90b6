"""Where a run that was decided here goes on there. Pure.

Choices are decided by `model.deciding`, as in own execution, and Zeebe is told where they led, in a
variable for each: `choice_3` is the third step of the definition, and its value the step that it
went on with. So no payload goes to Zeebe, and no condition can mean something else there.
"""

from collections.abc import Iterable
from typing import NamedTuple

from gossamer_gateway.runs.model.definition import Definition, StepType
from gossamer_gateway.runs.model.flow import Flow
from gossamer_gateway.runs.model.run import Run, StepStatus

RUN = "run"
"""The variable with a run's id."""


class Onward(NamedTuple):
    """What comes after a step that is done.

    Attributes:
        variables: where choices on the way went on.
        tasks: those that Zeebe comes to next, if no other branch is waited for.
    """

    variables: dict[str, str]
    tasks: tuple[str, ...]


def choice_variables(definition: Definition) -> dict[str, str]:
    """The names of choices' variables, by step."""
    return {
        step.id: f"choice_{number}"
        for number, step in enumerate(definition.steps.values(), 1)
        if step.type is StepType.CHOICE
    }


def first(flow: Flow, run: Run) -> Onward | None:
    """What an instance begins with; None: a choice could not be made."""
    return _walk(flow, run, [flow.definition.start_at])


def after(flow: Flow, run: Run, step_id: str) -> Onward | None:
    """What follows a task that is done; None: a choice could not be made (yet)."""
    next = flow[step_id].next
    return _walk(flow, run, [] if next is None else [next])


def _walk(flow: Flow, run: Run, ahead: Iterable[str]) -> Onward | None:
    names = choice_variables(flow.definition)
    variables: dict[str, str] = {}
    tasks: list[str] = []
    waiting = list(ahead)
    while waiting:
        step = flow[waiting.pop()]
        if step.type is StepType.TASK:
            tasks.append(step.id)
            continue
        state = run.steps.get(step.id)
        is_done = state is not None and state.status is StepStatus.COMPLETED
        if step.type is StepType.CHOICE:
            if state is None or not is_done or state.taken is None:
                return None
            variables[names[step.id]] = state.taken
            waiting.append(state.taken)
        elif step.type is StepType.PARALLEL:
            waiting.extend(step.branches)
        elif is_done and step.next is not None:  # a join whose branches have all come
            waiting.append(step.next)
    return Onward(variables, tuple(tasks))
