"""Typed variables come back as they went in."""

from typing import Any

import pytest

from gossamer_gateway.embedded.values import answered, read_variable, to_value
from gossamer_gateway.errors import BadRequest


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "Null"),
        (True, "Boolean"),
        (5, "Integer"),
        (2**31, "Long"),
        (2**53 + 1, "Long"),
        (1.5, "Double"),
        ("x", "String"),
    ],
)
def test_an_untyped_value_gets_its_natural_type(value: Any, kind: str) -> None:
    wire = {"value": value}
    assert read_variable("v", wire) == {"type": kind, "value": value, "valueInfo": {}}


@pytest.mark.parametrize("value", [[1, "b"], {"a": {"b": 3}}, 12345678901234567890])
def test_what_java_has_no_plain_type_for_becomes_an_object_in_json(value: Any) -> None:
    wire = read_variable("v", {"value": value})
    assert wire["type"] == "Object"
    assert isinstance(wire["value"], str)
    assert answered(wire, deserialize=True)["value"] == value
    assert to_value(wire) == value


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("Long", 2**53 + 1),
        ("Short", -5),
        ("Double", 2.0),
        ("Date", "2026-01-02T03:04:05.007+0000"),
        ("Bytes", "aGVsbG8="),
        ("File", "aGVsbG8="),
        ("Json", '{"a": 1}'),
        ("Xml", "<a/>"),
        ("String", "5"),
        ("Long", None),
        ("Null", None),
    ],
)
def test_a_typed_value_is_kept_as_it_is(kind: str, value: Any) -> None:
    info = {"filename": "a.txt"} if kind == "File" else {}
    wire = {"value": value, "type": kind, "valueInfo": info}
    assert read_variable("v", wire) == wire


def test_a_number_may_be_written_as_a_string_and_a_type_in_small_letters() -> None:
    assert read_variable("v", {"value": "77", "type": "long"}) == {
        "type": "Long",
        "value": 77,
        "valueInfo": {},
    }


def test_a_date_is_told_in_utc() -> None:
    wire = read_variable("v", {"value": "2026-01-01T00:30:00.007+0100", "type": "Date"})
    assert wire["value"] == "2025-12-31T23:30:00.007+0000"


def test_a_file_is_answered_without_its_bytes() -> None:
    wire: Any = {"value": "aGVsbG8=", "type": "File", "valueInfo": {"filename": "a.txt"}}
    assert answered(read_variable("v", wire), deserialize=False) == {**wire, "value": None}


@pytest.mark.parametrize(
    "wire",
    [
        {"value": "x", "type": "Integer"},
        {"value": 2**31, "type": "Integer"},
        {"value": True, "type": "Long"},
        {"value": 1e400},
        {"value": [float("nan")]},
        {"value": "yes", "type": "Boolean"},
        {"value": 5, "type": "String"},
        {"value": "2026-01-02", "type": "Date"},
        {"value": "2026-13-02T03:04:05.000+0000", "type": "Date"},
        {"value": "not base64!", "type": "Bytes"},
        {"value": "{", "type": "Json"},
        {"value": "NaN", "type": "Json"},
        {"value": "[" * 100_000, "type": "Json"},
        {"value": 1, "type": "Nonsense"},
        {"value": 1, "type": 7},
        {"value": "x", "type": "Object"},
        {
            "value": "{",
            "type": "Object",
            "valueInfo": {
                "objectTypeName": "java.util.Map",
                "serializationDataFormat": "application/json",
            },
        },
        {"value": "0001-01-01T00:00:00.000+0100", "type": "Date"},
        {"value": 1, "valueInfo": []},
        {"value": 1, "valueInfo": {"transient": True}},
        [],
        "x",
    ],
)
def test_a_wrong_variable_is_refused_by_name(wire: Any) -> None:
    with pytest.raises(BadRequest, match=r"'v'"):
        read_variable("v", wire)
