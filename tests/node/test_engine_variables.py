"""Variables survive the adapters' translation, both ways, whatever they hold."""

import base64
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_node.engines import camunda7_variables, camunda8_variables
from gossamer_node.errors import EngineRefused
from gossamer_node.variables import (
    SAFE_INTEGER_MAX,
    JsonValue,
    TypeTag,
    Variables,
    natural_type,
    type_name,
)

Entry: TypeAlias = "tuple[JsonValue, TypeTag | None]"

LONG_MAX = 2**63 - 1

OBJECT: TypeTag = {
    "type": "Object",
    "objectTypeName": "java.util.HashMap",
    "serializationDataFormat": "application/json",
}
JAVA_OBJECT: TypeTag = {
    "type": "Object",
    "objectTypeName": "a.B",
    "serializationDataFormat": "application/x-java-serialized-object",
}

names = st.text(min_size=1, max_size=8)
longs = st.integers(-LONG_MAX - 1, LONG_MAX)
floats = st.floats(allow_nan=False, allow_infinity=False)
json_values: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | longs | floats | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=5,
)


def tagged(tag: "TypeTag | None", values: st.SearchStrategy[JsonValue]) -> st.SearchStrategy[Entry]:
    return values.map(lambda value: (value, tag))


def whole(value: int) -> Entry:
    return (str(value), "Long") if abs(value) > SAFE_INTEGER_MAX else (value, None)


def camunda_date(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "+0000")


def as_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


of_any_engine: st.SearchStrategy[Entry] = st.one_of(
    longs.map(whole),
    tagged("Double", floats),
    tagged(None, st.none() | st.booleans() | st.text()),
    tagged(None, st.lists(json_values, max_size=4)),
    tagged(None, st.dictionaries(names, json_values, max_size=4)),
)
of_camunda7: st.SearchStrategy[Entry] = st.one_of(
    of_any_engine,
    tagged("Long", st.integers(-(2**31), 2**31 - 1)),
    tagged("Short", st.integers(-(2**15), 2**15 - 1)),
    tagged("Date", st.datetimes(timezones=st.just(UTC)).map(camunda_date)),
    tagged("Bytes", st.binary().map(as_base64)),
    tagged("Json", st.none() | st.booleans() | st.text() | longs),
    tagged(OBJECT, json_values),
    tagged(JAVA_OBJECT, st.text()),
    tagged("Xml", st.text()),
    tagged("Double", st.sampled_from(["NaN", "Infinity", "-Infinity"])),
    *(tagged(tag, st.none()) for tag in ("Date", "Bytes", "Long", "Double", "String", OBJECT)),
)


def variables(entries: st.SearchStrategy[Entry]) -> st.SearchStrategy[Variables]:
    return st.dictionaries(names, entries, max_size=6).map(
        lambda chosen: Variables(
            {name: value for name, (value, _) in chosen.items()},
            {name: tag for name, (_, tag) in chosen.items() if tag is not None},
        )
    )


def exact(value: object) -> str:
    """Tells 3 from 3.0 and True from 1, which == does not."""
    return repr(value)


@given(variables(of_camunda7))
def test_camunda7_gives_back_what_it_was_given(outputs: Variables) -> None:
    wire = json.loads(json.dumps(camunda7_variables.to_wire(outputs, {})))
    back = camunda7_variables.from_wire(wire)
    assert exact(back.values) == exact(outputs.values)
    assert back.types == outputs.types


@given(variables(of_camunda7))
def test_camunda7_echo_without_types_keeps_every_type(arrived: Variables) -> None:
    echo = camunda7_variables.to_wire(Variables(arrived.values), arrived.types)
    assert echo == camunda7_variables.to_wire(arrived, {})


@given(variables(of_any_engine))
def test_camunda8_gives_back_what_it_was_given(outputs: Variables) -> None:
    wire = json.loads(json.dumps(camunda8_variables.to_json(outputs, {})))
    back = camunda8_variables.from_json(wire)
    assert exact(back.values) == exact(outputs.values)
    assert back.types == outputs.types


@given(st.dictionaries(names, json_values))
def test_camunda8_echo_without_types_keeps_every_number(wire: dict[str, JsonValue]) -> None:
    arrived = camunda8_variables.from_json(wire)
    assert exact(camunda8_variables.to_json(arrived, {})) == exact(wire)
    echo = camunda8_variables.to_json(Variables(arrived.values), arrived.types)
    assert exact(echo) == exact(wire)


PLAIN_TAGS: list[TypeTag] = [
    *("Long", "Short", "Integer", "Double", "Boolean", "Date", "Bytes", "String", "Xml", "Null"),
    *("File", "Json", OBJECT, JAVA_OBJECT),
]


@given(json_values, st.sampled_from(PLAIN_TAGS))
def test_new_value_of_an_old_variable_is_always_written(value: JsonValue, kept: TypeTag) -> None:
    wire = camunda7_variables.to_wire(Variables({"x": value}), {"x": kept})
    if value is None and kept == "File":
        assert wire == {}
    else:
        assert wire["x"]["type"] in (type_name(kept), natural_type(value))


def written(value: JsonValue, kept: TypeTag) -> tuple[object, object]:
    entry = camunda7_variables.to_wire(Variables({"x": value}), {"x": kept})["x"]
    return entry["value"], entry["type"]


@pytest.mark.parametrize(
    ("value", "kept", "expected"),
    [
        (3, "Double", (3.0, "Double")),
        (10**400, "Double", (10**400, "Long")),
        (3.0, "Long", (3, "Long")),
        (3.5, "Long", (3.5, "Double")),
        ("12", "Long", (12, "Long")),
        ("١٢", "Long", ("١٢", "String")),
        (True, "Long", (True, "Boolean")),
        (2**15, "Short", (2**15, "Integer")),
        (5, "Json", ("5", "Json")),
        ("a", "Date", ("a", "String")),
        ("2026-11-21T10:00:00", "Date", ("2026-11-21T10:00:00", "String")),
        ("2026-11-21T10:00:00+02:00", "Date", ("2026-11-21T08:00:00.000+0000", "Date")),
        ("2026-11-21T10:00:00Z", "Date", ("2026-11-21T10:00:00.000+0000", "Date")),
        ("0001-01-01T00:00:00+05:00", "Date", ("0001-01-01T00:00:00+05:00", "String")),
        ("no base64!", "Bytes", ("no base64!", "String")),
        ([1], "String", ("[1]", "Json")),
        (None, "Long", (None, "Long")),
        ("x", "Null", ("x", "String")),
    ],
)
def test_type_is_kept_if_the_value_can_be_of_it(
    value: JsonValue, kept: TypeTag, expected: tuple[object, object]
) -> None:
    assert exact(written(value, kept)) == exact(expected)


def test_new_lists_and_objects_are_json() -> None:
    wire = camunda7_variables.to_wire(Variables({"list": [1], "object": {"é": 2**60}}), {})
    assert wire == {
        "list": {"value": "[1]", "type": "Json"},
        "object": {"value": f'{{"é":{2**60}}}', "type": "Json"},
    }


def test_worker_may_change_a_type() -> None:
    wire = camunda7_variables.to_wire(Variables({"x": "5"}, {"x": "Long"}), {"x": "Json"})
    assert wire == {"x": {"value": 5, "type": "Long"}}


def test_type_of_the_workers_own_that_does_not_fit_is_refused() -> None:
    with pytest.raises(EngineRefused, match="'x' can't be of type Long"):
        camunda7_variables.to_wire(Variables({"x": "a"}, {"x": "Long"}), {})


def test_type_handed_back_unread_does_not_bind() -> None:
    wire = camunda7_variables.to_wire(Variables({"x": "a"}, {"x": "Long"}), {"x": "Long"})
    assert wire == {"x": {"value": "a", "type": "String"}}


def test_what_is_no_json_is_refused() -> None:
    deep: JsonValue = []
    for _ in range(100_000):
        deep = [deep]
    not_a_number: JsonValue = [float("nan")]
    for value in (deep, not_a_number):
        with pytest.raises(EngineRefused):
            camunda7_variables.to_wire(Variables({"x": value}), {})


def test_file_is_a_reference_until_a_worker_writes_it() -> None:
    info: dict[str, JsonValue] = {"filename": "a.txt", "encoding": "utf-8"}
    arrived = camunda7_variables.from_wire(
        {"file": {"type": "File", "value": None, "valueInfo": info}}
    )
    assert arrived == Variables({"file": None}, {"file": {"type": "File", **info}})
    assert camunda7_variables.to_wire(arrived, arrived.types) == {}
    wire = camunda7_variables.to_wire(Variables({"file": "aGk="}), arrived.types)
    assert wire == {"file": {"type": "File", "value": "aGk=", "valueInfo": info}}


def test_date_of_another_zone_is_the_same_instant() -> None:
    local = datetime(2026, 11, 21, 1, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    text, kind = written(local.isoformat(), "Date")
    assert kind == "Date"
    assert datetime.fromisoformat(str(text)) == local


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "9" * 5_000], ids=["open", "deep", "long"])
def test_json_that_cannot_be_read_stays_text(text: str) -> None:
    arrived = camunda7_variables.from_wire({"x": {"type": "Json", "value": text}})
    assert arrived == Variables({"x": text}, {"x": "Json"})


@pytest.mark.parametrize("text", ["", "-", "abc", "1.0", "٣", "9" * 30])
def test_camunda8_text_that_is_no_whole_number_stays_text(text: str) -> None:
    assert camunda8_variables.to_json(Variables({"x": text}), {"x": "Long"}) == {"x": text}


@pytest.mark.parametrize("value", [True, 10**400, "3"])
def test_camunda8_writes_what_is_no_double_as_it_is(value: JsonValue) -> None:
    assert camunda8_variables.to_json(Variables({"x": value}), {"x": "Double"})["x"] is value
