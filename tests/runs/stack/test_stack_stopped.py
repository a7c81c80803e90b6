"""Whenever a stack is told to end, all of it ends, and the next one goes on from there."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import trio
from tests.patience import until

from gossamer_gateway.runs.stack.postgres import binaries
from gossamer_gateway.runs.stack.redis import binary
from gossamer_gateway.runs.stack.up import STATE

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.processes,
    pytest.mark.skipif(
        binaries() is None, reason="NOT RUN: there is no PostgreSQL; install Debian's postgresql"
    ),
    pytest.mark.skipif(
        binary() is None, reason="NOT RUN: there is no Redis; install Debian's redis-server"
    ),
]

FREE_PORTS = ("--http", "0", "--kafka-port", "0", "--postgres-port", "0", "--redis-port", "0")

MARK = "GOSSAMER_TEST_MARK"

PHASES = (
    "starting PostgreSQL",
    "starting Redis",
    "starting Kafka",
    "starting the gateway",
    "starting the python worker",
)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not pytest's: PostgreSQL's user could not go there."""
    made = Path(tempfile.mkdtemp(prefix="gossamer-stopped-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def stack(word: str, folder: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "gossamer_node", "stack", word, "--dir", str(folder), *more]


class Up:
    """`gossamer stack up`, whose processes can be told from all others."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mark = f"{MARK}={uuid4()}"
        self.said: list[str] = []
        name, _, value = self.mark.partition("=")
        self.process = subprocess.Popen(
            stack("up", folder, "--workers", "python", *FREE_PORTS),
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env={**os.environ, name: value},
        )  # fmt: skip

    async def says(self, text: str) -> None:
        """Waits until it does."""
        await trio.to_thread.run_sync(self._read_until, text)

    def _read_until(self, text: str) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            if line.startswith(text):
                return
        raise AssertionError(f"it never said {text!r}: {''.join(self.said)}")

    async def ended(self) -> int:
        """Waits until it has, and all that it started has; gives its status."""
        assert self.process.stderr is not None
        self.said.append(await trio.to_thread.run_sync(self.process.stderr.read))
        self.process.stderr.close()
        status = await trio.to_thread.run_sync(self.process.wait)
        await until(lambda: self.living() == [])
        return status

    def living(self) -> list[str]:
        """What runs of it: by the environment, or by the folder, which Kafka's command names."""
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                command = (place / "cmdline").read_bytes()
                environment = (place / "environ").read_bytes()
            except OSError:
                continue  # it has just ended
            if self.mark.encode() in environment or bytes(self.folder) in command:
                found.append(f"{place.name} {command.decode(errors='replace')}")
        return found


async def test_ctrl_c_in_any_phase_leaves_nothing_behind(folder: Path) -> None:
    for phase in PHASES:
        up = Up(folder)
        await up.says(phase)
        up.process.send_signal(signal.SIGINT)
        assert await up.ended() == 0, up.said
        said = "".join(up.said)
        assert "stopping; Ctrl-C again ends it at once" in said
        assert "Traceback" not in said and "gossamer:" not in said, said
        assert not (folder / STATE).exists()


async def test_it_can_be_told_to_end_while_it_starts_and_hurried_while_it_ends(
    folder: Path,
) -> None:
    up = Up(folder)
    await up.says("starting Kafka")
    seen = await trio.run_process(stack("status", folder), capture_stdout=True, check=False)
    assert seen.returncode == 1
    assert seen.stdout.decode().startswith(f"the stack in {folder} is starting (program ")
    seen = await trio.run_process(
        stack("status", folder, "--json"), capture_stdout=True, check=False
    )
    assert (seen.returncode, json.loads(seen.stdout)["phase"]) == (1, "starting")
    ended = await trio.run_process(stack("down", folder), capture_stdout=True)
    assert ended.stdout == b"stopped\n"
    assert await up.ended() == 0
    again = await trio.run_process(stack("down", folder), capture_stdout=True)
    assert again.stdout.decode() == f"no stack runs in {folder}\n"

    up = Up(folder)
    await up.says("starting the gateway")
    up.process.send_signal(signal.SIGINT)
    await up.says("stopping")
    up.process.send_signal(signal.SIGINT)
    assert await up.ended() == -signal.SIGINT
