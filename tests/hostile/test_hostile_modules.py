"""Modules that attack whoever loads them: bombs for the compiler, and bytes that are no module.

Every one is refused in a sentence that names the file, or loads and is then contained as any other.
"""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.hostile.attacks import Attack
from tests.hostile.services import DONE, GOOD, run, service
from wasmtime import wat2wasm

from gossamer_node.errors import ServiceError
from gossamer_node.jobs import Completed, Failed
from gossamer_node.service.spec import Grant, Limits, Profile
from gossamer_node.wasm import WasmHost, Worker
from gossamer_node.wasm.loading import compiling
from gossamer_node.wasm.loading.anatomy import HEAVY, count_parts
from gossamer_node.wasm.loading.module import (
    EXPORTS_MAX,
    FUNCTIONS_MAX,
    GLOBALS_MAX,
    IMPORTS_MAX,
    MODULE_BYTES_MAX,
)

Load = Callable[..., Worker]

HEAD = b"\0asm\1\0\0\0"
ECHO = Path(__file__).parents[1] / "node" / "wasm" / "wat" / "echo.wat"


def leb(number: int) -> bytes:
    """Unsigned LEB128."""
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


def section(kind: int, count: int, entries: bytes) -> bytes:
    content = leb(count) + entries
    return bytes([kind]) + leb(len(content)) + content


def body(code: bytes, locals_: int = 0) -> bytes:
    groups = leb(1) + leb(locals_) + b"\x7f" if locals_ else leb(0)
    inside = groups + code + b"\x0b"
    return leb(len(inside)) + inside


VOID = section(1, 1, b"\x60\0\0")


def functions(count: int) -> bytes:
    return HEAD + VOID + section(3, count, b"\0" * count) + section(10, count, body(b"") * count)


def many_exports(count: int) -> bytes:
    names = b"".join(leb(len(str(i))) + str(i).encode() + b"\0\0" for i in range(count))
    one = section(3, 1, b"\0") + section(7, count, names) + section(10, 1, body(b""))
    return HEAD + VOID + one


def many_imports(count: int) -> bytes:
    return HEAD + VOID + section(2, count, b"\1a\1b\0\0" * count)


def many_globals(count: int) -> bytes:
    return HEAD + section(6, count, b"\x7f\1\x41\0\x0b" * count)


def branches(locals_: int, count: int) -> bytes:
    """What makes a compiler's work grow with the product of both."""
    code = b"".join(
        b"\x20" + leb(i % locals_) + b"\x04\x40\x20\0\x21" + leb(i * 7 % locals_) + b"\x0b"
        for i in range(count)
    )
    function = section(3, 1, b"\0") + section(10, 1, body(code, locals_))
    return HEAD + VOID + function


BOMBS = {
    "exports": (many_exports(EXPORTS_MAX + 1), "has 10,001 exports, and may have 10,000"),
    "imports": (many_imports(IMPORTS_MAX + 1), "has 1,001 imports, and may have 1,000"),
    "globals": (many_globals(GLOBALS_MAX + 1), "has 10,001 globals, and may have 10,000"),
    "functions": (functions(FUNCTIONS_MAX + 1), "has 150,001 functions, and may have 150,000"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_too_many_parts_are_refused_before_they_are_compiled(
    name: str, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    wasm, said = BOMBS[name]
    monkeypatch.delattr(compiling, "compile_bytes")
    with pytest.raises(ServiceError, match=said):
        load(wasm)


def test_a_module_of_50_mb_is_refused_unread(host: WasmHost, tmp_path: Path) -> None:
    path = tmp_path / "m.wasm"
    with path.open("wb") as file:
        file.write(HEAD)
        file.truncate(50 * 10**6)
    with pytest.raises(ServiceError, match=r"m\.wasm is larger than 32 MiB; build it smaller\.$"):
        host.load_blocking(service(path, "fast", Limits()), GOOD_GRANT)


def test_a_module_of_32_mib_of_nothing_loads(load: Load, profile: Profile) -> None:
    wasm = GOOD.module()
    filler = MODULE_BYTES_MAX - len(wasm) - 32
    padded = wasm + section(0, 4, b"void" + b"\0" * filler)
    assert run(load(padded, profile)) == DONE


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler's process with little, so that a small bomb is one."""
    monkeypatch.setattr(compiling, "MEMORY_BYTES_MAX", 192 * 2**20)
    monkeypatch.setattr(compiling, "CPU_S_MAX", 2)


def test_a_bomb_ends_the_compilers_process_alone(
    little: None, load: Load, profile: Profile
) -> None:
    good = load(GOOD.module(), profile)
    with pytest.raises(ServiceError) as caught:
        load(branches(20_000, 20_000), profile)
    assert str(caught.value).endswith(
        "m.wasm takes more than 2 s or 192 MiB of memory to compile; "
        "build it smaller, or from smaller functions."
    )
    assert run(good) == DONE


def test_what_is_compiled_apart_runs_here(
    load: Load, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "WEIGHT_MAX", 0)
    assert run(load(GOOD.module(), profile)) == DONE
    with pytest.raises(ServiceError, match="is not a module that this host can run"):
        load(HEAD + VOID + section(3, 1, b"\5"), profile)


def test_weight_grows_with_all_that_a_compiler_minds() -> None:
    def weight(wasm: bytes) -> int:
        anatomy = count_parts(wasm)
        assert anatomy is not None
        return anatomy.weight

    assert weight(branches(200, 200)) < compiling.WEIGHT_MAX
    assert weight(branches(20_000, 2_000)) > compiling.WEIGHT_MAX
    assert weight(branches(3, 10_000)) == HEAVY
    assert weight(functions(1_001)) == HEAVY
    wide = HEAD + section(1, 1, b"\x60" + leb(1_000) + b"\x7f" * 1_000 + b"\0")
    code = section(3, 1, b"\0") + section(10, 1, body(b"\x01" * 30_000))
    assert weight(wide + code) > 30_000 * 1_000


# --- bytes that were a module -------------------------------------------------------------------

MUTANTS = 100
SEED = 1
GOOD_GRANT = Grant()
ALLOWED = Limits(time_ms_max=50, memory_bytes_max=4 * 2**20)


@pytest.fixture(scope="module")
def originals() -> list[bytes]:
    rest = (
        "(table 4 funcref) (elem (i32.const 0) $f $f) (global $g (mut i32) (i32.const 1))"
        "(func $f (param i64) (result i64) (i64.mul (local.get 0) (i64.const 3))) (start $s)"
        "(func $s (global.set $g (i32.const 2)))"
    )
    busy = Attack(
        None,
        "(memory.copy (i32.const 0) (i32.const 64) (i32.const 64))"
        "(call_indirect (param i64) (result i64) (i64.const 0x2a00000005) (i32.const 1))",
        rest=rest,
    )
    return [GOOD.module(), busy.module(), bytes(wat2wasm(ECHO.read_text()))]


def mutants(originals: list[bytes], seed: int) -> Iterator[bytes]:
    """Cut short, with bytes changed, with parts moved, and with junk behind."""
    drawn = random.Random(seed)
    one = bytearray(drawn.choice(originals))
    yield bytes(one[: drawn.randrange(len(one))])
    for _ in range(drawn.randrange(1, 8)):
        one[drawn.randrange(8, len(one))] = drawn.randrange(256)
    yield bytes(one)
    begin, size, to = (drawn.randrange(8, len(one)) for _ in range(3))
    piece = bytes(one[begin : begin + size % 64])
    yield bytes(one[:to]) + piece + bytes(one[to:])
    yield bytes(one) + drawn.randbytes(drawn.randrange(64))
    yield HEAD + drawn.randbytes(drawn.randrange(200))


@pytest.mark.parametrize("seed", range(SEED, SEED + MUTANTS))
def test_mutated_modules_are_refused_or_contained(
    seed: int, load: Load, originals: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    profile: Profile = "fast" if seed % 2 else "dense"
    for number, wasm in enumerate(mutants(originals, seed)):
        told = f"seed {seed}, mutant {number}"
        try:
            worker = load(wasm, profile, ALLOWED)
        except ServiceError as refusal:
            assert "m.wasm " in str(refusal) and str(refusal).endswith((".", ")")), told
            continue
        assert isinstance(run(worker), Completed | Failed), told
    assert not [one for one in caplog.records if one.levelname == "ERROR"], f"seed {seed}"


def test_the_count_of_parts_takes_any_bytes(originals: list[bytes]) -> None:
    for seed in range(500):
        for wasm in mutants(originals, seed):
            count_parts(wasm)
    for wasm in originals:
        found = count_parts(wasm)
        assert found is not None and found.exports >= 4 and 0 < found.weight < HEAVY
