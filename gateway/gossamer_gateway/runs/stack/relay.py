"""One more port for the same gateway: bytes go through, in both directions.

The curl lines of the documents that workflows come from name 8080 and 3000, and a gateway listens
at one address.
"""

from collections.abc import Sequence
from functools import partial

import trio

_CHUNK_BYTES = 65_536


async def relay(
    listeners: Sequence[trio.SocketListener], host: str, port: int,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:  # fmt: skip
    """Passes connections on until cancelled."""
    task_status.started()
    await trio.serve_listeners(partial(_pass, host, port), list(listeners))


async def _pass(host: str, port: int, client: trio.SocketStream) -> None:
    try:
        server = await trio.open_tcp_stream(host, port)
    except OSError:
        await client.aclose()
        return
    async with client, server, trio.open_nursery() as nursery:
        nursery.start_soon(_copy, client, server, nursery.cancel_scope)
        nursery.start_soon(_copy, server, client, nursery.cancel_scope)


async def _copy(
    source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope
) -> None:
    try:
        while data := await source.receive_some(_CHUNK_BYTES):
            await sink.send_all(data)
        await sink.send_eof()
    except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
        scope.cancel()  # one side is gone: so is the connection
