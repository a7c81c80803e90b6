"""One process of the stack: started under the guard, watched until it is well, ended in order.

The guard (`local_engines.guard`) has the process end when this program ends, however that ends: it
closes its standard input, the kernel does so after kill -9 too, and the guard then sends SIGTERM,
and SIGKILL after its grace. What a part says goes to a file that stays, so that it can be read
afterwards.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from gossamer_gateway.errors import GatewayError
from gossamer_node.local_engines import guard

READY_DEADLINE_S = 120.0
"""From the start of a process until it has to be well."""

_POLL_S = 0.1
_TAIL_LINES = 8
_TAIL_BYTES = 8_192

Ready = Callable[[], Awaitable[bool]]


class StackError(GatewayError):
    """A part of the stack did not start, or ended by itself; nothing of the stack runs any more."""


@dataclass(frozen=True, slots=True)
class Part:
    """A process that is well, as far as was seen last."""

    title: str
    process: trio.Process
    log_path: Path

    async def wait_ended(self) -> str:
        """Waits until it ends without having been asked to; returns a sentence about it."""
        status = await self.process.wait()
        return f"{self.title} ended by itself with status {status}: {tail(self.log_path)}"


@asynccontextmanager
async def running(
    title: str,
    command: Sequence[str | Path],
    log_path: Path,
    ready: Ready,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    finish: Callable[[], None] = lambda: None,
) -> AsyncIterator[Part]:
    """Runs a part for the length of a block.

    Args:
        ready: polled until it says yes.
        env: added to this program's environment.
        finish: asks it to end, in its own way, before the guard does.

    Raises: StackError when it ended, or wasn't well in time.
    """
    log_path.parent.mkdir(parents=True, exist_ok=True)
    scratch = tempfile.mkdtemp(prefix="gossamer-stack-")  # the guard removes it
    with log_path.open("ab") as log:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-I", "-S", guard.__file__, scratch, *map(str, command)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            start_new_session=True,  # a Ctrl-C in the terminal is for us alone
        )
    try:
        if problem := await _wait_ready(process, ready):
            raise StackError(f"{title} did not start: {problem}: {tail(log_path)}")
        yield Part(title, process, log_path)
    finally:
        await _stop(process, finish)


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


def tail(path: Path) -> str:
    """The end of a log, and where the whole is."""
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - _TAIL_BYTES, 0))
        lines = file.read().decode(errors="replace").splitlines()
    said = "\n  ".join(lines[-_TAIL_LINES:]) or "(nothing)"
    return f"the end of {path} is\n  {said}"
