"""JSON and YAML as one kind of value, and where each part of it stands. Pure.

A text that begins with `{` is JSON, anything else YAML, of which only what JSON has as well is
taken: no anchors and aliases (a few lines of them expand to gigabytes), no tags, and of plain words
only `true`, `false` and `null` mean something, as YAML 1.2's core schema has it: `on:` is a name
here, and `no` a text.

Good JSON is read at the speed of the standard library; its places are found by a second reading,
when a problem is to be told.
"""

import json
import math
import re
from typing import Any, NoReturn

import yaml

from gossamer_gateway.runs.model.problems import (
    DefinitionRefused,
    Places,
    Problem,
    Problems,
    shown,
)
from gossamer_gateway.runs.model.values import DEPTH_MAX, TOO_DEEP, Path

TEXT_BYTES_MAX = 512 * 1024
"""Of a definition. One of 1,000 steps has some 100 to 300 KB; to tell what is wrong in one of this
size takes half a second."""

_LOADER: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


def read(data: bytes | str) -> tuple[Any, Problems]:
    """The value of a text, and where problems of it are gathered.

    Raises: DefinitionRefused for what is no text of this kind.
    """
    text = _text(data)
    start = text.lstrip(" \t\r\n")
    if not start:
        raise _refused("there is nothing here; write a workflow", 1, 1)
    if start[0] in "{[":
        value, doubled = _json(text)
        problems = Problems(places=lambda: json_places(text)[0])
        if doubled:
            for path in json_places(text)[1]:
                problems.add(path, f"{shown(path[-1])} stands here twice; keep one", name=True)
        return value, problems
    return _Yaml(text).read()


def _text(data: bytes | str) -> str:
    if len(data) > TEXT_BYTES_MAX or (
        isinstance(data, str) and len(data.encode(errors="replace")) > TEXT_BYTES_MAX
    ):
        raise _refused(f"a definition has at most {TEXT_BYTES_MAX} bytes; make it smaller", 0, 0)
    if isinstance(data, str):
        return data.removeprefix("\ufeff")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = len(data[data.rfind(b"\n", 0, error.start) + 1 : error.start].decode()) + 1
        raise _refused("this is not UTF-8; write it as UTF-8", line, column) from None


def _refused(message: str, line: int, column: int) -> DefinitionRefused:
    return DefinitionRefused([Problem(message, "", line, column)])


# JSON


def _whole(digits: str) -> int | float:
    # Python refuses to read thousands of digits; all those are refused later, as the infinite is.
    return int(digits) if len(digits) <= 40 else math.inf


def _json(text: str) -> tuple[Any, bool]:
    doubled = False

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal doubled
        made = dict(pairs)
        doubled = doubled or len(made) != len(pairs)
        return made

    try:
        return json.loads(text, object_pairs_hook=members, parse_int=_whole), doubled
    except json.JSONDecodeError as error:
        raise _refused(f"this is not JSON: {error.msg}", error.lineno, error.colno) from None
    except RecursionError:
        raise _refused(TOO_DEEP, 0, 0) from None


_TOKEN = re.compile(r'[\s,:]*("(?:[^"\\]|\\.)*"|[{}\[\]]|[^\s,:{}\[\]"]+)')


def json_places(text: str) -> tuple[Places, list[Path]]:
    """Where everything is in a text that is JSON, and the paths of names that come again."""
    places = Places()
    again: list[Path] = []
    lines = _Lines(text)
    open_: list[tuple[bool, Path]] = []  # is it an object, and its path
    position = -1  # in the innermost list
    positions: list[int] = []
    name: str | None = None
    for token in _TOKEN.finditer(text):
        word, at = token[1], token.start(1)
        if word in "}]":
            open_.pop()
            position = positions.pop()
            continue
        if open_ and open_[-1][0] and name is None:
            name = json.loads(word)
            path = (*open_[-1][1], name)
            if path in places.names:
                again.append(path)
            places.names[path] = lines.place(at)
            continue
        path = ()
        if open_:
            if name is None:
                position += 1
            path = (*open_[-1][1], position if name is None else name)
        name = None
        places.values[path] = lines.place(at)
        if word in "{[":
            open_.append((word == "{", path))
            positions.append(position)
            position = -1
    return places, again


class _Lines:
    """Lines and columns of offsets that only grow."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._line = 1
        self._start = 0

    def place(self, offset: int) -> tuple[int, int]:
        while (end := self._text.find("\n", self._start, offset)) >= 0:
            self._line += 1
            self._start = end + 1
        return self._line, offset - self._start + 1


# YAML

_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, Any] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
    ".inf": math.inf, ".Inf": math.inf, ".INF": math.inf, "-.inf": -math.inf, "+.inf": math.inf,
    ".nan": math.nan, ".NaN": math.nan, ".NAN": math.nan,
}  # fmt: skip
"""Of the core schema (YAML 1.2.2, §10.3.2)."""


def _plain(word: str) -> Any:
    """What a word without quotes means."""
    if word in _WORDS:
        return _WORDS[word]
    if _INTEGER.fullmatch(word):
        return _whole(word)
    return float(word) if _FLOAT.fullmatch(word) else word


class _Yaml:
    """Makes a value of the events of PyYAML's parser, which knows places and keeps no graph."""

    def __init__(self, text: str) -> None:
        self._events = yaml.parse(text, Loader=_LOADER)
        self._text = text
        self._places = Places()
        self._problems = Problems(places=lambda: self._places)

    def read(self) -> tuple[Any, Problems]:
        try:
            self._next()  # the stream begins
            if isinstance(self._next(), yaml.StreamEndEvent):  # or a document does
                raise _refused("there is nothing here; write a workflow", 1, 1)
            value = self._node(self._next(), ())
            self._next()
            after = self._next()
            if not isinstance(after, yaml.StreamEndEvent):
                self._refuse("there is a second document here; keep one", after)
        except yaml.reader.ReaderError as error:
            line = self._text.count("\n", 0, error.position) + 1
            raise _refused(f"this is not YAML: {error.reason}", line, 1) from None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            said = " ".join(part for part in (error.context, error.problem) if part)
            line, column = (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)
            raise _refused(f"this is not YAML: {said}", line, column) from None
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            # PyYAML hands the digits of "\UFFFFFFFF" to chr() as they are.
            raise _refused(f"this is not YAML: {error}", 0, 0) from None
        return value, self._problems

    def _next(self) -> Any:
        event = next(self._events)
        if isinstance(event, yaml.AliasEvent):
            self._refuse(f"*{event.anchor} stands for a value elsewhere; write the value", event)
        return event

    def _refuse(self, message: str, event: Any) -> NoReturn:
        raise _refused(message, *_place(event))

    def _node(self, event: Any, path: Path) -> Any:
        if len(path) > DEPTH_MAX:
            self._refuse(TOO_DEEP, event)
        self._places.values[path] = _place(event)
        self._refuse_marks(event, path)
        if isinstance(event, yaml.ScalarEvent):
            return _plain(event.value) if event.tag is None and event.implicit[0] else event.value
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Any] = []
            while not isinstance(event := self._next(), yaml.SequenceEndEvent):
                items.append(self._node(event, (*path, len(items))))
            return items
        return self._mapping(path)

    def _refuse_marks(self, event: Any, path: Path) -> None:
        if event.anchor is not None:
            self._problems.add(path, f"&{event.anchor} is of no use here; remove it")
        text = isinstance(event, yaml.ScalarEvent) and event.tag == "tag:yaml.org,2002:str"
        if event.tag not in (None, "!") and not text:
            self._problems.add(path, f"the tag {shown(event.tag)} means nothing; remove it")

    def _mapping(self, path: Path) -> dict[str, Any]:
        made: dict[str, Any] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                self._refuse("a list or mapping cannot be a name; write a word", event)
            name = event.value
            below = (*path, name)
            self._refuse_marks(event, below)
            if name in made:
                self._problems.add(below, f"{shown(name)} stands here twice; keep one", name=True)
            self._places.names[below] = _place(event)
            made[name] = self._node(self._next(), below)
        return made


def _place(event: Any) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1
