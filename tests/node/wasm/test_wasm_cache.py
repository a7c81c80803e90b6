"""Compiled modules on disk: found again, rebuilt when damaged, never taken from others."""

import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from wasmtime import Engine, Module, wat2wasm

from gossamer_node.wasm.engine import STACK_BYTES_MIN, Engines, HostEngine
from gossamer_node.wasm.loading import cache, compiling
from gossamer_node.wasm.loading.cache import ENTRIES_MAX, compile_module

WASM = bytes(wat2wasm('(module (func (export "f")))'))


@pytest.fixture(scope="module")
def engines() -> Engines:
    return Engines()


@pytest.fixture
def engine(engines: Engines) -> HostEngine:
    return engines.get(STACK_BYTES_MIN)


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with each compilation; the compiler is the real one."""
    counted: list[int] = []

    class Counting(Module):
        def __init__(self, engine: Engine, wasm: str | bytes) -> None:
            counted.append(1)
            super().__init__(engine, wasm)

    monkeypatch.setattr(compiling, "Module", Counting)
    return counted


@pytest.fixture
def entry(engine: HostEngine, tmp_path: Path) -> Path:
    compile_module(engine, WASM, tmp_path / "cache")
    (path,) = (tmp_path / "cache").iterdir()
    return path


def test_a_module_is_compiled_once(engine: HostEngine, entry: Path, compiled: list[int]) -> None:
    assert [one.name for one in compile_module(engine, WASM, entry.parent).exports] == ["f"]
    assert compiled == []
    assert entry.stat().st_mode & 0o777 == 0o600
    assert entry.parent.stat().st_mode & 0o777 == 0o700


def test_another_module_or_configuration_is_another_entry(
    engines: Engines, engine: HostEngine, entry: Path, compiled: list[int]
) -> None:
    compile_module(engine, bytes(wat2wasm("(module)")), entry.parent)
    compile_module(engines.get(2 * STACK_BYTES_MIN), WASM, entry.parent)
    assert len(compiled) == 2
    assert len(list(entry.parent.iterdir())) == 3


def truncate(entry: Path) -> None:
    os.truncate(entry, entry.stat().st_size // 2)


def flip_a_bit(entry: Path) -> None:
    data = bytearray(entry.read_bytes())
    data[-1] ^= 1
    entry.write_bytes(data)


def empty(entry: Path) -> None:
    entry.write_bytes(b"")


def open_to_others(entry: Path) -> None:
    entry.chmod(0o666)


def link(entry: Path) -> None:
    target = entry.with_suffix(".elsewhere")
    entry.rename(target)
    entry.symlink_to(target)


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, empty, open_to_others, link])
def test_a_bad_entry_is_rebuilt(
    damage: Callable[[Path], None],
    engine: HostEngine,
    entry: Path,
    compiled: list[int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    damage(entry)
    with caplog.at_level(logging.WARNING):
        compile_module(engine, WASM, entry.parent)
    assert len(compiled) == 1
    assert "cached module" in caplog.text
    compile_module(engine, WASM, entry.parent)
    assert len(compiled) == 1
    assert not entry.is_symlink()
    assert entry.stat().st_mode & 0o777 == 0o600


def test_what_wasmtime_refuses_is_rebuilt(
    engine: HostEngine, entry: Path, compiled: list[int]
) -> None:
    # Whole and ours, with the right digest, but not what wasmtime wrote.
    payload = b"not compiled code"
    entry.write_bytes(cache._MAGIC + hashlib.sha256(payload).digest() + payload)
    compile_module(engine, WASM, entry.parent)
    assert len(compiled) == 1


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
def test_a_folder_that_others_may_write_is_neither_read_nor_written(
    mode: int, engine: HostEngine, entry: Path, compiled: list[int]
) -> None:
    entry.parent.chmod(mode)
    before = entry.stat()
    compile_module(engine, WASM, entry.parent)
    assert len(compiled) == 1
    assert entry.stat() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_not_loaded(
    engine: HostEngine, entry: Path, compiled: list[int]
) -> None:
    os.chown(entry, 12345, -1)
    compile_module(engine, WASM, entry.parent)
    assert len(compiled) == 1


def test_a_cache_that_cannot_be_written_costs_only_time(
    engine: HostEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    assert compile_module(engine, WASM, tmp_path / "file" / "cache").exports
    assert "not cached" in caplog.text


def test_the_longest_unused_go_first(engine: HostEngine, entry: Path) -> None:
    for number in range(ENTRIES_MAX):
        other = entry.with_name(f"{number:064x}.cwasm")
        other.write_bytes(b"")
        os.utime(other, (number + 1, number + 1))
    compile_module(engine, bytes(wat2wasm("(module)")), entry.parent)
    left = {path.name for path in entry.parent.iterdir()}
    assert len(left) == ENTRIES_MAX
    assert entry.name in left
    assert f"{0:064x}.cwasm" not in left
