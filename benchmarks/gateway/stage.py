"""What is measured: real engines, a gateway in a process of its own, and the bare application."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gossamer_node.engines.config import EngineConfig


@dataclass(frozen=True, slots=True)
class Server:
    """A process that serves HTTP.

    Attributes:
        url: without a path.
        grpc: `HOST:PORT`, of a gateway.
    """

    url: str
    pid: int
    grpc: str = ""


def child_of(pid: int) -> int:
    """The only child of a process."""
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return int(child)


@contextmanager
def bare(*forwards_to: str) -> Iterator[Server]:
    """A peer, for the length of a block: it answers by itself, or asks a URL."""
    arguments = [sys.executable, "-m", "benchmarks.gateway.bare", *forwards_to]
    with _process(arguments) as (process, line):
        yield Server(line, process.pid)


@contextmanager
def gateway(engines: Sequence[EngineConfig], folder: Path, *options: str) -> Iterator[Server]:
    """A gateway in front of these engines, for the length of a block."""
    arguments = [sys.executable, "-m", "gossamer_node", "gateway", "--data-dir", str(folder)]
    arguments += ["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--log-level", "warning"]
    for one in engines:
        grpc = f",grpc={one.grpc}" if one.grpc else ""
        arguments += ["--engine", f"name={one.name},kind={one.kind},url={one.url}{grpc}"]
    with _process([*arguments, *options]) as (process, line):
        said = json.loads(line)
        yield Server(said["http"], process.pid, said["grpc"])


@contextmanager
def _process(arguments: Sequence[str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        if not line:
            raise SystemExit(f"{' '.join(arguments[:4])} … did not start; it says why above")
        yield process, line
    finally:
        process.terminate()
        process.wait()
        process.stdout.close() if process.stdout else None
