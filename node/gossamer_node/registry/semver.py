"""Which of two versions comes first: semver.org 2.0.0, §11."""

import re
from typing import TypeAlias

Precedence: TypeAlias = tuple[tuple[int, ...], tuple[tuple[int, int, str], ...], str]


def precedence(version: str) -> Precedence:
    """A key to sort versions by; the text decides last, so that only equal ones are equal.

    Args:
        version: as `service.load.VERSION` takes it.
    """
    core, _, pre = version.partition("+")[0].partition("-")
    numbers = tuple(int(one) for one in core.split("."))
    parts = tuple(_identifier(one) for one in pre.split(".")) if pre else ((2, 0, ""),)
    return numbers, parts, version


def _identifier(text: str) -> tuple[int, int, str]:
    """Numbers come before words; without any, a version comes after its pre-releases."""
    return (0, int(text), "") if re.fullmatch(r"[0-9]+", text) else (1, 0, text)
