"""Attacks by table: what a hostile worker does, and the sentence that a person reads of it.

Each is a part or two of `MODULE`, a job1 module that otherwise completes with nothing. `said` is
the message of its `Failed`; None: it gets nothing by it, and completes. `test_hostile_jobs` runs
each one in both profiles, `siege` all of them at once.
"""

from dataclasses import dataclass

from wasmtime import wat2wasm

MODULE = """(module
  %(imports)s
  (memory (export "memory") %(pages)d)
  (data (i32.const 128) "{\\"completed\\":{}}")
  (func (export "job_abi") (result i32) (i32.const 65536))
  (func (export "alloc") (param $len i32) (result i32) %(alloc)s)
  (func (export "handle") (param $ptr i32) (param $len i32) (result i64)
    (local $i i32)
    %(handle)s)
  %(rest)s)
"""

COMPLETED = "(i64.or (i64.shl (i64.const 128) (i64.const 32)) (i64.const 16))"

LOOP_MS = 100
LATE = f"The worker ran longer than its limit of {LOOP_MS} ms and was stopped."
ABORTED = "The worker stopped itself (an abort, a panic or a failed assertion)"
OUTSIDE = "The worker read or wrote outside its memory."
TABLE = "The worker read or wrote outside a table."
STACK = "The worker used up its stack of 512 KiB."
RANGE = "The worker gave the host a range that is not its own: "
MALFORMED = "The worker's outcome is malformed: "

LOG = '(import "job1" "log" (func $log (param i32 i32 i32)))'
NOW = '(import "job1" "now" (func $now (result i64)))'
RANDOM = '(import "job1" "random" (func $random (param i32 i32)))'
CALL = '(import "job1" "call" (func $call (param i32 i32 i32 i32) (result i32)))'
TAKE = '(import "job1" "take" (func $take (param i32 i32) (result i32)))'
WRITE = (
    '(import "wasi_snapshot_preview1" "fd_write"'
    " (func $write (param i32 i32 i32 i32) (result i32)))"
)
POLL = (
    '(import "wasi_snapshot_preview1" "poll_oneoff"'
    " (func $poll (param i32 i32 i32 i32) (result i32)))"
)
EXIT = '(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))'

SMALL_VALUES = """
  (local.set $i (i32.const 65544))
  (loop $more
    (i64.store (local.get $i) (i64.const 0x2c302c302c302c30))
    (local.set $i (i32.add (local.get $i) (i32.const 8)))
    (br_if $more (i32.lt_u (local.get $i) (i32.const 1114000))))"""
"""Writes `0,0,0,…`, 524,000 of them, after what lies at 65536."""


@dataclass(frozen=True, slots=True)
class Attack:
    """One hostile module, and what is said of it."""

    said: str | None
    handle: str = COMPLETED
    alloc: str = "(i32.const 1024)"
    imports: str = ""
    rest: str = ""
    pages: int = 1
    memory_bytes: int = 16 * 2**20

    @property
    def ends(self) -> bool:
        """Whether it does so by itself."""
        return self.said != LATE

    @property
    def time_ms(self) -> int:
        return 20_000 if self.ends else LOOP_MS

    def module(self) -> bytes:
        parts = {
            "imports": self.imports,
            "pages": self.pages,
            "alloc": self.alloc,
            "handle": self.handle,
            "rest": self.rest,
        }
        return bytes(wat2wasm(MODULE % parts))


LOOPS = {
    "loops in handle": Attack(LATE, "(loop (br 0)) unreachable"),
    "loops in alloc": Attack(LATE, alloc="(loop (br 0)) unreachable"),
    "loops by calls that end": Attack(
        LATE, "(call $f)", rest="(func $f (result i64) (return_call $f))"
    ),
    "asks for the time without end": Attack(
        LATE, "(loop (drop (call $now)) (br 0)) unreachable", imports=NOW
    ),
    "waits in the host without end": Attack(
        LATE,
        "(i32.store (i32.const 1016) (i32.const 1))"
        "(i64.store (i32.const 1024) (i64.const 0x7fffffffffffffff))"
        "(loop (drop (call $poll (i32.const 1000) (i32.const 2000) (i32.const 1)"
        " (i32.const 3000))) (br 0)) unreachable",
        imports=POLL,
    ),
    "polls for times past without end": Attack(
        LATE,
        "(loop (drop (call $poll (i32.const 1000) (i32.const 2000) (i32.const 1)"
        " (i32.const 3000))) (br 0)) unreachable",
        imports=POLL,
    ),
    "fills its memory without end": Attack(
        LATE,
        "(loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 16777216)) (br 0)) unreachable",
        pages=256,
    ),
    "copies its memory without end": Attack(
        LATE,
        "(loop (memory.copy (i32.const 0) (i32.const 1) (i32.const 16777215)) (br 0)) unreachable",
        pages=256,
    ),
    "copies a table without end": Attack(
        LATE,
        "(loop (table.copy (i32.const 0) (i32.const 1) (i32.const 99999)) (br 0)) unreachable",
        rest="(table 100000 funcref)",
    ),
    "grows its memory without end": Attack(
        LATE, "(loop (drop (memory.grow (i32.const 1))) (br 0)) unreachable"
    ),
    "takes random bytes for all its memory without end": Attack(
        LATE,
        "(loop (call $random (i32.const 0) (i32.const 16777216)) (br 0)) unreachable",
        imports=RANDOM,
        pages=256,
    ),
    "logs all its memory without end": Attack(
        LATE,
        "(loop (call $log (i32.const 1) (i32.const 0) (i32.const 16777216)) (br 0)) unreachable",
        imports=LOG,
        pages=256,
    ),
    "writes all its memory a thousand times without end": Attack(
        LATE,
        """(loop $more
          (i64.store (local.get $i) (i64.const 0x100000000000000))
          (local.set $i (i32.add (local.get $i) (i32.const 8)))
          (br_if $more (i32.lt_u (local.get $i) (i32.const 8192))))
        (loop (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1024) (i32.const 9000)))
          (br 0)) unreachable""",
        imports=WRITE,
        pages=256,
    ),
    "asks operations for what is large to read, without end": Attack(
        LATE,
        SMALL_VALUES + "(loop (drop (call $call (i32.const 512) (i32.const 10) (i32.const 65536)"
        " (i32.const 1048464))) (br 0)) unreachable",
        imports=CALL,
        rest='(data (i32.const 512) "config.get") (data (i32.const 65536) "{\\"ab\\":[0")',
        pages=18,
    ),
}

MEMORY = {
    "grows its memory until it can't": Attack(
        ABORTED + "; its memory had reached its limit of 2 MiB.",
        "(loop $more (br_if $more (i32.ge_s (memory.grow (i32.const 1)) (i32.const 0))))"
        " unreachable",
        memory_bytes=2 * 2**20,
    ),
    "asks for all memory at once": Attack(
        None,
        "(if (i32.ne (memory.grow (i32.const 65535)) (i32.const -1)) (then unreachable))"
        + COMPLETED,
    ),
    "writes to all the memory that it may have": Attack(
        None,
        "(drop (memory.grow (i32.const 255)))"
        "(memory.fill (i32.const 4096) (i32.const 7) (i32.const 16773120))" + COMPLETED,
    ),
    "grows a table beyond its limit": Attack(
        None,
        "(if (i32.ne (table.grow (ref.null func) (i32.const 100000)) (i32.const -1))"
        " (then unreachable))" + COMPLETED,
        rest="(table 10 funcref)",
    ),
    "grows eight tables as far as they go": Attack(
        None,
        "".join(
            f"(loop $more (br_if $more (i32.ge_s (table.grow {i} (ref.null func)"
            " (i32.const 9999)) (i32.const 0))))"
            for i in range(8)
        )
        + COMPLETED,
        rest="(table 1 funcref)" * 8,
    ),
    "has globals by the thousand": Attack(None, rest="(global (mut i64) (i64.const 1))" * 9_000),
}

STACKS = {
    "exhausts its stack": Attack(
        STACK,
        "(call $deep (i64.const 1))",
        rest="(func $deep (param i64) (result i64)"
        " (i64.add (call $deep (local.get 0)) (i64.const 1)))",
    ),
    "exhausts its stack through a table": Attack(
        STACK,
        "(call $deep)",
        rest="(type $t (func (result i64))) (table funcref (elem $deep))"
        "(func $deep (result i64)"
        " (i64.add (call_indirect (type $t) (i32.const 0)) (i64.const 1)))",
    ),
    "calls the host at the end of its stack": Attack(
        STACK,
        "(call $deep)",
        imports=NOW,
        rest="(func $deep (result i64) (i64.add (call $now) (call $deep)))",
    ),
}

TRAPS = {
    "traps": Attack(ABORTED + ".", "unreachable"),
    "divides by zero": Attack(
        "The worker divided an integer by zero.", "(i64.div_u (i64.const 1) (i64.const 0))"
    ),
    "overflows a division": Attack(
        "The worker had an integer overflow.",
        "(i64.div_s (i64.const 0x8000000000000000) (i64.const -1))",
    ),
    "makes an integer of what is no number": Attack(
        "The worker made an integer of a number that is none.", "(i64.trunc_f64_s (f64.const nan))"
    ),
    "makes an integer of infinity": Attack(
        "The worker had an integer overflow.", "(i64.trunc_f64_s (f64.const inf))"
    ),
    "reads outside its memory": Attack(OUTSIDE, "(i64.load (i32.const 0x7fffffff))"),
    "reads across its memory's end": Attack(OUTSIDE, "(i64.load (i32.const 65529))"),
    "reads at the largest offset there is": Attack(
        OUTSIDE, "(i64.load offset=0xffffffff (i32.const -1))"
    ),
    "writes outside its memory": Attack(
        OUTSIDE, "(i64.store (i32.const -8) (i64.const 1))" + COMPLETED
    ),
    "fills outside its memory": Attack(
        OUTSIDE, "(memory.fill (i32.const 65535) (i32.const 1) (i32.const -1))" + COMPLETED
    ),
    "copies from outside its memory": Attack(
        OUTSIDE, "(memory.copy (i32.const 0) (i32.const 65535) (i32.const 2))" + COMPLETED
    ),
    "copies data that it has dropped": Attack(
        OUTSIDE,
        "(data.drop $d) (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1))" + COMPLETED,
        rest='(data $d "x")',
    ),
    "reads outside a table": Attack(
        TABLE, "(drop (table.get (i32.const 1))) " + COMPLETED, rest="(table 1 funcref)"
    ),
    "calls outside a table": Attack(
        TABLE,
        "(call_indirect (param) (result i64) (i32.const -1))",
        rest="(table 1 funcref)",
    ),
    "calls a function that is not there": Attack(
        "The worker called a function that is not there.",
        "(call_indirect (result i64) (i32.const 0))",
        rest="(table 1 funcref)",
    ),
    "calls a function by a wrong type": Attack(
        "The worker called a function by a wrong type.",
        "(call_indirect (param i64) (result i64) (i64.const 1) (i32.const 0))",
        rest="(table funcref (elem $f)) (func $f)",
    ),
}

LIES = {
    "has no room": Attack(
        "The worker had no room for an input of 227 bytes.", alloc="(i32.const 0)"
    ),
    "lies about where its room is": Attack(
        RANGE + "pointer 65530 with length 227 is not within memory (65536 bytes).",
        alloc="(i32.const 65530)",
    ),
    "gives room at a negative pointer": Attack(
        RANGE + "pointer 4294967288 with length 227 is not within memory (65536 bytes).",
        alloc="(i32.const -8)",
    ),
    "lies about where its outcome is": Attack(
        RANGE + "pointer 4294967295 with length 16 is not within memory (65536 bytes).",
        "(i64.const 0xffffffff00000010)",
    ),
    "lies about its outcome's length": Attack(
        RANGE + "pointer 16 with length 65536 is not within memory (65536 bytes).",
        "(i64.const 0x0000001000010000)",
    ),
    "answers too much": Attack(
        "The worker answered an outcome of 4294967295 bytes, more than its limit of 1 MiB.",
        "(i64.const 0x00000010ffffffff)",
    ),
    "logs from outside its memory": Attack(
        RANGE + "pointer 65535 with length 2 is not within memory (65536 bytes).",
        "(call $log (i32.const 1) (i32.const 65535) (i32.const 2))" + COMPLETED,
        imports=LOG,
    ),
    "logs from outside its memory when nobody listens any more": Attack(
        RANGE + "pointer 0 with length 4294967295 is not within memory (65536 bytes).",
        "(loop $more (call $log (i32.const 1) (i32.const 0) (i32.const 1))"
        "(local.set $i (i32.add (local.get $i) (i32.const 1)))"
        "(br_if $more (i32.lt_u (local.get $i) (i32.const 200))))"
        "(call $log (i32.const 1) (i32.const 0) (i32.const -1))" + COMPLETED,
        imports=LOG,
    ),
    "wants random bytes past its memory": Attack(
        RANGE + "pointer 0 with length 4294967295 is not within memory (65536 bytes).",
        "(call $random (i32.const 0) (i32.const -1))" + COMPLETED,
        imports=RANDOM,
    ),
    "exits": Attack(
        "The worker called proc_exit with code 3, which a job1 module must not.",
        "(call $exit (i32.const 3)) unreachable",
        imports=EXIT,
    ),
}


def _answers(said: str, answer: bytes) -> Attack:
    """One that answers so."""
    escaped = "".join(f"\\{byte:02x}" for byte in answer)
    return Attack(
        MALFORMED + said,
        f"(i64.const {(4096 << 32) | len(answer)})",
        rest=f'(data (i32.const 4096) "{escaped}")',
    )


OUTPUTS = {
    "answers nothing": Attack(MALFORMED + "it is empty.", "(i64.const 0)"),
    "answers zeros": Attack(
        MALFORMED + "it is neither JSON nor msgpack with a map at the top.",
        "(i64.const 0x0000400000000004)",
    ),
    "answers what is not UTF-8": _answers(
        "it is not valid JSON ('utf-8' codec can't decode byte 0xff in position 1: "
        "invalid start byte).",
        b"{\xff}",
    ),
    "answers numbers that are none": _answers(
        "it is not valid JSON (NaN is no JSON number).",
        b'{"completed":{"variables":{"a":NaN}}}',
    ),
    "answers half a character": _answers(
        "it is not valid JSON ('utf-8' codec can't encode character '\\ud800' in "
        "position 11: surrogates not allowed).",
        b'{"failed":"\\ud800"}',
    ),
    "answers names that are bytes": _answers(
        "completed.variables holds a name that is no text.",
        b"\x81\xa9completed\x81\xa9variables\x81\xc4\x01a\x01",
    ),
    "answers a msgpack list of four billion": _answers(
        "it is not valid msgpack (4294967295 exceeds max_array_len(16)).",
        b"\x81\xa9completed\xdd\xff\xff\xff\xff",
    ),
    "answers brackets": Attack(
        MALFORMED + "it is nested more than 64 levels deep.",
        "(memory.fill (i32.const 4102) (i32.const 0x5b) (i32.const 40000))"
        f"(i64.const {4096 << 32 | 40000})",
        rest='(data (i32.const 4096) "{\\"ab\\":")',
    ),
    "answers a million values": Attack(
        MALFORMED + "it holds more than 50,000 values.",
        SMALL_VALUES + f"(i64.const {65536 << 32 | 1048464})",
        rest='(data (i32.const 65536) "{\\"ab\\":[0")',
        pages=18,
    ),
    "answers a million msgpack lists": Attack(
        MALFORMED + "it holds more than 50,000 values.",
        "(memory.fill (i32.const 65544) (i32.const 0x90) (i32.const 1000000))"
        f"(i64.const {65536 << 32 | 1000008})",
        rest='(data (i32.const 65536) "\\81\\a1a\\dd\\00\\0f\\42\\40")',
        pages=18,
    ),
}

HARMLESS = {
    "takes a reply that there isn't, to everywhere": Attack(
        None,
        "(if (call $take (i32.const 0) (i32.const -1)) (then unreachable))" + COMPLETED,
        imports=TAKE,
    ),
    "calls the host through a table": Attack(
        None,
        "(if (i32.ne (i32.const -1) (call_indirect (param i32 i32 i32 i32) (result i32)"
        " (i32.const 0) (i32.const 9) (i32.const 0) (i32.const 0) (i32.const 0)))"
        " (then unreachable))" + COMPLETED,
        imports=CALL,
        rest="(table funcref (elem $call))",
    ),
    "floods the log": Attack(
        None,
        "(loop $more (call $log (i32.const 3) (i32.const 0) (i32.const 8000))"
        "(local.set $i (i32.add (local.get $i) (i32.const 1)))"
        "(br_if $more (i32.lt_u (local.get $i) (i32.const 5000))))" + COMPLETED,
        imports=LOG,
    ),
    "exports a thousand names": Attack(
        None, rest="(func $f)" + "".join(f'(export "f{i}" (func $f))' for i in range(1_000))
    ),
}

ATTACKS = LOOPS | MEMORY | STACKS | TRAPS | LIES | OUTPUTS | HARMLESS
