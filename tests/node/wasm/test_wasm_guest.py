"""One job in one instance: its steps, its time, its lines. Attacks are in tests/hostile."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gossamer_node.jobs import Completed, Failed, Outcome
from gossamer_node.service.spec import Grant, ServiceSpec
from gossamer_node.variables import Variables
from gossamer_node.wasm import Detached, WasmHost, Worker

Load = Callable[..., Worker]
Run = Callable[..., Outcome]


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
        limits={"time_ms_max": 1_000},
        grant=Grant(extend_lock=True),
    )
    assert isinstance(run(worker), Completed)
    outcome = run(worker, context=Held())
    assert isinstance(outcome, Failed)
    assert outcome.message == "The worker ran longer than its limit of 1000 ms and was stopped."
    step = "its start function" if where == "start" else "_initialize"
    assert outcome.details.startswith(f"rooms 1.2.0, in {step}\n")


def test_a_machine_that_stood_still_as_a_module_began_refuses_none(
    tmp_path: Path, wasm_file: Callable[..., Path], spec: Callable[..., ServiceSpec]
) -> None:
    begun = 0

    def stand_still(_request: object, _run: object) -> dict[str, object]:
        nonlocal begun
        begun += 1
        if begun == 1:
            time.sleep(0.5)  # as a machine does that is paused
        return {}

    module = wasm_file(
        "any",
        imports='(import "job1" "call" (func $call (param i32 i32 i32 i32) (result i32)))',
        rest='(data (i32.const 32768) "still{}") (func $first (drop (call $call'
        " (i32.const 32768) (i32.const 5) (i32.const 32773) (i32.const 2)))) (start $first)",
    )
    with WasmHost(tmp_path / "cache", operations={"still": stand_still}) as host:
        host.load_blocking(spec(module, limits={"time_ms_max": 250}), Grant())
    assert begun > 1


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
