"""Whole nodes in virtual time: half a minute of fresh seeds, and the same on real MicroPython.

A failure names its seed; `python -m gossamer_mesh.testing.world SEED` tells it step by step.
`GOSSAMER_SIM_SECONDS` is how long the fresh seeds may take; `make sim` runs more of them.
"""

import importlib.util
import os
import secrets
import subprocess
from pathlib import Path

import pytest

import gossamer_mesh
from gossamer_mesh.testing import sim
from gossamer_mesh.testing.commit import commit
from gossamer_mesh.testing.lease_checks import InvariantBroken
from gossamer_mesh.testing.world import World, main
from gossamer_mesh.testing.world_plans import PLANS, Plan, plan_of

SECONDS = float(os.environ.get("GOSSAMER_SIM_SECONDS", "30"))
PLAN_SEEDS = 4
"""Fresh worlds of each plan."""
TWIN_SEEDS = range(1, 7)
"""Worlds that run on both interpreters."""

ROOT = Path(__file__).parents[2]
MESH = Path(gossamer_mesh.__file__).parents[1]


def trace_hash(seed: int) -> str:
    world = World(seed)
    world.run()
    return world.trace_hash()


def test_fresh_seeds_break_no_rule(capsys: pytest.CaptureFixture[str]) -> None:
    base = secrets.randbelow(10**9)
    tally = sim.run_many(base, seconds=SECONDS)
    with capsys.disabled():
        print(f"\nworlds of commit {commit()}:", *tally.lines(), sep="\n")
    assert tally.failures == []
    assert tally.runs > 0


def test_every_trouble_is_met() -> None:
    """Worlds in which nothing goes wrong would prove nothing."""
    tally = sim.run_many(0, seeds=100)
    assert tally.failures == []
    missed = {name for name in sim.WATCHED if not tally.counts[name]}
    assert missed <= {"stale", "reported not ours"}  # the rarest, some in a thousand runs


def test_a_seed_decides_everything_and_the_hash_tells_runs_apart() -> None:
    assert trace_hash(3) == trace_hash(3)
    assert trace_hash(3) != trace_hash(4)


def test_a_seed_is_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["3"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert any("n1 starts" in line for line in told)
    assert any("completed" in line for line in told)
    assert told[-1] == f"seed 3 hash {trace_hash(3)}"


def test_a_failure_names_its_seed_and_how_to_see_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "_left_over", lambda self: ["a job"])
    monkeypatch.setattr(Plan, "quiet_ms_max", 1_000)
    with pytest.raises(InvariantBroken) as raised:
        World(5).run()
    assert str(raised.value) == (
        "seed 5 at 56000 ms: not quiet at the end: ['a job']; "
        "replay: python -m gossamer_mesh.testing.world 5"
    )


def test_a_failure_names_its_plan_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gossamer_mesh.testing.world.STEPS_MAX", 1_000)
    with pytest.raises(InvariantBroken) as raised:
        World(5, None, plan_of("poison")).run()
    assert "not at its end after 1,000 steps" in str(raised.value)
    assert str(raised.value).endswith("gossamer_mesh.testing.world 5 --plan poison")
    monkeypatch.undo()
    assert main(["--plan", "liars", "--hash", "5"]) == 0


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.name)
def test_sound_cores_bear_each_plan(plan: type[Plan]) -> None:
    base = secrets.randbelow(10**9)
    for seed in range(base, base + PLAN_SEEDS):
        World(seed, None, plan()).run()


def test_the_summary_counts_failures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sim.main(["--base", "7", "--seeds", "3"]) == 0
    assert "seeds 7 to 9: 0 failed" in capsys.readouterr().out

    def broken(*args: object, **kwargs: object) -> sim.Tally:
        return sim.Tally(7, runs=3, failures=["seed 8 at 10 ms: something"])

    monkeypatch.setattr(sim, "run_many", broken)
    assert sim.main(["--seeds", "3"]) == 1
    assert "seeds 7 to 9: 1 failed" in capsys.readouterr().out


@pytest.fixture(scope="session")
def micropython() -> Path:
    """The command that starts a real MicroPython."""
    path = ROOT / "tools" / "get_micropython.py"
    spec = importlib.util.spec_from_file_location("get_micropython", path)
    assert spec is not None and spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    try:
        launcher: Path = tool.get(tool.cache_dir())
    except tool.MissingError as error:
        pytest.skip(f"NOT RUN: no MicroPython: {error}")
    return launcher


def test_micropython_runs_the_same_worlds(micropython: Path) -> None:
    """The very same files, without msgpack's library, give the same datagrams at the same time."""
    seeds = [str(seed) for seed in TWIN_SEEDS]
    done = subprocess.run(
        [micropython, "-X", "heapsize=256M", "-m", "gossamer_mesh.testing.world", "--hash", *seeds],
        env={"MICROPYPATH": str(MESH)},
        capture_output=True,
        text=True,
        check=False,
    )
    expected = [f"seed {seed} hash {trace_hash(seed)}" for seed in TWIN_SEEDS]
    assert (done.stdout + done.stderr).splitlines() == expected
