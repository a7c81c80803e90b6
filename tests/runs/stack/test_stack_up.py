"""The whole stack as a person starts it: what it runs, what it keeps, and that all of it ends."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from tests.patience import PATIENCE_S, patience, seen, until

from gossamer_gateway.runs.stack.postgres import binaries
from gossamer_gateway.runs.stack.redis import binary
from gossamer_gateway.runs.stack.workers import EXAMPLES, prepare

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

UP_S = 4 * PATIENCE_S
"""With what the workers' languages download."""

FREE_PORTS = ("--http", "0,0", "--kafka-port", "0", "--postgres-port", "0", "--redis-port", "0")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not pytest's: PostgreSQL's user could not go there."""
    made = Path(tempfile.mkdtemp(prefix="gossamer-stack-test-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def gossamer(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "gossamer_node", *map(str, arguments)]


class Up:
    """`gossamer stack up` in a folder."""

    def __init__(self, folder: Path, *more: str) -> None:
        self.log = folder.with_suffix(".log")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                gossamer("stack", "up", "--dir", folder, "--json", *FREE_PORTS, *more),
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log.read_text()
        self.stack: dict[str, Any] = json.loads(line)

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where anything listens."""
        texts = [*self.stack["http"], self.stack["kafka"], self.stack["redis"].removesuffix("/0")]
        texts.append(self.stack["postgres"].partition(" user")[0].replace(" port=", ":"))
        return [("127.0.0.1", int(one.rpartition(":")[2])) for one in texts]

    def listening(self) -> list[tuple[str, int]]:
        found = []
        for address in self.addresses:
            with socket.socket() as probe:
                if probe.connect_ex(address) == 0:
                    found.append(address)
        return found

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.log.unlink()


STEPS = [{"action": "step1", "stepIndex": 0}, {"action": "step2", "stepIndex": 1}]


async def test_it_runs_workflows_survives_a_kill_and_ends_whole(folder: Path) -> None:
    up = Up(folder, "--workers", "python")
    try:
        assert up.stack["workers"] == ["python"], up.stack["without"]
        assert len(up.listening()) == len(up.addresses) == 5
        own, other = up.stack["http"]
        async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
            # As curl sends it, and over the second port.
            form = {"content-type": "application/x-www-form-urlencoded"}
            body = json.dumps({"id": "first", "steps": STEPS})
            made = await http.post(f"{other}/workflow/", content=body, headers=form)
            assert (made.status_code, made.text) == (201, "first")
            told = await http.post(
                f"{own}/workflow/first/trigger", content='{"input": "Hello"}', headers=form
            )
            run = told.text

            async def ended() -> Any:
                view = (await http.get(f"{own}/workflow/run/{run}")).json()
                return None if view["status"] in ("Pending", "Running") else view

            view = await seen(ended)
            assert view["status"] == "Completed", view
            assert "Hello" in view["finalOutput"]

        async def replayed() -> Any:
            """What Kafka alone knows of the run's end, once it has been told."""
            done = await trio.run_process(
                gossamer("events", "replay", "--kafka", up.stack["kafka"], "--run", run, "--json"),
                capture_stdout=True, capture_stderr=True, check=False,
            )  # fmt: skip
            return json.loads(done.stdout)["output"] if done.returncode == 0 else None

        assert await seen(replayed, UP_S) == view["finalOutput"]
        status = await trio.run_process(
            gossamer("stack", "status", "--dir", folder, "--json"), capture_stdout=True
        )
        assert json.loads(status.stdout) == up.stack

        up.process.send_signal(signal.SIGKILL)
        up.process.wait()
        await until(lambda: not up.listening())
    finally:
        up.end()

    again = Up(folder, "--workers", "none")
    try:
        async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
            kept = (await http.get(f"{again.stack['http'][0]}/workflow/run/{run}")).json()
        assert kept == view
        await trio.run_process(gossamer("stack", "down", "--dir", folder))
        assert again.process.wait() == 0
        assert again.listening() == []
        assert "Traceback" not in again.log.read_text()
        assert "unexpected" not in again.log.read_text()
    finally:
        again.end()


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT RUN for want of rights: a network of its own")
async def test_the_documents_own_commands(folder: Path) -> None:
    for example in EXAMPLES:
        await prepare(example, folder / "workers", folder.with_suffix(".log"))
    try:
        with patience(UP_S):
            done = await trio.run_process(
                ["unshare", "--net", sys.executable, "-m", "tests.runs.stack.seeds", str(folder)],
                capture_stdout=True,
            )
    finally:
        folder.with_suffix(".log").unlink()
    told = json.loads(done.stdout)
    assert told["stack"]["workers"] == ["python", "node", "java"], told["stack"]["without"]
    assert told["defined"] == "my-first-workflow"
    assert {one["status"] for one in told["runs"]} == {"Completed"}
    firsts = Counter(one["stepResults"][0]["output"] for one in told["runs"])
    # Each of the three snippets is at work.
    assert set(firsts) == {
        "Processed: Hello World", "Node processed: Hello World", "Java processed: Hello World"
    }  # fmt: skip
    assert all(one["finalOutput"].endswith(": Hello World") for one in told["runs"])
    # Nobody's cloud is asked unless its owner said so.
    assert told["execution"]["status"] == "Failed"
    assert told["execution"]["error"]["code"] == "NotConfigured"


def test_two_stacks_of_one_folder_are_one_too_many(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX)
        told = subprocess.run(
            gossamer("stack", "up", "--dir", folder, *FREE_PORTS), capture_output=True, check=False
        )
    finally:
        os.close(descriptor)
    assert told.returncode == 2
    assert b"a stack runs in" in told.stderr
