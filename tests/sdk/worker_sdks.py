"""The worker SDKs as a person has them: built in their folders, started as their README says.

What is built stays until a source changes, so only the first session of a change waits for it. The
conformance worker is the same in all languages (`sdk-wasm/*/conformance`).
"""

import fcntl
import hashlib
import os
import queue
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.patience import PATIENCE_S, TICK_S

SDKS = Path(__file__).parents[2] / "sdk-wasm"

WAIT_S = 2 * PATIENCE_S
"""Runtimes of other languages take long to start where there is much to do."""

SOURCES = {".java", ".json", ".py", ".toml", ".ts", ".xml"}
BUILT = {"build", "node_modules", "target", "__pycache__"}


def looks_of(patience_s: float) -> Iterator[int]:
    """One for each `TICK_S` of patience: time in which this machine stood still is one at most."""
    return iter(range(round(patience_s / TICK_S)))


@dataclass(frozen=True)
class Sdk:
    """One language's.

    Attributes:
        build: commands in its folder.
        units: the command that runs its own tests.
        example, secured, conformance: commands that start its workers.
        says: what its example makes of a text, for `step1` and `step2`.
        odd: the code of what is thrown although it is no error to the language.
        ended: the exit status after SIGTERM.
    """

    name: str
    needs: tuple[str, ...]
    build: tuple[tuple[str, ...], ...]
    units: tuple[str, ...]
    example: tuple[str, ...]
    secured: tuple[str, ...]
    conformance: tuple[str, ...]
    says: tuple[str, str]
    odd: str
    ended: int = 0
    environment: Mapping[str, str] | None = None

    @property
    def folder(self) -> Path:
        return SDKS / self.name

    def made(self) -> None:
        """Builds it, unless it is built of the same sources."""
        for needed in self.needs:
            if shutil.which(needed) is None:
                pytest.skip(f"NOT RUN: {needed} is not on this machine")
        stamp = self.folder / "build" / f"{self.name}.stamp"
        stamp.parent.mkdir(exist_ok=True)
        state = self._digest()
        with stamp.open("a+") as held:
            # One process after the other: npm begins by taking away what another is installing.
            fcntl.flock(held, fcntl.LOCK_EX)
            if stamp.read_text() == state:
                return
            for command in self.build:
                self.run(command)
            stamp.write_text(state)

    def run(self, command: Sequence[str]) -> None:
        """Runs a command in its folder, and fails with what it said."""
        done = subprocess.run(
            command, cwd=self.folder, env=self._environment({}), capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        if done.returncode:
            pytest.fail(f"{' '.join(command)}:\n{done.stdout[-6_000:]}\n{done.stderr[-6_000:]}")

    @contextmanager
    def started(self, command: Sequence[str], **environment: str) -> "Iterator[RunningWorker]":
        """A worker's process, ended with the block, however that ends; a failed test shows what the
        worker said."""
        worker = RunningWorker(command, self.folder, self._environment(environment))
        try:
            yield worker
        finally:
            worker.process.kill()
            worker.process.wait()
            worker.reading.join()
            print(*worker.said, *worker.unread(), sep="\n")

    def _environment(self, more: Mapping[str, str]) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if "GOSSAMER" not in name}
        return kept | dict(self.environment or {}) | dict(more)

    def _digest(self) -> str:
        digest = hashlib.sha256(repr(self.build).encode())
        for path in sorted(self.folder.rglob("*")):
            if path.suffix in SOURCES and BUILT.isdisjoint(path.relative_to(SDKS).parts):
                digest.update(f"{path}\n".encode() + path.read_bytes())
        return digest.hexdigest()


class RunningWorker:
    """A worker's process and the lines that it says on standard error."""

    def __init__(self, command: Sequence[str], folder: Path, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment, stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self.said: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.reading = threading.Thread(target=self._read)
        self.reading.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                self._lines.put(line.rstrip())
        self._lines.put(None)

    def wait_said(self, words: str) -> str:
        """The next line with these words."""
        looks = looks_of(WAIT_S)
        while True:
            try:
                line = self._lines.get(timeout=TICK_S)
            except queue.Empty:
                if next(looks, None) is None:
                    pytest.fail(f"it never said {words!r}, but {self.said}")
                continue
            if line is None:
                pytest.fail(f"it ended and never said {words!r}, but {self.said}")
            self.said.append(line)
            if words in line:
                return line

    def end(self) -> int:
        """SIGTERM; gives the exit status."""
        self.process.terminate()
        for _ in looks_of(WAIT_S):
            with suppress(subprocess.TimeoutExpired):
                return self.process.wait(TICK_S)
        pytest.fail("it does not end")

    def unread(self) -> list[str | None]:
        """Lines that nobody waited for, and None behind the last."""
        return [self._lines.get() for _ in range(self._lines.qsize())]


PYTHON = Sdk(
    "python",
    (),
    (),
    (sys.executable, "-m", "pytest", "-q", "-W", "error", "-c", "pyproject.toml", "tests"),
    (sys.executable, "examples/worker.py"),
    (sys.executable, "examples/secured_worker.py"),
    (sys.executable, "conformance/worker.py"),
    ("Processed: {}", "Processed again: {}"),
    "SystemExit",
    environment={"PYTHONPATH": "."},
)

NODE = Sdk(
    "node",
    ("node", "npm"),
    (("npm", "ci"), ("npm", "run", "build")),
    ("npm", "test"),
    ("node", "build/examples/worker.js"),
    ("node", "build/examples/secured-worker.js"),
    ("node", "build/conformance/worker.js"),
    ("Node processed: {}", "Node processed again: {}"),
    "Error",
)

_LIBRARIES = "target/gossamer-worker.jar:target/lib/*"
_JAVA = ("java", "-Xmx64m", "-XX:TieredStopAtLevel=1", "-cp")

JAVA = Sdk(
    "java",
    ("mvn", "javac"),
    (
        ("mvn", "-q", "-B", "package", "-DskipTests"),
        (
            "javac", "-Xlint:all", "-Werror", "-cp", _LIBRARIES, "-d", "build/workers",
            "examples/ExampleWorkerApp.java", "examples/SecuredWorkerApp.java",
            "conformance/ConformanceWorker.java",
        ),
    ),
    ("mvn", "-q", "-B", "surefire:test"),
    (*_JAVA, _LIBRARIES, "examples/ExampleWorkerApp.java"),
    (*_JAVA, f"{_LIBRARIES}:build/workers", "SecuredWorkerApp"),
    (*_JAVA, f"{_LIBRARIES}:build/workers", "ConformanceWorker"),
    ("Java processed: {}", "Java processed again: {}"),
    "AssertionError",
    ended=143,
)  # fmt: skip

ALL = (PYTHON, NODE, JAVA)
