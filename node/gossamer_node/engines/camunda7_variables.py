"""Camunda 7's typed values, `{"value": ..., "type": ..., "valueInfo": {...}}`, and `Variables`.

Inwards nothing is lost: what the plain JSON form does not say goes into `types`. Outwards an
output takes the type that its worker gave it; without one, the type of the variable that the job
came with, if the value can be of it; else `natural_type`, so that new lists and objects are Json.
Engines are asked for serialized values: Json and Object arrive as text and are parsed here, a
File arrives as its name and media type alone.
"""

import binascii
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from gossamer_node.errors import EngineRefused
from gossamer_node.variables import (
    SAFE_INTEGER_MAX,
    JsonValue,
    TypeTag,
    Variables,
    natural_type,
    type_name,
)

JSON_FORMAT = "application/json"
"""`serializationDataFormat` of the Objects whose text we understand."""

LONG_MAX = 2**63 - 1
SHORT_MAX = 2**15 - 1

_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,19}", re.ASCII)

_NOT_FINITE = ("NaN", "Infinity", "-Infinity")
"""How Jackson writes the doubles that JSON has no numbers for."""

_PLAIN_TYPES = frozenset(("String", "Boolean", "Integer", "Null"))
"""Types that a value which isn't null says by itself. Most variables have one of these."""


class _Misfit(Exception):
    """A value cannot be of a type."""


def from_wire(wire: Mapping[str, Mapping[str, Any]]) -> Variables:
    """An engine's variables in their plain form.

    Raises:
        KeyError, TypeError, AttributeError: `wire` is not of Camunda's form.
    """
    values: dict[str, JsonValue] = {}
    types: dict[str, TypeTag] = {}
    for name, entry in wire.items():
        kind, value = entry["type"], entry["value"]
        if kind in _PLAIN_TYPES and (value is not None or kind == "Null"):
            values[name] = value
            continue
        if not isinstance(kind, str):
            raise TypeError(f"no name of a type: {kind!r}")
        values[name] = value = _plain(kind, value, entry)
        # A Double is always tagged: 3.0 comes back from many a language as 3.
        if kind == "Double" or natural_type(value) != kind:
            info = entry.get("valueInfo") if kind in ("Object", "File") else None
            types[name] = {"type": kind, **info} if info else kind
    return Variables(values, types)


def _plain(kind: str, value: Any, entry: Mapping[str, Any]) -> JsonValue:
    if isinstance(value, int) and kind == "Long" and abs(value) > SAFE_INTEGER_MAX:
        return str(value)
    if isinstance(value, str) and (kind == "Json" or (kind == "Object" and _is_json(entry))):
        try:
            parsed: JsonValue = json.loads(value)
        except (ValueError, RecursionError):
            return value  # Camunda checks it when somebody reads it, so we need not.
        return parsed
    if value is not None and not isinstance(value, bool | int | float | str | list | dict):
        raise TypeError(f"no JSON value: {type(value).__name__}")
    return value


def _is_json(entry: Mapping[str, Any]) -> bool:
    return (entry.get("valueInfo") or {}).get("serializationDataFormat") == JSON_FORMAT


def to_wire(outputs: Variables, existing: Mapping[str, TypeTag]) -> dict[str, dict[str, Any]]:
    """A worker's outputs as Camunda 7 takes them.

    Args:
        existing: types that the job's variables came with (`JobRef.types`).

    Raises:
        EngineRefused: a value cannot be of the type that the worker itself gave it.
    """
    wire: dict[str, dict[str, Any]] = {}
    for name, value in outputs.values.items():
        kept = existing.get(name)
        said = outputs.types.get(name)
        tag = kept if said is None else said
        if tag is None:
            wire[name] = _natural(value)
            continue
        if value is None and type_name(tag) == "File":
            continue  # The reference itself came back: nobody wrote the file.
        try:
            wire[name] = _typed(value, tag)
        except _Misfit:
            # A worker that hands its input's types back as they were asks for no type at all.
            if said is not None and said != kept:
                raise EngineRefused(
                    f"Variable {name!r} can't be of type {type_name(said)}: "
                    f"{json.dumps(value, default=repr)[:60]}; the worker must send one that can."
                ) from None
            wire[name] = _natural(value)
    return wire


def _natural(value: JsonValue) -> dict[str, Any]:
    kind = natural_type(value)
    return {"value": _text(value) if kind == "Json" else value, "type": kind}


def _typed(value: JsonValue, tag: TypeTag) -> dict[str, Any]:
    kind = type_name(tag)
    entry: dict[str, Any] = {"type": kind}
    if isinstance(tag, dict):
        info = {key: said for key, said in tag.items() if key != "type"}
        if info:
            entry["valueInfo"] = info
    entry["value"] = None if value is None else _of_kind(value, kind, entry)
    return entry


def _of_kind(value: JsonValue, kind: str, entry: Mapping[str, Any]) -> JsonValue:
    """The wire value of type `kind`. Raises _Misfit."""
    match kind:
        case "Json":
            return _text(value)
        case "Object":
            return _text(value) if _is_json(entry) else _string(value)
        case "Long":
            return _whole(value, LONG_MAX)
        case "Integer":
            return _whole(value, 2**31 - 1)
        case "Short":
            return _whole(value, SHORT_MAX)
        case "Double":
            if isinstance(value, int | float) and not isinstance(value, bool):
                return _double(value)
            if value in _NOT_FINITE:
                return value
        case "Boolean":
            if isinstance(value, bool):
                return value
        case "Date":
            return _date(_string(value))
        case "Bytes" | "File":
            return _base64(_string(value))
        case "Null":
            raise _Misfit
        case _:  # String, Xml, and what plugins add travel as text
            return _string(value)
    raise _Misfit


def _string(value: JsonValue) -> str:
    if not isinstance(value, str):
        raise _Misfit
    return value


def _text(value: JsonValue) -> str:
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    except (ValueError, TypeError, RecursionError) as error:
        raise EngineRefused(f"A variable can't be written as JSON: {error}.") from error


def _whole(value: JsonValue, largest: int) -> int:
    if isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _Misfit
    if not -largest - 1 <= value <= largest:
        raise _Misfit
    return value


def _double(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        raise _Misfit from None


def _date(text: str) -> str:
    """Camunda 7 takes `yyyy-MM-dd'T'HH:mm:ss.SSSZ` alone; any ISO 8601 instant can be that."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise _Misfit from None
    if instant.tzinfo is None:
        raise _Misfit
    try:
        return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "+0000")
    except OverflowError:
        raise _Misfit from None


def _base64(text: str) -> str:
    try:
        binascii.a2b_base64(text, strict_mode=True)
    except ValueError:  # binascii.Error, or text that isn't ASCII
        raise _Misfit from None
    return text
