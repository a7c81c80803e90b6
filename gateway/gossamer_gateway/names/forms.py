"""Numbers as UUIDs, and back: how Camunda 7's dialect names what lives in Camunda 8.

A UUID of version 8 (RFC 9562 §5.8) leaves 122 bits to fill as one likes. Ours, from the first:

    32  a mark: nobody else's UUID is taken for one of these
    16  a tag of the engine: two Camunda 8s count from the same numbers
    11  zero
    63  the number, around the two bits that every UUID has there

The same number of the same engine is the same UUID, on every gateway, at any time, and what an
engine is called in a configuration must stay what it is.
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from uuid import UUID

from gossamer_gateway.errors import InputError

NUMBER_MAX = 2**63 - 1
"""Zeebe's keys are positive longs."""

_MARK = 0x676F7373  # "goss"
_VERSION = 0x8 << 76
_VARIANT = 0b10 << 62
_LOW_BITS = 62
_LOW = 2**_LOW_BITS - 1


def tag_of(engine: str) -> int:
    """Sixteen bits that stand for an engine's name."""
    return int.from_bytes(sha256(engine.encode()).digest()[:2])


def tags(engines: Iterable[str]) -> Mapping[int, str]:
    """The engines of a configuration by their tags.

    Raises: InputError for two that have the same: one of 65,536 pairs has.
    """
    found: dict[int, str] = {}
    for name in engines:
        other = found.setdefault(tag_of(name), name)
        if other != name:
            raise InputError(
                f"the engines {other} and {name} cannot be told apart in ids, by a hash of their "
                "names; call one of them something else."
            )
    return found


def to_uuid(tag: int, number: int) -> str:
    """The UUID of a number, 0 to `NUMBER_MAX`."""
    assert 0 <= number <= NUMBER_MAX and 0 <= tag < 2**16
    high = (_MARK << 96) | (tag << 80) | _VERSION | (number >> _LOW_BITS << 64)
    return str(UUID(int=high | _VARIANT | (number & _LOW)))


def from_uuid(text: str) -> tuple[int, int] | None:
    """The tag and the number in a UUID of ours; None for any other text."""
    try:
        value = UUID(text).int if len(text) == 36 else 0
    except ValueError:
        return None
    number = (value >> 64 & 1) << _LOW_BITS | value & _LOW
    tag = value >> 80 & 0xFFFF
    return (tag, number) if value >> 96 == _MARK and to_uuid(tag, number) == text.lower() else None
