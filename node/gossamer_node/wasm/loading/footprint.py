"""What a module's instances take beside their memory, read from the heads of its sections.

wasmtime says how large a module's memory is, but not its tables, nor how many functions it keeps
a few words for in each instance; and 100,000 instances of a module with large tables would take
what `capacity` knew nothing of. The module has been compiled before, so its form is right; what
this does not understand (a kind of table that is off here) counts as the most that there may be.
"""

from dataclasses import dataclass

from gossamer_node.wasm.fastcall import TABLE_ELEMENTS_MAX, TABLES_MAX

_HEADER_BYTES = 8

_IMPORT, _FUNCTION, _TABLE, _GLOBAL = 2, 3, 4, 6
"""Sections (WebAssembly core specification, 5.5.2); each begins with the count of its entries."""

_REFERENCE_TYPES = (0x70, 0x6F)
"""funcref, externref."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """What an instance has.

    Attributes:
        table_elements: of each table, at its start.
        entities: functions, globals and imports.
    """

    table_elements: tuple[int, ...] = ()
    entities: int = 0


def footprint(wasm: bytes) -> Footprint:
    """Of a module that wasmtime took."""
    tables: tuple[int, ...] = ()
    entities = 0
    at = _HEADER_BYTES
    while at < len(wasm):
        section = wasm[at]
        size, begin = _number(wasm, at + 1)
        at = begin + size
        if section in (_IMPORT, _FUNCTION, _GLOBAL):
            entities += _number(wasm, begin)[0]
        elif section == _TABLE:
            tables = _tables(wasm, begin)
    return Footprint(tables, entities)


def _tables(wasm: bytes, at: int) -> tuple[int, ...]:
    count, at = _number(wasm, at)
    found: list[int] = []
    for _ in range(count):
        kind, flags = wasm[at], wasm[at + 1]
        if kind not in _REFERENCE_TYPES or flags > 1:
            return (TABLE_ELEMENTS_MAX,) * TABLES_MAX
        least, at = _number(wasm, at + 2)
        if flags == 1:
            _, at = _number(wasm, at)
        found.append(least)
    return tuple(found)


def _number(wasm: bytes, at: int) -> tuple[int, int]:
    """An unsigned LEB128 number, and what comes after it."""
    value = shift = 0
    while True:
        byte = wasm[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
