"""WASI preview 1, as far as a language's runtime needs it to start, and not one thing more.

Every function of `wasi_snapshot_preview1` is linked, so that any toolchain's module loads; ABI.md
§5 is the table of what each answers. There are no files, no sockets and no environment, so most
say `badf`. Numbers and layouts are those of preview 1's `witx`.
"""

import threading
import time

from gossamer_node.wasm.asking.linking import MemoryOf, Table, fill_random, table
from gossamer_node.wasm.fastcall import Memory
from gossamer_node.wasm.run import Exit, Run

MODULE = "wasi_snapshot_preview1"

SUCCESS, BADF, INVAL, NOTSUP, SPIPE = 0, 8, 28, 58, 70

VECTORS_MAX = 1_024
"""Buffers of one read or write (Linux' IOV_MAX)."""

WRITE_BYTES_MAX = 64 * 2**10
"""Of one write; who has more asks again, as write(2) has it."""

SUBSCRIPTIONS_MAX = 16

_STDIN, _STDOUT, _STDERR = range(3)
_SUBSCRIPTION_BYTES, _EVENT_BYTES = 48, 32
_REALTIME, _MONOTONIC = range(2)
_ABSOLUTE = 1
_FDSTAT_BYTES = 24
_ALL_RIGHTS = 2**64 - 1


def _put(memory: Memory, pointer: int, value: int, size: int = 4) -> None:
    memory.write(pointer, value.to_bytes(size, "little"))


def _arguments(run: Run) -> list[bytes]:
    return [run.around.spec.name.encode() + b"\0"] if run.around.is_command else []


def _args_sizes_get(run: Run, memory: MemoryOf, count_at: int, size_at: int) -> int:
    arguments = _arguments(run)
    _put(memory(), count_at, len(arguments))
    _put(memory(), size_at, sum(map(len, arguments)))
    return SUCCESS


def _args_get(run: Run, memory: MemoryOf, pointers_at: int, text_at: int) -> int:
    for argument in _arguments(run):
        _put(memory(), pointers_at, text_at)
        memory().write(text_at, argument)
        pointers_at, text_at = pointers_at + 4, text_at + len(argument)
    return SUCCESS


def _environ_sizes_get(_run: Run, memory: MemoryOf, count_at: int, size_at: int) -> int:
    _put(memory(), count_at, 0)
    _put(memory(), size_at, 0)
    return SUCCESS


def _nothing(_run: Run, _memory: MemoryOf, *_arguments: int) -> int:
    return SUCCESS


def _badf(_run: Run, _memory: MemoryOf, *_arguments: int) -> int:
    return BADF


def _notsup(_run: Run, _memory: MemoryOf, *_arguments: int) -> int:
    return NOTSUP


def _clock_ns(clock: int) -> int | None:
    if clock == _REALTIME:
        return time.time_ns()
    return time.monotonic_ns() if clock == _MONOTONIC else None


def _clock_time_get(_run: Run, memory: MemoryOf, clock: int, _precision: int, at: int) -> int:
    now_ns = _clock_ns(clock)
    if now_ns is None:
        return INVAL
    _put(memory(), at, now_ns, 8)
    return SUCCESS


def _clock_res_get(_run: Run, memory: MemoryOf, clock: int, at: int) -> int:
    if _clock_ns(clock) is None:
        return INVAL
    _put(memory(), at, 1_000_000 if clock == _REALTIME else 1_000, 8)
    return SUCCESS


def _random_get(run: Run, memory: MemoryOf, at: int, length: int) -> int:
    fill_random(run, memory(), at, length)
    return SUCCESS


def _vectors(memory: Memory, at: int, count: int) -> list[tuple[int, int]]:
    raw = memory.read(at, 8 * count)
    words = [int.from_bytes(raw[i : i + 4], "little") for i in range(0, len(raw), 4)]
    return list(zip(words[::2], words[1::2], strict=True))


def _fd_write(
    run: Run, memory: MemoryOf, fd: int, vectors_at: int, count: int, written_at: int
) -> int:
    if fd not in (_STDOUT, _STDERR):
        return BADF
    if count > VECTORS_MAX:
        return INVAL
    here = memory()
    written = 0
    for at, length in _vectors(here, vectors_at, count):
        here.check(at, length)
        # One call may name all of memory a thousand times: it is told that less was written.
        part = min(length, WRITE_BYTES_MAX - written)
        if part:
            run.write(fd, here.read(at, part))
        written += part
    _put(here, written_at, written)
    return SUCCESS


def _fd_read(run: Run, memory: MemoryOf, fd: int, vectors_at: int, count: int, read_at: int) -> int:
    if fd != _STDIN:
        return BADF
    if count > VECTORS_MAX:
        return INVAL
    here = memory()
    begin = run.stdin_read
    for at, length in _vectors(here, vectors_at, count):
        part = run.stdin[run.stdin_read : run.stdin_read + length]
        here.write(at, part)
        run.stdin_read += len(part)
    _put(here, read_at, run.stdin_read - begin)
    return SUCCESS


def _fd_fdstat_get(_run: Run, memory: MemoryOf, fd: int, at: int) -> int:
    if fd > _STDERR:
        return BADF
    # No file type, and the right to seek: wasi-libc takes it for no terminal and buffers output.
    rights = _ALL_RIGHTS.to_bytes(8, "little")
    memory().write(at, b"\0" * (_FDSTAT_BYTES - 16) + rights + rights)
    return SUCCESS


def _on_standard_streams(answer: int) -> object:
    def function(_run: Run, _memory: MemoryOf, fd: int, *_arguments: int) -> int:
        return answer if fd <= _STDERR else BADF

    return function


def _poll_oneoff(
    run: Run, memory: MemoryOf, subscriptions_at: int, events_at: int, count: int, written_at: int
) -> int:
    if not 1 <= count <= SUBSCRIPTIONS_MAX:
        return INVAL
    here = memory()
    raw = here.read(subscriptions_at, count * _SUBSCRIPTION_BYTES)
    due: list[tuple[float, bytes]] = []
    for i in range(0, len(raw), _SUBSCRIPTION_BYTES):
        one = raw[i : i + _SUBSCRIPTION_BYTES]
        user_data, kind = one[:8], one[8]
        if kind == 0:
            error, delay_ns = _clock_delay_ns(one)
        else:
            error, delay_ns = BADF, 0
        event = user_data + error.to_bytes(2, "little") + bytes([kind])
        due.append((delay_ns / 1e9, event.ljust(_EVENT_BYTES, b"\0")))
    first_s = min(delay_s for delay_s, _ in due)
    if first_s > 0:
        run.wait(threading.Event(), min(first_s, run.remaining_s()))
    events = [event for delay_s, event in due if delay_s <= first_s]
    here = memory()
    here.write(events_at, b"".join(events))
    _put(here, written_at, len(events))
    return SUCCESS


def _clock_delay_ns(subscription: bytes) -> tuple[int, int]:
    clock = int.from_bytes(subscription[16:20], "little")
    timeout_ns = int.from_bytes(subscription[24:32], "little")
    now_ns = _clock_ns(clock)
    if now_ns is None:
        return INVAL, 0
    absolute = int.from_bytes(subscription[40:42], "little") & _ABSOLUTE
    return SUCCESS, max(0, timeout_ns - now_ns) if absolute else timeout_ns


def _proc_exit(_run: Run, _memory: MemoryOf, code: int) -> None:
    raise Exit(code)


def _proc_raise(_run: Run, _memory: MemoryOf, signal: int) -> int:
    raise Exit(128 + signal)


FUNCTIONS: Table = table(
    MODULE,
    ("args_get", "i32 i32", "i32", _args_get),
    ("args_sizes_get", "i32 i32", "i32", _args_sizes_get),
    ("environ_get", "i32 i32", "i32", _nothing),
    ("environ_sizes_get", "i32 i32", "i32", _environ_sizes_get),
    ("clock_res_get", "i32 i32", "i32", _clock_res_get),
    ("clock_time_get", "i32 i64 i32", "i32", _clock_time_get),
    ("random_get", "i32 i32", "i32", _random_get),
    ("sched_yield", "", "i32", _nothing),
    ("poll_oneoff", "i32 i32 i32 i32", "i32", _poll_oneoff),
    ("proc_exit", "i32", None, _proc_exit),
    ("proc_raise", "i32", "i32", _proc_raise),
    ("fd_read", "i32 i32 i32 i32", "i32", _fd_read),
    ("fd_write", "i32 i32 i32 i32", "i32", _fd_write),
    ("fd_fdstat_get", "i32 i32", "i32", _fd_fdstat_get),
    ("fd_fdstat_set_flags", "i32 i32", "i32", _on_standard_streams(SUCCESS)),
    ("fd_close", "i32", "i32", _on_standard_streams(SUCCESS)),
    ("fd_seek", "i32 i64 i32 i32", "i32", _on_standard_streams(SPIPE)),
    ("fd_tell", "i32 i32", "i32", _on_standard_streams(SPIPE)),
    ("fd_advise", "i32 i64 i64 i32", "i32", _badf),
    ("fd_allocate", "i32 i64 i64", "i32", _badf),
    ("fd_datasync", "i32", "i32", _badf),
    ("fd_fdstat_set_rights", "i32 i64 i64", "i32", _badf),
    ("fd_filestat_get", "i32 i32", "i32", _badf),
    ("fd_filestat_set_size", "i32 i64", "i32", _badf),
    ("fd_filestat_set_times", "i32 i64 i64 i32", "i32", _badf),
    ("fd_pread", "i32 i32 i32 i64 i32", "i32", _badf),
    ("fd_prestat_get", "i32 i32", "i32", _badf),
    ("fd_prestat_dir_name", "i32 i32 i32", "i32", _badf),
    ("fd_pwrite", "i32 i32 i32 i64 i32", "i32", _badf),
    ("fd_readdir", "i32 i32 i32 i64 i32", "i32", _badf),
    ("fd_renumber", "i32 i32", "i32", _badf),
    ("fd_sync", "i32", "i32", _badf),
    ("path_create_directory", "i32 i32 i32", "i32", _badf),
    ("path_filestat_get", "i32 i32 i32 i32 i32", "i32", _badf),
    ("path_filestat_set_times", "i32 i32 i32 i32 i64 i64 i32", "i32", _badf),
    ("path_link", "i32 i32 i32 i32 i32 i32 i32", "i32", _badf),
    ("path_open", "i32 i32 i32 i32 i32 i64 i64 i32 i32", "i32", _badf),
    ("path_readlink", "i32 i32 i32 i32 i32 i32", "i32", _badf),
    ("path_remove_directory", "i32 i32 i32", "i32", _badf),
    ("path_rename", "i32 i32 i32 i32 i32 i32", "i32", _badf),
    ("path_symlink", "i32 i32 i32 i32 i32", "i32", _badf),
    ("path_unlink_file", "i32 i32 i32", "i32", _badf),
    ("sock_accept", "i32 i32 i32", "i32", _notsup),
    ("sock_recv", "i32 i32 i32 i32 i32 i32", "i32", _notsup),
    ("sock_send", "i32 i32 i32 i32 i32", "i32", _notsup),
    ("sock_shutdown", "i32 i32", "i32", _notsup),
)
