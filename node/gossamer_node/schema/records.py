"""Lists, mappings and records: the table of fields that says everything about a file.

A `Record` lists its fields once: key, kind, meaning, and why the default is what it is. From that
table come the reading with its errors, the defaults (they stand in the dataclass that the record
makes, nowhere else), the JSON Schema and the reference page (`pages`). An unknown key is refused
by name and line. A list or record gathers the problems of all its parts before it raises.
"""

import dataclasses
import inspect
from collections.abc import Callable, Iterable
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass
from typing import Any, TypeVar

from gossamer_node.schema.kinds import Choice, JsonSchema, Kind, Text, did_you_mean
from gossamer_node.schema.source import (
    Invalid,
    Mapping,
    Node,
    Place,
    Problem,
    Scalar,
    Sequence,
    invalid,
    shown,
)
from gossamer_node.variables import JsonValue

T = TypeVar("T")

_ABSENT: Any = inspect.Parameter.empty


@dataclass(frozen=True)
class ListOf(Kind[tuple[T, ...]]):
    """A list, no item twice.

    Attributes:
        of: the kind of each item.
        noun: what the list has, in the plural.
        unique: what of an item must not come twice, by default all of it.
        separator: between the items in a variable's text.
    """

    of: Kind[T]
    noun: str
    items_max: int = 1_000
    items_min: int = 0
    unique: Callable[[T], object] = lambda item: item
    separator: str = ","

    def read(self, node: Node, field: str) -> tuple[T, ...]:
        if not isinstance(node, Sequence):
            raise invalid(node.place, f"this is no list; write {self.words()}", field=field)
        if not self.items_min <= len(node.items) <= self.items_max:
            raise invalid(node.place, f"{len(node.items)} items; write {self.words()}", field=field)
        values: list[T] = []
        problems: list[Problem] = []
        first: dict[object, int] = {}
        for index, item in enumerate(node.items):
            name = f"{field}[{index}]"
            try:
                value = self.of.read(item, name)
            except Invalid as error:
                problems.extend(error.problems)
                continue
            before = first.setdefault(self.unique(value), index)
            if before != index:
                problems.append(
                    Problem(item.place, name, f"the same as {field}[{before}]; keep one of them")
                )
            values.append(value)
        if problems:
            raise Invalid(problems)
        return tuple(values)

    def from_text(self, text: str, place: Place) -> Node:
        parts = [part.strip() for part in text.split(self.separator)]
        return Sequence(place, tuple(self.of.from_text(part, place) for part in parts if part))

    def words(self) -> str:
        least = f"at least {self.items_min} " if self.items_min else ""
        return f"a list of {least}{self.noun}"

    def json_schema(self) -> JsonSchema:
        return {
            "type": "array",
            "items": self.of.json_schema(),
            "minItems": self.items_min,
            "maxItems": self.items_max,
            "uniqueItems": True,
        }

    def plain(self, value: tuple[T, ...]) -> JsonValue:
        return [self.of.plain(item) for item in value]


@dataclass(frozen=True)
class MapOf(Kind[dict[str, T]]):
    """Values by a name that the person chooses."""

    key: Text
    of: Kind[T]
    noun: str
    items_max: int = 1_000

    def read(self, node: Node, field: str) -> dict[str, T]:
        if not isinstance(node, Mapping) or len(node.entries) > self.items_max:
            raise invalid(node.place, f"write {self.words()}", field=field)
        values: dict[str, T] = {}
        problems: list[Problem] = []
        for key, value in node.entries:
            name = f"{field}.{key.text}" if key.text.isprintable() else field
            try:
                # A key is a name, whatever YAML takes `on` or `1` for.
                self.key.read(Scalar(key.place, key.text), field)
                values[key.text] = self.of.read(value, name)
            except Invalid as error:
                problems.extend(error.problems)
        if problems:
            raise Invalid(problems)
        return values

    def words(self) -> str:
        return f"a mapping: {self.noun}"

    def json_schema(self) -> JsonSchema:
        return {
            "type": "object",
            "propertyNames": self.key.json_schema(),
            "additionalProperties": self.of.json_schema(),
        }

    def plain(self, value: dict[str, T]) -> JsonValue:
        return {key: self.of.plain(item) for key, item in value.items()}


@dataclass(frozen=True)
class Field:
    """One row of the table.

    Attributes:
        key: as it is written.
        attribute: the parameter of the record's `make` that takes the value; its default is ours.
        meaning: one or two sentences.
        why: why the default is what it is.
        default_words: the default in words, where it is computed; such a field may be left out.
        flag: the command line's flag, where it has one.
    """

    key: str
    kind: Kind[Any]
    attribute: str
    meaning: str
    why: str = ""
    default_words: str = ""
    flag: str = ""


@dataclass(frozen=True)
class Record(Kind[T]):
    """A mapping with known keys, made into a value.

    Attributes:
        title: the record's name, for headings and errors.
        intro: a sentence or two about it.
        check: what is wrong with a value as a whole, as (key, sentence) pairs.
    """

    title: str
    intro: str
    make: Callable[..., T]
    fields: tuple[Field, ...]
    check: Callable[[T], Iterable[tuple[str, str]]] = lambda value: ()

    def read(self, node: Node, field: str) -> T:
        if not isinstance(node, Mapping):
            raise invalid(node.place, f"this is no mapping; write {self.words()}", field=field)
        known = {row.key: row for row in self.fields}
        values: dict[str, Any] = {}
        problems: list[Problem] = []
        for key, value in node.entries:
            row = known.get(key.text)
            if row is None:
                problems.append(Problem(key.place, field, self._unknown(key.text)))
                continue
            try:
                values[row.attribute] = row.kind.read(value, _dotted(field, row.key))
            except Invalid as error:
                problems.extend(error.problems)
        for row in self.fields:
            if self.required(row) and node.get(row.key) is None:
                sentence = f"`{row.key}` is missing; write {row.kind.words()}"
                problems.append(Problem(node.place, field, sentence))
        if problems:
            raise Invalid(problems)
        made = self.make(**values)
        for at, sentence in self.check(made):
            place = (node.get(at) or node).place
            problems.append(Problem(place, _dotted(field, at), sentence))
        if problems:
            raise Invalid(problems)
        return made

    def from_text(self, text: str, place: Place) -> Node:
        """`key=value,key=value`; a dot goes one level down, `auth.type=basic`."""
        tree: dict[str, Any] = {}
        for pair in filter(None, (part.strip() for part in text.split(","))):
            path, equals, value = pair.partition("=")
            if not equals:
                keys = ", ".join(row.key for row in self.fields)
                raise invalid(place, f"{shown(pair)} is no KEY=VALUE; the keys are {keys}")
            *above, last = path.split(".")
            level = tree
            for key in above:
                below = level.setdefault(key, {})
                level = below if isinstance(below, dict) else {}
            level[last] = value
        return _tree(tree, place)

    def words(self) -> str:
        return "the keys " + ", ".join(f"`{row.key}`" for row in self.fields)

    def default(self, row: Field) -> Any:
        """The default that `make` has, or `_ABSENT`."""
        if dataclasses.is_dataclass(self.make):
            for part in dataclasses.fields(self.make):
                if part.name == row.attribute and part.default_factory is not dataclasses.MISSING:
                    return part.default_factory()
        return inspect.signature(self.make).parameters[row.attribute].default

    def required(self, row: Field) -> bool:
        return not row.default_words and self.default(row) is _ABSENT

    def json_schema(self) -> JsonSchema:
        properties: JsonSchema = {}
        for row in self.fields:
            part = row.kind.json_schema() | {"description": row.meaning}
            default = self.default(row)
            if default is not _ABSENT and default is not None and not row.default_words:
                part["default"] = row.kind.plain(default)
            properties[row.key] = part
        return {
            "type": "object",
            "properties": properties,
            "required": [row.key for row in self.fields if self.required(row)],
            "additionalProperties": False,
        }

    def plain(self, value: T) -> JsonValue:
        parts: dict[str, JsonValue] = {}
        for row in self.fields:
            part = getattr(value, row.attribute)
            if part is not None:
                parts[row.key] = row.kind.plain(part)
        return parts

    def _unknown(self, key: str) -> str:
        keys = [row.key for row in self.fields]
        guess = did_you_mean(key, keys)
        return f"unknown key {shown(key)}" + (guess or f"; the keys are {', '.join(keys)}")


@dataclass(frozen=True)
class OneOf(Kind[T]):
    """One of several records, told apart by the choice that stands at one key."""

    key: str
    records: AnyMapping[str, Record[Any]]

    def read(self, node: Node, field: str) -> T:
        choice = Choice(tuple(self.records))
        written = node.get(self.key) if isinstance(node, Mapping) else None
        if not isinstance(node, Mapping) or written is None:
            raise invalid(node.place, f"write `{self.key}`: {choice.words()}", field=field)
        record = self.records[choice.read(written, _dotted(field, self.key))]
        rest = tuple(entry for entry in node.entries if entry[0].text != self.key)
        made: T = record.read(Mapping(node.place, rest), field)
        return made

    def words(self) -> str:
        return f"a mapping with `{self.key}`: {Choice(tuple(self.records)).words()}"

    def json_schema(self) -> JsonSchema:
        return {"oneOf": [self._branch(name, record) for name, record in self.records.items()]}

    def _branch(self, name: str, record: Record[Any]) -> JsonSchema:
        schema = record.json_schema()
        properties, required = schema["properties"], schema["required"]
        assert isinstance(properties, dict) and isinstance(required, list)
        return schema | {
            "properties": {self.key: {"const": name}, **properties},
            "required": [self.key, *required],
        }

    def plain(self, value: T) -> JsonValue:
        for name, record in self.records.items():
            if type(value) is record.make:
                parts = record.plain(value)
                assert isinstance(parts, dict)
                return {self.key: name, **parts}
        raise TypeError(f"{value!r} is none of {', '.join(self.records)}")


def _dotted(above: str, key: str) -> str:
    return f"{above}.{key}" if above else key


def _tree(plain: AnyMapping[str, Any], place: Place) -> Mapping:
    """A tree of texts by key, as the node that a file would have given."""
    return Mapping(
        place,
        tuple(
            (
                Scalar(place, key),
                _tree(value, place) if isinstance(value, dict) else Scalar(place, value),
            )
            for key, value in plain.items()
        ),
    )
