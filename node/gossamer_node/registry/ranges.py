"""Ranges of versions, with npm's meaning: `^1.2`, `~1.2.3`, `>=1 <3`, `1.x`, `1.2 - 2`, `^1 || ^3`.

npm's grammar and its documentation (the package `semver`, "Ranges" and "Advanced Range Syntax") say
what each form stands for: here every form becomes bounds, and a version is in the range if it is
within all bounds of one of the alternatives.

A pre-release is in a range only if one of the bounds of that alternative names a pre-release of the
very same version: `>=1.2.3-alpha` takes 1.2.3-beta and not 1.3.0-beta. Who asks for `^1.0.0` never
gets what its author does not call ready. What stands behind a `+` counts for nothing.

Compared with npm's own `semver` on 144,000 random pairs, there are two differences: an alternative
`*` beside others leaves these as they are (npm forgets them), and `*.2` is refused in every form.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from gossamer_node.registry.semver import precedence

RANGE_CHARS_MAX = 100
"""Of a range in service.yaml; and of what a member may send for one."""

_NUMBER = r"0|[1-9][0-9]*"
_PART = rf"[xX*]|{_NUMBER}"
_WORD = r"0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*"
_PARTIAL = (
    rf"v?({_PART})(?:\.({_PART})(?:\.({_PART})"
    rf"(?:-((?:{_WORD})(?:\.(?:{_WORD}))*))?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?)?)?"
)
_BOUND = re.compile(rf"(\^|~>?|>=|<=|>|<|=|) *{_PARTIAL}(?: +|$)")
_HYPHEN = re.compile(rf"{_PARTIAL} +- +{_PARTIAL}")

_Core: TypeAlias = tuple[int, int, int]
_Order: TypeAlias = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class _Version:
    """A version in a bound; `pre` is what stands behind its hyphen."""

    core: _Core
    pre: str = ""

    def __str__(self) -> str:
        return ".".join(map(str, self.core)) + (f"-{self.pre}" if self.pre else "")


_Bound: TypeAlias = tuple[str, _Version]
_Written: TypeAlias = tuple[tuple[str, str], ...]
"""Operators, each one of `<`, `<=`, `>`, `>=`, `=`, and what a version is compared with."""

_Partial: TypeAlias = tuple[int | None, int | None, int | None, str]

_NOTHING: tuple[_Bound, ...] = (("<", _Version((0, 0, 0), "0")),)
"""No version is lower than the first pre-release of the first."""


@dataclass(frozen=True, slots=True)
class Range:
    """Some versions.

    Attributes:
        text: as it was written.
        alternatives: each with its bounds; with none, every version that is no pre-release.
    """

    text: str
    alternatives: tuple[_Written, ...]

    def __contains__(self, version: str) -> bool:
        """Whether a version, one that `service.load.VERSION` takes, is in the range."""
        return any(_is_within(version, bounds) for bounds in self.alternatives)


@lru_cache(maxsize=4_096)
def parse_range(text: str) -> Range:
    """The range that a text means.

    Raises: ValueError, with what is wrong, to be read on after the text.
    """
    if len(text) > RANGE_CHARS_MAX:
        raise ValueError(f"is longer than {RANGE_CHARS_MAX} characters")
    alternatives = [_alternative(one.strip(" ")) for one in text.split("||")]
    return Range(
        text, tuple(tuple((operator, str(at)) for operator, at in one) for one in alternatives)
    )


def _alternative(text: str) -> tuple[_Bound, ...]:
    hyphen = _HYPHEN.fullmatch(text)
    if hyphen is not None:
        parts = hyphen.groups()
        return (*_bounds(">=", _partial(parts[:4])), *_bounds("<=", _partial(parts[4:])))
    bounds: list[_Bound] = []
    place = 0
    while place < len(text):
        match = _BOUND.match(text, place)
        if match is None:
            raise ValueError(f"has no version at {text[place:].partition(' ')[0]!r}")
        bounds += _bounds(match[1], _partial(match.groups()[1:]))
        place = match.end()
    return tuple(bounds)


def _partial(parts: Sequence[str | None]) -> _Partial:
    """Numbers up to the first that is left out, or any; a pre-release only behind all three."""
    numbers: list[int | None] = []
    for one in parts[:3]:
        number = None if one is None or one in "xX*" else int(one)
        if number is not None and None in numbers:
            raise ValueError(f"has the number {number} behind one that may be any")
        numbers.append(number)
    major, minor, patch = numbers
    return major, minor, patch, (parts[3] or "") if patch is not None else ""


def _bounds(operator: str, partial: _Partial) -> tuple[_Bound, ...]:
    """What an operator before a version, maybe of fewer than three numbers, stands for."""
    major, minor, patch, pre = partial
    if major is None:
        return _NOTHING if operator in ("<", ">") else ()
    lowest = _Version((major, minor or 0, patch or 0), pre)
    match operator:
        case "^":
            return (">=", lowest), ("<", _caret_end(major, minor, patch))
        case "~" | "~>":
            return (">=", lowest), ("<", _end(major, minor))
    if patch is not None:
        return ((operator or "=", lowest),)
    match operator:
        case ">":
            return ((">=", _Version(_end(major, minor).core)),)
        case ">=":
            return ((">=", lowest),)
        case "<":
            return (("<", _Version(lowest.core, "0")),)
        case "<=":
            return (("<", _end(major, minor)),)
    return (">=", lowest), ("<", _end(major, minor))


def _end(major: int, minor: int | None) -> _Version:
    """The first pre-release of the next minor version, or of the next major one."""
    core = (major + 1, 0, 0) if minor is None else (major, minor + 1, 0)
    return _Version(core, "0")


def _caret_end(major: int, minor: int | None, patch: int | None) -> _Version:
    """Past every version that has the same first number that is not 0."""
    if major > 0 or minor is None:
        return _Version((major + 1, 0, 0), "0")
    if minor > 0 or patch is None:
        return _Version((major, minor + 1, 0), "0")
    return _Version((major, minor, patch + 1), "0")


def _is_within(version: str, bounds: _Written) -> bool:
    core, order, is_pre = _taken_apart(version.partition("+")[0])
    found = [(operator, _taken_apart(at)) for operator, at in bounds]
    if not all(_holds(order, operator, theirs) for operator, (_, theirs, _) in found):
        return False
    return not is_pre or any(each and at == core for _, (at, _, each) in found)


@lru_cache(maxsize=16_384)
def _taken_apart(version: str) -> tuple[_Core, _Order, bool]:
    """Its three numbers, a key to compare it by, and whether it is a pre-release."""
    major, minor, patch = (int(one) for one in version.partition("-")[0].split("."))
    return (major, minor, patch), precedence(version)[:2], "-" in version


def _holds(ours: _Order, operator: str, theirs: _Order) -> bool:
    match operator:
        case "<":
            return ours < theirs
        case "<=":
            return ours <= theirs
        case ">":
            return ours > theirs
        case ">=":
            return ours >= theirs
    return ours == theirs
