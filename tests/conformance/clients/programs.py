"""Runs a client that nobody here wrote, as a program of its own, and hears what it says.

Such a program gets an address and a prefix of topics, and knows nothing else: neither who answers
there, nor where the processes live. It writes a line of JSON for each job that it took, one when
it is ready, and ends when its standard input does.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import trio
from tests.conformance.clients import install
from tests.patience import patience

from gossamer_node.local_engines.progress import Progress, silent

Dialect = Literal["7", "8-rest", "8-grpc"]
"""What a client speaks. Its address is, in this order: the base URL with `/engine-rest`; the base
URL without `/v2`; `HOST:PORT`, plain text."""

_STDERR_CHARACTERS_MAX = 6_000
_END_S = 10.0
_LINE_BYTES_MAX = 1 << 20


@dataclass(frozen=True)
class Client:
    """A client.

    Attributes:
        name: for people.
        dialect: what it speaks.
        kind: whose program it is, and the folder of that.
        program: the file, where the folder has several.
        mode: an argument, where the program has several ways.
        asks: whether it asks for some topics' variables by name, or for all.
    """

    name: str
    dialect: Dialect
    kind: Literal["java7", "java8", "js", "python"]
    program: str = ""
    mode: str = ""
    asks: bool = True

    @property
    def rate_code(self) -> int:
        """The largest whole number that it writes; JavaScript has no larger one for certain."""
        return 2**53 + (-1 if self.kind == "js" else 1)


CLIENTS = (
    Client("java7", "7", "java7"),
    Client("js7", "7", "js", "external_task.mjs"),
    Client("python7", "7", "python", "external_task_worker.py", asks=False),
    Client("java8-grpc", "8-grpc", "java8", mode="grpc"),
    Client("java8-rest", "8-rest", "java8", mode="rest"),
    Client("pyzeebe-poll", "8-grpc", "python", "zeebe_worker.py", "poll"),
    Client("pyzeebe-stream", "8-grpc", "python", "zeebe_worker.py", "stream"),
    Client("js8", "8-grpc", "js", "camunda8.mjs"),
)


@dataclass(frozen=True)
class JobSeen:
    """A job as the client showed it to its handler.

    Attributes:
        topic: without the prefix.
        job: its id, a string (Camunda 7, and JavaScript's SDK) or a number.
        instance: id of the process instance, alike.
        variables: their values as the client gives them.
        types: their types, where the client tells them.
    """

    topic: str
    job: str | int
    instance: str | int
    variables: dict[str, Any]
    types: dict[str, str] = field(default_factory=dict)


class ClientEnded(Exception):
    """The program ended by itself, or said something that it should not."""


class Program:
    """A running program."""

    def __init__(self) -> None:
        self.jobs: list[JobSeen] = []
        self.ready = trio.Event()


@asynccontextmanager
async def client_program(client: Client, address: str, prefix: str) -> AsyncIterator[Program]:
    """Runs it for the length of a block, from when it is ready.

    Args:
        client: one of `CLIENTS`.
        address: where its dialect is spoken.
        prefix: how the topics begin that are the program's own.

    Raises:
        LocalEngineMissing: It can't be had on this machine.
        ClientEnded: It ended by itself. Whatever else the block raises is raised, too, and in
            every case with what the program wrote to its standard error.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"gossamer-client-{client.name}-"))
    errors = folder / "stderr"
    program = Program()
    try:
        command, environment = await _prepared(client, folder)
        arguments = [*filter(None, [client.mode]), address, prefix]
        with errors.open("wb") as stderr:
            process = await trio.lowlevel.open_process(
                [*command, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                cwd=folder,
                env={"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"}
                | environment,
            )
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_hear, process, program, prefix)
                with patience():
                    await program.ready.wait()
                yield program
                nursery.cancel_scope.cancel()
        finally:
            await _end(process)
    except BaseException as error:
        if errors.exists():
            said = errors.read_text(encoding="utf-8", errors="replace")
            error.add_note(f"{client.name} said:\n{said[-_STDERR_CHARACTERS_MAX:]}")
        taken = [(job.topic, job.variables.get("reservation_id")) for job in program.jobs]
        error.add_note(f"{client.name} took: {taken}")
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def provide_client(client: Client, progress: Progress) -> None:
    """Installs what its program needs, where that isn't there yet.

    Raises:
        LocalEngineMissing: It can't be had on this machine.
        LocalEngineError: It was refused by its lock.
    """
    match client.kind:
        case "js":
            await install.node_modules(progress)
        case "python":
            await install.python_packages(progress)
        case "java7" | "java8":
            await install.java_command(client.kind, progress)


async def _prepared(client: Client, folder: Path) -> tuple[list[str], dict[str, str]]:
    """The command and what it wants in its environment."""
    match client.kind:
        case "js":
            # A module finds packages beside itself, and nowhere else.
            (folder / "node_modules").symlink_to(await install.node_modules(silent))
            return ["node", str(shutil.copy(install.HERE / "js" / client.program, folder))], {}
        case "python":
            program = install.HERE / "python" / client.program
            packages = await install.python_packages(silent)
            # Without this environment's packages: pyzeebe wants an older protobuf than the node.
            return [sys.executable, "-S", str(program)], {
                "PYTHONPATH": f"{packages}:{install.HERE.parents[2]}",
                "PYTHONDONTWRITEBYTECODE": "1",
            }
        case "java7" | "java8":
            return await install.java_command(client.kind, silent), {}


async def _hear(process: trio.Process, program: Program, prefix: str) -> None:
    assert process.stdout is not None
    pending = b""
    async for chunk in process.stdout:
        *lines, pending = (pending + chunk).split(b"\n")
        if len(pending) > _LINE_BYTES_MAX:
            raise ClientEnded("it wrote a line without end")
        for line in lines:
            try:
                said = json.loads(line)
            except ValueError as error:
                raise ClientEnded(f"no JSON: {line[:200]!r}") from error
            if said.get("ready"):
                program.ready.set()
            else:
                program.jobs.append(JobSeen(**said | {"topic": _without(prefix, said["topic"])}))
    raise ClientEnded(f"it ended by itself with status {await process.wait()}")


def _without(prefix: str, topic: str) -> str:
    assert topic.startswith(prefix), f"{topic} was never asked for"
    return topic.removeprefix(prefix)


async def _end(process: trio.Process) -> None:
    """Closes its standard input, and ends it where that isn't enough."""
    with trio.CancelScope(shield=True):
        assert process.stdin is not None and process.stdout is not None
        await process.stdin.aclose()
        await process.stdout.aclose()
        with trio.move_on_after(_END_S):
            await process.wait()
            return
        process.kill()
        await process.wait()
