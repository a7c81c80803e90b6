"""A job on its way through the house, and the three ways it can end.

The engine's adapter makes a `Job`; the worker gives back an `Outcome`; between the two it may
cross the mesh (`job_wire`). Nothing here does I/O or knows an engine.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gossamer_node.variables import TypeTag, Variables


@dataclass(frozen=True, slots=True)
class JobRef:
    """What the claimer keeps of a job after its payload has gone to a holder: enough to settle it.

    Attributes:
        engine: the engine's configured name.
        key: the engine's own id of the job (Camunda 7: external task id, Camunda 8: job key, always
            a string). It reaches the worker as its idempotency key.
        topic: Camunda 7's topic, Camunda 8's job type.
        worker_id: under which the engine locked it. Camunda 7 refuses any other.
        retries: how many tries are left as the engine counts them; None when it never said
            (Camunda 7 before the first failure).
        types: types of the variables that the job came with: one that exists keeps its type.
        trace: `traceparent` of its claim; None for a job that is not traced.
    """

    engine: str
    key: str
    topic: str
    worker_id: str
    retries: int | None = None
    types: Mapping[str, TypeTag] = field(default_factory=dict)
    trace: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One activation of a job, as the engine handed it out.

    Attributes:
        ref: how to settle it; its types are those of `variables`.
        variables: those the topic's services asked for.
        lock_ms: how long the engine's lock lasts, counted from the activation.
        process_id: id of the process definition (BPMN process id).
        process_instance_key: the engine's id of the instance, as a string.
        element_id: id of the task in its BPMN.
        business_key: None where the engine has none.
        tenant: None for the default tenant.
        headers: Camunda 8's custom headers, Camunda 7's extension properties.
        priority: higher goes first where the engine orders by it.
    """

    ref: JobRef
    variables: Variables
    lock_ms: int
    process_id: str = ""
    process_instance_key: str = ""
    element_id: str = ""
    business_key: str | None = None
    tenant: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is, as its worker says.

    Attributes:
        thousandths: 0 to 1,000.
        sentence: what it does now, of `PROGRESS_CHARS_MAX` characters; may be empty.
    """

    thousandths: int
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class Completed:
    """The worker did it. Only the variables named here are written."""

    variables: Variables = field(default_factory=Variables)


@dataclass(frozen=True, slots=True)
class BpmnError:
    """A business error: the process goes on at the boundary event that catches `code`."""

    code: str
    message: str = ""
    variables: Variables = field(default_factory=Variables)


@dataclass(frozen=True, slots=True)
class Failed:
    """A technical failure, to be tried again.

    Attributes:
        message: one sentence for the person who reads the incident.
        retries: tries left after this one; None takes one from the job's count.
        backoff_ms: wait before the next try; None takes the service's.
        details: a longer text, such as a stack trace.
    """

    message: str
    retries: int | None = None
    backoff_ms: int | None = None
    details: str = ""


Outcome = Completed | BpmnError | Failed
