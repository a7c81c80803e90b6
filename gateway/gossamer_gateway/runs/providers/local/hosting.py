"""How a host lives: it says `ready PORT` when it serves, and ends when whoever started it does.

Its settings come as JSON on the first line of its standard input; the end of that input is the end
of the host and of all in its process group.
"""

import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import trio

from gossamer_gateway.runs.providers.local.web import Handler, serve_connection

LINE_BYTES_MAX = 2**20

Host = Callable[[dict[str, Any], trio.Nursery], Awaitable[Handler]]
"""Takes the settings, starts what it needs in the nursery, and gives what answers requests."""


def main(host: Host) -> None:
    """Runs a host until its standard input ends."""
    trio.run(_run, host)


async def _run(host: Host) -> None:
    settings = json.loads(sys.stdin.buffer.readline(LINE_BYTES_MAX))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_watch)
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        settings["port"] = listeners[0].socket.getsockname()[1]
        handler = await host(settings, nursery)
        serve = partial(serve_connection, handler=handler)
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        print(f"ready {settings['port']}", flush=True)


async def _watch() -> None:
    # An OS thread that the end of the process does not wait for.
    await trio.to_thread.run_sync(sys.stdin.buffer.read, abandon_on_cancel=True)
    os.killpg(os.getpgrp(), signal.SIGKILL)
