"""Camunda 8's variables and `Variables`: plain JSON on both sides, except for numbers.

Camunda 8 holds whole numbers of 64 bits and doubles, and keeps 3.0 apart from 3. A whole number
that a double can't hold is a string typed Long inside, and an exact number again on the wire; a
double is tagged, so that it stays one in languages where 3.0 is 3. Numbers deep in a list or an
object go through as they are. All other types are Camunda 7's and say nothing to this engine.
"""

from collections.abc import Mapping
from typing import Any

from gossamer_node.variables import SAFE_INTEGER_MAX, JsonValue, TypeTag, Variables, type_name


def from_json(wire: Mapping[str, Any]) -> Variables:
    """An engine's variables in their plain form."""
    values: dict[str, JsonValue] = dict(wire)
    types: dict[str, TypeTag] = {}
    for name, value in wire.items():
        if isinstance(value, float):
            types[name] = "Double"
        elif isinstance(value, int) and abs(value) > SAFE_INTEGER_MAX:
            values[name] = str(value)
            types[name] = "Long"
    return Variables(values, types)


def to_json(outputs: Variables, existing: Mapping[str, TypeTag]) -> dict[str, JsonValue]:
    """A worker's outputs as Camunda 8 takes them.

    Args:
        existing: types that the job's variables came with (`JobRef.types`).
    """
    wire = dict(outputs.values)
    if not outputs.types and not existing:
        return wire
    for name, value in wire.items():
        match type_name(outputs.types.get(name) or existing.get(name, "")), value:
            case "Long", str():
                wire[name] = _whole(value)
            case "Double", int() if not isinstance(value, bool):
                wire[name] = _double(value)
    return wire


def _whole(text: str) -> JsonValue:
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) <= 19 else text


def _double(value: int) -> JsonValue:
    try:
        return float(value)
    except OverflowError:
        return value
