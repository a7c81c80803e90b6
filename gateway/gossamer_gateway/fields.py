"""JSON bodies of Camunda 7's dialect, read field by field as the type that each must have.

Whatever the network brings ends as a value of the right type or as a `BadRequest` that names the
field. Fields that nobody asks for are passed over, as in Camunda 7.
"""

import json
from collections.abc import Mapping

from gossamer_gateway.errors import BadRequest
from gossamer_node.variables import JsonValue

TEXT_CHARS_MAX = 4_000
"""Ids, topics, keys and messages; Camunda 7's longest column."""
DETAILS_CHARS_MAX = 100_000
"""A stack trace."""
NUMBER_MAX = 2**53


def parse_object(data: bytes) -> "Fields":
    """A JSON object; no body is an empty one. Raises: BadRequest."""
    if not data:
        return Fields({})
    try:
        value = json.loads(data, parse_constant=_refuse_constant)
        if b"\\u" in data:
            # Half of a surrogate pair can be written in JSON and stored nowhere.
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"The body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadRequest("The body must be a JSON object")
    return Fields(value)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


class Fields:
    """The fields of a JSON object, each read as the type it must have."""

    def __init__(self, fields: Mapping[str, JsonValue]) -> None:
        self._fields = fields

    def get(self, name: str) -> JsonValue:
        return self._fields.get(name)

    def maybe_text(self, name: str, chars_max: int = TEXT_CHARS_MAX) -> str | None:
        value = self._fields.get(name)
        if value is None:
            return None
        if not isinstance(value, str) or len(value) > chars_max:
            raise BadRequest(f"{name} must be a string of at most {chars_max} characters")
        return value

    def text(self, name: str) -> str:
        value = self.maybe_text(name)
        if not value:
            raise BadRequest(f"{name} is null")
        return value

    def number(self, name: str, default: int = 0) -> int:
        value = self._fields.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) > NUMBER_MAX:
            raise BadRequest(f"{name} must be a whole number")
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        value = self._fields.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise BadRequest(f"{name} must be true or false")
        return value

    def maybe_texts(self, name: str) -> tuple[str, ...] | None:
        value = self._fields.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
            raise BadRequest(f"{name} must be a list of strings")
        return tuple(str(entry) for entry in value)

    def objects(self, name: str) -> list["Fields"]:
        value = self._fields.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise BadRequest(f"{name} must be a list")
        found = []
        for entry in value:
            if not isinstance(entry, dict):
                raise BadRequest(f"{name} must be a list of objects")
            found.append(Fields(entry))
        return found

    def without(self, *names: str) -> dict[str, JsonValue]:
        return {name: value for name, value in self._fields.items() if name not in names}
