"""The real engines as a chaos run needs them: each with a witness of what happened, and with data
that stay, so that it can be restarted. They listen on 127.0.0.1; nodes reach them by a door."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import trio
from tests.integration.chaos_witnesses import (
    Camunda7History,
    Witness,
    ZeebeRecords,
    exporter,
    open_records,
)

from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.factory import open_engine
from gossamer_node.engines.port import Engine
from gossamer_node.local_engines import (
    Progress,
    RunningCamunda7,
    RunningZeebe,
    start_camunda7,
    start_zeebe,
)
from gossamer_node.local_engines.processes import free_ports
from gossamer_node.local_engines.progress import silent

Kind = Literal["camunda7", "camunda8"]
KINDS: tuple[Kind, ...] = ("camunda7", "camunda8")

NAMES = {"camunda7": "seven", "camunda8": "eight"}
"""What nodes call them."""

PATHS = {"camunda7": "/engine-rest", "camunda8": ""}


@dataclass(slots=True)
class ChaosEngine:
    """An engine that runs, and can be stopped and started with its data.

    Attributes:
        witness: what it says of the past, also after a restart.
        client: the adapter that Gossamer itself would use; a new one after each start.
    """

    kind: Kind
    witness: Witness
    _folder: Path
    _progress: Progress
    _properties: dict[str, str]
    _running: AbstractAsyncContextManager[RunningCamunda7 | RunningZeebe] | None = None
    _client: Engine | None = None
    _url: str = ""

    @property
    def name(self) -> str:
        return NAMES[self.kind]

    @property
    def client(self) -> Engine:
        assert self._client is not None, "the engine is stopped"
        return self._client

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""
        port = urlsplit(self._url).port
        assert port is not None
        return port

    def url_at(self, host: str, port: int) -> str:
        """Its URL for who reaches it through a door."""
        return f"http://{host}:{port}{PATHS[self.kind]}"

    async def start(self) -> None:
        starting: AbstractAsyncContextManager[RunningCamunda7 | RunningZeebe]
        if self.kind == "camunda7":
            starting = start_camunda7(progress=self._progress, properties=self._properties)
        else:
            starting = start_zeebe(progress=self._progress, properties=self._properties)
        url = (await starting.__aenter__()).url
        self._running = starting
        self.use(url)

    def use(self, url: str) -> None:
        """Turns to an engine that runs there."""
        self._url = url
        self._client = open_engine(EngineConfig(self.name, self.kind, url))
        if isinstance(self.witness, Camunda7History):
            self.witness.url = url

    async def stop(self) -> None:
        """SIGTERM; returns when it is gone."""
        with trio.CancelScope(shield=True):
            if self._client is not None:
                await self._client.aclose()
            if self._running is not None:
                await self._running.__aexit__(None, None, None)
            self._client = self._running = None


@asynccontextmanager
async def open_chaos_engine(
    kind: Kind, folder: Path, progress: Progress
) -> AsyncIterator[ChaosEngine]:
    """An engine for the length of a block, its data in a folder of ours.

    Raises: LocalEngineMissing when it can't be had here.
    """
    folder.mkdir(parents=True)
    if kind == "camunda7":
        # Unlike the default's, this database closes, and is on disk, when its last user has gone.
        database = f"jdbc:h2:file:{folder / 'camunda'};LOCK_TIMEOUT=10000"
        properties = {"spring.datasource.url": database}
        engine = ChaosEngine(kind, Camunda7History(""), folder, progress, properties)
        async with _started(engine):
            yield engine
        return
    async with open_records() as records:
        engine = ChaosEngine(kind, records, folder, progress, _zeebe_properties(folder, records))
        async with _started(engine):
            yield engine


@asynccontextmanager
async def borrow_camunda7(url: str) -> AsyncIterator[ChaosEngine]:
    """One that others use, too, for the length of a block in which nobody stops it."""
    engine = ChaosEngine("camunda7", Camunda7History(url), Path(), silent, {})
    engine.use(url)
    try:
        yield engine
    finally:
        await engine.stop()


@asynccontextmanager
async def _started(engine: ChaosEngine) -> AsyncIterator[None]:
    await engine.start()
    try:
        yield
    finally:
        await engine.stop()


def _zeebe_properties(folder: Path, records: ZeebeRecords) -> dict[str, str]:
    (command_port,) = free_ports(1)  # part of what a broker is known by: it stays
    return {
        "zeebe.broker.cluster.clusterName": folder.name,
        "zeebe.broker.network.commandApi.port": str(command_port),
        "zeebe.broker.data.directory": str(folder / "broker"),
        **exporter(records),
    }
