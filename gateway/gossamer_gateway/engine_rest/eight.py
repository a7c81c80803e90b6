"""Camunda 8 asked on behalf of a client of Camunda 7, and its refusals in that client's words.

Its 404 stays with the caller, who knows what was asked for. A 400 or 409 is the request's mistake
(or comes too late), said in Camunda 8's own sentence; anything else is the engine's trouble.
"""

from collections.abc import Mapping
from typing import Any

from gossamer_gateway.bridge.variables import to_8
from gossamer_gateway.embedded.values import read_variables
from gossamer_gateway.errors import BadRequest
from gossamer_gateway.fields import Fields
from gossamer_gateway.upstreams.upstream import Upstream
from gossamer_node.engines.camunda8 import MESSAGE_CHARS_MAX, is_too_large
from gossamer_node.engines.exchange import Answer
from gossamer_node.variables import JsonValue

Plain = dict[str, JsonValue]


async def ask(
    eight: Upstream, method: str, target: str, body: Mapping[str, Any] | None, doing: str
) -> Answer | None:
    """Asks; returns the answer if it is a yes, None for 404.

    Args:
        doing: what was asked, as in "did not …".

    Raises: BadRequest; EngineError.
    """
    return checked(eight, await eight.ask(method, target, body), doing)


def checked(eight: Upstream, answer: Answer, doing: str) -> Answer | None:
    """An answer if it is a yes, None for 404. Raises: as `ask`."""
    if answer.status in (200, 204):
        return answer
    if answer.status == 404 and answer.json_object().get("title") == "NOT_FOUND":
        return None
    said = answer.sentence()
    if answer.status in (400, 409, 413) or is_too_large(said):
        raise BadRequest(f"{eight.peer} did not {doing}: {said}")
    raise eight.error(answer, doing)


def variables(body: Fields, name: str = "variables") -> Plain:
    """A body's typed variables as Camunda 8 takes them. Raises: BadRequest."""
    plain, _ = to_8(read_variables(body.get(name), name))
    return plain


def cut(message: str) -> str:
    """A failure's text, no longer than Camunda 8 takes it."""
    return message[:MESSAGE_CHARS_MAX]
