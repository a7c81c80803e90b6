"""Process variables: plain JSON values, plus a type where the plain form loses something.

An engine's variable has a type (Camunda 7: String, Long, Date, ...); a worker sees JSON. Most
values come back as they went in without help. `types` names the rest, so that each variable
keeps its type on the way through a worker that never heard of it:

- an integer beyond ±(2**53 - 1) is a *string* typed `Long`: no guest language rounds it;
- Date and Bytes (base64) are strings, Json is the parsed value, each with its type;
- Object and File carry Camunda's `valueInfo` beside the type.

This module knows no engine; the adapters translate between their wire form and this one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"

TypeTag: TypeAlias = "str | dict[str, JsonValue]"
"""A type's name, `"Long"`; or, where it has more to say, `{"type": "Object", **value_info}`."""

INTEGER_MAX = 2**31 - 1
"""Camunda 7's Integer is 32 bits; a larger whole number is its Long."""

SAFE_INTEGER_MAX = 2**53 - 1
"""ECMA-262 Number.MAX_SAFE_INTEGER: past it a double skips whole numbers."""


@dataclass(frozen=True, slots=True)
class Variables:
    """Values by name, and the type of those whose plain form does not say it.

    `types` only ever names keys of `values`. A name without a type has `natural_type(value)`.
    """

    values: Mapping[str, JsonValue] = field(default_factory=dict)
    types: Mapping[str, TypeTag] = field(default_factory=dict)


def natural_type(value: JsonValue) -> str:
    """The Camunda type that a plain value has when nobody says otherwise.

    Returns: one of Null, Boolean, Integer, Long, Double, String, Json. A list or an object is Json.
    """
    if value is None:
        return "Null"
    if isinstance(value, bool):
        return "Boolean"
    if isinstance(value, int):
        return "Integer" if -INTEGER_MAX - 1 <= value <= INTEGER_MAX else "Long"
    if isinstance(value, float):
        return "Double"
    return "String" if isinstance(value, str) else "Json"


def type_name(tag: TypeTag) -> str:
    """The bare name of a type: `"Long"` for `"Long"`, `"Object"` for `{"type": "Object", ...}`."""
    return tag if isinstance(tag, str) else str(tag.get("type", ""))
