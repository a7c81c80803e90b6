"""Gateways with settings, as far as tests of them need: rows in memory, and real members."""

import sqlite3
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from tests.mesh.mesh_fixture import QUICK, RING

from gossamer_gateway.overrides.overrides import FORMS as OVERRIDE_FORMS
from gossamer_gateway.routing.router import FORMS, Router
from gossamer_gateway.settings import keeping
from gossamer_gateway.settings.book import Book
from gossamer_gateway.settings.spreading import TAG, Spreading
from gossamer_gateway.storage.port import Command, T
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


class FileStorage:
    """Rows in a SQLite file or in memory; each command is a transaction."""

    def __init__(self, path: Path | None = None) -> None:
        self.connection = sqlite3.connect(
            ":memory:" if path is None else path, isolation_level=None, timeout=10
        )
        (tables,) = self.connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if not tables:
            self.connection.executescript(keeping.SCHEMA)

    async def submit(self, command: Command[T]) -> T:
        await trio.lowlevel.checkpoint()
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            found = command(self.connection, time.time_ns() // 1_000_000)
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")
        return found


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
    storage: FileStorage | None = None,
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
    book = Book(storage or FileStorage(), identity, MESH, ALL_FORMS)
    await book.refresh()
    async with open_mesh(config) as mesh:
        spreading = Spreading(mesh, book, peers, lambda digest: mesh.set_tags({TAG: digest}))
        async with trio.open_nursery() as nursery:
            await nursery.start(spreading.run)
            yield Gateway(mesh, book, spreading, hidden)
            nursery.cancel_scope.cancel()
