"""Builds every worker of this folder, and copies the SDKs to the templates of new services.

    python sdk-wasm/build.py [--output DIRECTORY]

The compilers are pinned, C and Zig by the PyPI package `ziglang` in pyproject.toml, AssemblyScript
by assemblyscript/package-lock.json (installed here by npm on first use); the same sources give
the same bytes everywhere. The modules are committed, so only who changes a worker builds. With
`--output` they go to the same paths below another directory.
"""

import argparse
import fcntl
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SDK = Path(__file__).resolve().parent

C_STACK_BYTES = 16 * 2**10
"""The linker's default of 16 MiB would cost each instance 257 pages. JSON that is nested as deep
as the ABI allows, read and written, needs a quarter of this."""

C_FLAGS = (
    "-target",
    "wasm32-freestanding",
    "-std=c11",
    "-Oz",
    "-nostdlib",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wl,--no-entry",
    "-Wl,--strip-all",
    f"-Wl,-z,stack-size={C_STACK_BYTES}",
)

ZIG_FLAGS = ("-target", "wasm32-wasi", "-O", "ReleaseSmall", "-fstrip", "--stack", "65536")

ASC_FLAGS = (
    "-Osize",
    "--runtime",
    "incremental",
    "--noAssert",
    "--use",
    "abort=",  # a failure traps; the host says so to a person
)


class BuildError(Exception):
    """A compiler is missing or refused the source; the message is for the terminal."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker's source and its module, both relative to this folder."""

    source: str
    module: str


TEMPLATES = SDK.parent / "node" / "gossamer_node" / "service" / "templates"

COPIED = ("c/job1.h", "c/job1.c", "assemblyscript/job1.ts")
"""SDK files that `gossamer service new` puts into a new service; same paths in both folders."""

HOTEL = "examples/hotel"

WORKERS = (
    Worker("c/conformance/worker.c", "c/conformance/worker.wasm"),
    Worker("assemblyscript/conformance/worker.ts", "assemblyscript/conformance/worker.wasm"),
    Worker("examples/wasi-command/worker.zig", "examples/wasi-command/worker.wasm"),
    *(
        Worker(f"{HOTEL}/workers/{source}", f"{HOTEL}/gossamer_hotel/workers/{service}/worker.wasm")
        for service, source in (
            ("hotel-input", "hotel-input/worker.c"),
            ("hotel-client", "hotel-client/worker.ts"),
            ("hotel-booking", "hotel-booking/worker.c"),
        )
    ),
)


def compile_worker(source: Path, module: Path) -> None:
    """Compiles one worker, whatever its language. Raises: BuildError; no module then."""
    module.parent.mkdir(parents=True, exist_ok=True)
    COMPILERS[source.suffix](source, module)


def _compile_c(source: Path, module: Path) -> None:
    home = SDK / "c"
    compiler = (sys.executable, "-m", "ziglang", "cc", *C_FLAGS, "-I", home)
    _run([*compiler, home / "job1.c", source, "-o", module])


def _compile_zig(source: Path, module: Path) -> None:
    emit = f"-femit-bin={module}"
    _run([sys.executable, "-m", "ziglang", "build-exe", *ZIG_FLAGS, source, emit])


def _compile_assemblyscript(source: Path, module: Path) -> None:
    home = SDK / "assemblyscript"
    lock, installed = home / "package-lock.json", home / "node_modules" / ".package-lock.json"
    if shutil.which("npm") is None:
        raise BuildError("npm is missing; install Debian's npm and run this again.")
    with lock.open() as held:
        # One process after the other: npm begins by taking away what another is installing.
        fcntl.flock(held, fcntl.LOCK_EX)
        if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
            _run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", home])
    asc = home / "node_modules" / "assemblyscript" / "bin" / "asc.js"
    # The bytes depend on the paths that asc is given, so these never name this machine's folders.
    _run(["node", asc, source.name, *ASC_FLAGS, "--outFile", module], directory=source.parent)


COMPILERS = {".c": _compile_c, ".zig": _compile_zig, ".ts": _compile_assemblyscript}


def _run(command: Sequence[str | Path], directory: Path | None = None) -> None:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode:
        tool = " ".join(str(word) for word in command[:4])
        raise BuildError(f"{tool} … failed:\n{done.stdout}{done.stderr}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Copies, builds all workers and says how large each is."""
    parser = argparse.ArgumentParser(description="Build the workers of sdk-wasm.")
    parser.add_argument("--output", type=Path, default=SDK, help="where the modules go")
    chosen = parser.parse_args(arguments)
    if chosen.output == SDK:
        for name in COPIED:
            shutil.copyfile(SDK / name, TEMPLATES / name)
    for worker in WORKERS:
        module = chosen.output.resolve() / worker.module
        try:
            compile_worker(SDK / worker.source, module)
        except BuildError as error:
            print(f"build.py: {worker.source}: {error}", file=sys.stderr)
            return 1
        print(f"{worker.module}: {module.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
