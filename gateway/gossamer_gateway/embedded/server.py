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
from hypercorn.config import Config
from hypercorn.trio import serve

from gossamer_gateway.embedded.api import Desk, create_app
from gossamer_gateway.embedded.draining import Draining
from gossamer_gateway.embedded.engine import Engine
from gossamer_gateway.embedded.polls import Polls
from gossamer_gateway.embedded.store import Store
from gossamer_gateway.errors import InputError
from gossamer_gateway.storage.committer import Committer

BACKLOG = 1_024
"""Connections that the kernel holds until they are accepted."""
KEEP_ALIVE_S = 75.0
"""Idle connections are kept longer than clients keep them (httpx: 5 s), so that no request meets a
closing connection."""
STOP_S = 3.0
"""How long requests at hand may take when the engine stops."""
CLOSE_S = 0.1
"""How long the last answers may take to leave; idle connections are then closed."""
REQUESTS_PER_CONNECTION_MAX = 10**9
"""Hypercorn's default of 1,000 stalls HTTP/2 connections that have reached it (measured)."""


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def new_id(time_ms: int) -> str:
    """A UUID of version 7 (RFC 9562 §5.7): ordered by time, so that indexes grow at their end."""
    bits = time_ms << 80 | int.from_bytes(os.urandom(10))
    bits = bits & ~(0xF << 76) | 7 << 76
    bits = bits & ~(0x3 << 62) | 2 << 62
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises: InputError when the address can't be had."""
    if not 0 <= port < 2**16:
        raise InputError(f"{port} is no port; name one below {2**16} with --port, or 0 for any.")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise InputError(
            f"The engine can't listen on {host}:{port}: {os.strerror(error.errno or 0)}; "
            "name another with --port or --host."
        ) from error


def url_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/engine-rest"


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
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.loglevel = "WARNING"
    config.keep_alive_timeout = KEEP_ALIVE_S
    config.keep_alive_max_requests = REQUESTS_PER_CONNECTION_MAX
    config.graceful_timeout = CLOSE_S
    config.include_server_header = False

    app = Draining(create_app(desk))

    async def stop_wanted() -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            await anext(signals)
        desk.polls.stop()
        with trio.move_on_after(STOP_S):
            await app.wait_idle()

    async with trio.open_nursery() as background:
        background.start_soon(desk.committer.run)
        async with trio.open_nursery() as serving:
            await serving.start(
                partial(serve, app, config, shutdown_trigger=stop_wanted, mode="asgi")
            )
            ready()
        background.cancel_scope.cancel()
