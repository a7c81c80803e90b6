"""Where a token goes: a process as SpiffWorkflow's specification, and one walk through it.

A walk begins at the start event, or leaves an activity or boundary event, and goes on until the
token waits or has ended. SpiffWorkflow walks and decides at the gateways; it is given a workflow
that holds a single token, just put at its place, and nothing of it outlives the walk. Errors,
calls and variables are the engine's own affair.
"""

from collections.abc import Sequence

from SpiffWorkflow.bpmn.specs.bpmn_process_spec import BpmnProcessSpec
from SpiffWorkflow.bpmn.specs.bpmn_task_spec import BpmnTaskSpec
from SpiffWorkflow.bpmn.specs.defaults import ExclusiveGateway, NoneTask
from SpiffWorkflow.bpmn.workflow import BpmnWorkflow
from SpiffWorkflow.exceptions import WorkflowException
from SpiffWorkflow.task import Task, TaskState

from gossamer_gateway.embedded.expressions import Expression, Scope
from gossamer_gateway.embedded.model import (
    BoundaryEvent,
    CallActivity,
    EndEvent,
    ErrorEndEvent,
    Gateway,
    Node,
    Process,
    ServiceTask,
    StartEvent,
)
from gossamer_gateway.errors import StepFailed

VISITS_MAX = 200
"""Nodes between two tasks. SpiffWorkflow looks through all of them at each, and at no more than
1,000."""
_PREFIX = "node:"
"""SpiffWorkflow has steps of its own called Root, Start and End, as models often have."""


class _Waiting(BpmnTaskSpec):  # type: ignore[misc]
    """An activity at which the token stops: running it gives no result yet."""

    def _run_hook(self, my_task: Task) -> None:
        return None


class _Conditions:
    """SpiffWorkflow's script engine, which would run Python: here it reads compiled expressions."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def evaluate(
        self, _task: Task, expression: Expression, external_context: object = None
    ) -> bool:
        return expression.is_true(self._scope)


class Flow:
    """One process, ready to walk through. Built once per definition; holds no instance."""

    def __init__(self, process: Process) -> None:
        self.process = process
        spec = BpmnProcessSpec(name="process")
        steps = {node.id: _step(spec, node) for node in process.nodes.values()}
        for flow in process.flows:
            if flow.condition is None:
                steps[flow.source].connect(steps[flow.target])
            else:
                steps[flow.source].connect_outgoing_if(flow.condition, steps[flow.target])
        for node in process.nodes.values():
            if isinstance(node, StartEvent | BoundaryEvent):
                spec.start.connect(steps[node.id])  # a step without an entry is refused
        self._spec = spec

    def walk(self, leaving: str, scope: Scope) -> Sequence[Node]:
        """The nodes that a token visits when it leaves a node; at the last one it waits or ends.

        Raises: StepFailed when a condition fails or no flow can be taken.
        """
        visits: list[Node] = []

        def visited(task: Task) -> None:
            name = task.task_spec.name
            if name.startswith(_PREFIX):
                visits.append(self.process.nodes[name.removeprefix(_PREFIX)])
                if len(visits) > VISITS_MAX:
                    raise StepFailed(f"More than {VISITS_MAX} gateways follow upon each other")

        workflow = BpmnWorkflow(self._spec, script_engine=_Conditions(scope), deserializing=True)
        workflow.task_tree = Task(workflow, self._spec.start, state=TaskState.COMPLETED)
        token = workflow.task_tree._add_child(
            self._spec.task_specs[_PREFIX + leaving], TaskState.FUTURE
        )
        token.task_spec._predict(token, mask=TaskState.NOT_FINISHED_MASK)
        token.task_spec._update(token)
        try:
            token.complete()
            workflow.do_engine_steps(did_complete_task=visited)
        except WorkflowException as error:
            assert isinstance(error.task_spec, ExclusiveGateway), error
            raise StepFailed(
                "ENGINE-02004 No outgoing sequence flow for the element with id "
                f"'{error.task_spec.name.removeprefix(_PREFIX)}' could be selected for continuing "
                "the process."
            ) from None
        return visits


def _step(spec: BpmnProcessSpec, node: Node) -> BpmnTaskSpec:
    name = _PREFIX + node.id
    match node:
        case Gateway():
            return ExclusiveGateway(spec, name)
        case ServiceTask() | CallActivity() | EndEvent() | ErrorEndEvent():
            return _Waiting(spec, name)
    return NoneTask(spec, name)
