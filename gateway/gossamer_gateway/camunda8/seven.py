"""Asking an engine of Camunda 7's for a client of Camunda 8."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote

from gossamer_gateway.bridge.variables import to_7
from gossamer_gateway.camunda8.refusals import (
    INVALID_ARGUMENT,
    UNAVAILABLE,
    Refused,
    lacks,
    of_seven,
)
from gossamer_gateway.desk import Desk
from gossamer_gateway.names.numbers import numbers_of
from gossamer_gateway.storage.port import Rows
from gossamer_gateway.upstreams.upstream import Upstream
from gossamer_node.engines.exchange import Answer
from gossamer_node.errors import EngineRefused
from gossamer_node.variables import TypeTag

CONFLICT_ATTEMPTS_MAX = 5
"""How often a request is sent when the engine answers that two commits met."""

_CONFLICTS = frozenset(("OptimisticLockingException", "CrdbTransactionRetryException"))

_DEADLOCK = 10_000
"""Camunda 7's exception code."""

LOCKED_BY = re.compile(r"It is locked by worker '[^']*'\.?$")
"""How Camunda 7's sentence on a wrong worker id ends."""


async def ask(
    engine: Upstream,
    method: str,
    target: str,
    body: Any = None,
    *,
    command: str,
    doing: str,
    unknown: Refused | None = None,
) -> Answer:
    """An answer that says yes.

    Args:
        command: Zeebe's word for it, `CANCEL`.
        doing: the same for a sentence, as in "did not …".
        unknown: raised for a 404.

    Raises: Refused; EngineUnavailable.
    """
    answer = await attempt(engine, method, target, body)
    if answer.status < 300:
        return answer
    if answer.status == 404 and unknown is not None and not lacks(answer):
        raise unknown
    raise of_seven(answer, engine, command, doing)


async def attempt(engine: Upstream, method: str, target: str, body: Any = None) -> Answer:
    """Whatever it answers. Only two commits that met are tried again.

    Raises: EngineUnavailable; Refused, they met each time.
    """
    for _ in range(CONFLICT_ATTEMPTS_MAX):
        answer = await engine.ask(method, target, body)
        if not _is_conflict(answer):
            return answer
    raise Refused(
        UNAVAILABLE,
        f"{engine.peer} could not commit, {CONFLICT_ATTEMPTS_MAX} times: {answer.sentence()}",
    )


def _is_conflict(answer: Answer) -> bool:
    if answer.status != 500:
        return False
    said = answer.json_object()
    return said.get("type") in _CONFLICTS or said.get("code") == _DEADLOCK


def path(*parts: str) -> str:
    """A path of these, each encoded."""
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def typed(
    variables: Mapping[str, Any], remembered: Mapping[str, TypeTag] | None = None
) -> dict[str, Any]:
    """Variables as Camunda 7 takes them. Raises: Refused."""
    try:
        told = to_7(variables, remembered)
        json.dumps(told, allow_nan=False)
    except (EngineRefused, ValueError, RecursionError) as error:
        raise Refused(INVALID_ARGUMENT, f"Property 'variables' is invalid: {error}") from None
    return told


def read(engine: Upstream, answer: Answer, doing: str, take: Callable[[Any], Any]) -> Any:
    """What `take` makes of an answer. Raises: EngineUnavailable for nonsense."""
    try:
        return take(answer.json())
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise engine.rest.nonsense(doing) from error


async def numbers(desk: Desk, engine: Upstream, ids: Iterable[str]) -> Mapping[str, int]:
    """The numbers of an engine's ids, on the disk."""
    wanted = tuple(ids)

    def give(rows: Rows, _now_ms: int) -> Mapping[str, int]:
        return numbers_of(rows, engine.name, wanted)

    return await desk.storage.submit(give)
