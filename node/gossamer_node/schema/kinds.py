"""Kinds of single values: what may stand at a field, said once.

A kind reads one node of the tree and returns its value or raises `Invalid`, with a sentence that
ends in what to write instead; it also says so to people (`words`) and to editors (`json_schema`).
Nothing is guessed: a number where text belongs is an error. Units are written out (`30s`,
`16MiB`) and parsed exactly; a bare number is refused. Lists and records are in `records`.
"""

import difflib
import re
from collections.abc import Callable, Iterable
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from gossamer_node.schema.source import (
    Mapping,
    Node,
    Place,
    Scalar,
    Sequence,
    invalid,
    shown,
)
from gossamer_node.variables import JsonValue

T = TypeVar("T")
JsonSchema = dict[str, JsonValue]

SECRET_BYTES_MAX = 64 * 1024
"""What is read of a secret's file. A client secret has some 50 bytes, a JWT some KiB."""


class Kind(Generic[T]):
    """What may stand at a field. Subclasses say what they take, in four ways."""

    def read(self, node: Node, field: str) -> T:
        """The value. Raises Invalid at the node's place."""
        raise NotImplementedError

    def from_text(self, text: str, place: Place) -> Node:
        """The node of a variable's or flag's text; `read` then judges it like any other."""
        return Scalar(place, text)

    def words(self) -> str:
        """What to write, for the reference page and for errors: `a duration from 1s to 1h`."""
        raise NotImplementedError

    def json_schema(self) -> JsonSchema:
        raise NotImplementedError

    def plain(self, value: T) -> JsonValue:
        """The value as it would be written; the reverse of `read`."""
        raise NotImplementedError


_TAGS = {
    "bool": "a true or false",
    "float": "a number",
    "int": "a whole number",
    "str": "text",
    "timestamp": "a time",
}
"""YAML's tags in plain words; others are rare, and named as they are."""


def _scalar(node: Node, field: str, words: str, *tags: str) -> str:
    """The text of a scalar that YAML takes for one of `tags`."""
    if not isinstance(node, Scalar):
        what = "a list" if isinstance(node, Sequence) else "a mapping"
        raise invalid(node.place, f"this is {what}; write {words}", field=field)
    if node.tag == "null":
        raise invalid(node.place, f"nothing stands here; write {words} or remove it", field=field)
    if node.tag is not None and node.tag not in tags:
        aid = f'"{node.text}", in quotes' if "str" in tags and node.text.isprintable() else words
        taken = _TAGS.get(node.tag, node.tag)
        sentence = f"{shown(node.text)} is {taken} to YAML; write {aid}"
        raise invalid(node.place, sentence, field=field)
    return node.text


@dataclass(frozen=True)
class Text(Kind[str]):
    """Text of `chars_max` printable characters; `lines` allows line breaks.

    Attributes:
        pattern: that the whole text matches; `words_` then says it for people.
    """

    words_: str = "text"
    chars_max: int = 255
    pattern: str | None = None
    lines: bool = False

    def read(self, node: Node, field: str) -> str:
        text = _scalar(node, field, self.words(), "str")
        bare = text.replace("\n", "").replace("\t", "") if self.lines else text
        wrong = (
            not text
            or (not bare.isprintable() and bool(bare))
            or (self.pattern is not None and re.fullmatch(self.pattern, text) is None)
        )
        if wrong:
            raise invalid(node.place, f"{shown(text)} won't do; write {self.words()}", field=field)
        if len(text) > self.chars_max:
            raise invalid(
                node.place, f"the text is longer than {self.chars_max} characters", field=field
            )
        return text

    def words(self) -> str:
        return self.words_

    def json_schema(self) -> JsonSchema:
        bounds: JsonSchema = {"type": "string", "minLength": 1, "maxLength": self.chars_max}
        return bounds | _pattern(self.pattern)

    def plain(self, value: str) -> JsonValue:
        return value


@dataclass(frozen=True)
class Choice(Kind[str]):
    """One of a few words."""

    values: tuple[str, ...]

    def read(self, node: Node, field: str) -> str:
        text = _scalar(node, field, self.words(), "str")
        if text not in self.values:
            raise invalid(
                node.place,
                f"{shown(text)} is none of the choices; write {self.words()}"
                + did_you_mean(text, self.values),
                field=field,
            )
        return text

    def words(self) -> str:
        return " or ".join(f"`{value}`" for value in self.values)

    def json_schema(self) -> JsonSchema:
        return {"enum": list(self.values)}

    def plain(self, value: str) -> JsonValue:
        return value


@dataclass(frozen=True)
class Flag(Kind[bool]):
    """`true` or `false`."""

    def read(self, node: Node, field: str) -> bool:
        text = _scalar(node, field, self.words(), "bool").lower()
        if text not in ("true", "false"):
            raise invalid(
                node.place, f"{shown(text)} is unclear; write {self.words()}", field=field
            )
        return text == "true"

    def words(self) -> str:
        return "`true` or `false`"

    def json_schema(self) -> JsonSchema:
        return {"type": "boolean"}

    def plain(self, value: bool) -> JsonValue:
        return value


@dataclass(frozen=True)
class Whole(Kind[int]):
    """A whole number in plain digits, bounds included."""

    lowest: int
    highest: int

    def read(self, node: Node, field: str) -> int:
        text = _scalar(node, field, self.words(), "int")
        # YAML 1.1 also takes 0x10, 010 (eight), 1_000 and 1:30 (ninety) for integers.
        plain = re.fullmatch(r"0|[1-9][0-9]{0,17}", text)
        if plain is None or not self.lowest <= int(text) <= self.highest:
            raise invalid(
                node.place, f"{shown(text)} is out of bounds; write {self.words()}", field=field
            )
        return int(text)

    def words(self) -> str:
        return f"a whole number from {self.lowest} to {self.highest}"

    def json_schema(self) -> JsonSchema:
        return {"type": "integer", "minimum": self.lowest, "maximum": self.highest}

    def plain(self, value: int) -> JsonValue:
        return value


@dataclass(frozen=True)
class Form(Kind[T]):
    """Text of a certain form, parsed to a value.

    Attributes:
        parse: raises ValueError, with a reason that reads on after "'text'", or empty.
        show: the reverse of `parse`.
        pattern: a regular expression as close to the form as one comes, for editors.
    """

    words_: str
    parse: Callable[[str], T]
    show: Callable[[T], str]
    pattern: str | None = None

    def read(self, node: Node, field: str) -> T:
        text = _scalar(node, field, self.words(), "str", "int")
        try:
            return self.parse(text)
        except ValueError as error:
            reason = str(error) or "won't do"
            raise invalid(
                node.place, f"{shown(text)} {reason}; write {self.words()}", field=field
            ) from error

    def words(self) -> str:
        return self.words_

    def json_schema(self) -> JsonSchema:
        string: JsonSchema = {"type": "string"}
        return string | _pattern(self.pattern)

    def plain(self, value: T) -> JsonValue:
        return self.show(value)


DURATION_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}
SIZE_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def duration(lowest: str, highest: str) -> Form[int]:
    """A time with its unit, such as `30s` or `1.5s`; the value is in whole milliseconds."""
    return _quantity("a duration", DURATION_UNITS, lowest, highest)


def size(lowest: str, highest: str) -> Form[int]:
    """A size with its unit, such as `16MiB`; the value is in bytes."""
    return _quantity("a size", SIZE_UNITS, lowest, highest)


def _quantity(noun: str, units: AnyMapping[str, int], lowest: str, highest: str) -> Form[int]:
    names = "|".join(units)
    pattern = rf"(0|[1-9][0-9]{{0,9}})(?:\.([0-9]{{1,3}}))?({names})"

    def amount(text: str) -> int:
        match = re.fullmatch(pattern, text)
        if match is None:
            bare = re.fullmatch(r"[0-9]+", text)
            raise ValueError("has no unit" if bare else f"is not {noun}")
        whole, fraction, unit = match[1], match[2] or "", match[3]
        scale: int = 10 ** len(fraction)
        value, rest = divmod(int(whole + fraction) * units[unit], scale)
        if rest:
            raise ValueError(f"is no whole number of {next(iter(units))}")
        return value

    bounds = amount(lowest), amount(highest)

    def parse(text: str) -> int:
        value = amount(text)
        if not bounds[0] <= value <= bounds[1]:
            raise ValueError("is out of bounds")
        return value

    def show(value: int) -> str:
        # The largest unit that divides it; zero, which all divide, in the smallest.
        unit = [name for name, factor in units.items() if value % factor == 0][-1 if value else 0]
        return f"{value // units[unit]}{unit}"

    known = ", ".join(units)
    words = f"{noun} from {lowest} to {highest} (units: {known})"
    return Form(words, parse, show, pattern)


@dataclass(frozen=True)
class FilePath(Kind[Path]):
    """A path; a relative one starts at the folder of the file that names it, `~` at home."""

    words_: str = "a path"

    def read(self, node: Node, field: str) -> Path:
        text = _scalar(node, field, self.words(), "str")
        if not text or not text.isprintable():
            raise invalid(node.place, f"{shown(text)} won't do; write {self.words()}", field=field)
        source = node.place.source
        home = source.environ.get("HOME")
        if home and (text == "~" or text.startswith("~/")):
            return Path(home) / text[2:]
        return source.directory / text

    def words(self) -> str:
        return self.words_

    def json_schema(self) -> JsonSchema:
        return {"type": "string", "minLength": 1}

    def plain(self, value: Path) -> JsonValue:
        return str(value)


@dataclass(frozen=True)
class Secret(Kind[str]):
    """A secret by reference, read at once: it never stands in the file itself."""

    def read(self, node: Node, field: str) -> str:
        if not isinstance(node, Mapping) or len(node.entries) != 1:
            raise invalid(node.place, f"write {self.words()}", field=field)
        key, value = node.entries[0]
        if key.text == "env":
            name = _scalar(value, f"{field}.env", self.words(), "str")
            secret = node.place.source.environ.get(name, "")
            missing = f"the environment variable {shown(name)} is not set; set it"
        elif key.text == "file":
            path = FilePath("a file's path").read(value, f"{field}.file")
            secret, missing = _secret_of(path, value.place, f"{field}.file")
        else:
            raise invalid(key.place, f"write {self.words()}", field=field)
        if not secret:
            raise invalid(value.place, missing, field=f"{field}.{key.text}")
        return secret

    def from_text(self, text: str, place: Place) -> Node:
        key, _, value = text.partition(":")
        return Mapping(place, ((Scalar(place, key), Scalar(place, value)),))

    def words(self) -> str:
        return "a reference, `{env: NAME}` or `{file: PATH}`"

    def json_schema(self) -> JsonSchema:
        name: JsonSchema = {"type": "string", "minLength": 1}
        return {
            "oneOf": [
                {
                    "type": "object",
                    "properties": {key: name},
                    "required": [key],
                    "additionalProperties": False,
                }
                for key in ("env", "file")
            ]
        }


def _secret_of(path: Path, place: Place, field: str) -> tuple[str, str]:
    """The file's text without the line end, and what to say where that is empty."""
    try:
        with path.open("rb") as file:
            data = file.read(SECRET_BYTES_MAX)
        text = data.decode().rstrip("\r\n")
    except OSError as error:
        sentence = f"{path} cannot be read ({error.strerror}); check path and mode"
        raise invalid(place, sentence, field=field) from error
    except UnicodeDecodeError as error:
        sentence = f"{path} holds no text; write the secret into it"
        raise invalid(place, sentence, field=field) from error
    return text, f"{path} is empty; write the secret into it"


def did_you_mean(text: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(text[:100], list(known), n=1)
    return f"; did you mean `{close[0]}`?" if close else ""


def _pattern(pattern: str | None) -> JsonSchema:
    return {"pattern": f"^(?:{pattern})$"} if pattern else {}
