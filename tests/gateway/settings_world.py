"""Gateways with settings, as far as tests of them need: rows in memory, and real members."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import trio
from tests.mesh.mesh_fixture import QUICK, RING

from gossamer_gateway import tables
from gossamer_gateway.overrides.overrides import FORMS as OVERRIDE_FORMS
from gossamer_gateway.routing.router import FORMS, Router
from gossamer_gateway.settings.book import Book
from gossamer_gateway.settings.spreading import TAG, Spreading
from gossamer_gateway.storage import SqlitePlace, Storage, open_storage
from gossamer_gateway.upstreams.upstream import Upstream, Upstreams
from gossamer_mesh.drivers import Mesh, MeshConfig, open_mesh
from gossamer_mesh.drivers.config import Address
from gossamer_mesh.identity import Identity
from gossamer_node.engines.config import EngineConfig

MESH = "gossamer"
ENGINES = Upstreams(
    [
        Upstream(EngineConfig("c7", "camunda7", "http://127.0.0.1:1/engine-rest")),
        Upstream(EngineConfig("c8", "camunda8", "http://127.0.0.1:1")),
    ]
)
"""Never asked anything."""

ALL_FORMS = {**FORMS, **OVERRIDE_FORMS}


class Gateway:
    """One that runs, until its block ends.

    Attributes:
        hidden: ids of members that it does not see, from the next `admission_changed` on.
    """

    def __init__(self, mesh: Mesh, book: Book, spreading: Spreading, hidden: set[str]) -> None:
        self.hidden = hidden
        self.mesh = mesh
        self.book = book
        self.spreading = spreading
        self.router = Router(book, ENGINES)

    def __repr__(self) -> str:
        """What a test that waits in vain shows of it."""
        known = [(one.key, one.value, one.version) for one in self.book.table.all()]
        return f"Gateway({self.mesh.node_id[:4]}, {known}, {dict(self.spreading.counts)})"

    def shares(self, process: str) -> dict[str, int] | None:
        route = self.router.route_of(process)
        return None if route is None else dict(route.shares)


@asynccontextmanager
async def gateway(
    identity: Identity,
    peers: Collection[str],
    seeds: Sequence[Address] = (),
    storage: Storage | None = None,
) -> AsyncIterator[Gateway]:
    hidden: set[str] = set()
    config = MeshConfig(
        identity=identity,
        keyring=RING,
        mesh_name=MESH,
        seeds=tuple(seeds),
        tuning=QUICK,
        admits=lambda id: id not in hidden,
    )
    async with AsyncExitStack() as stack:
        if storage is None:
            memory = open_storage(SqlitePlace(None), tables.FORM)
            storage = await stack.enter_async_context(memory)
        book = Book(storage, identity, MESH, ALL_FORMS)
        await book.refresh()
        mesh = await stack.enter_async_context(open_mesh(config))
        spreading = Spreading(mesh, book, peers, lambda digest: mesh.set_tags({TAG: digest}))
        nursery = await stack.enter_async_context(trio.open_nursery())
        await nursery.start(spreading.run)
        yield Gateway(mesh, book, spreading, hidden)
        nursery.cancel_scope.cancel()
