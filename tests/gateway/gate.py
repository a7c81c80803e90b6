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
from gossamer_gateway.opening import begin_desk, begin_polling, open_servers, open_upstreams
from gossamer_gateway.routing.router import FORMS, Router
from gossamer_gateway.serving import listen, url_of
from gossamer_gateway.settings.book import Book
from gossamer_gateway.storage import SqlitePlace, open_storage
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
    async with AsyncExitStack() as stack:
        engines = await stack.enter_async_context(open_upstreams(configs))
        storage = await stack.enter_async_context(open_storage(SqlitePlace(path), tables.FORM))
        background = await stack.enter_async_context(trio.open_nursery())
        stack.callback(background.cancel_scope.cancel)
        polling = await begin_polling(engines, background)
        router = Router(Book(storage, Identity.generate(), "test", FORMS), engines)
        desk = begin_desk(engines, polling, storage, router, "gossamer-test", background)
        http = listen("127.0.0.1", 0, who="The gateway", options="http")
        grpc = listen("127.0.0.1", 0, who="The gateway", options="grpc")
        url, port = url_of(http), grpc.getsockname()[1]
        await stack.enter_async_context(
            open_servers(
                create_app(desk), zeebe.methods(desk), http, grpc, polling, background,
                wind_up=polling.drain,
            )
        )  # fmt: skip
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            yield Gate(url, f"127.0.0.1:{port}", desk, router, client)
