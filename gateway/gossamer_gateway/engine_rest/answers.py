"""Answers in Camunda 7's form: an engine's own bytes as they came, or an error with its sentence.

Whatever is raised below becomes `{"type", "message", "code"}` with the status that says whose
mistake it is: the client's (4xx), an engine that does not answer (503, with Retry-After), an engine
that refuses the gateway's credentials (502), ours (500, and the log says which).
"""

import logging

from quart import Response, request
from werkzeug.exceptions import HTTPException

from gossamer_gateway.errors import GatewayError, ProcessRefused
from gossamer_gateway.polls.driver import NoEngineAnswered
from gossamer_gateway.wording7 import HTTP_ERRORS, STATUSES, Json, error
from gossamer_node.engines.exchange import Answer
from gossamer_node.errors import EngineError, EngineUnavailable

log = logging.getLogger("gossamer.gateway")

Told = tuple[Json, int, dict[str, str]]

NOTHING = ("", 204)

UNAVAILABLE = "ServiceUnavailableException"


class CannotBe(GatewayError):
    """The engine that has this can't do it, whatever the request says."""


def passed(answer: Answer) -> Response:
    """An engine's answer as it is."""
    response = Response(answer.body, answer.status)
    if answer.content_type:
        response.headers["Content-Type"] = answer.content_type
    else:
        response.headers.pop("Content-Type", None)
    if answer.retry_after_ms is not None:
        response.headers["Retry-After"] = _seconds(answer.retry_after_ms)
    return response


def own_url() -> str:
    """Where this dialect stands, as the client reached it."""
    return f"{request.host_url}engine-rest"


async def refused(what: Exception) -> Told:
    """For `GatewayError`."""
    if isinstance(what, CannotBe):
        return error("UnsupportedOperationException", str(what), 0), 501, {}
    if isinstance(what, ProcessRefused):
        return error("ParseException", str(what), 0), 400, {}
    assert isinstance(what, GatewayError)
    status, kind = STATUSES.get(type(what), (500, "ProcessEngineException"))
    later = {"Retry-After": "1"} if status == 503 else {}
    return error(kind, str(what), 0), status, later


async def unanswered(what: Exception) -> Told:
    """For `EngineError`: an engine was asked, and gave nothing that can be passed on."""
    if isinstance(what, EngineUnavailable):
        later = {"Retry-After": _seconds(what.retry_after_ms or 1_000)}
        return error(UNAVAILABLE, str(what), 0), 503, later
    assert isinstance(what, EngineError)
    return error("BadGatewayException", str(what), 0), 502, {}


async def nobody(what: Exception) -> Told:
    """For `NoEngineAnswered`."""
    assert isinstance(what, NoEngineAnswered)
    return error(UNAVAILABLE, str(what), 0), 503, {"Retry-After": "1"}


async def http_error(what: Exception) -> Told:
    """For what the web framework refuses: a body that is too large, or of another type."""
    assert isinstance(what, HTTPException)
    status = what.code or 500
    return error(HTTP_ERRORS.get(status, "RestException"), f"HTTP {status} {what.name}"), status, {}


async def broken(mistake: Exception) -> Told:
    """For everything else."""
    log.error("a request failed by a mistake of the gateway", exc_info=mistake)
    return error("InternalError", "The gateway made a mistake; its log says which", 0), 500, {}


def _seconds(time_ms: int) -> str:
    return str(max(1, -(-time_ms // 1_000)))
