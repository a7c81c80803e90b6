"""A build goes out although a test was unsteady, and never although one is wrong."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.whole import UNSTEADY_MAX

ROOT = Path(__file__).parents[1]

UNSTEADY = """
from pathlib import Path

def test_unsteady():
    seen = Path(__file__).with_suffix(".seen")
    before = seen.exists()
    seen.touch()
    assert before
"""
RIGHT = "def test_right(): pass"
WRONG = "def test_wrong(): assert 1 == 2"
MORE_IS_WRONG = """
import pytest

def pytest_sessionfinish(session):
    session.exitstatus = pytest.ExitCode.TESTS_FAILED
"""


@pytest.mark.processes
@pytest.mark.parametrize(
    ("files", "ended", "told"),
    [
        ({"test_a": RIGHT, "test_b": UNSTEADY}, 0, "Failed beside others, passed alone"),
        ({"test_a": UNSTEADY, "test_b": WRONG}, 1, "Once more, alone"),
        ({f"test_{n}": UNSTEADY for n in range(UNSTEADY_MAX + 1)}, 1, f"{UNSTEADY_MAX + 1} failed"),
        ({"conftest": MORE_IS_WRONG, "test_a": RIGHT}, 1, "1 passed"),
    ],
    ids=["unsteady", "wrong", "too many", "no test failed"],
)
def test_what_fails_alone_fails(
    tmp_path: Path, files: dict[str, str], ended: int, told: str
) -> None:
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(text)
    found = subprocess.run(
        [sys.executable, "-m", "tests.whole", "-n", "0", str(tmp_path)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told in found.stdout
    assert found.returncode == ended
