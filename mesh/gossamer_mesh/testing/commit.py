"""Which commit a figure, a failure or a run is of: without that nobody can see it again."""

import subprocess
from pathlib import Path


def commit() -> str:
    """Of these files, with `-dirty` where they were changed since; `unknown` outside a repository.

    A tag is no name for it: it may move.
    """
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"
