"""A way to an engine that a test can take away: to its clients the engine is down, and then back.

The engine itself goes on, and so do its locks and timers.
"""

import socket
from contextlib import suppress
from urllib.parse import urlsplit

import trio

READ_BYTES = 65_536

GONE = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)


class Relay:
    """Carries connections from a port of its own to an engine.

    Args:
        address: `HOST:PORT` or a URL; what follows the port stays what it is.
    """

    def __init__(self, address: str) -> None:
        parts = urlsplit(address if "://" in address else f"//{address}")
        assert parts.hostname and parts.port
        self._there = (parts.hostname, parts.port)
        self._address = address
        # Bound and never listening, it keeps the port from others while nobody listens on it.
        self._keeper = trio.socket.socket()
        self._keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._port = 0
        self._open = trio.CancelScope()
        self._back = trio.Event()

    @property
    def address(self) -> str:
        """Where clients find the engine."""
        host, port = self._there
        return self._address.replace(f"{host}:{port}", f"127.0.0.1:{self._port}")

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Carries until cancelled."""
        await self._keeper.bind(("127.0.0.1", 0))
        self._port = self._keeper.getsockname()[1]
        with self._keeper:
            await self._run(task_status)

    async def _run(self, task_status: trio.TaskStatus[None]) -> None:
        while True:
            listener = await self._listen()
            task_status.started()
            task_status = trio.TASK_STATUS_IGNORED
            self._open = trio.CancelScope()
            with self._open:
                await trio.serve_listeners(self._carry, [listener])
            await listener.aclose()
            await self._back.wait()

    def cut(self) -> None:
        """Breaks all connections and refuses new ones."""
        self._back = trio.Event()
        self._open.cancel()

    def mend(self) -> None:
        """Lets connections through again."""
        self._back.set()

    async def _listen(self) -> trio.SocketListener:
        (listener,) = await trio.open_tcp_listeners(self._port, host="127.0.0.1")
        return listener

    async def _carry(self, near: trio.SocketStream) -> None:
        with suppress(*GONE):
            async with (
                near,
                await trio.open_tcp_stream(*self._there) as far,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(_copy, near, far, nursery.cancel_scope)
                nursery.start_soon(_copy, far, near, nursery.cancel_scope)


async def _copy(
    source: trio.SocketStream, target: trio.SocketStream, both: trio.CancelScope
) -> None:
    with suppress(*GONE):
        while data := await source.receive_some(READ_BYTES):
            await target.send_all(data)
    both.cancel()
