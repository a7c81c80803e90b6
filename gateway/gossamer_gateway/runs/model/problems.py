"""What is wrong with a definition: all of it at once, each with its place. Pure.

Whoever reads a definition gathers problems by path, as `steps[2].retry.jitter`. Lines are looked up
only when there is something to tell, so a good definition costs nothing for them.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from gossamer_gateway.errors import BadRequest
from gossamer_gateway.runs.model.values import Path, mended

PROBLEMS_MAX = 100
"""Told at once; of more, only how many there are."""

GUESSES_MAX = 10
GUESSED_FROM_MAX = 200
GUESSED_CHARACTERS_MAX = 60
"""Of looking for the nearest known word, which is slow by nature: how often, among how many, how
long ones."""

SHOWN_MAX = 60
"""Characters of a person's text that a message repeats."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason why a definition is refused.

    Attributes:
        message: what is wrong and what to write instead.
        field: its path, as `steps[2].retry.jitter`; empty for the whole.
        line: counted from 1; 0 when unknown.
        column: in characters, counted from 1; 0 when unknown.
    """

    message: str
    field: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        where = f"line {self.line}, column {self.column}" if self.line else ""
        return ": ".join(part for part in (where, self.field, self.message) if part)


class DefinitionRefused(BadRequest):
    """A workflow that cannot be; the blame is its author's. Carries every problem, by line."""

    exit_status = 2

    def __init__(self, problems: Sequence[Problem], left_out: int = 0) -> None:
        self.problems = tuple(problems)
        self.left_out = left_out
        more = len(self.problems) - 1 + left_out
        super().__init__(f"{self.problems[0]}{f' (and {more} more)' if more else ''}")


@dataclass
class Places:
    """Lines and columns of a text's values, and of the names in front of them, by path."""

    values: dict[Path, tuple[int, int]] = field(default_factory=dict)
    names: dict[Path, tuple[int, int]] = field(default_factory=dict)

    def of(self, path: Path, *, name: bool) -> tuple[int, int]:
        """Where something is; of what is not there, where it would be."""
        if name and path in self.names:
            return self.names[path]
        while path and path not in self.values:
            path = path[:-1]
        return self.values.get(path, (0, 0))


class Problems:
    """Gathers problems.

    Args:
        within: the path of the definition in what its author sent.
        places: looks lines up, when they are needed.
    """

    def __init__(self, within: Path = (), places: Callable[[], Places] = Places) -> None:
        self._within = within
        self._places = places
        self._found: list[tuple[Path, str, bool]] = []
        self._guesses = 0
        self._spoiled: set[Path] = set()
        self._hidden = 0
        self.count = 0

    def add(self, path: Path, message: str, *, name: bool = False) -> None:
        """`name`: it is about a field's name, not its value."""
        self.count += 1
        if path in self._spoiled and not name:
            self._hidden += 1
            return
        if not self.is_full:
            self._found.append((path, message, name))

    @property
    def is_full(self) -> bool:
        """Whether more is only counted, so that its message need not be made."""
        return len(self._found) >= PROBLEMS_MAX

    def spoil(self, path: Path, message: str) -> None:
        """What stands there is no value at all; nothing else is told of it."""
        self.add(path, message)
        self._spoiled.add(path)

    def guess(self, text: str, known: Iterable[str]) -> str:
        """`; did you mean …?`, or nothing."""
        self._guesses += 1
        if self._guesses > GUESSES_MAX or not 0 < len(text) <= GUESSED_CHARACTERS_MAX:
            return ""
        likely = (
            one
            for one in known
            if abs(len(one) - len(text)) <= 3 and (one[0] == text[0] or one[-1] == text[-1])
        )
        close = difflib.get_close_matches(text, islice(likely, GUESSED_FROM_MAX), n=1)
        return f"; did you mean {close[0]}?" if close else ""

    def check(self) -> None:
        """Raises: DefinitionRefused if anything was found."""
        if not self._found:
            return
        places = self._places()
        told = []
        for path, message, name in self._found:
            line, column = places.of(self._within + path, name=name)
            told.append(Problem(message, written(self._within + path), line, column))
        told.sort(key=lambda one: (one.line, one.column))
        raise DefinitionRefused(told, self.count - self._hidden - len(told))


_PLAIN = re.compile(r"[A-Za-z_][\w-]*", re.ASCII)


def written(path: Path) -> str:
    """A path as people read it."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif len(part) <= SHOWN_MAX and _PLAIN.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{shown(part)}]"
    return mended(text, 500)


def shown(value: object) -> str:
    """What somebody wrote, quoted, cut to size, with nothing in it that a terminal would obey."""
    text = repr(value if not isinstance(value, str) else value[: SHOWN_MAX + 1])
    return mended(text if len(text) <= SHOWN_MAX + 2 else f"{text[:SHOWN_MAX]}…", SHOWN_MAX + 3)
