"""The engine as a process: opens its file and its port, serves until told to stop.

Stopping is orderly: waiting polls are answered, requests at hand are finished, then the file is
closed. It need not be: what was answered is on disk, and a killed engine goes on where it was.
"""

import os
import signal
import socket
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

import trio

from gossamer_gateway.embedded.api import Desk, create_app
from gossamer_gateway.embedded.engine import Engine
from gossamer_gateway.embedded.polls import Polls
from gossamer_gateway.embedded.store import Store
from gossamer_gateway.serving import serve_http
from gossamer_gateway.storage.committer import Committer


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def new_id(time_ms: int) -> str:
    """A UUID of version 7 (RFC 9562 §5.7): ordered by time, so that indexes grow at their end."""
    bits = time_ms << 80 | int.from_bytes(os.urandom(10))
    bits = bits & ~(0xF << 76) | 7 << 76
    bits = bits & ~(0x3 << 62) | 2 << 62
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


async def run(
    data: Path, listener: socket.socket, credentials: str | None, ready: Callable[[], None]
) -> None:
    """Serves until SIGTERM or SIGINT.

    Args:
        credentials: `user:password`, or None for an engine that serves everybody who reaches it.
        ready: called when requests are served.

    Raises: InputError when the file can't be used.
    """
    store = Store(data)
    try:
        engine_id = store.engine_id()
        if engine_id is None:
            engine_id = new_id(now_ms())
            store.set_engine_id(engine_id)
        engine = Engine(store, new_id)
        committer = Committer(store, now_ms, lambda: polls.wake(engine.take_awakened()))
        polls = Polls(engine, committer, now_ms)
        desk = Desk(engine, store, committer, polls, engine_id, version("gossamer"), credentials)
        await _serve(desk, listener, ready)
    finally:
        store.close()


async def _serve(desk: Desk, listener: socket.socket, ready: Callable[[], None]) -> None:
    async def stop() -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            await anext(signals)

    async def wind_up() -> None:
        desk.polls.stop()

    async with trio.open_nursery() as background:
        background.start_soon(desk.committer.run)
        async with trio.open_nursery() as serving:
            serve = partial(serve_http, stop=stop, wind_up=wind_up)
            await serving.start(serve, create_app(desk), listener)
            ready()
        background.cancel_scope.cancel()
