"""`service.call`: another service's outcome, wherever in the mesh it runs.

The worker's thread waits here; how the call travels is the context's to know (`work.calling`). An
outcome of any kind is a reply, as a status is for `http.fetch`: what to make of a BPMN error or a
failure is for the worker to say, which may answer it as its own. Only what has no outcome is a
refusal of the operation.
"""

import threading
from collections.abc import Mapping
from typing import Any

from gossamer_node.calls import ANY_VERSION, Call, Unanswered
from gossamer_node.jobs import Outcome
from gossamer_node.registry.ranges import parse_range
from gossamer_node.wasm.asking.operations.errors import Code, OperationError, count, text
from gossamer_node.wasm.envelope import EnvelopeError, outcome_map, read_variables
from gossamer_node.wasm.run import Run

CALLS_MAX = 1_000
"""Of one job, one after the other: a list of any sensible length, and the end of a loop."""

TIMEOUT_MS_MAX = 3_600_000

_CODES = {
    "unavailable": Code.UNAVAILABLE,
    "late": Code.DEADLINE,
    "too much": Code.TOO_LARGE,
}


class _Count:
    """Calls of one run."""

    def __init__(self) -> None:
        self.calls = 0


def service_call(request: Mapping[str, Any], run: Run) -> Mapping[str, Any]:
    """`{"service", "version", "variables", "types", "timeout_ms"}` → an outcome (ABI.md §3)."""
    call = _parse(request, run)
    came = threading.Event()
    answers: list[Outcome | Unanswered] = []

    def told(answer: Outcome | Unanswered) -> None:
        answers.append(answer)
        came.set()

    give_up = run.context.call(run.around.spec, call, told)
    try:
        # Whoever runs the call keeps its time; the answer says that it was over.
        run.wait(came, run.remaining_s(), run.around.calling)
    finally:
        if not answers:
            give_up()
    if not answers:
        raise OperationError(Code.DEADLINE, f"{call.service} took longer than the job has time.")
    answer = answers[0]
    if isinstance(answer, Unanswered):
        raise OperationError(_CODES[answer.why], answer.sentence)
    return outcome_map(answer)


def _parse(request: Mapping[str, Any], run: Run) -> Call:
    service = text(request, "service")
    if not service:
        raise OperationError(Code.BAD_REQUEST, "service.call wants a service.")
    around = run.around
    if service not in around.grant.calls:
        raise OperationError(
            Code.DENIED,
            f"Calls of {service[:80]} are not granted; name it under `call` in the service's "
            "capabilities and in the node's grant.",
        )
    version = text(request, "version")
    if not version:
        needs = {one.name: one.version for one in around.spec.dependencies}
        version = needs.get(service, ANY_VERSION)
    try:
        parse_range(version)
    except ValueError as error:
        raise OperationError(
            Code.BAD_REQUEST, f"version is no range: {version[:80]!r} {error}."
        ) from None
    try:
        variables = read_variables(dict(request), "the request")
    except EnvelopeError as error:
        raise OperationError(Code.BAD_REQUEST, f"service.call: {error}.") from None
    left_ms = max(1, int(run.remaining_s() * 1_000))
    timeout_ms = count(request, "timeout_ms", TIMEOUT_MS_MAX) or left_ms
    counted = run.held.setdefault("service.call", _Count())
    assert isinstance(counted, _Count), "nobody else uses the name"
    if counted.calls >= CALLS_MAX:
        raise OperationError(
            Code.TOO_LARGE, f"A job makes {CALLS_MAX:,} calls of services at most."
        )
    counted.calls += 1
    return Call(service, counted.calls, variables, version, min(timeout_ms, left_ms))
