"""A real PostgreSQL for tests: a cluster of the session's own, in a temporary folder, on a socket.

The root conftest imports `postgres` from here. It may be stopped in any way and started again.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from gossamer_gateway.runs.stack.postgres import USER, binaries
from gossamer_gateway.storage import PostgresPlace


class Postgres:
    """A server, started.

    Args:
        folder: of its user's, and as short as the name of a socket must be.
    """

    def __init__(self, bin_folder: Path, folder: Path) -> None:
        self._bin = bin_folder
        self._folder = folder
        self._data = folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._run("initdb", "-D", self._data, "-A", "trust", "-U", "app", "--no-sync", "-E", "UTF8",
                  "--locale=C.UTF-8")  # fmt: skip

    @property
    def conninfo(self) -> str:
        return f"host={self._folder} port=5432 user=app dbname=postgres"

    @property
    def pid(self) -> int:
        """Of the process that all others of it are children of."""
        assert self._process is not None, "it runs"
        return self._process.pid

    def place(self) -> PostgresPlace:
        """A schema that nobody has used."""
        return PostgresPlace(self.conninfo, f"test_{uuid4().hex[:12]}")

    def start(self, *settings: str) -> None:
        """Starts it, with settings such as `name=value`, and waits until it serves."""
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", self._data, "-k", self._folder, "-h", "",
                 "-c", "shared_buffers=32MB", "-c", "max_connections=50",
                 *(word for setting in settings for word in ("-c", setting))],
                stdout=log, stderr=log, **_as_user(),
            )  # fmt: skip
        while subprocess.run(
            [self._bin / "pg_isready", "-q", "-h", self._folder], check=False
        ).returncode:
            assert self._process.poll() is None, self.log()

    def log(self) -> str:
        return (self._folder / "server.log").read_text()

    def crash(self) -> None:
        """Ends it without a word to anybody: what is not on disk is lost."""
        self._stop(signal.SIGQUIT)

    def stop(self) -> None:
        """Ends it in order; open transactions are taken back."""
        self._stop(signal.SIGINT)

    def pause(self) -> None:
        """Has every process of it stand still."""
        self._signal_all(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, which: signal.Signals) -> None:
        assert self._process is not None
        path = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        for pid in (self._process.pid, *map(int, path.read_text().split())):
            os.kill(pid, which)

    def _stop(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait()

    def _run(self, program: str, *arguments: str | Path) -> None:
        subprocess.run(
            [self._bin / program, *arguments], check=True, stdout=subprocess.DEVNULL, **_as_user()
        )


def _as_user() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam(USER)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": "/"}


@contextmanager
def open_postgres() -> Iterator[Postgres | None]:
    """A server in a temporary folder, for the length of a block; None where none is installed."""
    found = binaries()
    if found is None:
        yield None
        return
    # Not pytest's folder: others can't pass through it, and its name is too long for a socket.
    folder = Path(tempfile.mkdtemp(prefix="gossamer-pg-"))
    try:
        if os.geteuid() == 0:
            os.chown(folder, pwd.getpwnam(USER).pw_uid, -1)
        server = Postgres(found, folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server that the whole session shares; who stops it starts it again."""
    with open_postgres() as server:
        if server is None:
            pytest.skip("NOT RUN: there is no PostgreSQL here; install Debian's package postgresql")
        yield server
