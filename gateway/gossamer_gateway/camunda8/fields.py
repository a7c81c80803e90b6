"""Bodies of requests, read field by field: the type each must have, or Camunda 8's 400.

Keys are whole numbers of 64 bits, in text for clients from 8.8 on. Unknown fields are passed over,
as Camunda 8.6 does.
"""

import json
from collections.abc import Mapping
from typing import Any

from gossamer_gateway.camunda8.refusals import INVALID_ARGUMENT, Refused
from gossamer_node.variables import JsonValue

LONG_MAX = 2**63 - 1
INT_MAX = 2**31 - 1
TEXT_CHARS_MAX = 100_000
"""Ids, names, messages; the longest is a stack trace in an `errorMessage`."""

UNREADABLE = "Failed to read request"
"""Camunda 8's words for a body of another form."""

Json = dict[str, Any]


def read_object(data: bytes) -> Json:
    """A JSON object; no body is an empty one. Raises: Refused."""
    if not data:
        return {}
    try:
        value = json.loads(data, parse_constant=_refuse)
        if b"\\u" in data:
            # Half of a surrogate pair can be written in JSON and in no other text.
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise Refused(INVALID_ARGUMENT, UNREADABLE) from None
    if not isinstance(value, dict):
        raise Refused(INVALID_ARGUMENT, UNREADABLE)
    return value


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def key_of(text: str, name: str) -> int:
    """A key in a path. Raises: Refused."""
    digits = text.removeprefix("-")
    if digits.isascii() and digits.isdecimal() and len(digits) <= 19 and abs(int(text)) <= LONG_MAX:
        return int(text)
    raise Refused(INVALID_ARGUMENT, f"Failed to convert '{name}' with value: '{text[:100]}'")


class Fields:
    """The fields of a JSON object. Each method raises Refused for a value of another type."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.all = fields

    def text(self, name: str) -> str:
        """Empty where there is none."""
        value = self.all.get(name)
        if value is None:
            return ""
        if not isinstance(value, str) or len(value) > TEXT_CHARS_MAX or "\0" in value:
            raise _wrong(name)
        return value

    def needed(self, name: str) -> str:
        """A text that may not be blank."""
        value = self.text(name)
        if not value.strip():
            raise Refused(INVALID_ARGUMENT, f"No {name} provided.")
        return value

    def number(self, name: str, default: int = 0, largest: int = LONG_MAX) -> int:
        value = self.all.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) > largest:
            raise _wrong(name)
        return value

    def key(self, name: str) -> int | None:
        """None where there is none."""
        value = self.all.get(name)
        if value is None or value == "":
            return None
        if isinstance(value, str):
            return key_of(value, name)
        return self.number(name)

    def flag(self, name: str) -> bool:
        value = self.all.get(name)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise _wrong(name)
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        value = self.all.get(name)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise _wrong(name)
        return tuple(value)

    def object(self, name: str) -> dict[str, JsonValue]:
        """Empty where there is none."""
        value = self.all.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise _wrong(name)
        return value

    def objects(self, name: str) -> list["Fields"]:
        value = self.all.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            raise _wrong(name)
        return [Fields(one) for one in value]


def _wrong(name: str) -> Refused:
    return Refused(INVALID_ARGUMENT, f"{UNREADABLE}: {name} is of another type")
