"""Typed variables: kept as Camunda writes them, `{"value", "type", "valueInfo"}`.

What a client wrote comes back as it was: a Long stays a Long, an Object its serialised form, a
Date the instant that it is, told in UTC. Only an expression sees a plain value (`to_value`). A
variable without a type gets the one that Camunda 7 gives it: a list or an object becomes an Object
in its JSON form. A File travels by reference: answers leave its bytes out.
"""

import base64
import binascii
import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TypeAlias

from gossamer_gateway.embedded.expressions import LONG_MAX, Opaque, Value
from gossamer_gateway.errors import BadRequest
from gossamer_node.variables import JsonValue, natural_type

Wire: TypeAlias = "dict[str, JsonValue]"
"""One variable: `{"value": …, "type": "Long", "valueInfo": {…}}`, checked."""

Wires: TypeAlias = "dict[str, Wire]"

NAME_CHARS_MAX = 255
"""Camunda 7's column for a variable's name."""

BINARY = frozenset({"Bytes", "File"})
"""Types whose value is base64."""
JSON_FORMAT = "application/json"
NULL: Wire = {"type": "Null", "value": None, "valueInfo": {}}

_DATE_FORMAT = "%Y-%m-%dT%H:%M:%S.%f%z"
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d{4}", re.ASCII)


def read_variables(plain: JsonValue, where: str = "variables") -> Wires:
    """Checks the `variables` of a request: names with `{"value", "type"?, "valueInfo"?}`.

    Raises: BadRequest naming the variable.
    """
    if plain is None:
        return {}
    if not isinstance(plain, dict):
        raise BadRequest(f"{where} must be an object of variables by name")
    return {name: read_variable(name, wire) for name, wire in plain.items()}


def read_variable(name: str, plain: JsonValue) -> Wire:
    """Checks one variable. Raises: BadRequest."""
    if not 0 < len(name) <= NAME_CHARS_MAX:
        raise BadRequest(f"A variable's name has 1 to {NAME_CHARS_MAX} characters")
    if not isinstance(plain, dict):
        raise BadRequest(f"Variable '{name}' must be an object with a value")
    value, given, info = plain.get("value"), plain.get("type"), plain.get("valueInfo")
    if info is not None and not isinstance(info, dict):
        raise BadRequest(f"The valueInfo of variable '{name}' must be an object")
    if isinstance(info, dict) and info.get("transient") not in (None, False):
        raise BadRequest(f"Variable '{name}' is transient, which this engine does not keep")
    if given is None or given == "":
        return _untyped(name, value)
    if not isinstance(given, str):
        raise BadRequest(f"The type of variable '{name}' must be a string")
    kind = given[:1].upper() + given[1:]
    check = _CHECKS.get(kind)
    if check is None:
        raise BadRequest(f"Variable '{name}': Unsupported value type '{given}'")
    if value is not None:
        try:
            value = check(value)
        except (ValueError, TypeError, OverflowError, RecursionError):
            raise BadRequest(
                f"Variable '{name}': Cannot convert value {_shown(value)} of type '{kind}'"
            ) from None
    if kind == "Object" and not (isinstance(info, dict) and info.get("objectTypeName")):
        raise BadRequest(f"Variable '{name}' is an Object without valueInfo.objectTypeName")
    wire: Wire = {"type": kind, "value": value, "valueInfo": info or {}}
    if kind == "Object" and value is not None and _is_json(wire):
        try:
            _json(value)
        except (ValueError, RecursionError):
            raise BadRequest(f"Variable '{name}' is an Object whose value is not JSON") from None
    return wire


def answered(wire: Wire, *, deserialize: bool) -> Wire:
    """A variable as it is answered: a File without its bytes, and an Object opened if asked for."""
    if wire["type"] == "File":
        return {**wire, "value": None}
    opens = deserialize and wire["type"] == "Object" and _is_json(wire)
    if opens and isinstance(wire["value"], str):
        return {**wire, "value": json.loads(wire["value"])}
    return wire


def binary(wire: Wire) -> bytes | None:
    """The bytes of a Bytes or File variable; None for any other, or null."""
    if wire["type"] not in BINARY or wire["value"] is None:
        return None
    return base64.b64decode(str(wire["value"]))


def to_value(wire: Wire) -> Value:
    """What an expression sees of a variable."""
    value = wire["value"]
    match wire["type"]:
        case _ if value is None:
            return None
        case "Date" if isinstance(value, str):
            return datetime.strptime(value, _DATE_FORMAT)
        case "Json" if isinstance(value, str):
            parsed: Value = json.loads(value)
            return parsed
        case "Object" if isinstance(value, str) and _is_json(wire):
            parsed = json.loads(value)
            return parsed
        case "Bytes" | "File" | "Xml" | "Object":
            return Opaque()
    assert isinstance(value, bool | int | float | str)
    return value


def _is_json(wire: Wire) -> bool:
    info = wire["valueInfo"]
    return isinstance(info, dict) and info.get("serializationDataFormat") == JSON_FORMAT


def _shown(value: JsonValue) -> str:
    return f"'{str(value)[:80]}'"


def _untyped(name: str, value: JsonValue) -> Wire:
    kind = natural_type(value)
    beyond = isinstance(value, int) and not -LONG_MAX - 1 <= value <= LONG_MAX
    if isinstance(value, float) and not math.isfinite(value):
        raise BadRequest(f"Variable '{name}' is beyond a double")
    if kind != "Json" and not beyond:
        return {"type": kind, "value": value, "valueInfo": {}}
    java = (
        "java.math.BigInteger"
        if beyond
        else "java.util.ArrayList<java.lang.Object>"
        if isinstance(value, list)
        else "java.util.LinkedHashMap<java.lang.Object,java.lang.Object>"
    )
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    except (ValueError, RecursionError):
        raise BadRequest(f"Variable '{name}' holds a number beyond a double") from None
    info: dict[str, JsonValue] = {"objectTypeName": java, "serializationDataFormat": JSON_FORMAT}
    return {"type": "Object", "value": text, "valueInfo": info}


def _whole(bits: int) -> Callable[[JsonValue], JsonValue]:
    def check(value: JsonValue) -> JsonValue:
        if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,19}", value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError
        if not -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
            raise ValueError
        return value

    return check


def _double(value: JsonValue) -> JsonValue:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError
    if isinstance(value, int) and abs(value) > LONG_MAX:
        raise ValueError
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return number


def _boolean(value: JsonValue) -> JsonValue:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise TypeError


def _text(value: JsonValue) -> JsonValue:
    if not isinstance(value, str):
        raise TypeError
    return value


def _date(value: JsonValue) -> JsonValue:
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        raise ValueError
    moment = datetime.strptime(value, _DATE_FORMAT).astimezone(UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}+0000"


def _bytes(value: JsonValue) -> JsonValue:
    try:
        base64.b64decode(str(_text(value)), validate=True)
    except binascii.Error:
        raise ValueError from None
    return value


def _json(value: JsonValue) -> JsonValue:
    json.loads(str(_text(value)), parse_constant=_no_constant)
    return value


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _null(value: JsonValue) -> JsonValue:
    raise ValueError(value)


_CHECKS: Mapping[str, Callable[[JsonValue], JsonValue]] = {
    "Null": _null,
    "Boolean": _boolean,
    "Short": _whole(16),
    "Integer": _whole(32),
    "Long": _whole(64),
    "Double": _double,
    "String": _text,
    "Date": _date,
    "Bytes": _bytes,
    "File": _bytes,
    "Json": _json,
    "Xml": _text,
    "Object": _text,
}
"""Camunda 7's types, and what makes a JSON value one of them; null is of every type."""
