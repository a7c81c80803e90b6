"""What a person sees while an engine is downloaded and started.

Work reports (text, fraction) to a callback. The reporters here turn that into lines: one that is
rewritten on a terminal, a few plain ones everywhere else.
"""

import sys
from collections.abc import Callable

Progress = Callable[[str, float | None], None]
"""Takes what is being done, and how much of it is done from 0 to 1 (None: can't be told)."""

_TERMINAL_STEP = 0.01
_PLAIN_STEP = 0.25
"""A log gets a line for each quarter of a download: enough to see that it moves."""

_LINE_BEFORE = "\x1b[A\x1b[K"
"""ECMA-48: cursor up, erase to the end of the line."""


def silent(text: str, fraction: float | None) -> None:
    """Reports to nobody."""


def lines(write_line: Callable[[str], object], *, terminal: bool) -> Progress:
    """Reports to a function that takes lines, repeating nothing.

    Args:
        write_line: Writes a line and its end.
        terminal: Whether it understands control sequences, so that a line can be rewritten.
    """
    shown: tuple[str, int] | None = None

    def report(text: str, fraction: float | None) -> None:
        nonlocal shown
        step = (text, int((fraction or 0) / (_TERMINAL_STEP if terminal else _PLAIN_STEP)))
        if step == shown:
            return
        rewrite = terminal and shown is not None and shown[0] == text
        percent = "" if fraction is None else f" {fraction:.0%}"
        write_line(f"{_LINE_BEFORE if rewrite else ''}{text}{percent}")
        shown = step

    return report


def printed() -> Progress:
    """Reports to standard error."""

    def write_line(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    return lines(write_line, terminal=sys.stderr.isatty())
