"""Members find each other by multicast on this machine's loopback interface."""

import dataclasses
import secrets

from tests.patience import patience

from gossamer_mesh.drivers import MeshConfig, open_mesh
from gossamer_mesh.identity import Identity
from gossamer_mesh.keyring import Keyring

KEY = bytes(range(32))


def config_of(mesh_name: str) -> MeshConfig:
    return MeshConfig(
        identity=Identity.generate(), keyring=Keyring((KEY,)), mesh_name=mesh_name, discovery=True
    )


async def test_members_of_one_name_find_each_other() -> None:
    # A name of its own, so that other meshes on this machine stay out of it.
    name = f"test-{secrets.token_hex(4)}"
    other_name = dataclasses.replace(config_of(name), mesh_name=f"{name}-other")
    async with (
        open_mesh(other_name) as stranger,
        open_mesh(config_of(name)) as one,
        open_mesh(config_of(name)) as other,
    ):
        with patience():
            assert (await one.next_event()).member.id == other.node_id
            assert (await other.next_event()).member.id == one.node_id
        # The stranger was found too, but nobody asked it: not one datagram reached it.
        assert "datagrams_received" not in stranger.statistics()
