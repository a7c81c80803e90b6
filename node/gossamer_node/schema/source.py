"""What a person wrote, as a tree in which every value remembers where it stands.

Configuration comes from YAML files, environment variables and flags. All three become the same
small tree (`Scalar`, `Sequence`, `Mapping`), so that one reader (`schema`) serves them all, a
later layer overlays an earlier one (`overlay`), and an error can name the file and line, the
variable or the flag to mend. PyYAML's safe composer does the parsing; nothing is constructed from
tags. Size, depth and the expansion of aliases are bounded, so no file can exhaust the reader.
What the values mean is left to `schema`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import yaml

from gossamer_node.errors import InputError

FILE_BYTES_MAX = 256 * 1024
"""Largest file read. A service.yaml has some 50 lines; PyYAML reads about 100 KiB a second."""

DEPTH_MAX = 32
"""Deepest nesting. The deepest field of ours is at 6."""

NODES_MAX = 20_000
"""Values in one tree after aliases are expanded: ten nested aliases of ten would be 10**10."""

SHOWN_MAX = 60
"""Characters of a person's text that an error repeats."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file, variable or flag, and what references inside it resolve against.

    Attributes:
        label: what an error calls it: a file's path as it was given, `--join`, `GOSSAMER_JOIN`.
        directory: that relative paths start from.
        environ: where `env:` references are looked up.
    """

    label: str
    directory: Path = field(default_factory=Path)
    environ: AnyMapping[str, str] = field(default_factory=lambda: os.environ)


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a source, counted from 1; None where the source has no lines."""

    source: Source
    line: int | None = None

    def __str__(self) -> str:
        return self.source.label if self.line is None else f"{self.source.label}:{self.line}"


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value as it was written.

    Attributes:
        tag: what YAML takes it for: `str`, `int`, `float`, `bool`, `null` or another name; None
            for the text of a variable or flag, which is whatever its field wants.
    """

    place: Place
    text: str
    tag: str | None = None


@dataclass(frozen=True, slots=True)
class Sequence:
    place: Place
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys and values in the order they were written; no key twice."""

    place: Place
    entries: tuple[tuple[Scalar, Node], ...]

    def get(self, key: str) -> Node | None:
        return next((value for name, value in self.entries if name.text == key), None)


Node: TypeAlias = Scalar | Sequence | Mapping


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where, at which field (dotted, may be empty), and what to write."""

    place: Place
    field: str
    sentence: str

    def __str__(self) -> str:
        return ": ".join(part for part in (str(self.place), self.field, self.sentence) if part)


class Invalid(InputError):
    """Everything that is wrong in one source, in the order of its lines."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        first = str(self.problems[0])
        more = len(self.problems) - 1
        super().__init__(f"{first} (and {more} more)" if more else first)


def invalid(place: Place, sentence: str, *, field: str = "") -> Invalid:
    return Invalid([Problem(place, field, sentence)])


def shown(text: str) -> str:
    """A person's text, quoted, cut to size, and with nothing in it that a terminal would obey."""
    return repr(text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}…")


def read_file(path: Path, *, environ: AnyMapping[str, str] | None = None) -> Node:
    """The tree of a YAML file. Raises Invalid; InputError when the file can't be read."""
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); check the path and its permissions."
        ) from error
    source = Source(str(path), path.parent, os.environ if environ is None else environ)
    return parse(data, source)


def parse(data: bytes, source: Source) -> Node:
    """The tree of one YAML document. Raises Invalid, whatever the bytes are."""
    if len(data) > FILE_BYTES_MAX:
        raise invalid(
            Place(source), f"the file is larger than {FILE_BYTES_MAX // 1024} KiB; make it smaller"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise invalid(Place(source, line), "this is not UTF-8; save the file as UTF-8") from error
    try:
        composer = _Composer(text)
        try:
            root = composer.get_single_node()
        finally:
            composer.dispose()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise invalid(
            Place(source, line), "YAML allows no such control character; remove it"
        ) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = " ".join(part for part in (error.context, error.problem) if part)
        raise invalid(
            Place(source, mark.line + 1 if mark else None), f"this is not YAML: {said}"
        ) from error
    except (ValueError, OverflowError) as error:
        # PyYAML hands the digits of "\UFFFFFFFF" to chr() as they are.
        raise invalid(Place(source), f"this is not YAML: {error}") from error
    if root is None:
        raise invalid(Place(source, 1), "the file is empty; write its fields")
    converter = _Converter(source)
    tree = converter.convert(root, DEPTH_MAX)
    if converter.problems:
        raise Invalid(converter.problems)
    return tree


def overlay(lower: Mapping, upper: Mapping) -> Mapping:
    """One mapping of two: `upper` wins key by key; a list is replaced whole."""
    merged = {key.text: (key, value) for key, value in lower.entries}
    for key, value in upper.entries:
        below = merged.get(key.text, (key, value))[1]
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[key.text] = (key, overlay(below, value))
        else:
            merged[key.text] = (key, value)
    return Mapping(lower.place, tuple(merged.values()))


class _Composer(yaml.SafeLoader):
    """PyYAML's composer recurses with the nesting; this one stops before Python does."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.depth += 1
        if self.depth > DEPTH_MAX:
            mark: yaml.Mark = self.get_mark()
            problem = f"nesting deeper than {DEPTH_MAX} levels"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


class _Converter:
    """Turns PyYAML's graph, in which an alias is a shared node, into a bounded tree."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._budget = NODES_MAX
        self.problems: list[Problem] = []

    def convert(self, node: yaml.Node, depth: int) -> Node:
        place = Place(self._source, node.start_mark.line + 1)
        self._budget -= 1
        if self._budget < 0 or depth < 0:
            raise invalid(place, "the aliases (*name) expand to too much; write the values out")
        tag = node.tag.removeprefix("tag:yaml.org,2002:")
        if isinstance(node, yaml.ScalarNode):
            return Scalar(place, node.value, tag)
        if tag not in ("seq", "map"):
            self.problems.append(
                Problem(place, "", f"the tag {shown(node.tag)} means nothing here; remove it")
            )
        if isinstance(node, yaml.SequenceNode):
            return Sequence(place, tuple(self.convert(item, depth - 1) for item in node.value))
        entries: dict[str, tuple[Scalar, Node]] = {}
        for key_node, value_node in node.value:
            key = self.convert(key_node, depth - 1)
            if not isinstance(key, Scalar):
                sentence = "a list or mapping cannot be a key; write a name"
                self.problems.append(Problem(key.place, "", sentence))
            elif key.text in entries:
                first = entries[key.text][0].place.line
                sentence = f"{shown(key.text)} stands here twice, first in line {first}; keep one"
                self.problems.append(Problem(key.place, "", sentence))
            else:
                entries[key.text] = (key, self.convert(value_node, depth - 1))
        return Mapping(place, tuple(entries.values()))
