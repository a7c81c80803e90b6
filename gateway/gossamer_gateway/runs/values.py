"""Values that come from outside: JSON, read strictly. Pure.

What goes into a run goes through every part behind it (rows, Kafka, workers in three languages, a
browser), so what one of them could not hold or would understand otherwise is refused here and by
name: a key that comes twice, NaN, half a surrogate pair, a number beyond 64 bits or a double, and
nesting deeper than templates reach.
"""

import json
from typing import Any

from gossamer_gateway.errors import BadRequest
from gossamer_gateway.runs.model.values import DEPTH_MAX
from gossamer_gateway.storage.port import INTEGER_END

PAYLOAD_BYTES_MAX = 2**20
"""Of what a run or a step is given, and of what a step gives; as JSON."""

_INFINITE = float("inf")


class TooLarge(BadRequest):
    """A payload above `PAYLOAD_BYTES_MAX`."""


def read(data: bytes, what: str = "the body") -> Any:
    """A JSON text as a value.

    Args:
        what: begins the sentence when it is refused.

    Raises: BadRequest.
    """
    try:
        value = json.loads(
            data,
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_float,
            parse_int=_whole,
        )
        if b"\\u" in data:
            # Half of a surrogate pair can be written in JSON and stored nowhere.
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeError:
        raise BadRequest(f"{what} has half of a surrogate pair, or is not UTF-8") from None
    except RecursionError:
        raise BadRequest(f"{what} is nested deeper than {DEPTH_MAX} levels") from None
    except ValueError as error:
        raise BadRequest(f"{what} is no JSON that can be taken: {error}") from None
    if is_deeper(value, DEPTH_MAX):
        raise BadRequest(f"{what} is nested deeper than {DEPTH_MAX} levels")
    return value


def is_deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects are nested in each other deeper than that."""
    level = [value]
    for _ in range(levels + 1):
        level = [
            one
            for each in level
            if isinstance(each, list | dict)
            for one in (each if isinstance(each, list) else each.values())
        ]
        if not level:
            return False
    return True


def size_of(value: Any) -> int:
    """Bytes of a value as JSON."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def check_size(value: Any, what: str) -> None:
    """Raises: TooLarge."""
    size = size_of(value)
    if size > PAYLOAD_BYTES_MAX:
        raise TooLarge(
            f"{what} is {size} bytes of JSON; {PAYLOAD_BYTES_MAX} is the most. Keep large data "
            "elsewhere and pass on where it is"
        )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"the key {name[:64]!r} is there twice in one object")
            seen.add(name)
    return made


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _float(text: str) -> float:
    value = float(text)
    if value in (_INFINITE, -_INFINITE):
        raise ValueError(f"the number {text[:32]} is beyond what a double holds")
    return value


def _whole(text: str) -> int:
    if len(text) <= 20:
        value = int(text)
        if -INTEGER_END <= value < INTEGER_END:
            return value
    raise ValueError(f"the number {text[:32]} is beyond 64 bits")
