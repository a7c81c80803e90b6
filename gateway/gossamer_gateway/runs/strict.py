"""Bodies of requests: JSON, read strictly. Pure.

What is in a body goes through every part behind it (rows, Kafka, workers in three languages, a
browser), so what one of them could not hold or would take otherwise is refused here and by name.
`model.values` says what may be a value; a key that comes twice, of which each reader keeps another,
is a matter of the text.
"""

import json
from typing import Any

import msgspec

from gossamer_gateway.errors import BadRequest
from gossamer_gateway.runs.model.problems import shown, written
from gossamer_gateway.runs.model.values import TOO_DEEP, VALUE_BYTES_MAX, flaws


class TooLarge(BadRequest):
    """A value above `VALUE_BYTES_MAX`."""


def read(data: bytes) -> Any:
    """A body as a value.

    Raises: BadRequest.
    """
    try:
        value = json.loads(data, object_pairs_hook=_object)
    except RecursionError:
        raise BadRequest(f"the body won't do: {TOO_DEEP}") from None
    except ValueError as error:
        raise BadRequest(f"the body is no JSON that can be taken: {error}") from None
    for path, message in flaws(value):
        raise BadRequest(": ".join(part for part in ("the body", written(path), message) if part))
    return value


def read_object(data: bytes, *names: str) -> dict[str, Any]:
    """A body that is an object with some of these fields.

    Raises: BadRequest.
    """
    value = read(data)
    if not isinstance(value, dict):
        raise BadRequest("the body must be a JSON object")
    for name in value:
        if name not in names:
            known = ", ".join(names) or "none"
            raise BadRequest(f"there is no field {shown(name)} here; there is {known}")
    return value


def check_size(value: Any, what: str) -> None:
    """Raises: TooLarge."""
    size = size_of(value)
    if size > VALUE_BYTES_MAX:
        raise TooLarge(
            f"{what} has {size} bytes as JSON; {VALUE_BYTES_MAX} are the most. Keep large data "
            "elsewhere and pass on where it is"
        )


def size_of(value: Any) -> int:
    """Bytes of a value as JSON."""
    return len(msgspec.json.encode(value))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"the key {shown(name)} stands twice in one object")
            seen.add(name)
    return made
