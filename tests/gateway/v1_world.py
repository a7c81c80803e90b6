"""A gateway's `/v1` and its page within a test: a member of a real mesh, before real engines."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import trio
from quart_trio import QuartTrio

from gossamer_gateway import page, tables, v1
from gossamer_gateway.door import api_keys
from gossamer_gateway.door.asgi import Door
from gossamer_gateway.door.config import ApiKeys, DoorConfig
from gossamer_gateway.door.opening import open_door
from gossamer_gateway.door.principals import Grant, Role
from gossamer_gateway.opening import begin_polling, open_upstreams
from gossamer_gateway.routing.api import create_blueprint as create_routes
from gossamer_gateway.routing.router import FORMS, Router
from gossamer_gateway.serving import listen, serve_http, url_of
from gossamer_gateway.settings.book import Book
from gossamer_gateway.storage import SqlitePlace, open_storage
from gossamer_gateway.v1.opening import begin
from gossamer_gateway.watching.watching import Watching
from gossamer_mesh.drivers import Mesh, MeshConfig, open_mesh
from gossamer_mesh.identity import Identity
from gossamer_mesh.keyring import Keyring, read_keyring
from gossamer_node.engines.config import EngineConfig


@dataclass(frozen=True)
class Gateway:
    """A running one.

    Attributes:
        url: of its HTTP, without a path.
        key: an API key that may read, where the door is closed.
    """

    url: str
    mesh: Mesh
    watching: Watching
    http: httpx.AsyncClient
    app: QuartTrio
    key: str


def key_of(folder: Path) -> Keyring:
    """The key of a mesh of node processes."""
    return read_keyring(folder / "mesh.key")


@asynccontextmanager
async def open_gateway(
    keyring: Keyring,
    *configs: EngineConfig,
    seeds: Sequence[str] = (),
    name: str = "gateway",
    is_closed: bool = False,
) -> AsyncIterator[Gateway]:
    """Serves until the block is left.

    Args:
        seeds: `HOST:PORT` of members.
        is_closed: whether the door asks for an API key.
    """
    pairs = [one.rpartition(":") for one in seeds]
    config = MeshConfig(
        identity=Identity.generate(),
        keyring=keyring,
        name=name,
        seeds=tuple((host, int(number)) for host, _, number in pairs),
    )
    async with AsyncExitStack() as stack:
        engines = await stack.enter_async_context(open_upstreams(configs))
        mesh = await stack.enter_async_context(open_mesh(config))
        background = await stack.enter_async_context(trio.open_nursery())
        stack.callback(background.cancel_scope.cancel)
        if config.seeds:
            await mesh.join(config.seeds)
        polling = await begin_polling(engines, background)
        storage = await stack.enter_async_context(open_storage(SqlitePlace(None), tables.FORM))
        sources = await begin(background, name, mesh, engines, polling, storage)
        app = QuartTrio(__name__)
        app.register_blueprint(v1.create_blueprint(sources), url_prefix="/v1")
        app.register_blueprint(page.create_blueprint())
        book = Book(storage, config.identity, config.mesh_name, FORMS)
        router = Router(book, engines)
        app.register_blueprint(create_routes(router, lambda: "operator"), url_prefix="/v1")
        serving = await stack.enter_async_context(trio.open_nursery())
        stopping = trio.Event()
        listener = listen("127.0.0.1", 0, who="The gateway", options="listen")
        url = url_of(listener)
        key = await storage.submit(
            lambda rows, now_ms: api_keys.make(rows, now_ms, "reader", [Grant(Role.READ)])
        )
        config_of_door = DoorConfig((ApiKeys(),) if is_closed else ())
        door = await stack.enter_async_context(open_door(config_of_door, storage))
        serve = partial(
            serve_http,
            stop=stopping.wait,
            wind_up=polling.drain,
            around=lambda app: Door(app, door.gate),
        )
        await serving.start(serve, app, listener)
        async with httpx.AsyncClient(base_url=url, timeout=60) as http:
            yield Gateway(url, mesh, sources.watching, http, app, key)
        stopping.set()
