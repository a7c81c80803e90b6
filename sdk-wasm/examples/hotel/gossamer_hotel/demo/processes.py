"""Runs `gossamer` as processes of its own, as a person would: commands, and a mesh of nodes.

Each process runs under the guard of local engines, so it ends with the program that started it,
however that ends. A process has a folder with its configuration, its data and its log. Everything
listens on 127.0.0.1, on free ports. What runs on the nodes is the caller's to say.
"""

import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio
import yaml

from gossamer_node import control
from gossamer_node.errors import InputError, NodeError
from gossamer_node.local_engines import guard
from gossamer_node.local_engines.progress import Progress

START_MS_MAX = 180_000
"""For a node or the embedded engine, as for the others; a second or two where the machine is not
busy. One that ends is not waited for."""

LOOK_MS = 50
"""Between two looks at a process that is starting."""

LOG_TAIL_LINES = 10

Settings = Mapping[str, Any]
"""Fields of a node's configuration file."""


@dataclass(slots=True)
class Node:
    """A node process. `pid` is the node's own; `process` is its guard, whose exit status is the
    node's, or 128 + the signal that ended it."""

    name: str
    folder: Path
    process: trio.Process
    pid: int = 0
    status: dict[str, Any] = field(default_factory=dict)
    killed: bool = False

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    async def look(self) -> bool:
        """Asks the node for its status; whether it answered."""
        try:
            self.status = await trio.to_thread.run_sync(control.ask, self.data_dir, "status")
        except NodeError:
            return False
        self.pid = self.status["node"]["pid"]
        return True


@asynccontextmanager
async def open_nodes(
    settings: Sequence[Settings], folder: Path, progress: Progress
) -> AsyncIterator[list[Node]]:
    """A mesh of nodes, `node-1` and so on, the first of which the others join.

    Args:
        settings: what each node's configuration says beside its name, place and key.
        folder: where the mesh key and a folder for each node are made.
        progress: is told which node starts.

    Raises: NodeError when one does not start; none runs then.
    """
    key_file = folder / "mesh.key"
    _make_key(key_file)
    nodes: list[Node] = []
    async with _Stack() as stack:
        for number, its_settings in enumerate(settings, 1):
            name = f"node-{number}"
            progress(f"starting {name}", None)
            home = folder / name
            (home / "data").mkdir(mode=0o700, parents=True)
            config = {
                "name": name,
                "listen": "127.0.0.1:0",
                "join": [nodes[0].status["node"]["address"]] if nodes else [],
                "mesh": {"key_file": str(key_file)},
                "data_dir": str(home / "data"),
                "log": {"format": "json", "level": "info"},
                **its_settings,
            }
            file = home / "gossamer.yaml"
            file.write_text(yaml.safe_dump(config, sort_keys=False))
            process = await stack.enter(gossamer_process(["node", "--config", str(file)], home))
            node = Node(name, home, process)
            nodes.append(node)
            if number == 1:
                await wait_until_ready(name, process, home, node.look)
        for node in nodes[1:]:
            await wait_until_ready(node.name, node.process, node.folder, node.look)
        yield nodes


def _make_key(path: Path) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "gossamer_node", "key", "new", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        raise InputError(f"no mesh key: {made.stderr.strip()}")


class _Stack:
    """Processes that end together: all are told first, then waited for."""

    def __init__(self) -> None:
        self._contexts: list[AbstractAsyncContextManager[trio.Process]] = []
        self._processes: list[trio.Process] = []

    async def __aenter__(self) -> "_Stack":
        return self

    async def enter(self, context: AbstractAsyncContextManager[trio.Process]) -> trio.Process:
        process = await context.__aenter__()
        self._contexts.append(context)
        self._processes.append(process)
        return process

    async def __aexit__(self, *exc_info: object) -> None:
        with trio.CancelScope(shield=True):
            for process in self._processes:
                if process.stdin is not None:
                    await process.stdin.aclose()
            for context in reversed(self._contexts):
                await context.__aexit__(None, None, None)


@asynccontextmanager
async def gossamer_process(
    arguments: Sequence[str], home: Path, *, within: Sequence[str] = ()
) -> AsyncIterator[trio.Process]:
    """Runs a `gossamer` command under the guard, its log in `home`; ends it with the block.

    Args:
        arguments: the command's.
        home: where its log goes, after what an earlier run wrote there.
        within: a command that becomes the one that is written after it, as `nsenter` does.
    """
    home.mkdir(parents=True, exist_ok=True)
    scratch = home / "scratch"
    scratch.mkdir(exist_ok=True)
    command = [*within, sys.executable, "-m", "gossamer_node", *arguments]
    with (home / "log").open("ab") as log:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-I", "-S", guard.__file__, str(scratch), *command],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with trio.CancelScope(shield=True):
            assert process.stdin is not None
            await process.stdin.aclose()
            with trio.move_on_after(guard.STOP_GRACE_S * 2):
                await process.wait()
            process.kill()
            await process.wait()


async def wait_until_ready(
    what: str, process: trio.Process, home: Path, ready: Callable[[], Awaitable[bool]]
) -> None:
    """Waits until a process is ready.

    Raises: NodeError with the end of its log, if it never is.
    """
    with trio.move_on_after(START_MS_MAX / 1_000):
        while process.poll() is None:
            if await ready():
                return
            await trio.sleep(LOOK_MS / 1_000)
    log = home / "log"
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])
    raise NodeError(f"{what} did not start; the end of its log ({log}):\n{tail}")
