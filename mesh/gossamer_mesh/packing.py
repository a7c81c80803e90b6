"""msgpack as CPython packs it, for the cores, which are given it, and for the drivers.

A microcontroller gives the cores a packer of its own. Both sides of `unpack` are bounded by the
length of what is unpacked; a length that a header promises beyond it is refused before memory is.
"""

from typing import Any

import msgpack


def pack(value: object) -> bytes:
    """Plain values to bytes; raises TypeError, ValueError or OverflowError for others."""
    packed: bytes = msgpack.packb(value)
    return packed


def unpack(data: bytes) -> Any:
    """Bytes to plain values; raises ValueError and its like for junk."""
    return msgpack.unpackb(data, strict_map_key=False)
