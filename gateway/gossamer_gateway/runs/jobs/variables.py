"""A step's payload and output as process variables, and back. Pure.

| workflow | Camunda 7's dialect |
|---|---|
| a payload that is an object | a variable for each of its fields |
| any other payload | the variable `payload` |
| an output that is an object | all variables that the worker gave |
| any output | the one variable `output`, where a worker gave that alone |

A worker that gave no variables gave an empty object. Types are as `bridge.variables` has them
between Camunda 8's JSON and Camunda 7: a whole number beyond 32 bits is a Long, a list Json.
"""

from collections.abc import Mapping
from typing import Any

from gossamer_gateway.bridge.variables import Typed, to_7, to_8
from gossamer_gateway.errors import BadRequest

PAYLOAD, OUTPUT = "payload", "output"


def variables_of(payload: Any, names: tuple[str, ...] | None = None) -> dict[str, Any]:
    """A payload as typed variables; `names`: those alone."""
    plain = payload if isinstance(payload, dict) else {PAYLOAD: payload}
    if names is not None:
        plain = {name: plain[name] for name in names if name in plain}
    return to_7(plain)


def output_of(typed: Any) -> Any:
    """An output of typed variables.

    Raises: BadRequest for what is none of them.
    """
    try:
        plain, _ = to_8(_checked(typed))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise BadRequest('variables must be {"name": {"value": …, "type": …}}') from None
    return plain[OUTPUT] if list(plain) == [OUTPUT] else plain


def _checked(typed: Any) -> Typed:
    """Variables, each with a type: Camunda 7 lets a worker leave it out."""
    if typed is None:
        return {}
    made: dict[str, Mapping[str, Any]] = {}
    for name, entry in typed.items():
        given = {"value": entry.get("value"), "type": entry.get("type") or _natural(entry)}
        made[name] = given | {"valueInfo": entry.get("valueInfo") or {}}
    return made


def _natural(entry: Mapping[str, Any]) -> str:
    return str(to_7({"value": entry.get("value")})["value"]["type"])
