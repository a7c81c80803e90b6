"""Jobs that a gateway hands to clients, as steps of the traces that their variable names.

Clients know nothing of traces and need not: which trace a job is part of is remembered here by the
job's id, as the client hears it, and the request that settles the job becomes a step of it. What is
remembered is bounded; a job that was handed out by another gateway, or is forgotten, is settled in
a trace of its own.
"""

import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

from google.protobuf.message import DecodeError

from gossamer_gateway.door.rules import SERVICE
from gossamer_node.engines.zeebe import gateway_pb2 as zeebe
from gossamer_node.tracing import traceparent
from gossamer_node.tracing.port import NO_TRACING, Tracing
from gossamer_node.tracing.traceparent import Traceparent

JOBS_MAX = 10_000
"""Jobs whose trace is remembered: some 3 MB."""

_SETTLED: Final = frozenset(
    (
        "POST /engine-rest/external-task/{}/complete",
        "POST /engine-rest/external-task/{}/bpmnError",
        "POST /engine-rest/external-task/{}/failure",
        "POST /v2/jobs/{}/completion",
        "POST /v2/jobs/{}/failure",
        "POST /v2/jobs/{}/error",
    )
)

_SETTLING: Final[Mapping[str, Any]] = {
    SERVICE + "CompleteJob": zeebe.CompleteJobRequest,
    SERVICE + "FailJob": zeebe.FailJobRequest,
    SERVICE + "ThrowError": zeebe.ThrowErrorRequest,
}


class HandOuts:
    """What became of a gateway's jobs.

    Args:
        variable: the process variable that names a trace; None for none.
    """

    def __init__(self, tracing: Tracing = NO_TRACING, variable: str | None = None) -> None:
        self._tracing = tracing
        self._variable = variable
        self._traces: OrderedDict[str, Traceparent] = OrderedDict()

    def task(self, engine: str, task: Mapping[str, Any]) -> None:
        """A client of Camunda 7 gets a task, in its words."""
        if self._variable is None:
            return
        typed = _object(task.get("variables")).get(self._variable)
        said = typed.get("value") if isinstance(typed, dict) else None
        self._note(str(task.get("id")), str(task.get("topicName")), engine, said)

    def job(self, engine: str, told: Any) -> None:
        """A client of Camunda 8 gets a job, in its words: JSON's, or gRPC's."""
        if self._variable is None:
            return
        if isinstance(told, zeebe.ActivatedJob):
            id, type, variables = str(told.key), told.type, told.variables
        else:
            id, type = str(told.get("jobKey", told.get("key"))), str(told.get("type"))
            variables = told.get("variables")
        self._note(id, type, engine, _object(variables).get(self._variable))

    def _note(self, id: str, topic: str, engine: str, said: object) -> None:
        parent = traceparent.read(said)
        if parent is None:
            return
        with self._tracing.begin(f"hand out {topic}", "producer", parent) as span:
            if not span.records:
                return
            for name, value in (("engine", engine), ("topic", topic), ("job", id)):
                span.set(f"gossamer.{name}", value)
        known = traceparent.read(span.traceparent)
        assert known is not None, "it is recorded"
        self._traces[id] = known
        self._traces.move_to_end(id)
        if len(self._traces) > JOBS_MAX:
            self._traces.popitem(last=False)

    def of_request(self, endpoint: str, path: str) -> Traceparent | None:
        """The trace that a request over HTTP settles a job of."""
        if not self._traces or endpoint not in _SETTLED:
            return None
        return self._traces.get(path.rsplit("/", 2)[1])

    def of_call(self, path: str, request: bytes) -> Traceparent | None:
        """As `of_request`, over gRPC."""
        form = _SETTLING.get(path)
        if not self._traces or form is None:
            return None
        try:
            message = form.FromString(request)
        except DecodeError:
            return None
        return self._traces.get(str(message.jobKey))


def _object(value: object) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}
