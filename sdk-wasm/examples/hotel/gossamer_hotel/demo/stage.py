"""The processes of the demonstration: an engine, the microservices, and a mesh of nodes.

Everything runs on 127.0.0.1, on free ports, in one temporary folder, as a person would start it:
configuration files and `gossamer node`. All of it ends with the demonstration, however that ends.
"""

import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import trio
import yaml

from gossamer_hotel import ORIGINS, service_files
from gossamer_node import control
from gossamer_node.engines.config import EngineConfig
from gossamer_node.errors import InputError, NodeError
from gossamer_node.local_engines import guard
from gossamer_node.local_engines.progress import Progress
from gossamer_node.local_engines.starting import start_camunda7, start_zeebe

EngineName = Literal["embedded", "camunda7", "camunda8"]

START_MS_MAX = 60_000
"""For a node or the embedded engine; a second or two where the machine is not busy."""

LOOK_MS = 50
"""Between two looks at a process that is starting."""

LOG_TAIL_LINES = 10


@dataclass(slots=True)
class Node:
    """A node process of the demonstration."""

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
async def open_engine_process(
    name: EngineName, url: str | None, folder: Path, progress: Progress
) -> AsyncIterator[EngineConfig]:
    """An engine for the length of a block: the one at `url`, or one that is started here.

    Raises: NodeError when it cannot be had.
    """
    kind: Literal["camunda7", "camunda8"] = "camunda8" if name == "camunda8" else "camunda7"
    if url is not None:
        yield EngineConfig(name, kind, url.rstrip("/"))
    elif name == "camunda7":
        async with start_camunda7(progress=progress) as camunda7:
            yield EngineConfig(name, kind, camunda7.url)
    elif name == "camunda8":
        async with start_zeebe(progress=progress) as zeebe:
            yield EngineConfig(name, kind, zeebe.url)
    else:
        progress("starting the embedded engine", None)
        url_file = folder / "engine.url"
        arguments = ["engine", "--port", "0", "--data", str(folder / "engine.sqlite")]
        arguments += ["--url-file", str(url_file)]
        async with _gossamer(arguments, folder / "engine") as process:
            await _wait_for(
                "the embedded engine", process, folder / "engine", lambda: _written(url_file)
            )
            yield EngineConfig(name, kind, url_file.read_text().strip())


@asynccontextmanager
async def open_nodes(
    count: int, engine: EngineConfig, origins: Mapping[str, str], folder: Path, progress: Progress
) -> AsyncIterator[list[Node]]:
    """A mesh of `count` nodes that all reach the engine and run every worker of the hotel.

    Raises: NodeError when one does not start; none runs then.
    """
    key_file = folder / "mesh.key"
    _make_key(key_file)
    nodes: list[Node] = []
    async with _Stack() as stack:
        for number in range(1, count + 1):
            name = f"node-{number}"
            progress(f"starting {name}", None)
            join = [nodes[0].status["node"]["address"]] if nodes else []
            home = folder / name
            (home / "data").mkdir(mode=0o700, parents=True)
            config = node_config(name, home, engine, origins, key_file, join)
            (home / "gossamer.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
            process = await stack.enter(
                _gossamer(["node", "--config", str(home / "gossamer.yaml")], home)
            )
            node = Node(name, home, process)
            nodes.append(node)
            await _wait_for(name, process, home, node.look)
        yield nodes


def node_config(
    name: str,
    home: Path,
    engine: EngineConfig,
    origins: Mapping[str, str],
    key_file: Path,
    join: Sequence[str],
) -> dict[str, Any]:
    """A node's configuration file, as a person would write it."""
    return {
        "name": name,
        "listen": "127.0.0.1:0",
        "join": list(join),
        "mesh": {"name": "hotel", "key_file": str(key_file)},
        "data_dir": str(home / "data"),
        "engines": [{"name": engine.name, "kind": engine.kind, "url": engine.url}],
        "services": [str(file) for file in service_files()],
        "grants": {
            file.parent.name: {"origins": {one: origins[one] for one in ORIGINS}}
            for file in service_files()
        },
        "log": {"format": "json", "level": "info"},
    }


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
        self._contexts: list[Any] = []
        self._processes: list[trio.Process] = []

    async def __aenter__(self) -> "_Stack":
        return self

    async def enter(self, context: Any) -> trio.Process:
        process: trio.Process = await context.__aenter__()
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
async def _gossamer(arguments: Sequence[str], home: Path) -> AsyncIterator[trio.Process]:
    """Runs a `gossamer` command under the guard, its log in `home`; ends it with the block."""
    home.mkdir(parents=True, exist_ok=True)
    scratch = home / "scratch"
    scratch.mkdir()
    command = [sys.executable, "-m", "gossamer_node", *arguments]
    with (home / "log").open("wb") as log:
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


async def _wait_for(what: str, process: trio.Process, home: Path, ready: Any) -> None:
    """Waits until a process is ready; says what its log says if it never is."""
    with trio.move_on_after(START_MS_MAX / 1_000):
        while process.poll() is None:
            if await ready():
                return
            await trio.sleep(LOOK_MS / 1_000)
    log = home / "log"
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])
    raise NodeError(f"{what} did not start; the end of its log ({log}):\n{tail}")


async def _written(path: Path) -> bool:
    return path.exists()  # the engine moves it here whole
