"""msgpack in plain Python, for the cores where no library is: a microcontroller, a simulator there.

Whole values of nil, bool, integers of 64 bits, floats, text, bytes, arrays and maps; the same bytes
as the msgpack library for each of them, and the same values back. Extension types, which the mesh
never sends, are refused. Written in the Python that MicroPython runs.

`unpack` is total: anything but one whole value raises `ValueError`. A header that promises more
than is left is refused before memory is taken for it, and nesting has a bound, so what is allocated
never exceeds a small multiple of what came.
"""

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEPTH_MAX = 64
"""Arrays and maps within each other. The mesh's own messages have five levels; a microcontroller's
stack bears this many."""


def pack(value: object) -> bytes:
    """Plain values to bytes.

    Raises:
        TypeError: a value of another type.
        ValueError: an integer past 64 bits, nesting past `DEPTH_MAX`, text that is no Unicode.
    """
    parts: list[bytes] = []
    _pack(value, parts, DEPTH_MAX)
    return b"".join(parts)


def unpack(data: bytes) -> "Any":
    """Bytes to plain values, of the very types that were packed.

    Raises:
        ValueError: it is not one whole value.
    """
    value, end = _unpack(data, 0, DEPTH_MAX)
    if end != len(data):
        raise ValueError("bytes are left over")
    return value


def _pack(value: object, parts: "list[bytes]", depth: int) -> None:
    if value is None:
        parts.append(b"\xc0")
    elif value is True:
        parts.append(b"\xc3")
    elif value is False:
        parts.append(b"\xc2")
    elif isinstance(value, int):
        parts.append(_packed_int(value))
    elif isinstance(value, str):
        data = value.encode()
        if not is_utf8(data):  # CPython has raised by now; others encode half a surrogate pair
            raise ValueError("text that is no Unicode")
        parts.append(_header(len(data), 0xA0, 32, 0xD9))
        parts.append(data)
    elif isinstance(value, (bytes, bytearray)):
        parts.append(_header(len(value), 0, 0, 0xC4))
        parts.append(bytes(value))
    elif isinstance(value, float):
        parts.append(struct.pack(">Bd", 0xCB, value))
    elif isinstance(value, (list, tuple)):
        _deeper(depth)
        parts.append(_header(len(value), 0x90, 16, 0xDB))
        for one in value:
            _pack(one, parts, depth - 1)
    elif isinstance(value, dict):
        _deeper(depth)
        parts.append(_header(len(value), 0x80, 16, 0xDD))
        for key in value:
            _pack(key, parts, depth - 1)
            _pack(value[key], parts, depth - 1)
    else:
        raise TypeError("cannot pack this type")


def _deeper(depth: int) -> None:
    if depth == 0:
        raise ValueError("nested too deep")


def _packed_int(value: int) -> bytes:
    if value >= 0:
        if value < 0x80:
            return bytes((value,))
        if value < 0x100:
            return bytes((0xCC, value))
        if value < 0x10000:
            return struct.pack(">BH", 0xCD, value)
        if value < 0x100000000:
            return struct.pack(">BI", 0xCE, value)
        if value < 0x10000000000000000:
            return struct.pack(">BQ", 0xCF, value)
    elif value >= -0x20:
        return bytes((value + 0x100,))
    elif value >= -0x80:
        return struct.pack(">Bb", 0xD0, value)
    elif value >= -0x8000:
        return struct.pack(">Bh", 0xD1, value)
    elif value >= -0x80000000:
        return struct.pack(">Bi", 0xD2, value)
    elif value >= -0x8000000000000000:
        return struct.pack(">Bq", 0xD3, value)
    raise ValueError("an integer past 64 bits")


def _header(length: int, fixed: int, fixed_end: int, byte_code: int) -> bytes:
    """A type and a length: in one byte, or behind the code for one (text, bytes), two or four."""
    if length < fixed_end:
        return bytes((fixed + length,))
    if length < 0x100 and byte_code in (0xC4, 0xD9):
        return bytes((byte_code, length))
    if length < 0x10000:
        return struct.pack(">BH", byte_code + 1, length)
    if length < 0x100000000:
        return struct.pack(">BI", byte_code + 2, length)
    raise ValueError("too long")


_NUMBERS = {
    0xCC: (">B", 1),
    0xCD: (">H", 2),
    0xCE: (">I", 4),
    0xCF: (">Q", 8),
    0xD0: (">b", 1),
    0xD1: (">h", 2),
    0xD2: (">i", 4),
    0xD3: (">q", 8),
    0xCA: (">f", 4),
    0xCB: (">d", 8),
}
"""Code of a number → its form and size."""

_LENGTHS = {
    0xC4: (">B", 1),
    0xC5: (">H", 2),
    0xC6: (">I", 4),
    0xD9: (">B", 1),
    0xDA: (">H", 2),
    0xDB: (">I", 4),
    0xDC: (">H", 2),
    0xDD: (">I", 4),
    0xDE: (">H", 2),
    0xDF: (">I", 4),
}
"""Code of bytes, text, an array or a map → form and size of its length."""


def _unpack(data: bytes, at: int, depth: int) -> "tuple[Any, int]":
    """The value that begins at `at`, and where it ends."""
    if at >= len(data):
        raise ValueError("it ends too soon")
    code = data[at]
    at += 1
    if code < 0x80:
        return code, at
    if code >= 0xE0:
        return code - 0x100, at
    if code < 0x90:
        return _map(data, at, code & 0x0F, depth)
    if code < 0xA0:
        return _array(data, at, code & 0x0F, depth)
    if code < 0xC0:
        return _text(data, at, code & 0x1F)
    if code == 0xC0:
        return None, at
    if code in (0xC2, 0xC3):
        return code == 0xC3, at
    if code in _NUMBERS:
        form, size = _NUMBERS[code]
        return _number(data, at, form, size), at + size
    if code not in _LENGTHS:
        raise ValueError("an extension type")
    form, size = _LENGTHS[code]
    length = _number(data, at, form, size)
    at += size
    if code <= 0xC6:
        _left(data, at, length)
        return bytes(data[at : at + length]), at + length
    if code <= 0xDB:
        return _text(data, at, length)
    if code <= 0xDD:
        return _array(data, at, length, depth)
    return _map(data, at, length, depth)


def _left(data: bytes, at: int, count: int) -> None:
    if count > len(data) - at:
        raise ValueError("it ends too soon")


def _number(data: bytes, at: int, form: str, size: int) -> "Any":
    _left(data, at, size)
    return struct.unpack_from(form, data, at)[0]


def _text(data: bytes, at: int, length: int) -> "tuple[str, int]":
    _left(data, at, length)
    text = bytes(data[at : at + length])
    if not is_utf8(text):
        raise ValueError("text that is no Unicode")
    return text.decode(), at + length


def _array(data: bytes, at: int, count: int, depth: int) -> "tuple[list[Any], int]":
    _deeper(depth)
    _left(data, at, count)
    items = []
    for _ in range(count):
        item, at = _unpack(data, at, depth - 1)
        items.append(item)
    return items, at


def _map(data: bytes, at: int, count: int, depth: int) -> "tuple[dict[Any, Any], int]":
    _deeper(depth)
    _left(data, at, 2 * count)
    items = {}
    for _ in range(count):
        key, at = _unpack(data, at, depth - 1)
        if isinstance(key, (list, dict)):
            raise ValueError("a key that is a collection")
        items[key], at = _unpack(data, at, depth - 1)
    return items, at


def is_utf8(data: bytes) -> bool:
    """Whether it is UTF-8 to the letter (RFC 3629); MicroPython's own check lets more pass."""
    if not data or max(data) < 0x80:
        return True
    at, end = 0, len(data)
    while at < end:
        first = data[at]
        if first < 0x80:
            at += 1
            continue
        if 0xC2 <= first < 0xE0:
            more, least, greatest = 1, 0x80, 0xBF
        elif 0xE0 <= first < 0xF0:
            # No overlong forms, no halves of surrogate pairs.
            more, least = 2, 0xA0 if first == 0xE0 else 0x80
            greatest = 0x9F if first == 0xED else 0xBF
        elif 0xF0 <= first < 0xF5:
            more, least = 3, 0x90 if first == 0xF0 else 0x80
            greatest = 0x8F if first == 0xF4 else 0xBF
        else:
            return False
        if at + more >= end or not least <= data[at + 1] <= greatest:
            return False
        for place in range(at + 2, at + more + 1):
            if data[place] & 0xC0 != 0x80:
                return False
        at += more + 1
    return True
