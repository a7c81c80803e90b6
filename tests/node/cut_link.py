"""A way to an engine that a test can cut: a small TCP forwarder on a port of its own."""

from contextlib import suppress

import trio


class Link:
    """Forwards to one address, until it is cut; then all connections end, and none is taken."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._serving = trio.CancelScope()
        self._mended = trio.Event()
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

    async def _forward(self, near: trio.SocketStream) -> None:
        with suppress(OSError):
            far = await trio.open_tcp_stream(*self._to)
            async with near, far, trio.open_nursery() as nursery:
                nursery.start_soon(_pump, near, far)
                await _pump(far, near)
                nursery.cancel_scope.cancel()


async def _pump(source: trio.SocketStream, sink: trio.SocketStream) -> None:
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        async for data in source:
            await sink.send_all(data)
        await sink.send_eof()
