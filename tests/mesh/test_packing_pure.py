"""The plain Python msgpack against the library: the same bytes, the same values, the same refusals.

Only extension types differ, which the mesh never sends, and nesting past `DEPTH_MAX`.
"""

import math
import tracemalloc
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_mesh import packing, packing_pure

INTS = st.integers(-(2**63), 2**64 - 1)
SCALARS = st.none() | st.booleans() | INTS | st.text() | st.binary() | st.floats()
KEYS = st.none() | st.booleans() | INTS | st.text() | st.binary()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(KEYS, inner, max_size=20),
    max_leaves=40,
)

LENGTHS = (0, 15, 16, 31, 32, 255, 256, 65_535, 65_536)
EDGES = [sign * (2**bits) + near for bits in (5, 7, 8, 15, 16, 31, 32) for sign in (1, -1)
         for near in (-1, 0, 1)] + [2**63, 2**64 - 1, -(2**63)]  # fmt: skip


def same(one: object, other: object) -> bool:
    """Equal, of the same types, and NaN is NaN."""
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    if type(one) is not type(other):
        return False
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return same(list(one), list(other)) and same(list(one.values()), list(other.values()))
    return one == other


def library(data: bytes) -> tuple[bool, Any]:
    """Whether the library reads it, and what. `unpackb` itself refuses with several kinds."""
    try:
        return True, packing.unpack(data)
    except (ValueError, msgpack.UnpackException, TypeError):
        return False, None


def has_extension(value: object) -> bool:
    if isinstance(value, list):
        return any(map(has_extension, value))
    if isinstance(value, dict):
        return any(map(has_extension, [*value, *value.values()]))
    return not isinstance(value, (type(None), bool, int, float, str, bytes))


@given(VALUES)
def test_bytes_and_values_are_the_librarys(value: object) -> None:
    packed = packing.pack(value)
    assert packing_pure.pack(value) == packed
    assert same(packing_pure.unpack(packed), packing.unpack(packed))


@pytest.mark.parametrize("length", LENGTHS)
def test_lengths_at_their_edges(length: int) -> None:
    for value in ("x" * length, b"x" * length, [0] * length, dict.fromkeys(range(length), 1)):
        packed = packing.pack(value)
        assert packing_pure.pack(value) == packed
        assert packing_pure.unpack(packed) == value


@pytest.mark.parametrize("value", EDGES)
def test_integers_at_their_edges(value: int) -> None:
    assert packing_pure.pack(value) == packing.pack(value)
    assert packing_pure.unpack(packing.pack(value)) == value


def judge(data: bytes) -> None:
    """Both read it alike, or both refuse it."""
    is_read, value = library(data)
    try:
        found = packing_pure.unpack(data)
    except ValueError:
        assert not is_read or has_extension(value)
    else:
        assert is_read and same(found, value)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_as_the_library_does(data: bytes) -> None:
    judge(data)


@given(st.data(), VALUES)
def test_a_value_with_a_wrong_byte(data: st.DataObject, value: object) -> None:
    packed = bytearray(packing.pack(value))
    place = data.draw(st.integers(0, len(packed) - 1))
    packed[place] = data.draw(st.integers(0, 255))
    judge(bytes(packed))


@given(st.binary(max_size=8))
def test_text_is_checked_to_the_letter(data: bytes) -> None:
    try:
        data.decode()
    except UnicodeDecodeError:
        assert not packing_pure.is_utf8(data)
    else:
        assert packing_pure.is_utf8(data)


@pytest.mark.parametrize("code", [b"\xc6", b"\xdb", b"\xdd", b"\xdf"])
def test_a_promised_length_takes_no_memory(code: bytes) -> None:
    tracemalloc.start()
    with pytest.raises(ValueError):
        packing_pure.unpack(code + b"\xff\xff\xff\xff" + b"\x00" * 100)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 20_000


def test_nesting_has_a_bound() -> None:
    deepest = b"\x91" * packing_pure.DEPTH_MAX + b"\xc0"
    assert packing_pure.pack(packing_pure.unpack(deepest)) == deepest
    for data in (b"\x91" + deepest, b"\x91" * 100_000, b"\x81\xc0" * 100_000):
        with pytest.raises(ValueError):
            packing_pure.unpack(data)
    value: list[object] = []
    for _ in range(packing_pure.DEPTH_MAX):
        value = [value]
    with pytest.raises(ValueError):
        packing_pure.pack(value)


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, "\ud800", object(), {1, 2}])
def test_what_cannot_be_packed_is_refused(value: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        packing_pure.pack(value)
