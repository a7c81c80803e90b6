"""Compiled modules on disk, so that a node starts in milliseconds.

An entry's name is the hash of the module and of everything that decides what the compiler makes of
it. Compiled code runs with the node's own rights, so a file is loaded only if nobody else could
have written it: folder and file are ours and closed to others' writing, checked on the open file
that is then read. Each entry starts with the hash of the rest; what does not match, or what
wasmtime does not take, is compiled again and replaced. Entries appear by renaming, whole or not at
all. A cache that cannot be used costs time, never a job.
"""

import hashlib
import logging
import os
import stat
import tempfile
from pathlib import Path

from wasmtime import Module, WasmtimeError

from gossamer_node.wasm.engine import HostEngine
from gossamer_node.wasm.loading.compiling import compile_bytes

ENTRIES_MAX = 2_048
"""Kept on disk, twice as many as services are at work on a node; the longest unused go first."""

_MAGIC = b"gossamer compiled module 1\n"
_DIGEST_BYTES = hashlib.sha256().digest_size
_ENTRY_BYTES_MAX = 512 * 2**20
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH

_log = logging.getLogger("gossamer.wasm")


def compile_module(engine: HostEngine, wasm: bytes, directory: Path) -> Module:
    """The compiled module, from the cache or by compiling (and then storing) it.

    Raises: WasmtimeError, when `wasm` is not a module that this engine takes; CompileBomb.
    """
    entry = directory / _name(engine, wasm)
    module = _load(engine, entry)
    if module is None:
        module = compile_bytes(engine, wasm)
        try:
            _store(entry, bytes(module.serialize()))
        except OSError as error:
            _log.warning("compiled module not cached in %s: %s", directory, error)
    return module


def _name(engine: HostEngine, wasm: bytes) -> str:
    key = hashlib.sha256(engine.configuration.encode() + b"\0")
    key.update(hashlib.sha256(wasm).digest())
    return f"{key.hexdigest()}.cwasm"


def _load(engine: HostEngine, entry: Path) -> Module | None:
    try:
        _check_directory(entry.parent)
        data = _read(entry)
    except FileNotFoundError:
        return None
    except OSError as error:
        _log.warning("cached module %s not used: %s", entry, error)
        return None
    header, payload = data[: len(_MAGIC) + _DIGEST_BYTES], data[len(_MAGIC) + _DIGEST_BYTES :]
    if header != _MAGIC + hashlib.sha256(payload).digest():
        _log.warning("cached module %s is damaged; compiling it again", entry)
        return None
    try:
        return Module.deserialize(engine.engine, payload)
    except WasmtimeError as error:
        _log.warning("wasmtime refused cached module %s (%s); compiling it again", entry, error)
        return None


def _read(entry: Path) -> bytes:
    descriptor = os.open(entry, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise PermissionError("it is not a regular file")
        _check_ours(status)
        if status.st_size > _ENTRY_BYTES_MAX:
            raise OSError(f"it has more than {_ENTRY_BYTES_MAX} bytes")
        os.utime(descriptor)
        return file.read()


def _check_ours(status: os.stat_result) -> None:
    if status.st_uid != os.geteuid():
        raise PermissionError(f"it belongs to user {status.st_uid}")
    if status.st_mode & _WRITABLE_BY_OTHERS:
        raise PermissionError("other users may write it")


def _check_directory(directory: Path) -> None:
    try:
        _check_ours(directory.stat())
    except PermissionError as error:
        raise PermissionError(f"the folder {directory} is not safe: {error}") from None


def _store(entry: Path, payload: bytes) -> None:
    entry.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_directory(entry.parent)
    # mkstemp makes it ours, mode 0600, under a name that nobody guessed.
    descriptor, temporary = tempfile.mkstemp(prefix=".new-", dir=entry.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(_MAGIC + hashlib.sha256(payload).digest())
            file.write(payload)
        Path(temporary).replace(entry)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _prune(entry.parent)


def _prune(directory: Path) -> None:
    entries = [(path.stat().st_mtime_ns, path) for path in directory.glob("*.cwasm")]
    for _, path in sorted(entries)[: max(0, len(entries) - ENTRIES_MAX)]:
        path.unlink(missing_ok=True)
