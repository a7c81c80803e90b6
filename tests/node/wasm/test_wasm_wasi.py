"""WASI commands, and what WASI gives to any worker: next to nothing, and never a crash."""

from collections.abc import Callable

import pytest

from gossamer_node.jobs import Completed, Failed, Job, Outcome
from gossamer_node.variables import Variables
from gossamer_node.wasm import Detached, Worker
from gossamer_node.wasm.asking.wasi import FUNCTIONS

Load = Callable[..., Worker]
Run = Callable[..., Outcome]
Made = Callable[..., Job]

OUT, ERR = "(call $write (i32.const 1) ", "(call $write (i32.const 2) "
DONE = "(call $echo)"


@pytest.mark.parametrize("size", [0, 1, 99, 100, 10_000])
def test_a_command_reads_the_job_and_writes_the_outcome(
    size: int, load: Load, run: Run, job: Made
) -> None:
    variables = Variables({"x": "y" * size})
    assert run(load("command"), job(variables)) == Completed(variables)


@pytest.mark.parametrize(
    ("body", "message", "details"),
    [
        (ERR + "(i32.const 96) (i32.const 24)) (call $exit (i32.const 3))",
         "no room left", "first line\nno room left"),
        ("(call $exit (i32.const 3))",
         "The worker exited with code 3 and wrote nothing to standard error.", ""),
        (DONE + "(call $exit (i32.const 1))",
         "The worker exited with code 1 and wrote nothing to standard error.", ""),
        ("(call $exit (i32.const 0))", "The worker's outcome is malformed: it is empty.",
         "It began with b'' and has 0 bytes."),
        ("", "The worker's outcome is malformed: it is empty.",
         "It began with b'' and has 0 bytes."),
    ],
)  # fmt: skip
def test_how_a_command_ends(body: str, message: str, details: str, load: Load, run: Run) -> None:
    assert run(load("command", body=body)) == Failed(message, details=details)


def test_exit_zero_is_a_return(load: Load, run: Run) -> None:
    assert isinstance(run(load("command", body=DONE + "(call $exit (i32.const 0))")), Completed)


def test_a_command_that_traps_fails_whatever_it_wrote(load: Load, run: Run) -> None:
    outcome = run(load("command", body=DONE + "unreachable"))
    assert isinstance(outcome, Failed)
    assert outcome.message == "The worker stopped itself (an abort, a panic or a failed assertion)."


def test_a_command_that_never_ends(load: Load, run: Run) -> None:
    outcome = run(load("command", body="(loop (br 0))", limits={"time_ms_max": 50}))
    assert isinstance(outcome, Failed)
    assert outcome.message == "The worker ran longer than its limit of 50 ms and was stopped."


def test_standard_output_is_bounded(load: Load, run: Run) -> None:
    worker = load("command", body="(loop " + OUT + "(i32.const 0) (i32.const 65536)) (br 0))")
    outcome = run(worker)
    assert isinstance(outcome, Failed)
    assert outcome.message == "The worker wrote more than its limit of 1 MiB to standard output."


def test_standard_error_is_logged_by_line_and_its_tail_kept(load: Load, run: Run) -> None:
    lines: list[tuple[int, str]] = []
    body = ERR + "(i32.const 96) (i32.const 13))" + ERR + "(i32.const 109) (i32.const 5))"
    outcome = run(
        load("command", body=body + "(call $exit (i32.const 1))"),
        context=Detached(lambda level, line: lines.append((level, line))),
    )
    assert lines == [(2, "first line"), (2, "no room")]
    assert outcome == Failed("no room", details="first line\nno room")


def test_endless_standard_error_keeps_its_bounds(load: Load, run: Run) -> None:
    lines: list[str] = []
    body = (
        "(loop $more " + ERR + "(i32.const 0) (i32.const 65536))"
        "(local.set $i (i32.add (local.get $i) (i32.const 1)))"
        "(br_if $more (i32.lt_u (local.get $i) (i32.const 300)))) (call $exit (i32.const 1))"
    )
    outcome = run(load("command", body=body), context=Detached(lambda _, line: lines.append(line)))
    assert isinstance(outcome, Failed)
    assert len(outcome.details) <= 4096
    assert len(lines) <= 100
    assert max(map(len, lines)) <= 4096


def test_a_job1_module_writes_to_the_log(load: Load, run: Run) -> None:
    lines: list[tuple[int, str]] = []
    worker = load(
        "any",
        imports='(import "wasi_snapshot_preview1" "fd_write"'
        " (func $fd_write (param i32 i32 i32 i32) (result i32)))",
        rest='(data (i32.const 512) "\\00\\03\\00\\00\\05\\00\\00\\00")'
        '(data (i32.const 768) "a\\nbc\\n")',
        handle="(drop (call $fd_write (i32.const 1) (i32.const 512) (i32.const 1) (i32.const 4)))"
        "(drop (call $fd_write (i32.const 2) (i32.const 512) (i32.const 1) (i32.const 4)))"
        "(i64.or (i64.shl (i64.const 128) (i64.const 32)) (i64.const 16))",
    )
    assert isinstance(
        run(worker, context=Detached(lambda level, line: lines.append((level, line)))), Completed
    )
    assert lines == [(1, "a"), (1, "bc"), (2, "a"), (2, "bc")]


EXPECTED = {
    # Arguments are all 1 unless given: pointer 1 is memory, descriptor 1 is standard output.
    "args_get": 0, "args_sizes_get": 0, "environ_get": 0, "environ_sizes_get": 0,
    "clock_res_get": 0, "clock_time_get": 0, "random_get": 0, "sched_yield": 0,
    "poll_oneoff": 0, "fd_read": 8, "fd_write": 0, "fd_fdstat_get": 0, "fd_fdstat_set_flags": 0,
    "fd_close": 0, "fd_seek": 70, "fd_tell": 70,
    "sock_accept": 58, "sock_recv": 58, "sock_send": 58, "sock_shutdown": 58,
}  # fmt: skip


@pytest.mark.parametrize("name", [name for _, name in FUNCTIONS if not name.startswith("proc_")])
def test_every_function_answers_as_abi_md_says(name: str, load: Load, run: Run) -> None:
    function = FUNCTIONS["wasi_snapshot_preview1", name]
    arguments = " ".join(f"({kind}.const 1)" for kind in function.parameters)
    worker = load(
        "any",
        imports=f'(import "wasi_snapshot_preview1" "{name}" (func $f'
        f" (param {' '.join(function.parameters)}) (result i32)))",
        handle=f"(if (i32.ne (call $f {arguments}) (i32.const {EXPECTED.get(name, 8)}))"
        "(then unreachable)) (i64.or (i64.shl (i64.const 128) (i64.const 32)) (i64.const 16))",
    )
    assert run(worker) == Completed(Variables())


@pytest.mark.parametrize("name", [name for _, name in FUNCTIONS if not name.startswith("proc_")])
def test_no_argument_makes_a_function_fail_on_the_hosts_side(
    name: str, load: Load, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    function = FUNCTIONS["wasi_snapshot_preview1", name]
    for number in ("0", "2", "-1", "0x7fffffff", "65535"):
        arguments = " ".join(f"({kind}.const {number})" for kind in function.parameters)
        worker = load(
            "any",
            imports=f'(import "wasi_snapshot_preview1" "{name}" (func $f'
            f" (param {' '.join(function.parameters)}) (result i32)))",
            handle=f"(drop (call $f {arguments}))"
            "(i64.or (i64.shl (i64.const 128) (i64.const 32)) (i64.const 16))",
        )
        outcome = run(worker)
        if isinstance(outcome, Failed):
            assert outcome.message.startswith(
                ("The worker gave the host a range", "The worker's outcome is malformed")
            )
    assert not caplog.records


def poll(load: Load, clock: int, timeout_ns: int, time_ms_max: int) -> Worker:
    # One clock subscription at 512: id, timeout; events at 640; their number at 704.
    return load(
        "any",
        imports='(import "wasi_snapshot_preview1" "poll_oneoff"'
        " (func $poll (param i32 i32 i32 i32) (result i32)))",
        handle=f"(i64.store (i32.const 512) (i64.const 77))"
        f"(i32.store (i32.const 528) (i32.const {clock}))"
        f"(i64.store (i32.const 536) (i64.const {timeout_ns}))"
        "(if (call $poll (i32.const 512) (i32.const 640) (i32.const 1) (i32.const 704))"
        "(then unreachable))"
        "(if (i32.ne (i32.load (i32.const 704)) (i32.const 1)) (then unreachable))"
        "(if (i64.ne (i64.load (i32.const 640)) (i64.const 77)) (then unreachable))"
        "(i64.or (i64.shl (i64.const 128) (i64.const 32)) (i64.const 16))",
        limits={"time_ms_max": time_ms_max},
    )


def test_a_guest_may_sleep(load: Load, run: Run) -> None:
    assert isinstance(run(poll(load, 1, 1_000_000, 5_000)), Completed)
    assert isinstance(run(poll(load, 9, 10**18, 5_000)), Completed)


def test_a_sleep_ends_with_the_job(load: Load, run: Run) -> None:
    outcome = run(poll(load, 0, 10**18, 50))
    assert isinstance(outcome, Failed)
    assert outcome.message == "The worker ran longer than its limit of 50 ms and was stopped."
