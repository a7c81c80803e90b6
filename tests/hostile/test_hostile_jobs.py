"""Whatever a guest does, its job ends with an outcome that names it, and the node goes on."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.hostile.attacks import ATTACKS, COMPLETED, Attack
from tests.hostile.services import DONE, GOOD, limits_of, run

from gossamer_node.jobs import Failed
from gossamer_node.service.spec import Limits, Profile
from gossamer_node.wasm import Worker

Load = Callable[..., Worker]

ROOT = Path(__file__).parents[2]

TURNS = """(global $turn (mut i32) (i32.const 0))"""
SECOND = """(global.set $turn (i32.add (global.get $turn) (i32.const 1)))
  (if (i32.eq (global.get $turn) (i32.const 2)) (then %s))"""

SLEEPERS = {
    "traps": "unreachable",
    "loops": "(loop (br 0))",
    "exhausts its stack": "(call $deep)",
    "reads outside its memory": "(drop (i32.load (i32.const -1)))",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_contained(
    name: str, profile: Profile, load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    attack = ATTACKS[name]
    good = load(GOOD.module(), profile)
    worker = load(attack.module(), profile, limits_of(attack))
    # Twice: an instance that lives on serves the second job of one that fails nothing.
    for _ in range(2):
        outcome = run(worker)
        if attack.said is None:
            assert outcome == DONE
        else:
            assert isinstance(outcome, Failed)
            assert outcome.message == attack.said
            assert outcome.retries is None
        assert run(good) == DONE
    # A host function that failed would say so here.
    assert not [one for one in caplog.records if one.levelname == "ERROR"]


@pytest.mark.parametrize("name", SLEEPERS)
@pytest.mark.parametrize("where", ["handle", "reset"])
def test_one_that_waits_for_a_later_job_costs_that_job_alone(
    name: str, where: str, load: Load
) -> None:
    # Of a live instance: the first job has no `reset` before it.
    trick = SECOND % SLEEPERS[name]
    rest = TURNS + "(func $deep (call $deep) (call $deep))"
    if where == "reset":
        rest += f'(func (export "reset") {SECOND % ""} {trick})'
    handle = trick + COMPLETED if where == "handle" else COMPLETED
    attack = Attack(None, handle, rest=rest)
    # Its good jobs have that time, too.
    limits = limits_of(Attack("")) if name != "loops" else Limits(time_ms_max=1_000)
    worker = load(attack.module(), "dense", limits)
    outcomes = [run(worker) for _ in range(3)]
    failed = outcomes[1]
    assert outcomes[::2] == [DONE, DONE]
    assert isinstance(failed, Failed)
    assert f", in {where}\n" in failed.details


def test_what_one_job_wrote_no_other_finds(profile: Profile, load: Load) -> None:
    # In the dense profile a job without `reset` may find it; one after a failure may not.
    spy = Attack(
        None,
        "(if (i32.load (i32.const 60000)) (then (return (i64.const 0))))"
        "(drop (memory.grow (i32.const 10)))"
        "(memory.fill (i32.const 60000) (i32.const 7) (i32.const 600000)) unreachable",
    )
    worker = load(spy.module(), profile)
    outcomes = [run(worker) for _ in range(20)]
    assert {getattr(one, "message", None) for one in outcomes} == {
        "The worker stopped itself (an abort, a panic or a failed assertion)."
    }


@pytest.mark.parametrize("stack", ["1024", "8192", "unlimited"])
def test_the_largest_stack_is_exhausted_where_threads_have_little(stack: str) -> None:
    # In KiB, as the shell has it; the process would end without a word.
    command = 'ulimit -s "$0" && exec "$1" -m tests.hostile.deep'
    done = subprocess.run(
        ["sh", "-c", command, stack, sys.executable],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    refused, *failed = done.stdout.splitlines()
    assert refused.endswith(
        "cannot be started: The worker used up its stack of 4 MiB. "
        "(rooms 1.2.0, in its start function)"
    )
    assert failed == ["The worker used up its stack of 4 MiB."] * 2
