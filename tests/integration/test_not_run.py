"""A machine without Maven: tests that need an engine are NOT RUN, and nobody can overlook it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENGINES = "tests/integration/test_local_engines_start.py"
UNITS = "tests/node/test_local_engines.py"


def run_pytest(*arguments: str, cache_home: Path, ci: bool) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=ROOT,
        env={"PATH": "", "XDG_CACHE_HOME": str(cache_home)} | ({"CI": "true"} if ci else {}),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.processes
@pytest.mark.parametrize("ci", [False, True])
def test_what_cannot_run_is_named_and_fails_ci(tmp_path: Path, ci: bool) -> None:
    done = run_pytest(ENGINES, "-k", "version", cache_home=tmp_path, ci=ci)
    section = done.stdout.partition("= NOT RUN =")[2]
    for engine in ("Camunda 7.24.0", "Zeebe 8.6.0"):
        assert f"1 test NOT RUN: {engine} has to be downloaded, and the command mvn is" in section
    assert "2 NOT RUN" in done.stdout.splitlines()[-1]
    assert done.returncode == (pytest.ExitCode.TESTS_FAILED if ci else pytest.ExitCode.OK)


@pytest.mark.processes
@pytest.mark.parametrize(
    ("kind", "status"),
    [("NOT_RUN", pytest.ExitCode.TESTS_FAILED), ("NO_RIGHTS", pytest.ExitCode.OK)],
)
def test_only_what_the_machine_could_have_fails_ci(
    tmp_path: Path, kind: str, status: pytest.ExitCode
) -> None:
    file = tmp_path / "test_needy.py"
    file.write_text(
        f"import pytest\nfrom tests.conftest import {kind}\n"
        f'async def test_needy(): pytest.skip({kind} + "it needs something")\n'
    )
    settings = ("-p", "tests.conftest", "-c", str(ROOT / "pyproject.toml"))
    done = run_pytest(*settings, str(file), cache_home=tmp_path, ci=True)
    assert "1 test NOT RUN: it needs something" in done.stdout.partition("= NOT RUN =")[2]
    assert done.returncode == status


@pytest.mark.processes
def test_tests_without_engines_come_first(tmp_path: Path) -> None:
    done = run_pytest(ENGINES, UNITS, "--collect-only", "-q", cache_home=tmp_path, ci=True)
    files = [line.partition("::")[0] for line in done.stdout.splitlines() if "::" in line]
    assert files[0] == UNITS and files[-1] == ENGINES
    assert files.index(ENGINES) > max(i for i, file in enumerate(files) if file == UNITS)
    assert done.returncode == pytest.ExitCode.OK
