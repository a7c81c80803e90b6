"""After all attacks at once, again and again: the process is what it was, others' jobs are done."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.hostile.siege import Has
from tests.made_once import made_once

ROOT = Path(__file__).parents[2]

ROUNDS, REPEAT = 3, 20

RESIDENT_BYTES_MAX = 48 * 2**20
"""What the allocator may keep. A store that leaked would be 64 KiB and more: 400 MiB in all."""

MAPPINGS_MAX = 200
"""Neighbours come and go; a mapping for each job would be thousands."""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    def besiege(path: Path) -> None:
        counts = (f"--rounds={ROUNDS}", f"--repeat={REPEAT}")
        with path.open("wb") as out:
            command = [sys.executable, "-m", "tests.hostile.siege", *counts]
            subprocess.run(command, cwd=ROOT, check=True, stdout=out)

    made = made_once(tmp_path_factory, "siege.json", besiege)
    found: dict[str, object] = json.loads(made.read_bytes())
    return found


def test_each_attack_is_named_and_each_good_job_is_done(told: dict[str, object]) -> None:
    assert told["wrong"] == []
    assert told["good_jobs"] == 2 * 10 * REPEAT * (ROUNDS + 1)
    assert isinstance(told["bad_jobs"], int) and told["bad_jobs"] > 6_000


def test_nothing_grows_with_attacks(told: dict[str, object]) -> None:
    warm, after = Has(**told["warm"]), Has(**told["after"])  # type: ignore[arg-type]
    assert after.resident_bytes - warm.resident_bytes < RESIDENT_BYTES_MAX
    assert after.mappings - warm.mappings < MAPPINGS_MAX
    assert after.descriptors == warm.descriptors


def test_nothing_is_left_when_the_host_has_gone(told: dict[str, object]) -> None:
    bare, gone = Has(**told["bare"]), Has(**told["gone"])  # type: ignore[arg-type]
    assert gone.threads <= bare.threads
    assert gone.descriptors == bare.descriptors
