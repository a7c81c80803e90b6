"""What a person sees while an engine is downloaded and started.

Work reports (text, fraction) to a callback; the printer here turns that into one line that is
rewritten on a terminal, and into few plain lines everywhere else.
"""

import sys
from collections.abc import Callable
from typing import TextIO

Progress = Callable[[str, float | None], None]
"""Takes what is being done, and how much of it is done from 0 to 1 (None: can't be told)."""

_TERMINAL_STEP = 0.01
_PLAIN_STEP = 0.25
"""A log gets a line for each quarter of a download: enough to see that it moves."""

_LINE_BEFORE = "\x1b[A\x1b[K"
"""ECMA-48: cursor up, erase to the end of the line."""


def silent(text: str, fraction: float | None) -> None:
    """Reports to nobody."""


def printed(stream: TextIO = sys.stderr) -> Progress:
    """Reports to a stream: one line per text, rewritten on a terminal as its fraction grows."""
    terminal = stream.isatty()
    shown: tuple[str, int] | None = None

    def report(text: str, fraction: float | None) -> None:
        nonlocal shown
        step = (text, int((fraction or 0) / (_TERMINAL_STEP if terminal else _PLAIN_STEP)))
        if step == shown:
            return
        rewrite = terminal and shown is not None and shown[0] == text
        percent = "" if fraction is None else f" {fraction:.0%}"
        stream.write(f"{_LINE_BEFORE if rewrite else ''}{text}{percent}\n")
        stream.flush()
        shown = step

    return report
