"""What takes long to make is made by one of the processes that share a session's tests.

A fixture of a session or a module is made in each process of pytest-xdist. A folder of compiled
workers, or what a long run of a program told, is the same for all of them: whoever comes first
makes it, the others wait for that.
"""

import fcntl
from collections.abc import Callable
from pathlib import Path

import pytest


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A file or folder that `make` has made, here or in another process of this session.

    Args:
        name: its own among all that are made so; the suffix stays.
        make: makes it at the path that it is given. Where it raises, the next one tries again.

    Returns: its path. Nobody may change what is there.
    """
    base = factory.getbasetemp()
    # Below the session's folder each process of pytest-xdist has one of its own.
    folder = (base.parent if base.name.startswith("popen-") else base) / "made-once"
    folder.mkdir(exist_ok=True)
    made, begun = folder / name, folder / f"begun-{name}"
    with (folder / f"{name}.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not made.exists():
            make(begun)
            begun.rename(made)
    return made
