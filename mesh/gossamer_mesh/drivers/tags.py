"""Tags and names between Python values and what a member says of itself on the wire."""

from collections.abc import Mapping

from gossamer_mesh.drivers.config import Plain
from gossamer_mesh.errors import MisuseError
from gossamer_mesh.packing import pack, unpack
from gossamer_mesh.swim.codec import TAGS_BYTES_MAX

DEPTH_MAX = 8
"""How deep lists and maps may nest in a tag."""


def pack_tags(tags: Mapping[str, Plain]) -> bytes:
    """Equal maps give equal bytes, whatever their order.

    Raises:
        MisuseError: a value that is not plain, or more than 512 bytes in all.
    """
    ordered = _ordered(dict(tags))
    if not _is_tags(ordered):
        raise MisuseError(
            "tags are a map of text to None, bool, int, str, bytes, lists and maps of these; "
            f"these are not: {tags!r}."
        )
    try:
        packed = pack(ordered)
    except (ValueError, OverflowError) as error:
        raise MisuseError(f"a tag cannot be packed ({error}); integers have 64 bits.") from error
    if len(packed) > TAGS_BYTES_MAX:
        raise MisuseError(
            f"these tags take {len(packed)} bytes; {TAGS_BYTES_MAX} fit, so shorten or drop some."
        )
    return packed


def unpack_tags(packed: bytes) -> dict[str, Plain]:
    """What a member said of itself; nothing at all where it is not a map of plain values."""
    try:
        tags = unpack(packed) if packed else {}
    except Exception:  # msgpack raises a dozen kinds for junk
        return {}
    return tags if _is_tags(tags) else {}


def printable(name: str) -> str:
    """A name that does nothing to the terminal it is shown on."""
    return "".join(each if each.isprintable() else "\ufffd" for each in name)


def _ordered(value: Plain) -> Plain:
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _ordered(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [_ordered(each) for each in value]
    return value


def _is_tags(value: object) -> bool:
    return isinstance(value, dict) and _is_plain(value, DEPTH_MAX)


def _is_plain(value: object, depth: int) -> bool:
    if value is None or isinstance(value, bool | int | str | bytes):
        return True
    if depth == 0:
        return False
    if isinstance(value, list):
        return all(_is_plain(each, depth - 1) for each in value)
    return isinstance(value, dict) and all(
        isinstance(key, str) and _is_plain(value[key], depth - 1) for key in value
    )
