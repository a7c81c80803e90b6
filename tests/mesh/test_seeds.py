"""Seeds by name: several addresses, other addresses later, and beside discovery."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from tests.mesh.mesh_fixture import config_of, meshes
from tests.patience import until
from trio.testing import MockClock

from gossamer_mesh.drivers import MeshConfig, open_mesh, sockets
from gossamer_mesh.drivers.config import Address
from gossamer_mesh.drivers.seeds import (
    RESOLVE_AGAIN_INTERVAL_S,
    RESOLVE_INTERVAL_S,
    keep_seeds,
)
from gossamer_mesh.identity import Identity
from gossamer_mesh.keyring import Keyring

NAME = ("nodes.example", 7_407)
FIRST, SECOND, THIRD = (("192.0.2.1", 7_407), ("192.0.2.2", 7_407), ("192.0.2.3", 7_407))


class Names:
    """A name server whose answers change, and who of them is a member."""

    def __init__(self) -> None:
        self.answer: list[Address] = []
        self.asked = 0
        self.met: set[Address] = set()
        self.told: list[tuple[set[Address], set[Address]]] = []

    async def resolve(self, seed: Address) -> list[Address]:
        await trio.lowlevel.checkpoint()
        self.asked += 1
        return [seed] if seed[0][0].isdigit() else list(self.answer)

    async def run(self, *seeds: Address) -> None:
        await keep_seeds(
            seeds,
            resolve=self.resolve,
            is_met=lambda places: bool(places & self.met),
            found=lambda known, new: self.told.append((set(known), set(new))),
        )


async def test_a_name_is_looked_up_until_found_and_again_when_all_moved(
    autojump_clock: MockClock,
) -> None:
    names = Names()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(names.run, NAME)
        await trio.sleep(3.5 * RESOLVE_INTERVAL_S)
        assert (names.asked, names.told) == (4, [])
        names.answer = [FIRST, SECOND]
        await trio.sleep(RESOLVE_INTERVAL_S)
        assert names.told == [({FIRST, SECOND}, {FIRST, SECOND})]
        # A member is there: nobody asks.
        names.met, asked = {SECOND}, names.asked
        await trio.sleep(5 * RESOLVE_AGAIN_INTERVAL_S)
        assert names.asked == asked
        # All of them moved. While the name server is down the old ones are kept.
        names.met, names.answer = set(), []
        await trio.sleep(RESOLVE_AGAIN_INTERVAL_S)
        assert len(names.told) == 1
        names.answer = [SECOND, THIRD]
        await trio.sleep(RESOLVE_AGAIN_INTERVAL_S)
        assert names.told[1:] == [({SECOND, THIRD}, {THIRD})]
        nursery.cancel_scope.cancel()


async def test_digits_are_looked_up_once(autojump_clock: MockClock) -> None:
    names = Names()
    await names.run(FIRST, SECOND)
    assert names.asked == 2
    assert names.told[-1][0] == {FIRST, SECOND}


async def test_a_mesh_is_found_through_any_address_of_a_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of three addresses of the name, one has a member; later the name leads elsewhere."""
    monkeypatch.setattr("gossamer_mesh.drivers.seeds.RESOLVE_INTERVAL_S", 0.05)
    monkeypatch.setattr("gossamer_mesh.drivers.seeds.RESOLVE_AGAIN_INTERVAL_S", 0.05)
    answer: list[Address] = []
    real: Callable[[Address, int], Awaitable[list[Address]]] = sockets.resolve

    async def resolve(address: Address, family: int) -> list[Address]:
        return list(answer) if address == NAME else await real(address, family)

    monkeypatch.setattr("gossamer_mesh.drivers.mesh.resolve", resolve)
    async with open_mesh(config_of(NAME)) as mesh:
        async with meshes(1) as (first,):
            answer[:] = [("127.0.0.1", 1), ("127.0.0.1", 2), first.address]
            await until(lambda: len(mesh.members()) == 2)
        await until(lambda: len(mesh.members()) == 1)
        async with meshes(1) as (second,):
            answer[:] = [second.address]
            await until(lambda: len(mesh.members()) == 2)


async def test_discovery_and_seeds_at_once() -> None:
    """One member through its seed, another by multicast, both by the same node; a mesh of another
    name beside them is not found by either."""

    def announced(mesh_name: str, *seeds: Address) -> MeshConfig:
        return MeshConfig(
            identity=Identity.generate(),
            keyring=Keyring((bytes(reversed(range(32))),)),
            mesh_name=mesh_name,
            discovery=True,
            seeds=seeds,
        )

    mesh_name = f"both-{Identity.generate().node_id[:8]}"
    quiet = MeshConfig(
        identity=Identity.generate(),
        keyring=Keyring((bytes(reversed(range(32))),)),
        mesh_name=mesh_name,
    )
    async with (
        open_mesh(quiet) as seed,
        open_mesh(announced(mesh_name)) as heard,
        open_mesh(announced(f"{mesh_name}-2")) as foreign,
        open_mesh(announced(mesh_name, seed.address)) as mesh,
    ):
        await until(lambda: len(mesh.members()) == 3)
        ids = {each.id for each in mesh.members()}
        assert ids == {seed.node_id, heard.node_id, mesh.node_id}
        assert len(foreign.members()) == 1
        assert foreign.statistics().get("datagrams_received", 0) == 0
