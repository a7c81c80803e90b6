"""Redis of this machine, on a port of 127.0.0.1: a cache, so it keeps nothing on disk."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from gossamer_gateway.runs.stack import parts
from gossamer_gateway.runs.stack.parts import Part

OWN = "install Debian's package redis-server, or name one that you have with --redis URL"

MEMORY = "64mb"
"""Of which the oldest states go first: who needs them reads them from the rows again."""


def binary() -> str | None:
    """The server's path; None: there is none."""
    return shutil.which("redis-server") or shutil.which("valkey-server")


@asynccontextmanager
async def start_redis(
    path: str, folder: Path, port: int, log_path: Path
) -> AsyncIterator[tuple[Part, str]]:
    """Runs it for the length of a block; gives it and its URL.

    Raises: StackError.
    """
    folder.mkdir(parents=True, exist_ok=True)

    async def ready() -> bool:
        try:
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            async with stream:
                await stream.send_all(b"PING\r\n")
                return await stream.receive_some(7) == b"+PONG\r\n"
        except (OSError, trio.BrokenResourceError):
            return False

    command: list[str | Path] = [
        path, "--bind", "127.0.0.1", "--port", str(port), "--dir", folder, "--save", "",
        "--appendonly", "no", "--maxmemory", MEMORY, "--maxmemory-policy", "allkeys-lru",
    ]  # fmt: skip
    async with parts.running("Redis", command, log_path, ready) as part:
        yield part, f"redis://127.0.0.1:{port}/0"
