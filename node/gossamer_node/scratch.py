"""A folder for what is played once: gone when it went well, kept and named when it did not."""

import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path


def play_in_scratch(name: str, left: str, play: Callable[[Path], bool]) -> bool:
    """Plays in a new folder.

    Args:
        name: begins the folder's name.
        left: what is in it afterwards, for people: `The logs`.
        play: returns whether it went well.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"gossamer-{name}-"))
    good = False
    try:
        good = play(folder)
    finally:
        if good:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"{left} of this run: {folder}", file=sys.stderr)
    return good
