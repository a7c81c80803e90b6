"""A gateway within a test: real engines behind it, real sockets in front, all dialects.

async with open_gate(EngineConfig(...), ...) as gate:
    await gate.http.post("/engine-rest/external-task/fetchAndLock", json=...)
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import trio

from gossamer_gateway import tables, zeebe
from gossamer_gateway.app import create_app
from gossamer_gateway.desk import Desk
from gossamer_gateway.grpc import GrpcServer
from gossamer_gateway.index.sightings import Sightings
from gossamer_gateway.polls.driver import Polling
from gossamer_gateway.routing.router import FORMS, Router
from gossamer_gateway.serving import listen, serve_http, url_of
from gossamer_gateway.settings.book import Book
from gossamer_gateway.storage import SqlitePlace, open_storage
from gossamer_gateway.upstreams.asking import Asking
from gossamer_gateway.upstreams.upstream import Upstream, Upstreams
from gossamer_mesh.identity import Identity
from gossamer_node.engines.config import EngineConfig


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
    router: Router
    http: httpx.AsyncClient


@asynccontextmanager
async def open_gate(*configs: EngineConfig, path: Path | None = None) -> AsyncIterator[Gate]:
    """Serves until the block is left, then stops in order."""
    engines = Upstreams([Upstream(one) for one in configs])
    async with AsyncExitStack() as stack:
        for one in engines.all:
            stack.push_async_callback(one.aclose)
        storage = await stack.enter_async_context(open_storage(SqlitePlace(path), tables.FORM))
        background = await stack.enter_async_context(trio.open_nursery())
        stack.callback(background.cancel_scope.cancel)
        polling = Polling({one.name: one for one in engines.all})
        await background.start(polling.run)
        router = Router(Book(storage, Identity.generate(), "test", FORMS), engines)
        desk = Desk(
            engines,
            polling,
            storage,
            router,
            Asking(engines.sevens, storage),
            "gossamer-test",
            Sightings(storage),
        )
        background.start_soon(desk.sightings.run)
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
            yield Gate(url, f"127.0.0.1:{port}", desk, router, http)
        stopping.set()
        await server.stop()
        await polling.drain()  # what streams gave back
