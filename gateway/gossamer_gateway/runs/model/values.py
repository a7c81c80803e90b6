"""What may be a value in a run: JSON that every reader takes as it was meant. Pure.

Values come from callers and workers and are kept for ever in events, so each is judged before it is
taken: a number that JSON cannot write would come back from the disk as null, half of a surrogate
pair would break the writer, and deep nesting or a large size some later reader.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

VALUE_BYTES_MAX = 1024 * 1024
"""Of an input, a payload or an output, as JSON in UTF-8."""

DEPTH_MAX = 64
"""Of values that come from outside, and of definitions: 1 is a list or object of plain values."""

INTEGER_MIN = -(2**63)
INTEGER_MAX = 2**64 - 1
"""Beyond 64 bits most languages round or refuse; such a number is sent as a text."""

Path = tuple[str | int, ...]
"""Where something is in a JSON value: names and positions from its root."""

TOO_DEEP = f"this nests deeper than {DEPTH_MAX} levels; make it flatter"


def flaws(value: Any) -> Iterator[tuple[Path, str]]:
    """All that no value may have, with its place; of what nests too deep, only that."""
    waiting: list[tuple[Any, Path]] = [(value, ())]
    while waiting:
        one, path = waiting.pop()
        kind = type(one)
        if kind is dict:
            for name in one:
                if type(name) is not str or _is_torn(name):
                    yield path, f"{name!r} cannot be a name in an object; write a text of UTF-8"
            if len(path) < DEPTH_MAX:
                waiting += [(inner, (*path, name)) for name, inner in reversed(one.items())]
            elif one:
                yield path, TOO_DEEP
        elif kind is list:
            if len(path) < DEPTH_MAX:
                waiting += [(one[at], (*path, at)) for at in range(len(one) - 1, -1, -1)]
            elif one:
                yield path, TOO_DEEP
        else:
            flaw = _flaw_of_leaf(one)
            if flaw is not None:
                yield path, flaw


class Flaw(NamedTuple):
    """Why something is no value: a code for programs, a message for people."""

    code: str
    message: str


def flaw(value: Any) -> Flaw | None:
    """The first of `flaws`, or that it is too large; None for a value. As quickly as it goes.

    A template may name one large value a thousand times, so the walk ends when what it has seen
    must be too large already.
    """
    kind = type(value)
    if kind is dict or kind is list:
        found = _Walk().first(value, DEPTH_MAX)
    else:
        found = _bad(_flaw_of_leaf(value))
    if found is None and len(msgspec.json.encode(value)) > VALUE_BYTES_MAX:
        return _LARGE
    return found


_LARGE = Flaw(
    "TooLarge", f"as JSON it has more than {VALUE_BYTES_MAX} bytes; pass on where it is to be found"
)


def _bad(message: str | None) -> Flaw | None:
    return None if message is None else Flaw("BadValue", message)


class _Walk:
    """Looks for a flaw. `_left`: bytes that may still come; each part takes its least."""

    def __init__(self) -> None:
        self._left = VALUE_BYTES_MAX

    def first(self, container: Any, depth: int) -> Flaw | None:
        if depth == 0:
            return _bad(TOO_DEEP) if container else None
        self._left -= 2 * len(container)  # a comma, and a digit at least
        if type(container) is dict:
            for name in container:
                if type(name) is not str or _is_torn(name):
                    said = f"{name!r} cannot be a name in an object; write a text of UTF-8"
                    return _bad(said)
                self._left -= len(name)
            container = container.values()
        for one in container:
            if self._left < 0:
                return _LARGE
            kind = type(one)
            if kind is str:
                self._left -= len(one)
                found = None if one.isascii() else _bad(_flaw_of_leaf(one))
            elif kind is dict or kind is list:
                found = self.first(one, depth - 1)
            else:
                found = _bad(_flaw_of_leaf(one))
            if found is not None:
                return found
        return None


def _is_torn(text: str) -> bool:
    """Whether a text has half of a surrogate pair, which UTF-8 cannot write."""
    if text.isascii():
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _flaw_of_leaf(one: Any) -> str | None:
    kind = type(one)
    if one is None or kind is bool:
        return None
    if kind is str:
        return "this text has half of a surrogate pair; write UTF-8" if _is_torn(one) else None
    if kind is int:
        if INTEGER_MIN <= one <= INTEGER_MAX:
            return None
        return "this whole number has more than 64 bits; write it as a text"
    if kind is float:
        if math.isfinite(one):
            return None
        return "this number is no finite one; write it as a text, or null"
    return f"a {kind.__name__} is no JSON"


def mended(text: str, characters_max: int) -> str:
    """A text for people, cut to size, in which nothing is left that UTF-8 cannot write."""
    cut = text if len(text) <= characters_max else text[: characters_max - 1] + "…"
    return cut if cut.isascii() else cut.encode(errors="replace").decode()
