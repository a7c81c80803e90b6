"""A real Redis for tests: one of the session's own, in a temporary folder, on a socket.

The root conftest imports `redis` from here. It may be stopped in any way and started again.
"""

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis as client


class Redis:
    """A server. What it holds is gone when it stops."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self._folder}/s"

    @property
    def pid(self) -> int:
        assert self._process is not None, "it runs"
        return self._process.pid

    def start(self) -> None:
        """Starts it, and waits until it serves."""
        self._process = subprocess.Popen(
            [self._program, "--port", "0", "--unixsocket", f"{self._folder}/s", "--save", "",
             "--appendonly", "no", "--dir", self._folder, "--maxmemory", "64mb",
             "--maxmemory-policy", "allkeys-lru"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert self._process.stdout is not None
        said = b""
        for line in self._process.stdout:
            said += line
            if b"ready to accept" in line.lower():
                return
        raise AssertionError(said.decode(errors="replace"))

    def flush(self) -> None:
        """Has it forget all that it holds."""
        with client.Redis.from_url(self.url) as connection:
            connection.flushall()

    def kill(self) -> None:
        """Ends it at once."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def pause(self) -> None:
        """Has it stand still."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, which: signal.Signals) -> None:
        assert self._process is not None, "it runs"
        self._process.send_signal(which)


@contextmanager
def open_redis() -> Iterator[Redis | None]:
    """A server in a temporary folder, for the length of a block; None where none is installed."""
    program = shutil.which("redis-server")
    if program is None:
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="gossamer-redis-"))
    server = Redis(program, folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def redis() -> Iterator[Redis]:
    """A server that the whole session shares; who stops it starts it again."""
    with open_redis() as server:
        if server is None:
            pytest.skip("NOT RUN: there is no Redis here; install Debian's package redis-server")
        yield server
