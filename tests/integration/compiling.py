"""Compiles the C workers of these tests, with the compiler that the development tools bring."""

import subprocess
import sys
from pathlib import Path

SDK = Path(__file__).parents[2] / "sdk-wasm" / "c"
GUESTS = Path(__file__).parent / "guests"

C_FLAGS = "-target wasm32-freestanding -std=c11 -Oz -nostdlib -Wl,--no-entry -Wl,--strip-all"


def compile_guest(name: str, folder: Path) -> bytes:
    """The module of `guests/NAME.c`."""
    module = folder / f"{name}.wasm"
    compiler = [sys.executable, "-m", "ziglang", "cc", *C_FLAGS.split()]
    sources = [SDK / "job1.c", GUESTS / f"{name}.c"]
    subprocess.run([*compiler, "-I", SDK, *sources, "-o", module], check=True)
    return module.read_bytes()
