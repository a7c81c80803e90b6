"""The embedded engine for tests: a real process of its own, on a free port, with a file of its own.

The root conftest imports `embedded_url` and `embedded_engine` from here.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

RUN = "import sys; from gossamer_node.cli import main; sys.exit(main(['engine', *sys.argv[1:]]))"


class EmbeddedEngine:
    """A `gossamer engine` process that may be killed and started again on the same file."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "engine.sqlite"
        self.url = ""
        self._log = folder / "engine.log"
        self._process: subprocess.Popen[str] | None = None

    def start(self, *arguments: str) -> str:
        """Starts it and waits until it serves. Returns its URL."""
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "error", "-c", RUN, "--port", "0",
                 "--data", str(self.data), *arguments],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )  # fmt: skip
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the engine did not start: {self.log()}"
        self.url = json.loads(line)["url"]
        return self.url

    def log(self) -> str:
        return self._log.read_text()

    def kill(self) -> None:
        """SIGKILL: the end that asks nobody."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM: the orderly end. Returns the exit status."""
        return self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(how)
        status = process.wait()
        assert process.stdout is not None
        process.stdout.close()
        return status


@pytest.fixture
def embedded_engine(tmp_path: Path) -> Iterator[EmbeddedEngine]:
    """An engine of the test's own, not yet started."""
    engine = EmbeddedEngine(tmp_path)
    yield engine
    engine.kill()


@pytest.fixture(scope="session")
def embedded_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """REST API of an engine that the whole session shares: `http://127.0.0.1:PORT/engine-rest`."""
    engine = EmbeddedEngine(tmp_path_factory.mktemp("embedded"))
    yield engine.start()
    status = engine.stop()
    assert (status, engine.log()) == (0, "")
