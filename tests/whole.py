"""Runs the whole suite, and then, alone, the few tests that failed in it.

    python -m tests.whole [ARGUMENT_OF_PYTEST …]

The suite starts engines, brokers, databases and browsers by the dozen, two tests at a time, on
machines that others use as well. What fails there and passes with nothing beside it is wrong too,
mostly in the test: it looks at something a moment before that is so. Such a test is named at the
end, to be mended, and keeps nobody from going on. What fails alone as well is wrong for sure; and
more than `UNSTEADY_MAX` at once are no chance.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

UNSTEADY_MAX = 3
"""Of thirteen thousand tests."""

FAILED = Path(".pytest_cache/v/cache/lastfailed")


def main(arguments: Sequence[str]) -> int:
    """Returns what pytest would: 0 where all passed, 1 where tests failed, more for its own."""
    # The cache may tell of tests that failed in another run, and are not in this.
    ended = run("--cache-clear", "-n", "2", "--dist", "worksteal", *arguments)
    if ended != pytest.ExitCode.TESTS_FAILED:
        return ended
    # None failed where some were not run that must be.
    failed: list[str] = sorted(json.loads(FAILED.read_text())) if FAILED.exists() else []
    if not 0 < len(failed) <= UNSTEADY_MAX:
        return ended
    print("\nOnce more, alone:", *failed, sep="\n  ", flush=True)
    ended = run(*failed)
    if ended == pytest.ExitCode.OK:
        print(
            "Failed beside others, passed alone; mend what they take for granted:",
            *failed,
            sep="\n  ",
        )
    return ended


def run(*arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
