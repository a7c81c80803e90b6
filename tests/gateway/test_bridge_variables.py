"""Variables across the two Camundas, by property: what goes over comes back."""

import json
import math
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_gateway.bridge.variables import to_7, to_8


def _text(value: Any) -> str:
    assert not isinstance(value, float) or math.isfinite(value)
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


LONGS = st.integers(-(2**63), 2**63 - 1)
DOUBLES = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | LONGS | DOUBLES | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
# A text of `null` comes back as no text at all, which is null as well.
TEXTS = VALUES.filter(lambda one: one is not None).map(_text)
NAMES = st.text(max_size=5)


def same(one: Any, other: Any) -> bool:
    """Equal, and of the same JSON: 3 is not 3.0, True is not 1."""
    return json.dumps(one) == json.dumps(other)


@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_what_lives_in_8_comes_back_from_a_7_client(plain: dict[str, Any]) -> None:
    typed = to_7(plain)
    assert {entry["type"] for entry in typed.values()} <= {
        *("Null", "Boolean", "Integer", "Long", "Double", "String", "Json")
    }
    back, _ = to_8(typed)
    assert same(back, plain)


@given(
    st.dictionaries(
        NAMES,
        st.one_of(
            LONGS.map(lambda one: {"type": "Long", "value": one}),
            st.integers(-(2**31), 2**31 - 1).map(lambda one: {"type": "Integer", "value": one}),
            st.integers(-(2**15), 2**15 - 1).map(lambda one: {"type": "Short", "value": one}),
            DOUBLES.map(lambda one: {"type": "Double", "value": one}),
            st.text(max_size=8).map(lambda one: {"type": "String", "value": one}),
            st.booleans().map(lambda one: {"type": "Boolean", "value": one}),
            st.binary(max_size=9).map(lambda one: {"type": "Bytes", "value": _base64(one)}),
            st.datetimes().map(lambda one: {"type": "Date", "value": _date(one)}),
            TEXTS.map(lambda one: {"type": "Json", "value": one}),
            st.just({"type": "Null", "value": None}),
            st.text(max_size=8).map(lambda one: {"type": "Xml", "value": one}),
            TEXTS.map(
                lambda one: {
                    "type": "Object",
                    "value": one,
                    "valueInfo": {
                        "objectTypeName": "java.util.ArrayList",
                        "serializationDataFormat": "application/json",
                    },
                }
            ),
        ),
        max_size=4,
    )
)
def test_what_lives_in_7_comes_back_from_an_8_client_with_its_type(
    typed: dict[str, dict[str, Any]],
) -> None:
    plain, types = to_8(typed)
    json.dumps(plain)
    back = to_7(plain, types)
    for name, entry in typed.items():
        came = back[name]
        assert came["type"] == entry["type"], entry
        assert came.get("valueInfo") == entry.get("valueInfo")
        if entry["type"] in ("Json", "Object"):
            assert same(json.loads(came["value"]), json.loads(entry["value"]))
        else:
            assert same(came["value"], entry["value"])


@pytest.mark.parametrize(
    ("typed", "plain"),
    [
        ({"type": "Date", "value": "2026-11-21T09:23:53.322+0000"}, "2026-11-21T09:23:53.322+0000"),
        ({"type": "Double", "value": 3.0}, 3.0),
        ({"type": "Long", "value": 2**53 + 1}, 2**53 + 1),
        ({"type": "Bytes", "value": "AAE="}, "AAE="),
        ({"type": "File", "value": None, "valueInfo": {"filename": "a.pdf"}}, None),
        ({"type": "Json", "value": '{"a":[1,2.0]}'}, {"a": [1, 2.0]}),
    ],
)
def test_the_table(typed: dict[str, Any], plain: Any) -> None:
    found, _ = to_8({"x": typed})
    assert same(found["x"], plain)


def test_a_type_that_no_longer_fits_gives_way() -> None:
    _, types = to_8({"when": {"type": "Date", "value": "2026-11-21T09:23:53.322+0000"}})
    assert to_7({"when": "tomorrow"}, types)["when"] == {"type": "String", "value": "tomorrow"}
    assert to_7({"when": 5}, types)["when"] == {"type": "Integer", "value": 5}


def test_a_file_stays_what_it_was() -> None:
    plain, types = to_8({"f": {"type": "File", "value": None, "valueInfo": {"filename": "a"}}})
    assert "f" not in to_7(plain, types)


def _base64(data: bytes) -> str:
    import base64

    return base64.b64encode(data).decode()


def _date(moment: datetime) -> str:
    return moment.strftime("%Y").zfill(4) + moment.strftime(
        f"-%m-%dT%H:%M:%S.{moment.microsecond // 1000:03d}+0000"
    )
