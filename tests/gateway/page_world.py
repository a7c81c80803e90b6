"""What the tests of the page look at: a mesh of node processes, two engines, and a gateway."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.gateway.v1_world import Gateway, key_of, open_gateway
from tests.integration.nodes import agreed, bpmn, new_topic, reaches, works, write_service
from tests.integration.server import Server

from gossamer_hotel.demo.processes import Node, open_nodes
from gossamer_hotel.demo.stage import open_engine_process
from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.factory import open_engine
from gossamer_node.engines.port import Engine
from gossamer_node.local_engines.progress import silent
from gossamer_node.variables import Variables

NODES = 4
PROCESS = "hotel-booking"


@dataclass(frozen=True)
class World:
    """A running one.

    Attributes:
        claimer: of the engine `old`.
        topic: of the one task of `PROCESS`, whose jobs run until `server` answers.
        stop_new: ends the engine `new`.
    """

    gateway: Gateway
    nodes: list[Node]
    claimer: Node
    server: Server
    configs: tuple[EngineConfig, EngineConfig]
    old: Engine
    new: Engine
    topic: str

    stop_new: Callable[[], Awaitable[None]]

    async def start(self, engine: Engine, count: int) -> None:
        """Starts instances of `PROCESS`."""
        for _ in range(count):
            await engine.start(PROCESS, variables=Variables())


@asynccontextmanager
async def open_world(folder: Path, module: bytes, server: Server) -> AsyncIterator[World]:
    """Starts it; everything ends with the block.

    Args:
        module: of guests/telling.c.
    """
    topic = new_topic()
    service = write_service(folder / "hotel", module, [topic])
    homes = [folder / name for name in ("old-engine", "new-engine")]
    for home in homes:
        home.mkdir()
    async with (
        open_engine_process("embedded", None, homes[0], silent) as first,
        AsyncExitStack() as second_ends,
    ):
        second = await second_ends.enter_async_context(
            open_engine_process("embedded", None, homes[1], silent)
        )
        configs = (replace(first, name="old"), replace(second, name="new"))
        engines = [open_engine(one) for one in configs]
        try:
            for one in engines:
                content = bpmn("camunda7", PROCESS, [topic]).encode()
                await one.deploy({"hotel-booking.bpmn": content})
            settings = reaches(*configs) | works(service, server.origin)
            async with open_nodes([settings] * NODES, folder, silent) as nodes:
                claimer = await agreed(nodes, "old")
                seed = nodes[0].status["node"]["address"]
                async with open_gateway(key_of(folder), *configs, seeds=[seed]) as gateway:
                    yield World(
                        gateway=gateway,
                        nodes=nodes,
                        claimer=claimer,
                        server=server,
                        configs=configs,
                        old=engines[0],
                        new=engines[1],
                        topic=topic,
                        stop_new=second_ends.aclose,
                    )
                server.answer()
        finally:
            for one in engines:
                await one.aclose()
