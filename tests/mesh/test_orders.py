"""Orders: signatures, numbers, and any bytes."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from gossamer_mesh.errors import OrderError
from gossamer_mesh.identity import operator_of
from gossamer_mesh.orders import OPERATORS_MAX, Numbers, next_number, read, sign

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OPERATOR = operator_of(KEY)


def test_an_order_says_what_was_signed() -> None:
    order = read(sign(KEY, "mesh", 7, "key.use", {"to": "x"}), "mesh", [OPERATOR])
    assert (order.operator, order.number, order.kind, order.body) == (
        OPERATOR,
        7,
        "key.use",
        {"to": "x"},
    )


def test_any_changed_bit_is_refused() -> None:
    data = sign(KEY, "mesh", 7, "key.use", {"to": "x"})
    for index in range(len(data)):
        changed = bytearray(data)
        changed[index] ^= 1
        with pytest.raises(OrderError):
            read(bytes(changed), "mesh", [OPERATOR])


@given(st.binary(max_size=400))
def test_any_bytes_are_refused(junk: bytes) -> None:
    with pytest.raises(OrderError):
        read(junk, "mesh", [OPERATOR])


def test_a_signature_for_another_purpose_is_no_order() -> None:
    data = sign(KEY, "mesh", 7, "key.use", {})
    with pytest.raises(OrderError, match="no operator here"):
        read(data, "mesh", ["0" * 64])
    with pytest.raises(OrderError, match="for the mesh 'mesh'"):
        read(data, "other", [OPERATOR])
    for number in (0, -1, 2**60):
        with pytest.raises(OrderError):
            read(sign(KEY, "mesh", number, "key.use", {}), "mesh", [OPERATOR])


def test_numbers_rise_and_are_kept(tmp_path: Path) -> None:
    first, second = (
        read(sign(KEY, "mesh", number, "key.use", {}), "mesh", [OPERATOR]) for number in (1, 2)
    )
    other = read(sign(KEY, "mesh", 2, "key.add", {}), "mesh", [OPERATOR])
    numbers = Numbers(tmp_path / "orders.json")
    assert numbers.is_new(first)
    for order in (first, second):
        numbers.record(order)
        again = Numbers(tmp_path / "orders.json")
        assert again.highest(OPERATOR) == order.number
        assert not again.is_new(order)
    for old in (first, other):
        with pytest.raises(OrderError, match="number 2 was followed"):
            again.is_new(old)
    assert next_number(0) > 1_700_000_000_000
    assert next_number(2**52) == 2**52 + 1


@pytest.mark.parametrize("text", ["", "junk", "[]", '{"a": 1}', '{"a": ["1", 2]}', "[" * 9_999])
def test_a_broken_file_is_said_and_begins_anew(tmp_path: Path, text: str) -> None:
    path = tmp_path / "orders.json"
    path.write_text(text)
    path.chmod(0o600)
    numbers = Numbers(path)
    assert "begins anew" in numbers.problem or text == "[]"
    assert numbers.highest(OPERATOR) == 0


def test_the_file_has_a_bound(tmp_path: Path) -> None:
    path = tmp_path / "orders.json"
    for number in range(1, OPERATORS_MAX + 5):
        key = Ed25519PrivateKey.generate()
        order = read(sign(key, "mesh", number, "x", {}), "mesh", [operator_of(key)])
        Numbers(path).record(order)
    assert len(json.loads(path.read_text())) == OPERATORS_MAX
