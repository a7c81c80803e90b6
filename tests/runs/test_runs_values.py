"""Values, templates and conditions: what is taken, what is found, what holds."""

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_gateway.runs.model.conditions import holds
from gossamer_gateway.runs.model.mapping import MappingFailed, fill, find, parts
from gossamer_gateway.runs.model.values import DEPTH_MAX, VALUE_BYTES_MAX, flaw, flaws, mended


def nested(levels: int) -> Any:
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, None), (True, None), ("ü😀\0", None), (-(2**63), None), (2**64 - 1, None),
        (1.5e300, None), ({}, None), ([{"a": [1, None, "x"]}], None), (nested(DEPTH_MAX), None),
        ("x" * (VALUE_BYTES_MAX - 2), None),
        (math.nan, "BadValue"), (math.inf, "BadValue"), ([1, -math.inf], "BadValue"),
        (2**64, "BadValue"), (-(2**63) - 1, "BadValue"), ("\ud800", "BadValue"),
        ({"\udfff": 1}, "BadValue"), ({1: 2}, "BadValue"), ((1, 2), "BadValue"),
        ({"a": {1, 2}}, "BadValue"), (b"x", "BadValue"), (object(), "BadValue"),
        (nested(DEPTH_MAX + 1), "BadValue"), (nested(100_000), "BadValue"),
        ("x" * (VALUE_BYTES_MAX - 1), "TooLarge"), (["ü"] * 400_000, "TooLarge"),
        ([0] * (VALUE_BYTES_MAX // 2 - 1), None), ([0] * (VALUE_BYTES_MAX // 2), "TooLarge"),
        ({"x" * (VALUE_BYTES_MAX - 7): 1}, None), ({"x" * (VALUE_BYTES_MAX - 5): 1}, "TooLarge"),
    ],
)  # fmt: skip
def test_what_is_a_value(value: Any, code: str | None) -> None:
    found = flaw(value)
    assert (None if found is None else found.code) == code
    if code != "TooLarge":
        assert bool(list(flaws(value))) == (code is not None)
    if code is None:
        assert msgspec.json.decode(msgspec.json.encode(value)) == value


def test_a_large_value_that_comes_a_million_times_is_not_walked_a_million_times() -> None:
    large = ["x" * 1_000] * 1_000
    found = flaw([[large] * 1_000] * 1_000)
    assert found is not None and found.code == "TooLarge"


@given(st.text(st.characters()) | st.just("\ud800" * 9), st.integers(1, 20))
def test_a_mended_text_can_be_written_and_is_short(text: str, most: int) -> None:
    cut = mended(text, most)
    assert len(cut) <= most and msgspec.json.decode(msgspec.json.encode(cut)) == cut
    if len(text) <= most and text.isprintable():
        assert cut == text


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$.a", ("a",)), ("$.a.b-c._d", ("a", "b-c", "_d")), ("$.a[0][12].b", ("a", 0, 12, "b")),
        ('$.a["b c"]', ("a", "b c")), ("$.a['x.y#2'][3]", ("a", "x.y#2", 3)),
        ('$.a["7"]', ("a", "7")), ("$.a['\"']", ("a", '"')),
    ],
)  # fmt: skip
def test_paths(path: str, found: tuple[str | int, ...]) -> None:
    assert parts(path) == found


@pytest.mark.parametrize(
    "path",
    ["", "$", "$.", "a", "$a", "$..a", "$.a.", "$.a[", "$.a[]", "$.a[-1]", "$.a[1234567]", "$[0]",
     "$.a b", "$.1", "$.ä", '$.a["', '$.a[""]', '$.a["\\""]', "$.a['b\"]", "$.a ", "$.a\n"],
)  # fmt: skip
def test_what_is_no_path(path: str) -> None:
    with pytest.raises(ValueError, match="is no path"):
        parts(path)


SCOPE = {
    "input": {"n": 7, "list": [{"x": "y"}], "none": None, "odd name": 1, "text": "abc"},
    "steps": {"a": {"b": True}, "com.acme#2": [1]},
    "previous": [],
}


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("$.input.n", 7), ("$$.input.n", "$.input.n"), ("$", "$"), ("$input", "$input"),
        ("$$$.x", "$$$.x"), ("$.input.list[0].x", "y"), ("$.input.none", None),
        ('$.steps["com.acme#2"][0]', 1), ("$.previous", []), (3, 3), (None, None),
        ({"$.input": ["$.steps.a", {"k": "$.input.text"}]},
         {"$.input": [{"b": True}, {"k": "abc"}]}),
    ],
)  # fmt: skip
def test_templates(template: Any, value: Any) -> None:
    assert fill(template, SCOPE) == value


@pytest.mark.parametrize(
    "path",
    ["$.input.m", "$.input.list[1]", "$.input.list.x", "$.input.n.x", "$.input.n[0]",
     "$.input.none.x", "$.input.text[0]", "$.input.text.x", "$.previous[0]", "$.steps.b",
     "$.input[0]"],
)  # fmt: skip
def test_what_is_not_there_is_an_error(path: str) -> None:
    with pytest.raises(MappingFailed, match="there is nothing at"):
        find(path, SCOPE)


@pytest.mark.parametrize(
    ("condition", "does"),
    [
        ({"equals": 7}, True), ({"equals": 7.0}, True), ({"equals": "7"}, False),
        ({"notEquals": 8}, True), ({"notEquals": 7}, False), ({"notEquals": "7"}, True),
        ({"lessThan": 8}, True), ({"lessThan": 7}, False), ({"lessThan": "8"}, False),
        ({"lessThanOrEqual": 7}, True), ({"greaterThan": 6.9}, True), ({"greaterThan": 7}, False),
        ({"greaterThanOrEqual": 7}, True), ({"greaterThanOrEqual": 7.1}, False),
        ({"greaterThan": 1, "lessThan": 9}, True), ({"greaterThan": 1, "lessThan": 7}, False),
        ({"in": [1, 7]}, True), ({"in": [1, "7"]}, False), ({"exists": True}, True),
        ({"exists": False}, False), ({"exists": True, "equals": 8}, False),
        ({"exists": True, "equals": 7}, True),
    ],
)  # fmt: skip
def test_comparisons_of_a_number(condition: dict[str, Any], does: bool) -> None:
    assert holds({"path": "$.input.n"} | condition, SCOPE) is does
    assert holds({"not": {"path": "$.input.n"} | condition}, SCOPE) is not does


@pytest.mark.parametrize(
    ("path", "condition", "does"),
    [
        ("$.steps.a.b", {"equals": True}, True), ("$.steps.a.b", {"equals": 1}, False),
        ("$.steps.a", {"equals": {"b": 1}}, False), ("$.steps.a", {"equals": {"b": True}}, True),
        ('$.steps["com.acme#2"]', {"equals": [True]}, False),
        ('$.steps["com.acme#2"]', {"in": [[1.0]]}, True),
        ("$.steps.a", {"equals": {"b": True, "c": None}}, False),
        ("$.steps.a.b", {"lessThan": 2}, False), ("$.input.text", {"lessThan": "abd"}, True),
        ("$.input.text", {"greaterThan": 1}, False), ("$.input.none", {"equals": None}, True),
        ("$.input.none", {"exists": True}, True), ("$.input.none", {"lessThan": 1}, False),
        ("$.gone", {"exists": False}, True), ("$.gone", {"exists": True}, False),
        ("$.gone", {"equals": None}, False), ("$.gone", {"notEquals": 1}, False),
        ("$.previous", {"equals": []}, True), ("$.previous", {"equals": {}}, False),
    ],
)  # fmt: skip
def test_comparisons_of_others(path: str, condition: dict[str, Any], does: bool) -> None:
    assert holds({"path": path} | condition, SCOPE) is does


def test_conditions_together() -> None:
    yes, no = {"path": "$.input.n", "equals": 7}, {"path": "$.input.n", "equals": 8}
    assert holds({"all": [yes, {"any": [no, yes]}, {"not": no}]}, SCOPE)
    assert not holds({"all": [yes, no]}, SCOPE) and not holds({"any": [no, no]}, SCOPE)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=8,
)


@given(json_values, json_values)
def test_equal_means_that_json_says_the_same(left: Any, right: Any) -> None:
    def plain(value: Any) -> str:
        return json.dumps(value, sort_keys=True, default=str)

    condition = {"path": "$.input", "equals": right}
    said = holds(condition, {"input": left})
    if plain(left) == plain(right):
        assert said
    if said:  # 1 and 1.0 are the same number
        assert plain(_floats(left)) == plain(_floats(right))


def _floats(value: Any) -> Any:
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, dict):
        return {name: _floats(one) for name, one in value.items()}
    return [_floats(one) for one in value] if isinstance(value, list) else float(value) + 0.0
