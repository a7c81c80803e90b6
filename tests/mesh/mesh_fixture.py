"""Real members in one process, quick ones."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from tests.patience import until

from gossamer_mesh.drivers import Mesh, MeshConfig, open_mesh
from gossamer_mesh.drivers.config import Address, anyone
from gossamer_mesh.identity import Identity
from gossamer_mesh.keyring import Keyring
from gossamer_mesh.swim.config import Config

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
RING = Keyring((OLD,))

QUICK = Config(
    probe_interval_ms=100,
    probe_timeout_ms=50,
    gossip_interval_ms=20,
    join_retry_ms=50,
    sync_interval_ms=1_000,
    reconnect_interval_ms=500,
    leave_timeout_ms=500,
    stall_ms=50,
)
"""A tenth of the usual times: a death is known in half a second."""

PATIENT = Config(probe_interval_ms=500, probe_timeout_ms=100, gossip_interval_ms=50)
"""A handshake must fit in a probe, on a busy machine too; a death is known in seconds."""


def config_of(
    *seeds: Address,
    ring: Keyring = RING,
    identity: Identity | None = None,
    admits: Callable[[str], bool] = anyone,
    port: int = 0,
) -> MeshConfig:
    return MeshConfig(
        identity=identity or Identity.generate(),
        keyring=ring,
        seeds=seeds,
        admits=admits,
        tuning=QUICK,
        port=port,
    )


@asynccontextmanager
async def meshes(count: int, ring: Keyring = RING) -> AsyncIterator[list[Mesh]]:
    """Members that all know each other."""
    async with AsyncExitStack() as stack:
        opened: list[Mesh] = []
        for _ in range(count):
            seeds = [opened[0].address] if opened else []
            opened.append(await stack.enter_async_context(open_mesh(config_of(*seeds, ring=ring))))
        for mesh in opened:
            await until(lambda mesh=mesh: len(mesh.members()) == count)  # type: ignore[misc]
        yield opened


def count_of(mesh: Mesh, name: str) -> int:
    return mesh.statistics().get(name, 0)
