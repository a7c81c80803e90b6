"""What the HTTP of settings shares: bodies in, problems out (RFC 9457), the history of a kind."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn

from quart import Blueprint, Response, request
from werkzeug.exceptions import HTTPException

from gossamer_gateway.errors import (
    BadRequest,
    GatewayError,
    Overloaded,
    StorageFailed,
    UnknownSetting,
    UpstreamFailed,
)
from gossamer_gateway.settings.keeping import Change

Who = Callable[[], str]
"""The name of who sent the request at hand, for the history."""

LIMIT_DEFAULT, LIMIT_MAX = 50, 200
"""Changes in one answer."""

_STATUSES: Mapping[type[GatewayError], int] = {
    BadRequest: 400,
    UnknownSetting: 404,
    Overloaded: 503,
    StorageFailed: 503,
}
_TITLES = {400: "Bad request", 404: "Not found", 503: "Not now"}


def problem(status: int, title: str, detail: str) -> Response:
    """An answer of RFC 9457."""
    text = json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail})
    answer = Response(text, status, content_type="application/problem+json")
    if status == 503:
        answer.headers["Retry-After"] = "1"
    return answer


def answer_problems(blueprint: Blueprint) -> None:
    """Errors in its handlers become problems."""
    blueprint.register_error_handler(GatewayError, _refused)
    blueprint.register_error_handler(HTTPException, _http_error)


async def _refused(error: Exception) -> Response:
    if isinstance(error, UpstreamFailed):
        return problem(error.status, "The upstream failed", str(error))
    for kind, status in _STATUSES.items():
        if isinstance(error, kind):
            return problem(status, _TITLES[status], str(error))
    raise error


async def _http_error(error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem(error.code or 500, error.name, error.description or error.name)


async def read_object() -> dict[str, Any]:
    """The request's body. Raises: BadRequest for one that is no JSON object."""
    data = await request.get_data(as_text=False)
    try:
        value = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise BadRequest("the body is no JSON object.")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def number(name: str, default: int | None, most: int) -> int | None:
    """A whole number of the query. Raises: BadRequest."""
    text = request.args.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdecimal() or not 0 < int(text[:20]) <= most:
        raise BadRequest(f"{name} is {text[:32]!r}; write a whole number, 1 to {most}.")
    return int(text)


def page() -> dict[str, Any]:
    """Which changes the query asks for, as `Book.history` takes it. Raises: BadRequest."""
    return {
        "before": number("before", None, 2**53),
        "count_max": number("limit", LIMIT_DEFAULT, LIMIT_MAX),
    }


def changes(found: list[Change], shown: Callable[[Mapping[str, Any]], Any]) -> dict[str, Any]:
    """A page of the history; `before` asks for the next one.

    Args:
        shown: a value as its own resource shows it.
    """
    return {
        "changes": [
            {
                "number": one.number,
                "name": one.name,
                "was": None if one.was is None else shown(one.was),
                "is": None if one.value is None else shown(one.value),
                "who": one.who,
                "at": instant(one.at_ms),
                "gateway": one.version.gateway,
                "version": one.version.clock,
                "here_at": instant(one.kept_ms),
            }
            for one in found
        ]
    }


def instant(at_ms: int) -> str:
    """A time as RFC 3339 has it."""
    try:
        at = datetime.fromtimestamp(at_ms / 1_000, UTC)
    except (ValueError, OverflowError, OSError):  # another gateway's clock may say anything
        return "unknown"
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
