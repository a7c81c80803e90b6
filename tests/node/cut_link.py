"""A way to an engine that a test can cut or block: a small TCP forwarder on a port of its own."""

from contextlib import suppress

import trio


class Link:
    """Forwards to one address, until it is cut; then all connections end, and none is taken.

    While it is blocked, connections are taken and kept, and nothing comes through: what was sent
    arrives when it is free again, as over a link that swallowed packets for a while.
    """

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._serving = trio.CancelScope()
        self._mended = trio.Event()
        self._free = trio.Event()
        self._free.set()
        self.port = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serves until it is cancelled; `port` is known when it has started, and stays."""
        while True:
            with self._serving:
                (listener,) = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
                async with listener:
                    if not self.port:
                        self.port = listener.socket.getsockname()[1]
                        task_status.started()
                    await trio.serve_listeners(self._forward, [listener])
            await self._mended.wait()

    def cut(self) -> None:
        self._mended = trio.Event()
        self._serving.cancel()

    def mend(self) -> None:
        self._serving = trio.CancelScope()
        self._mended.set()

    def block(self) -> None:
        self._free = trio.Event()

    def free(self) -> None:
        self._free.set()

    async def _forward(self, near: trio.SocketStream) -> None:
        await self._free.wait()
        with suppress(OSError):
            far = await trio.open_tcp_stream(*self._to)
            async with near, far, trio.open_nursery() as nursery:
                nursery.start_soon(self._pump, near, far)
                await self._pump(far, near)
                nursery.cancel_scope.cancel()

    async def _pump(self, source: trio.SocketStream, sink: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for data in source:
                await self._free.wait()
                await sink.send_all(data)
            await self._free.wait()
            await sink.send_eof()
