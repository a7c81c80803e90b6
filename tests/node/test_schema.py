"""The reader of what people write: places, bounds, units, and every problem in one go."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_node import reference
from gossamer_node.schema import (
    Choice,
    Flag,
    Kind,
    ListOf,
    MapOf,
    Secret,
    Text,
    Whole,
    duration,
    size,
)
from gossamer_node.schema.source import (
    DEPTH_MAX,
    FILE_BYTES_MAX,
    Invalid,
    Mapping,
    Node,
    Place,
    Scalar,
    Source,
    overlay,
    parse,
)

ROOT = Path(__file__).parents[2]
SOURCE = Source("a.yaml", Path("/etc"), {"TOKEN": "t0k3n"})


def read(text: str, kind: Kind[Any]) -> object:
    return kind.read(parse(text.encode(), SOURCE), "field")


def problems_of(data: bytes) -> list[str]:
    with pytest.raises(Invalid) as raised:
        parse(data, SOURCE)
    return [str(problem) for problem in raised.value.problems]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "a.yaml:1: the file is empty"),
        (b"# nothing\n", "a.yaml:1: the file is empty"),
        (b"a: 1\nb: \xff", "a.yaml:2: this is not UTF-8"),
        (b"a: 1\nb: \x07", "a.yaml:2: YAML allows no such control character"),
        (b"a: 1\nb: [", "a.yaml:2: this is not YAML"),
        (b"a: *nobody", "a.yaml:1: this is not YAML: found undefined alias"),
        (b"a: 1\n--- \nb: 1", "this is not YAML: expected a single document"),
        (b'a: "\\UFFFFFFFF"', "a.yaml: this is not YAML"),
        (b"[" * (DEPTH_MAX + 1), f"nesting deeper than {DEPTH_MAX} levels"),
        (b"&a [*a]", "a.yaml:1: the aliases (*name) expand to too much"),
        (b"a: 1\na: 2", "a.yaml:2: 'a' stands here twice, first in line 1"),
        (b"? [1]\n: 2", "a.yaml:1: a list or mapping cannot be a key"),
        (b"a: !!python/object:os.system {}", "a.yaml:1: the tag 'tag:yaml.org,2002:python/"),
        (b"a: " + b"x" * FILE_BYTES_MAX, "a.yaml: the file is larger than 256 KiB"),
    ],
)
def test_what_is_no_tree_is_refused_by_line(data: bytes, said: str) -> None:
    assert said in problems_of(data)[0]


def test_aliases_that_expand_to_a_billion_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [" + ", ".join([f"*a{i - 1}"] * 10) + "]" for i in range(1, 10)]
    assert "expand to too much" in problems_of("\n".join(lines).encode())[0]


def test_an_alias_within_bounds_is_its_value() -> None:
    tree = parse(b"a: &x [1, 2]\nb: *x", SOURCE)
    assert isinstance(tree, Mapping)
    assert ListOf(Whole(0, 9), "digits").read(tree.get("b") or tree, "b") == (1, 2)


def test_every_doubled_key_is_named() -> None:
    assert len(problems_of(b"a: 1\na: 2\nb: {c: 1, c: 2}")) == 2


@given(st.binary(max_size=200))
def test_bytes_are_a_tree_or_invalid(data: bytes) -> None:
    try:
        parse(data, SOURCE)
    except Invalid as error:
        assert all(str(problem).isprintable() for problem in error.problems)


@pytest.mark.parametrize(
    ("text", "value"),
    [("30s", 30_000), ("1.5s", 1_500), ("250ms", 250), ("5m", 300_000), ("1h", 3_600_000)],
)
def test_durations_are_exact(text: str, value: int) -> None:
    kind = duration("0ms", "1h")
    assert read(text, kind) == value
    assert kind.read(Scalar(Place(SOURCE), str(kind.plain(value))), "") == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("30", "'30' has no unit"),
        ("30 s", "is not a duration"),
        ("0.5ms", "is no whole number of ms"),
        ("2h", "is out of bounds; write a duration from 0ms to 1h"),
        ("-1s", "is not a duration"),
        ("1e3s", "is not a duration"),
        ("٣s", "is not a duration"),
    ],
)
def test_what_is_no_duration_is_refused(text: str, reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        read(f'"{text}"', duration("0ms", "1h"))


@given(st.integers(min_value=0, max_value=2**32))
def test_sizes_are_shown_as_they_are_read(value: int) -> None:
    kind = size("0B", "4GiB")
    assert read(str(kind.plain(value)), kind) == value


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [
        ("no", Text(), "'no' is a true or false to YAML; write \"no\", in quotes"),
        ("1.0", Text(), "is a number to YAML"),
        ("2026-11-21", Text(), "is a time to YAML"),
        ("[a]", Text(), "this is a list"),
        ("~", Text(), "nothing stands here"),
        ('""', Text(), "won't do"),
        ('"a\\tb"', Text(), "won't do"),
        ("0x10", Whole(0, 99), "write a whole number from 0 to 99"),
        ("010", Whole(0, 99), "write a whole number"),
        ("1_0", Whole(0, 99), "write a whole number"),
        ("1:30", Whole(0, 99), "write a whole number"),
        ("100", Whole(0, 99), "write a whole number"),
        ('"7"', Whole(0, 99), "is text to YAML"),
        ("yes", Flag(), "write `true` or `false`"),
        ("regant", Choice(("regrant", "wait")), "did you mean `regrant`"),
        ("[a, b, a]", ListOf(Text(), "names"), r"field\[2\]: the same as field\[0\]"),
        ("[]", ListOf(Text(), "names", items_min=1), "write a list of at least 1 names"),
        ("a", ListOf(Text(), "names"), "write a list of names"),
        ("{a b: x}", MapOf(Text(pattern="[a-z]"), Text(), "names"), "'a b' won't do"),
        ("{env: NOBODY}", Secret(), "environment variable 'NOBODY' is not set"),
        ("{file: none.txt}", Secret(), r"/etc/none.txt cannot be read \(No such file"),
        ("swordfish", Secret(), "write a reference"),
        ("{env: A, file: b}", Secret(), "write a reference"),
    ],
)
def test_values_of_the_wrong_kind_are_refused(text: str, kind: Kind[Any], reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        read(text, kind)


def test_a_secret_comes_from_a_variable_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t0k3n\n")
    source = Source("a.yaml", tmp_path, {"TOKEN": "t0k3n"})
    for text in (b"{env: TOKEN}", b"{file: token}"):
        assert Secret().read(parse(text, source), "") == "t0k3n"


def test_a_refused_secret_is_not_repeated() -> None:
    with pytest.raises(Invalid) as raised:
        read("swordfish", Secret())
    assert "swordfish" not in str(raised.value)


def test_the_upper_layer_wins_key_by_key() -> None:
    lower, upper = (
        parse(text, SOURCE) for text in (b"{a: {x: 1, y: 2}, b: [1]}", b"{a: {y: 3}, b: [4]}")
    )
    assert isinstance(lower, Mapping) and isinstance(upper, Mapping)
    assert plain(overlay(lower, upper)) == {"a": {"x": "1", "y": "3"}, "b": ["4"]}


def plain(node: Node) -> object:
    if isinstance(node, Scalar):
        return node.text
    if isinstance(node, Mapping):
        return {key.text: plain(value) for key, value in node.entries}
    return [plain(item) for item in node.items]


def test_the_made_files_agree_with_their_tables() -> None:
    assert reference.stale(ROOT, reference.pages()) == []
