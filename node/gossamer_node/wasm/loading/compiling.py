"""Compiles modules, and those that may be bombs in a process of its own.

Most of what a compiler does to a hostile module can only be bounded from outside (`anatomy` has
figures): a process with limits on its memory and CPU is the one fence that holds, and its end costs
the node nothing. It takes 0.5 s to start, so a module that is small in every respect is compiled
here. `main` is that process: the module on standard input, the compiled code on standard output.
"""

import os
import resource
import subprocess
import sys
from pathlib import Path

from wasmtime import Module, WasmtimeError

from gossamer_node.service.spec import Profile
from gossamer_node.wasm.engine import HostEngine, engine_like
from gossamer_node.wasm.loading.anatomy import count_parts

WEIGHT_MAX = 32 * 2**20
LIGHT_BYTES_MAX = 256 * 2**10
"""Of a module that is compiled in the node. Two and a half times that weight, in 2,000 locals and
5,000 branches, took 1.1 s of CPU and 310 MiB."""

CPU_S_MAX = 120
WALL_S_MAX = 240.0
MEMORY_BYTES_MAX = 2 * 2**30
"""A whole RustPython (8.9 MB) takes 4 s on the machine of the figures above; a slower one has
thirty times that."""

THREADS_MAX = 4
"""The compiler would take a thread for each core, and memory for each thread."""

_PROGRAM = "from gossamer_node.wasm.loading.compiling import main; main()"

_REASON_BYTES = 2_000
_REFUSED = 3
"""Exit status of the process for a module that wasmtime refuses; its reason is on stderr."""


class CompileBomb(Exception):
    """The module takes more to compile than there is; the text is a clause."""


def compile_bytes(engine: HostEngine, wasm: bytes) -> Module:
    """Raises: WasmtimeError, when it is no module that this engine takes; CompileBomb."""
    anatomy = count_parts(wasm)
    if len(wasm) <= LIGHT_BYTES_MAX and anatomy is not None and anatomy.weight <= WEIGHT_MAX:
        return Module(engine.engine, wasm)
    # To see that it is no module at all is quick, and safe.
    Module.validate(engine.engine, wasm)
    return Module.deserialize(engine.engine, _compile_apart(engine, wasm))


def _compile_apart(engine: HostEngine, wasm: bytes) -> bytes:
    command = [sys.executable, "-P", "-c", _PROGRAM]
    command += [engine.profile, str(engine.stack_bytes), str(int(engine.pooled))]
    command += [str(CPU_S_MAX), str(MEMORY_BYTES_MAX)]
    try:
        done = subprocess.run(
            command,
            check=False,
            input=wasm,
            capture_output=True,
            timeout=WALL_S_MAX,
            env={**os.environ, "RAYON_NUM_THREADS": str(THREADS_MAX)},
        )
    except subprocess.TimeoutExpired:
        raise CompileBomb(f"takes more than {WALL_S_MAX:.0f} s to compile") from None
    if done.returncode == 0:
        return done.stdout
    if done.returncode == _REFUSED:
        raise WasmtimeError(done.stderr.decode("utf-8", "replace"))
    raise CompileBomb(
        f"takes more than {CPU_S_MAX} s or {MEMORY_BYTES_MAX // 2**20:,} MiB of memory to compile"
    )


def _limit(cpu_s: int, memory_bytes: int) -> None:
    os.nice(10)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    # Beside what the engine's pool has reserved, which counts as data, touched or not.
    pages = int(Path("/proc/self/statm").read_text().split()[5]) if Path("/proc").is_dir() else 0
    most = pages * resource.getpagesize() + memory_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def main() -> None:
    profile, stack_bytes, pooled, cpu_s, memory_bytes = sys.argv[1:]
    wasm = sys.stdin.buffer.read()
    kind: Profile = "dense" if profile == "dense" else "fast"
    engine = engine_like(kind, int(stack_bytes), pooled=pooled == "1")
    _limit(int(cpu_s), int(memory_bytes))
    try:
        code = bytes(Module(engine.engine, wasm).serialize())
    except WasmtimeError as error:
        sys.stderr.buffer.write(str(error).encode("utf-8", "replace")[:_REASON_BYTES])
        raise SystemExit(_REFUSED) from None
    sys.stdout.buffer.write(code)
