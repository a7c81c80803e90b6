"""Answers of REST v2: JSON, nothing, problems (RFC 9457), and an engine's own, passed on.

Keys are numbers, as 8.6 writes them; whoever accepts
`application/vnd.camunda.api.keys.string+json`, as newer clients do, gets every key as text. A job
carries `key` and, in text, `jobKey`, for clients of both generations. But Camunda's Java client up
to 8.6 loses a whole batch of jobs over one field that it does not know, so it, as it calls itself,
is told those that it does.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from quart import Response, request

from gossamer_gateway.camunda8.refusals import EXHAUSTED, UNAVAILABLE, Refused
from gossamer_node.engines.exchange import Answer

AS_TEXT = "application/vnd.camunda.api.keys.string+json"

PROBLEM = "application/problem+json"

_STRICT = re.compile(r"^zeebe-client-java/8\.[0-6](\.|$|-)")

_JOB_FIELDS = frozenset(
    (
        *("key", "type", "worker", "retries", "deadline", "variables", "customHeaders", "tenantId"),
        *("processInstanceKey", "processDefinitionId", "processDefinitionVersion"),
        *("processDefinitionKey", "elementId", "elementInstanceKey"),
    )
)
"""Of 8.6."""

_AS_THEY_ARE = frozenset(("variables", "customHeaders"))
"""Fields that hold what people wrote, with names of their own."""

_PASSED_ON = ("content-type", "accept", "accept-language")
"""Of a request's headers to the engine; credentials are the gateway's."""


def told(value: Any, status: int = 200) -> Response:
    """JSON in the form that the client accepts; None is 204."""
    if value is None:
        return Response("", 204)
    if wants_text():
        value = with_text_keys(value)
        return _json(value, status, AS_TEXT)
    return _json(value, status, "application/json")


def told_jobs(jobs: Sequence[Mapping[str, Any]]) -> Response:
    """Activated jobs, with the fields that the client can stand."""
    if _STRICT.match(request.headers.get("user-agent", "")):
        jobs = [{name: value for name, value in job.items() if name in _JOB_FIELDS} for job in jobs]
    return told({"jobs": jobs})


def problem(refused: Refused) -> Response:
    """Why not, as Camunda 8 says it."""
    value = {
        "type": "about:blank",
        "title": refused.title,
        "status": refused.status,
        "detail": str(refused),
        "instance": request.path,
    }
    response = _json(value, refused.status, PROBLEM)
    if refused.title in (EXHAUSTED, UNAVAILABLE):
        response.headers["Retry-After"] = "1"
    return response


def passed_on(answer: Answer) -> Response:
    """What an engine answered."""
    if wants_text() and answer.status < 300 and answer.body:
        try:
            return told(answer.json(), answer.status)
        except ValueError:
            pass
    response = Response(answer.body, answer.status)
    if answer.content_type:
        response.headers["Content-Type"] = answer.content_type
    else:
        del response.headers["Content-Type"]
    if answer.retry_after_ms is not None:
        response.headers["Retry-After"] = str(-(-answer.retry_after_ms // 1_000))
    return response


def headers_to_pass_on() -> dict[str, str]:
    """Of the request at hand. 8.6 has no keys in text: it is asked for numbers."""
    headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
    if wants_text():
        headers["accept"] = "application/json, application/problem+json"
    return headers


def wants_text() -> bool:
    return AS_TEXT in request.headers.get("accept", "")


def with_text_keys(value: Any) -> Any:
    """The same with every key as text."""
    if isinstance(value, list):
        return [with_text_keys(one) for one in value]
    if not isinstance(value, Mapping):
        return value
    return {
        name: one
        if name in _AS_THEY_ARE
        else _key_text(one)
        if _is_key(name)
        else with_text_keys(one)
        for name, one in value.items()
    }


def _is_key(name: str) -> bool:
    return name == "key" or name.endswith("Key")


def _key_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _json(value: Any, status: int, mimetype: str) -> Response:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return Response(text, status, content_type=mimetype)
