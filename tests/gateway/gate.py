"""A gateway within a test: real engines behind it, real sockets in front, all dialects.

async with open_gate(EngineConfig(...), ...) as gate:
    await gate.http.post("/engine-rest/external-task/fetchAndLock", json=...)
"""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import trio

from gossamer_gateway import handed, zeebe
from gossamer_gateway.app import create_app
from gossamer_gateway.desk import Desk
from gossamer_gateway.grpc import GrpcServer
from gossamer_gateway.names import numbers
from gossamer_gateway.polls.driver import Polling
from gossamer_gateway.routing.unrouted import Unrouted
from gossamer_gateway.serving import listen, serve_http, url_of
from gossamer_gateway.storage.committer import Committer
from gossamer_gateway.storage.file import File, Form
from gossamer_gateway.storage.port import Command, T
from gossamer_gateway.upstreams.upstream import Upstream, Upstreams
from gossamer_gateway.whereabouts import Asking
from gossamer_node.engines.config import EngineConfig

SCHEMA = ";".join((numbers.SCHEMA, handed.SCHEMA))


@dataclass(frozen=True)
class Gate:
    """A running gateway.

    Attributes:
        url: of its HTTP, without a path.
        grpc: `127.0.0.1:PORT`.
        http: a client of its HTTP.
    """

    url: str
    grpc: str
    desk: Desk
    http: httpx.AsyncClient


class Memory:
    """Rows in memory. See `storage.port.Storage`."""

    def __init__(self, path: Path | None = None) -> None:
        form = Form("The gateway's file", "storage", 0x676F7377, 1, SCHEMA)
        self._file = File(path, form)
        self.committer = Committer(self._file, now_ms, lambda: None)

    async def submit(self, command: Command[T]) -> T:
        return await self.committer.submit(lambda now_ms: command(self._file.connection, now_ms))

    def close(self) -> None:
        self._file.close()


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@asynccontextmanager
async def open_gate(*configs: EngineConfig, path: Path | None = None) -> AsyncIterator[Gate]:
    """Serves until the block is left, then stops in order."""
    engines = Upstreams([Upstream(one) for one in configs])
    async with AsyncExitStack() as stack:
        for one in engines.all:
            stack.push_async_callback(one.aclose)
        storage = Memory(path)
        stack.callback(storage.close)
        background = await stack.enter_async_context(trio.open_nursery())
        stack.callback(background.cancel_scope.cancel)
        background.start_soon(storage.committer.run)
        polling = Polling({one.name: one for one in engines.all})
        await background.start(polling.run)
        desk = Desk(
            engines, polling, storage, Unrouted(engines), Asking(engines.sevens), "gossamer-test"
        )
        serving = await stack.enter_async_context(trio.open_nursery())
        stopping = trio.Event()
        server = GrpcServer(zeebe.methods(desk))
        (grpc_listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await background.start(server.serve, grpc_listener)
        listener = listen("127.0.0.1", 0, who="The gateway", options="listen")
        url = url_of(listener)

        async def serve(task_status: trio.TaskStatus[None]) -> None:
            await serve_http(
                create_app(desk),
                listener,
                stop=stopping.wait,
                wind_up=polling.drain,
                task_status=task_status,
            )

        await serving.start(serve)
        port = grpc_listener.socket.getsockname()[1]
        async with httpx.AsyncClient(base_url=url, timeout=60) as http:
            yield Gate(url, f"127.0.0.1:{port}", desk, http)
        stopping.set()
        await server.stop()
