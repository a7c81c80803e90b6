"""Builds `guest.c` in its three forms."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parent / "guest.c"

FLAGS = (
    *("-target", "wasm32-freestanding", "-std=c11", "-O2", "-nostdlib"),
    *("-Wl,--no-entry", "-Wl,--strip-all", "-Wl,-z,stack-size=4096"),
)

LONG_ROUNDS = 400_000_000
"""Of a long job's loop: some 150 ms."""


@dataclass(frozen=True, slots=True)
class Guests:
    """The built modules' files: the job1 worker, its Extism twin, and one whose jobs are long."""

    short: Path
    extism: Path
    long: Path


def build(folder: Path) -> Guests:
    """Compile them, with the C compiler of the package `ziglang`."""

    def one(name: str, *options: str) -> Path:
        out = folder / f"{name}.wasm"
        compiler = (sys.executable, "-m", "ziglang", "cc", *FLAGS, *options)
        subprocess.run([*compiler, SOURCE, "-o", out], check=True)
        return out

    return Guests(one("short"), one("extism", "-DEXTISM"), one("long", f"-DROUNDS={LONG_ROUNDS}"))
