"""JSON and YAML as texts: what is taken, what is refused and where, and nothing else happens."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_gateway.runs.model import texts
from gossamer_gateway.runs.model.problems import DefinitionRefused
from gossamer_gateway.runs.model.reading import read_definition
from gossamer_gateway.runs.model.values import flaws


@pytest.mark.parametrize(
    ("data", "line", "column", "words"),
    [
        (b"", 1, 1, "nothing here"),
        (b" \n ", 1, 1, "nothing here"),
        (b"# only a comment", 1, 1, "nothing here"),
        (b"...", 1, 1, "not YAML"),
        (b'{"id":', 1, 7, "not JSON"),
        (b'{"id": "a",}', 1, 12, "not JSON"),
        (b"{'id': 1}", 1, 2, "not JSON"),
        (b'{"a": 1} x', 1, 10, "not JSON"),
        (b'{"a": "x\ty"}', 1, 9, "not JSON"),
        (b'{"a": "\\x"}', 1, 8, "not JSON"),
        (b'{"a": 01}', 1, 8, "not JSON"),
        (b"[" * 100_000, 0, 0, "deeper than 64"),
        (b'{"a":' * 70 + b"1" + b"}" * 70, 1, 321, "deeper than 64"),
        (b"id: a\n\xff", 2, 1, "not UTF-8"),
        (b"\xfe\xff\x00{", 1, 1, "not UTF-8"),
        (b"a: [1\nb: 2", 2, 2, "not YAML"),
        (b"a: b: c", 1, 5, "not YAML"),
        (b"a: \x07", 1, 1, "not YAML"),
        (b'a: "\\UFFFFFFFF"', 1, 7, "not YAML"),
        (b"a: 1\n---\nb: 1", 2, 1, "second document"),
        (b"a: &x [1]\nb: *x", 2, 4, "elsewhere"),
        (b"? [a]\n: b", 1, 3, "cannot be a name"),
        (b"- " * 70, 1, 131, "deeper than 64"),
        (b"a:\n" + b"".join(b" " * n + b"a:\n" for n in range(1, 80)), 66, 66, "deeper than 64"),
    ],
)
def test_a_text_that_is_none_is_refused_with_its_place(
    data: bytes, line: int, column: int, words: str
) -> None:
    with pytest.raises(DefinitionRefused) as caught:
        read_definition(data)
    first = caught.value.problems[0]
    assert (first.line, first.column) == (line, column), first
    assert words in first.message


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ('{"a": 1,\n "a": 2}', [("a", 2, 2)]),
        ('{"x": [{}, {"b": 1, "c": {"b": 0}, "b": 2, "b": 3}]}', [("x[1].b", 1, 44)]),
        ('{"\\u0061": 1, "a": 2}', [("a", 1, 15)]),
        ("a: 1\nb: {c: 1, c: 2}\na: 3", [("b.c", 2, 11), ("a", 3, 1)]),
    ],
)  # fmt: skip
def test_a_name_that_comes_twice_is_refused(text: str, places: list[tuple[str, int, int]]) -> None:
    with pytest.raises(DefinitionRefused) as caught:
        read_definition(text)
    twice = [one for one in caught.value.problems if "stands here twice" in one.message]
    assert {one.field for one in twice} == {field for field, _, _ in places}
    assert max((one.line, one.column) for one in twice) == max(place[1:] for place in places)


@pytest.mark.parametrize("text", ["a: &x 1", "a: &x {}", "a: !t 1", "a: !!python/object:os.x 1",
                                  "a: !!set {}", "!t a: 1"])  # fmt: skip
def test_anchors_and_tags_are_refused(text: str) -> None:
    _, problems = texts.read(text)
    with pytest.raises(DefinitionRefused, match="remove it"):
        problems.check()


def test_a_tag_that_says_text_is_taken() -> None:
    value, problems = texts.read("a: !!str 1\nb: ! 2")
    assert value == {"a": "1", "b": "2"} and problems.count == 0


def test_aliases_expand_to_nothing() -> None:
    laughs = "a: &a [x,x]\n" + "".join(
        f"{chr(97 + n)}: &{chr(97 + n)} [*{chr(96 + n)},*{chr(96 + n)}]\n" for n in range(1, 26)
    )
    with pytest.raises(DefinitionRefused, match="stands for a value elsewhere"):
        read_definition(laughs)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("on", "on"), ("y", "y"), ("True", True), ("false", False), ("~", None),
        ("", None), ("null", None), ("0x10", "0x10"), ("1_000", "1_000"), ("1:30", "1:30"),
        ("-7", -7), ("+7", 7), ("007", 7), ("1.", 1.0), (".5", 0.5), ("1e3", 1000.0), (".", "."),
        ("2020-01-01", "2020-01-01"), ("'1'", "1"), ('"1"', "1"), ("<<", "<<"), ("=", "="),
        ("1e", "1e"), ("- 1\n- 2", [1, 2]), ("[a, {b: c}]", ["a", {"b": "c"}]),
    ],
)  # fmt: skip
def test_words_of_yaml(text: str, value: Any) -> None:
    assert texts.read(f"a: {text}" if "\n" not in text else f"a:\n{text}")[0] == {"a": value}


@pytest.mark.parametrize("number", [".inf", "-.inf", ".nan", "1e999", "9" * 30, "9" * 5_000])
def test_numbers_without_bounds_are_flaws_in_both(number: str) -> None:
    wild = [f'{{"a": {number}}}'] if number[0].isdigit() else []
    for text in (f"a: {number}", *wild):
        assert [path for path, _ in flaws(texts.read(text)[0])] == [("a",)]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


def every_place(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found = [path]
    if isinstance(value, dict):
        for name, one in value.items():
            found += every_place(one, (*path, name))
    elif isinstance(value, list):
        for at, one in enumerate(value):
            found += every_place(one, (*path, at))
    return found


@given(st.dictionaries(st.text(), json_values), st.sampled_from([None, 1, "\t"]), st.booleans())
def test_each_value_of_json_is_found_where_it_stands(
    value: dict[str, Any], indent: int | str | None, ascii_only: bool
) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    places, again = texts.json_places(text)
    assert again == []
    lines = text.split("\n")
    decoder = json.JSONDecoder()
    assert set(places.values) == set(every_place(value))
    for path, (line, column) in places.values.items():
        part = value
        for step in path:
            part = part[step]  # type: ignore[index]
        rest = "\n".join([lines[line - 1][column - 1 :], *lines[line:]])
        assert decoder.raw_decode(rest)[0] == part


@given(
    st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode(errors="replace"))
)
def test_junk_is_refused_and_nothing_else(data: bytes) -> None:
    for junk in (
        data,
        b"#" + data,
        b"{" + data,
        b'{"id":"w","steps":[' + data,
        b"id: w\nsteps:\n - " + data,
    ):
        try:
            read_definition(junk)
        except DefinitionRefused as refused:
            assert refused.problems
