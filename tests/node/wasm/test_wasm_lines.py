"""What workers log: bounded per job and per service, counted; clock and random in both forms."""

import re
from collections.abc import Callable

import pytest

from gossamer_node.jobs import Completed, Failed, Outcome
from gossamer_node.wasm import Detached, WasmHost, Worker
from gossamer_node.wasm.asking.lines import BURST_LINES, LINES_PER_S, NOTICE_S, Lines

Load = Callable[..., Worker]
RunJob = Callable[..., Outcome]

LOG = '(import "job1" "log" (func $log (param i32 i32 i32)))'
WRITE = (
    '(import "wasi_snapshot_preview1" "fd_write"'
    " (func $fd_write (param i32 i32 i32 i32) (result i32)))"
)
DONE = "(i64.or (i64.shl (i64.const 128) (i64.const 32)) (i64.const 16))"


def flood(count: int) -> str:
    return (
        "(loop $more (call $log (i32.const 1) (i32.const 128) (i32.const 5))"
        "(local.set $i (i32.add (local.get $i) (i32.const 1)))"
        f"(br_if $more (i32.lt_u (local.get $i) (i32.const {count})))) {DONE}"
    )


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of `Lines` that are made from now on."""
    now_s = [1_000.0]
    init = Lines.__init__

    def stopped(self: Lines) -> None:
        init(self, lambda: now_s[0])

    monkeypatch.setattr(Lines, "__init__", stopped)
    return now_s


def test_lines_beyond_the_bounds_are_counted_and_said_now_and_then(
    clock: list[float],
    load: Load,
    run: RunJob,
    wasm_host: WasmHost,
    caplog: pytest.LogCaptureFixture,
) -> None:
    lines: list[str] = []
    context = Detached(lambda _level, line: lines.append(line))
    worker = load("any", imports=LOG, handle=flood(150))

    def told() -> list[str]:
        return re.findall(r"[\d,]+ lines of rooms were not logged", caplog.text)

    jobs = BURST_LINES // 100
    for _ in range(jobs):
        assert isinstance(run(worker, context=context), Completed)
    # Each had its 100 lines and 50 were dropped; it was said once.
    assert len(lines) == BURST_LINES
    assert wasm_host.lines_dropped() == 50 * jobs
    assert told() == ["50 lines of rooms were not logged"]
    run(worker, context=context)
    assert len(lines) == BURST_LINES
    clock[0] += 0.25
    run(worker, context=context)
    assert len(lines) == BURST_LINES + LINES_PER_S // 4
    clock[0] += NOTICE_S
    run(worker, context=context)
    assert len(lines) == BURST_LINES + LINES_PER_S // 4 + 100
    dropped = 50 * jobs + 150 + 100 + 50
    assert wasm_host.lines_dropped() == dropped
    assert told()[1:] == [f"{dropped - 50:,} lines of rooms were not logged"]


def test_services_do_not_share_their_lines(clock: list[float], load: Load, run: RunJob) -> None:
    lines: list[str] = []
    context = Detached(lambda _level, line: lines.append(line))
    loud = load("any", imports=LOG, handle=flood(100))
    for _ in range(BURST_LINES // 100 + 5):
        run(loud, context=context)
    assert len(lines) == BURST_LINES
    other = load("any", imports=LOG, handle=flood(3))
    run(other, context=context)
    assert len(lines) == BURST_LINES + 3


def test_a_bucket_fills_no_further_than_its_burst() -> None:
    now_s = [0.0]
    lines = Lines(lambda: now_s[0])
    assert sum(lines.take() for _ in range(BURST_LINES + 10)) == BURST_LINES
    now_s[0] += 1
    assert sum(lines.take() for _ in range(LINES_PER_S + 10)) == LINES_PER_S
    now_s[0] += 86_400
    assert sum(lines.take() for _ in range(BURST_LINES + 10)) == BURST_LINES


def test_a_line_that_is_all_of_memory_is_cut(load: Load, run: RunJob) -> None:
    lines: list[str] = []
    handle = f"(call $log (i32.const 9) (i32.const 0) (i32.const 65536)) {DONE}"
    worker = load("any", imports=LOG, handle=handle)
    run(worker, context=Detached(lambda level, line: lines.append(f"{level} {len(line)}")))
    assert lines == ["1 4096"]


def test_a_write_of_newlines_alone_is_bounded_and_counted(
    load: Load, run: RunJob, wasm_host: WasmHost
) -> None:
    lines: list[str] = []
    handle = (
        "(memory.fill (i32.const 4096) (i32.const 10) (i32.const 60000))"
        "(i32.store (i32.const 0) (i32.const 4096)) (i32.store (i32.const 4) (i32.const 60000))"
        "(drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))"
        # Then a line in two parts, of which nothing is taken any more.
        "(i32.store8 (i32.const 4096) (i32.const 120)) (i32.store (i32.const 4) (i32.const 2))"
        f"(drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))) {DONE}"
    )
    worker = load("any", imports=WRITE, handle=handle)
    run(worker, context=Detached(lambda _, line: lines.append(line)))
    assert lines == [""] * 100
    assert wasm_host.lines_dropped() == 60_001 - 100


IMPORTS = (
    '(import "job1" "now" (func $now (result i64)))'
    '(import "job1" "random" (func $random (param i32 i32)))'
    '(import "job1" "log" (func $log (param i32 i32 i32)))'
    '(import "wasi_snapshot_preview1" "clock_time_get"'
    " (func $clock (param i32 i64 i32) (result i32)))"
    '(import "wasi_snapshot_preview1" "random_get" (func $fill (param i32 i32) (result i32)))'
)
ASSURED = """
    (if (i64.lt_s (call $now) (i64.const 1700000000000)) (then unreachable))
    (if (call $clock (i32.const 0) (i64.const 0) (i32.const 2048)) (then unreachable))
    (if (i64.gt_u
          (i64.sub (call $now) (i64.div_u (i64.load (i32.const 2048)) (i64.const 1000000)))
          (i64.const 60000)) (then unreachable))
    (call $random (i32.const 2048) (i32.const 16))
    (if (call $fill (i32.const 2064) (i32.const 16)) (then unreachable))
    (if (i64.eq (i64.load (i32.const 2048)) (i64.load (i32.const 2056))) (then unreachable))
    (if (i64.eq (i64.load (i32.const 2048)) (i64.load (i32.const 2064))) (then unreachable))
    (if (i64.eqz (i64.load (i32.const 2072))) (then unreachable))
    (call $log (i32.const 2) (i32.const 96) (i32.const 5))
"""


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
@pytest.mark.parametrize("form", ["any", "command"])
def test_log_clock_and_randomness_are_there_in_every_form(
    form: str, encoding: str, load: Load, run: RunJob
) -> None:
    answer = r'(data (i32.const 512) "{\"completed\":{}}")'
    parts = {
        "any": {"handle": ASSURED + DONE, "rest": '(data (i32.const 96) "first")'},
        "command": {
            "body": ASSURED + "(call $write (i32.const 1) (i32.const 512) (i32.const 16))",
            "rest": answer,
        },
    }[form]
    lines: list[tuple[int, str]] = []
    worker = load(form, imports=IMPORTS, encoding=encoding, **parts)
    outcome = run(worker, context=Detached(lambda level, line: lines.append((level, line))))
    assert not isinstance(outcome, Failed), outcome
    assert lines == [(2, "first")]
