"""A WASM service of the mesh answers a request: what it gets, and what it may say. Pure but for the
call itself, which is somebody else's.

The service gets the variables `method`, `path`, `query`, `headers` (names in small letters; none
that say who the client is), `parts` (what the rule's path caught) and `body`: parsed where it is
JSON, else text. It completes with `status` (200 by default), `headers` and `body`: text, or any
JSON.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from gossamer_gateway.errors import BadRequest, UpstreamFailed
from gossamer_gateway.overrides.deciding import Request
from gossamer_gateway.overrides.forwarding import CREDENTIALS, Answer
from gossamer_gateway.overrides.rules import HOP_BY_HOP, Service, read_answer
from gossamer_node.calls import Call, Unanswered
from gossamer_node.jobs import BpmnError, Completed, Outcome
from gossamer_node.variables import Variables

CallService = Callable[[Call], Awaitable[Outcome | Unanswered]]
"""Asks the mesh; returns within the call's time, and raises nothing but for cancellation."""

_STATUSES = {"unavailable": 503, "late": 504, "too much": 503}


async def serve(
    call_service: CallService,
    action: Service,
    caught: Mapping[str, str],
    request: Request,
    query: bytes,
    body: bytes,
) -> Answer:
    """The service's answer.

    Raises: UpstreamFailed for none, or one that cannot be told.
    """
    variables = Variables(_given(caught, request, query, body))
    call = Call(action.name, 1, variables, action.version, action.timeout_ms)
    outcome = await call_service(call)
    if isinstance(outcome, Unanswered):
        raise UpstreamFailed(_STATUSES[outcome.why], outcome.sentence)
    if isinstance(outcome, BpmnError):
        raise UpstreamFailed(502, f"{action.name} ended with the error {outcome.code}.")
    if not isinstance(outcome, Completed):
        raise UpstreamFailed(502, f"{action.name} failed: {outcome.message}")
    values = outcome.variables.values
    said = {name: values[name] for name in ("status", "headers", "body") if name in values}
    try:
        answer = read_answer(said)
    except BadRequest as error:
        raise UpstreamFailed(
            502, f"{action.name} gave an answer that cannot be told: {error}"
        ) from error
    return Answer(answer.status, answer.headers, answer.body)


def _given(
    caught: Mapping[str, str], request: Request, query: bytes, body: bytes
) -> dict[str, Any]:
    hidden = CREDENTIALS | HOP_BY_HOP
    return {
        "method": request.method,
        "path": request.path,
        "query": query.decode("latin-1"),
        "headers": {name: text for name, text in request.headers if name not in hidden},
        "parts": dict(caught),
        "body": _body(request, body),
    }


def _body(request: Request, body: bytes) -> Any:
    kinds = [text for name, text in request.headers if name == "content-type"]
    if kinds and kinds[0].partition(";")[0].strip().lower().endswith("json"):
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            pass  # as text, then
    return body.decode("utf-8", "replace")
