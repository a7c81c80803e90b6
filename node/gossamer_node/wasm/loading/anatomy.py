"""What a module is made of, counted before anything compiles it.

wasmtime's compiler takes time and memory in proportion to the product of what a function has, and
wasmtime's API makes a Python object of each export. A module's author chooses both: 230 KiB of
20,000 locals and as many branches took 70 s and 8 GiB, 900,000 empty functions 149 s and 5 GiB
(wasmtime 50.0.1, two cores under load). So `count_parts` counts the heads of the sections, and
`Anatomy.weight` bounds the work from above; `compiling` has the use of both. What this cannot read
is for wasmtime to judge, and counts as heavy.
"""

from collections.abc import Iterator
from dataclasses import dataclass

_HEADER_BYTES = 8
_TYPE, _IMPORT, _FUNCTION, _GLOBAL, _EXPORT, _CODE = 1, 2, 3, 6, 7, 10
"""Sections (WebAssembly core specification, 5.5.2)."""

_TYPED_REFERENCES = (0x63, 0x64)
"""A heap type follows these value types."""

HEAVY = 2**62

FUNCTIONS_LIGHT = 1_000
BODY_LIGHT_BYTES = 32 * 2**10
"""Of one function: the compiler's time grows with the square."""


@dataclass(frozen=True, slots=True)
class Anatomy:
    """Counts of a module's parts.

    Attributes:
        weight: at most so much is there to compile: bytes of code times what may be live at each,
            or `HEAVY`.
    """

    imports: int
    exports: int
    globals: int
    functions: int
    weight: int


class _Unreadable(Exception):
    pass


def count_parts(wasm: bytes) -> Anatomy | None:
    """Counts, of any bytes at all. None: they are not as the specification has them."""
    counts = dict.fromkeys((_IMPORT, _FUNCTION, _GLOBAL, _EXPORT), 0)
    types_bytes = weight = 0
    try:
        for section, begin, end in _sections(wasm):
            if section in counts:
                counts[section] += _number(wasm, begin)[0]
            elif section == _TYPE:
                types_bytes += end - begin
            elif section == _CODE:
                weight += _code_weight(wasm, begin, end, types_bytes)
    except (_Unreadable, IndexError):
        return None
    return Anatomy(
        imports=counts[_IMPORT],
        exports=counts[_EXPORT],
        globals=counts[_GLOBAL],
        functions=counts[_FUNCTION],
        weight=min(weight, HEAVY),
    )


def _sections(wasm: bytes) -> Iterator[tuple[int, int, int]]:
    at = _HEADER_BYTES
    while at < len(wasm):
        size, begin = _number(wasm, at + 1)
        if begin + size > len(wasm):
            raise _Unreadable
        yield wasm[at], begin, begin + size
        at = begin + size


def _code_weight(wasm: bytes, at: int, end: int, types_bytes: int) -> int:
    """Types count in full, as no function has more parameters, nor a block more results."""
    count, at = _number(wasm, at)
    if count > FUNCTIONS_LIGHT:
        return HEAVY
    weight = 0
    for _ in range(count):
        size, at = _number(wasm, at)
        if size > BODY_LIGHT_BYTES:
            return HEAVY
        if at + size > end:
            raise _Unreadable
        weight += size * (1 + types_bytes + _locals(wasm, at))
        at += size
    return weight


def _locals(wasm: bytes, at: int) -> int:
    groups, at = _number(wasm, at)
    total = 0
    for _ in range(min(groups, BODY_LIGHT_BYTES)):
        count, at = _number(wasm, at)
        total += count
        kind, at = wasm[at], at + 1
        if kind in _TYPED_REFERENCES:
            _, at = _number(wasm, at)
    return total


def _number(wasm: bytes, at: int) -> tuple[int, int]:
    """An unsigned LEB128 number of 32 bits, and what comes after it."""
    value = 0
    for shift in range(0, 35, 7):
        byte = wasm[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
    raise _Unreadable
