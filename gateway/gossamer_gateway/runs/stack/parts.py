"""One process of the stack: started under the guard, watched until it is well, ended in order.

The guard (`local_engines.guard`) has the process end when this program ends, however that ends: it
closes its standard input, the kernel does so after kill -9 too, and the guard then sends SIGTERM,
and SIGKILL after its grace. What a part says goes to a file that stays, so that it can be read
afterwards.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import trio

from gossamer_gateway.errors import GatewayError
from gossamer_node.local_engines import guard

READY_DEADLINE_S = 120.0
"""From the start of a process until it has to be well."""

_POLL_S = 0.1

_LOG_BYTES_MAX = 65_536
_LINE_CHARACTERS_MAX = 400

_OURS = re.compile(r"gossamer: (.+)")
"""In which a command of ours says why it ends. It is the last that it says, after its log."""

_WRONG = re.compile(r"\b(?:FATAL|PANIC|ERROR|[Ee]rror|[Ff]ailed|Exception)\b")
"""In a line of PostgreSQL, Redis, Java, Maven or npm that tells what went wrong. The first of them
is the cause; those after it are its consequences, and how to get help."""

_NOTHING: Mapping[str, str] = MappingProxyType({})

Ready = Callable[[], Awaitable[bool]]


class StackError(GatewayError):
    """A part of the stack did not start, or ended by itself; nothing of the stack runs any more."""


@dataclass(frozen=True, slots=True)
class Part:
    """A process that is well, as far as was seen last. `begin`: where its words in the log do."""

    title: str
    process: trio.Process
    log_path: Path
    begin: int

    async def wait_ended(self) -> str:
        """Waits until it ends without having been asked to; returns a sentence about it."""
        status = await self.process.wait()
        said = last_words(self.log_path, self.begin)
        return f"{self.title} ended by itself with status {status}; {said}."


@asynccontextmanager
async def running(
    title: str,
    command: Sequence[str | Path],
    log_path: Path,
    ready: Ready,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] = _NOTHING,
    without: Collection[str] = (),
    finish: Callable[[], None] = lambda: None,
) -> AsyncIterator[Part]:
    """Runs a part for the length of a block.

    Args:
        ready: polled until it says yes.
        env: added to this program's environment.
        without: variables that a person may have set for other programs, and that would speak
            against what this one is told.
        finish: asks it to end, in its own way, before the guard does.

    Raises: StackError when it ended, or wasn't well in time.
    """
    begin = log_bytes(log_path)
    given = {name: value for name, value in os.environ.items() if name not in without}
    process = await _start(command, log_path, cwd, given | dict(env))
    try:
        if problem := await _wait_ready(process, ready):
            said = last_words(log_path, begin)
            raise StackError(f"{title} did not start: {problem}; {said}.")
        yield Part(title, process, log_path, begin)
    finally:
        await _stop(process, finish)


async def done(
    command: Sequence[str | Path],
    log_path: Path,
    *,
    cwd: Path | None = None,
) -> str:
    """Runs a program to its end; returns what went wrong, with its last words, or an empty string.

    Cancelled, it is killed with all that it has started: nothing that it has made is of use then.
    """
    begin = log_bytes(log_path)
    process = await _start(command, log_path, cwd, os.environ)
    try:
        status = await process.wait()
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # the guard began a session
            with trio.CancelScope(shield=True):
                await process.wait()
    return "" if status == 0 else f"it ended with status {status}; {last_words(log_path, begin)}"


async def _start(
    command: Sequence[str | Path], log_path: Path, cwd: Path | None, env: Mapping[str, str]
) -> trio.Process:
    log_path.parent.mkdir(parents=True, exist_ok=True)
    scratch = tempfile.mkdtemp(prefix="gossamer-stack-")  # the guard removes it
    with log_path.open("ab") as log:
        return await trio.lowlevel.open_process(
            [sys.executable, "-I", "-S", guard.__file__, scratch, *map(str, command)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=env,
            start_new_session=True,  # a Ctrl-C in the terminal is for us alone
        )


async def _wait_ready(process: trio.Process, ready: Ready) -> str:
    """Returns what went wrong, or an empty string."""
    with trio.move_on_after(READY_DEADLINE_S):
        while process.poll() is None:
            if await ready():
                return ""
            await trio.sleep(_POLL_S)
        return f"its process ended with status {process.returncode}"
    return f"it was not well within {READY_DEADLINE_S:g} s"


async def _stop(process: trio.Process, finish: Callable[[], None]) -> None:
    with trio.CancelScope(shield=True):
        if process.poll() is None:
            finish()
        assert process.stdin is not None
        await process.stdin.aclose()  # the guard does the rest
        with trio.move_on_after(guard.STOP_GRACE_S * 2):
            await process.wait()
            return
        process.kill()
        await process.wait()


def log_bytes(path: Path) -> int:
    """How long a log is now; what is said from here on begins there."""
    return path.stat().st_size if path.exists() else 0


def last_words(path: Path, begin: int = 0) -> str:
    """The line of a log that says why its program ended, and where the whole is.

    Args:
        begin: where the program's own words begin, behind those of the one before.
    """
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - _LOG_BYTES_MAX, begin))
        lines = [one.strip() for one in file.read().decode(errors="replace").splitlines()]
    lines = [one for one in lines if one]
    ours = [found[1] for one in lines if (found := _OURS.match(one))]
    wrong = [one for one in lines if _WRONG.search(one)]
    if not lines:
        return f"it said nothing, not even in its log, {path}"
    said = (ours[-1:] or wrong[:1] or lines[-1:])[0].rstrip(".")
    return f"it said: {said[:_LINE_CHARACTERS_MAX]}; its log is {path}"
