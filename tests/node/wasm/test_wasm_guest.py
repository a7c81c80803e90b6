"""A worker may do anything; the host answers with a sentence, and goes on."""

from collections.abc import Callable
from typing import Any

import pytest

from gossamer_node.jobs import Completed, Failed, Outcome
from gossamer_node.service.spec import Grant
from gossamer_node.variables import Variables
from gossamer_node.wasm import Detached, Worker

Load = Callable[..., Worker]
Run = Callable[..., Outcome]

RECURSE = "(func $deep (param i64) (result i64) (i64.add (call $deep (local.get 0)) (i64.const 1)))"

HOSTILE: dict[str, tuple[dict[str, Any], str]] = {
    "traps": (
        {"handle": "unreachable"},
        "The worker stopped itself (an abort, a panic or a failed assertion).",
    ),
    "divides by zero": (
        {"handle": "(i64.div_u (i64.const 1) (i64.const 0))"},
        "The worker divided an integer by zero.",
    ),
    "reads outside its memory": (
        {"handle": "(i64.load (i32.const 0x7fffffff))"},
        "The worker read or wrote outside its memory.",
    ),
    "loops in handle": (
        {"handle": "(loop (br 0)) unreachable", "limits": {"time_ms_max": 50}},
        "The worker ran longer than its limit of 50 ms and was stopped.",
    ),
    "loops in alloc": (
        {"alloc": "(loop (br 0)) unreachable", "limits": {"time_ms_max": 50}},
        "The worker ran longer than its limit of 50 ms and was stopped.",
    ),
    "exhausts its stack": (
        {"handle": "(call $deep (i64.const 1))", "rest": RECURSE},
        "The worker used up its stack of 512 KiB.",
    ),
    "grows its memory until it can't": (
        {
            "handle": "(loop $more (br_if $more (i32.ge_s (memory.grow (i32.const 1))"
            " (i32.const 0)))) unreachable",
            "limits": {"memory_bytes_max": 2**21},
        },
        "The worker stopped itself (an abort, a panic or a failed assertion);"
        " its memory had reached its limit of 2 MiB.",
    ),
    "has no room": (
        {"alloc": "(i32.const 0)"},
        "The worker had no room for an input of 226 bytes.",
    ),
    "lies about where its room is": (
        {"alloc": "(i32.const 65530)"},
        "The worker gave the host a range that is not its own: "
        "pointer 65530 with length 226 is not within memory (65536 bytes).",
    ),
    "gives room at a negative pointer": (
        {"alloc": "(i32.const -8)"},
        "The worker gave the host a range that is not its own: "
        "pointer 4294967288 with length 226 is not within memory (65536 bytes).",
    ),
    "lies about where its outcome is": (
        {"handle": "(i64.const 0xffffffff00000010)"},
        "The worker gave the host a range that is not its own: "
        "pointer 4294967295 with length 16 is not within memory (65536 bytes).",
    ),
    "lies about its outcome's length": (
        {"handle": "(i64.const 0x0000001000010000)"},
        "The worker gave the host a range that is not its own: "
        "pointer 16 with length 65536 is not within memory (65536 bytes).",
    ),
    "answers too much": (
        {"handle": "(i64.const 0x00000010ffffffff)"},
        "The worker answered an outcome of 4294967295 bytes, more than its limit of 1 MiB.",
    ),
    "answers nothing": (
        {"handle": "(i64.const 0)"},
        "The worker's outcome is malformed: it is empty.",
    ),
    "answers zeros": (
        {"handle": "(i64.const 0x0000400000000004)"},
        "The worker's outcome is malformed: it is neither JSON nor msgpack with a map at the top.",
    ),
    "logs from outside its memory": (
        {
            "imports": '(import "job1" "log" (func $log (param i32 i32 i32)))',
            "handle": "(call $log (i32.const 1) (i32.const 65535) (i32.const 2)) (i64.const 0)",
        },
        "The worker gave the host a range that is not its own: "
        "pointer 65535 with length 2 is not within memory (65536 bytes).",
    ),
    "wants random bytes past its memory": (
        {
            "imports": '(import "job1" "random" (func $random (param i32 i32)))',
            "handle": "(call $random (i32.const 0) (i32.const -1)) (i64.const 0)",
        },
        "The worker gave the host a range that is not its own: "
        "pointer 0 with length 4294967295 is not within memory (65536 bytes).",
    ),
    "exits": (
        {
            "imports": '(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))',
            "handle": "(call $exit (i32.const 3)) unreachable",
        },
        "The worker called proc_exit with code 3, which a job1 module must not.",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_worker_fails_in_plain_words(case: str, load: Load, run: Run) -> None:
    parts, message = HOSTILE[case]
    outcome = run(load("any", **parts))
    assert isinstance(outcome, Failed)
    assert outcome.message == message
    assert outcome.retries is None


def test_details_say_which_service_and_where(load: Load, run: Run) -> None:
    outcome = run(load("any", handle="unreachable"))
    assert isinstance(outcome, Failed)
    assert outcome.details.startswith("rooms 1.2.0, in handle\n")
    assert "wasm backtrace" in outcome.details


class Held(Detached):
    """A job that an engine holds: its lock can be extended."""

    def extend_lock(self, lock_ms: int) -> bool:
        return True


@pytest.mark.parametrize("where", ["start", "_initialize"])
def test_time_covers_what_runs_before_the_job(where: str, load: Load, run: Run) -> None:
    # It loops only in a job, else it would not load: there `{"extended":true}` has 17 bytes.
    loop_in_job = (
        '(data (i32.const 32768) "job.extend_lock") (data (i32.const 32800) "{\\"lock_ms\\":1000}")'
        "(func $first (if (i32.eq (i32.const 17) (call $call (i32.const 32768) (i32.const 15)"
        " (i32.const 32800) (i32.const 16))) (then (loop (br 0)))))"
    )
    hook = "(start $first)" if where == "start" else '(export "_initialize" (func $first))'
    worker = load(
        "any",
        imports='(import "job1" "call" (func $call (param i32 i32 i32 i32) (result i32)))',
        rest=loop_in_job + hook,
        limits={"time_ms_max": 200},
        grant=Grant(extend_lock=True),
    )
    assert isinstance(run(worker), Completed)
    outcome = run(worker, context=Held())
    assert isinstance(outcome, Failed)
    assert outcome.message == "The worker ran longer than its limit of 200 ms and was stopped."
    step = "its start function" if where == "start" else "_initialize"
    assert outcome.details.startswith(f"rooms 1.2.0, in {step}\n")


def test_each_job_gets_a_fresh_instance(load: Load, run: Run) -> None:
    worker = load(
        "any",
        handle="(if (i32.load (i32.const 512)) (then unreachable))"
        "(i32.store (i32.const 512) (i32.const 1))"
        "(i64.or (i64.shl (i64.const 128) (i64.const 32)) (i64.const 16))",
    )
    assert [run(worker), run(worker)] == [Completed(Variables())] * 2


def test_log_lines_are_bounded_and_levels_are_four(load: Load, run: Run) -> None:
    lines: list[tuple[int, str]] = []
    worker = load(
        "any",
        imports='(import "job1" "log" (func $log (param i32 i32 i32)))',
        handle="(loop $more (call $log (local.get $i) (i32.const 16) (i32.const 8000))"
        "(local.set $i (i32.add (local.get $i) (i32.const 1)))"
        "(br_if $more (i32.lt_u (local.get $i) (i32.const 200))))"
        "(i64.or (i64.shl (i64.const 128) (i64.const 32)) (i64.const 16))",
    )
    context = Detached(lambda level, line: lines.append((level, line)))
    assert isinstance(run(worker, context=context), Completed)
    assert len(lines) == 100
    assert {len(line) for _, line in lines} == {4096}
    assert [level for level, _ in lines[:6]] == [0, 1, 2, 3, 1, 1]


def test_a_context_that_fails_costs_no_job(load: Load, run: Run) -> None:
    def broken(level: int, line: str) -> None:
        raise OSError("disk full")

    worker = load(
        "any",
        imports='(import "job1" "log" (func $log (param i32 i32 i32)))',
        handle="(call $log (i32.const 1) (i32.const 16) (i32.const 4))"
        "(i64.or (i64.shl (i64.const 128) (i64.const 32)) (i64.const 16))",
    )
    assert isinstance(run(worker, context=Detached(broken)), Completed)


def test_now_and_random(load: Load, run: Run) -> None:
    worker = load(
        "any",
        imports='(import "job1" "now" (func $now (result i64)))'
        '(import "job1" "random" (func $random (param i32 i32)))',
        handle="(call $random (i32.const 512) (i32.const 16))"
        "(if (i64.eq (i64.load (i32.const 512)) (i64.load (i32.const 520))) (then unreachable))"
        "(if (i64.lt_s (call $now) (i64.const 1700000000000)) (then unreachable))"
        "(i64.or (i64.shl (i64.const 128) (i64.const 32)) (i64.const 16))",
    )
    assert isinstance(run(worker), Completed)
