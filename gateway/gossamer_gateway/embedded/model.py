"""What the embedded engine knows: processes as read from BPMN, and the records of running ones.

A process is immutable. One token walks through an instance, so an instance's place is a record
that exists already: the external task that waits, or the called instance that has not ended.
Nothing of SpiffWorkflow is kept, so the file outlives its versions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from gossamer_gateway.embedded.expressions import Expression
from gossamer_gateway.embedded.values import Wires

# --- processes --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Node:
    """An element that a token visits."""

    activity_type: ClassVar[str]
    """Camunda's name for it in the history."""

    id: str
    name: str | None


@dataclass(frozen=True, slots=True)
class StartEvent(Node):
    activity_type: ClassVar[str] = "startEvent"


@dataclass(frozen=True, slots=True)
class Gateway(Node):
    activity_type: ClassVar[str] = "exclusiveGateway"

    default_flow: str | None


@dataclass(frozen=True, slots=True)
class ServiceTask(Node):
    """External work.

    Attributes:
        properties: the model's extension properties, for workers that ask for them.
    """

    activity_type: ClassVar[str] = "serviceTask"

    topic: str
    priority: int
    properties: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Transfer:
    """A variable handed over at a call. Both names None: every variable."""

    source: str | None = None
    target: str | None = None


@dataclass(frozen=True, slots=True)
class CallActivity(Node):
    """Another process, in its newest version at the time of the call."""

    activity_type: ClassVar[str] = "callActivity"

    called_process: str
    inputs: tuple[Transfer, ...]
    outputs: tuple[Transfer, ...]
    business_key: Expression | None


@dataclass(frozen=True, slots=True)
class EndEvent(Node):
    activity_type: ClassVar[str] = "noneEndEvent"


@dataclass(frozen=True, slots=True)
class ErrorEndEvent(Node):
    activity_type: ClassVar[str] = "errorEndEvent"

    code: str
    message: str | None


@dataclass(frozen=True, slots=True)
class BoundaryEvent(Node):
    """Catches an error of the activity that it is attached to; `code` None catches any."""

    activity_type: ClassVar[str] = "boundaryError"

    attached_to: str
    code: str | None
    code_variable: str | None
    message_variable: str | None


@dataclass(frozen=True, slots=True)
class SequenceFlow:
    id: str
    source: str
    target: str
    condition: Expression | None


@dataclass(frozen=True, slots=True)
class Process:
    """One executable process. Flows are in the order of the file, which is that of evaluation."""

    id: str
    name: str | None
    version_tag: str | None
    nodes: Mapping[str, Node]
    flows: tuple[SequenceFlow, ...]

    @property
    def start(self) -> StartEvent:
        return next(node for node in self.nodes.values() if isinstance(node, StartEvent))

    def catching(self, activity: str, code: str) -> BoundaryEvent | None:
        """The boundary event of an activity that an error reaches: its own code goes first."""
        events = [
            node
            for node in self.nodes.values()
            if isinstance(node, BoundaryEvent) and node.attached_to == activity
        ]
        exact = (event for event in events if event.code == code)
        return next(exact, next((event for event in events if event.code is None), None))


# --- records ----------------------------------------------------------------------------------


class InstanceState(StrEnum):
    """Camunda 7's states of a historic process instance."""

    ACTIVE = "ACTIVE"
    COMPLETED = "COMPLETED"
    EXTERNALLY_TERMINATED = "EXTERNALLY_TERMINATED"
    INTERNALLY_TERMINATED = "INTERNALLY_TERMINATED"


@dataclass(frozen=True, slots=True)
class Definition:
    """One version of a deployed process. `id` is `key:version:uuid`, as in Camunda 7."""

    id: str
    key: str
    version: int
    deployment_id: str
    resource: str
    process: Process


@dataclass(frozen=True, slots=True)
class Deployment:
    id: str
    name: str | None
    source: str | None
    time_ms: int
    definitions: tuple[Definition, ...]


@dataclass(slots=True)
class Instance:
    """A process instance, running or ended.

    Attributes:
        super_id: the instance that called this one.
        super_activity_id: the activity instance there that waits for the end of this one.
        root_id: the outermost caller, or the instance itself.
    """

    id: str
    definition_id: str
    business_key: str | None
    super_id: str | None
    super_activity_id: str | None
    root_id: str
    start_ms: int
    variables: Wires = field(default_factory=dict)
    state: InstanceState = InstanceState.ACTIVE
    end_ms: int | None = None
    delete_reason: str | None = None


@dataclass(slots=True)
class Activity:
    """One visit of a token to a node."""

    id: str
    instance_id: str
    node_id: str
    type: str
    name: str | None
    start_ms: int
    end_ms: int | None = None
    canceled: bool = False
    called_instance_id: str | None = None


@dataclass(slots=True)
class Task:
    """An external task, from the token's arrival until it is settled.

    Attributes:
        lock_until_ms: 0 when it is free. A failure's back-off is a lock, as in Camunda 7.
        worker_id: who locked it last; it stays after the lock has run out.
        retries: None until a failure says a number.
        local_variables: seen by this task's workers only.
        incident_id: there is an incident exactly while `retries` is 0.
    """

    id: str
    instance_id: str
    activity_id: str
    node_id: str
    topic: str
    priority: int
    created_ms: int
    lock_until_ms: int = 0
    worker_id: str | None = None
    retries: int | None = None
    error_message: str | None = None
    error_details: str | None = None
    local_variables: Wires = field(default_factory=dict)
    incident_id: str | None = None
    incident_ms: int | None = None
