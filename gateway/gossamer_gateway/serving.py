"""An ASGI application on a listening socket, under Hypercorn: begun, served, ended in good order.

Stopping: `wind_up` first answers what waits (long polls), then requests at hand are finished, then
idle connections are closed.
"""

import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from functools import partial

import trio
from hypercorn.config import Config
from hypercorn.typing import ASGIFramework

from gossamer_gateway.door.serving import serve
from gossamer_gateway.draining import Draining
from gossamer_gateway.errors import InputError

BACKLOG = 1_024
"""Connections that the kernel holds until they are accepted."""
KEEP_ALIVE_S = 75.0
"""Idle connections are kept longer than clients keep them (httpx: 5 s), so that no request meets a
closing connection."""
STOP_S = 3.0
"""How long requests at hand may take when the server stops."""
CLOSE_S = 0.1
"""How long the last answers may take to leave; idle connections are then closed."""
REQUESTS_PER_CONNECTION_MAX = 10**9
"""Hypercorn's default of 1,000 stalls HTTP/2 connections that have reached it (measured)."""


def listen(host: str, port: int, *, who: str, options: str) -> socket.socket:
    """A listening socket.

    Args:
        who: begins the sentence when it can't be had: `The engine`.
        options: how to name another address: `--port or --host`.

    Raises: InputError when the address can't be had.
    """
    if not 0 <= port < 2**16:
        raise InputError(f"{port} is no port; name one below {2**16} with {options}, or 0 for any.")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise InputError(
            f"{who} can't listen on {host}:{port}: {os.strerror(error.errno or 0)}; "
            f"name another with {options}."
        ) from error


def url_of(listener: socket.socket, *, tls: bool = False) -> str:
    """`http://HOST:PORT` of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http{'s' if tls else ''}://{f'[{host}]' if ':' in host else host}:{port}"


async def serve_http(
    application: ASGIFramework,
    listener: socket.socket,
    *,
    stop: Callable[[], Awaitable[None]],
    wind_up: Callable[[], Awaitable[None]],
    tls: ssl.SSLContext | None = None,
    around: Callable[[ASGIFramework], ASGIFramework] = lambda app: app,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves until `stop` returns, then ends in order. The socket belongs to the server from now.

    Args:
        wind_up: makes requests that wait be answered; returns at once or soon.
        tls: None for plain text.
        around: what stands before the application, and answers by itself what it refuses.
    """
    config = Config()
    config.loglevel = "WARNING"
    config.keep_alive_timeout = KEEP_ALIVE_S
    config.keep_alive_max_requests = REQUESTS_PER_CONNECTION_MAX
    config.graceful_timeout = CLOSE_S
    config.include_server_header = False
    app = Draining(application)
    accepting = trio.SocketListener(trio.socket.from_stdlib_socket(listener))

    async def stop_wanted() -> None:
        await stop()
        await wind_up()
        with trio.move_on_after(STOP_S):
            await app.wait_idle()

    async with trio.open_nursery() as nursery:
        await nursery.start(
            partial(serve, around(app), config, [accepting], tls=tls, shutdown_trigger=stop_wanted)
        )
        task_status.started()
