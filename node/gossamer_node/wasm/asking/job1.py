"""The imports of module `job1` (ABI.md §1)."""

import time

from gossamer_node.wasm.asking.linking import MemoryOf, Table, fill_random, table
from gossamer_node.wasm.asking.operations import Code, OperationError, perform
from gossamer_node.wasm.run import Run

MODULE = "job1"
MAJOR = 1

OPERATION_NAME_BYTES_MAX = 256
REQUEST_BYTES_MAX = 3 * 2**20
"""A body of 1 MiB in base64 within a JSON string, and what goes with it."""

ERROR_BYTES_MAX = 1_024
"""ABI.md §1: a buffer of that size takes any error's sentence in one go."""


def _log(run: Run, memory: MemoryOf, level: int, pointer: int, length: int) -> None:
    here = memory()
    here.check(pointer, length)
    # A guest may give all of its memory as one line: only what is looked at is copied.
    run.log(level, here.read(pointer, min(length, run.line_bytes_max)))


def _now(_run: Run, _memory: MemoryOf) -> int:
    return time.time_ns() // 1_000_000


def _random(run: Run, memory: MemoryOf, pointer: int, length: int) -> None:
    fill_random(run, memory(), pointer, length)


def _call(
    run: Run, memory: MemoryOf, op_at: int, op_length: int, in_at: int, in_length: int
) -> int:
    here = memory()
    here.check(op_at, op_length)
    here.check(in_at, in_length)
    run.reply_taken = 0
    try:
        if op_length > OPERATION_NAME_BYTES_MAX:
            raise OperationError(Code.UNKNOWN, "There is no operation of such a long name.")
        if in_length > REQUEST_BYTES_MAX:
            raise OperationError(
                Code.TOO_LARGE, f"A request has at most {REQUEST_BYTES_MAX} bytes."
            )
        name = here.read(op_at, op_length).decode("utf-8", "replace")
        run.reply = perform(name, here.read(in_at, in_length), run)
        return len(run.reply)
    except OperationError as refusal:
        sentence = str(refusal).encode("utf-8", "replace")[:ERROR_BYTES_MAX]
        # Cut between characters.
        run.reply = sentence.decode("utf-8", "ignore").encode()
        return refusal.code


def _take(run: Run, memory: MemoryOf, pointer: int, at_most: int) -> int:
    part = run.reply[run.reply_taken : run.reply_taken + at_most]
    memory().write(pointer, part)
    run.reply_taken += len(part)
    return len(part)


FUNCTIONS: Table = table(
    MODULE,
    ("log", "i32 i32 i32", None, _log),
    ("now", "", "i64", _now),
    ("random", "i32 i32", None, _random),
    ("call", "i32 i32 i32 i32", "i32", _call),
    ("take", "i32 i32", "i32", _take),
)
