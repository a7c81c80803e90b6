"""A node offers what its registry has chosen, and others hear of every change of that."""

from pathlib import Path

from tests.node.registry_world import World, node, service
from tests.patience import until

from gossamer_node.service.spec import Dependency


def offered(world: World, name: str = "rate") -> list[tuple[str, str]]:
    return [(one.member, one.version) for one in world.offers.of(name)]


async def test_an_added_version_is_offered_until_another_is_chosen_or_it_is_removed(
    tmp_path: Path,
) -> None:
    async with node(tmp_path / "a") as a, node(tmp_path / "b", seeds=[a.mesh.address]) as b:
        asking = service(tmp_path, "asking", dependencies=[{"name": "rate", "version": "*"}])
        await b.stock.add(asking)
        assert a.offers.stamp() is None
        for version, chosen in (("1.0.0", "1.0.0"), ("2.0.0", "2.0.0"), ("1.1.0", "2.0.0")):
            await a.stock.add(service(tmp_path, version=version))
            assert offered(a) == [(a.mesh.node_id, chosen)]
            await until(lambda: offered(b) == offered(a))
        await a.stock.remove("rate", "2.0.0")
        assert offered(a) == [(a.mesh.node_id, "1.1.0")]
        await until(lambda: offered(b) == offered(a))
        await a.stock.remove("rate", None)
        assert a.offers.stamp() is None and offered(a) == []
        await until(lambda: offered(b) == [])


async def test_an_offer_says_what_other_services_it_depends_on(tmp_path: Path) -> None:
    needs = [{"name": "grpc", "version": "^1.0.0"}, {"name": "base", "version": ">=1 <3"}]
    async with node(tmp_path / "a") as a:
        await a.stock.add(service(tmp_path, dependencies=needs))
        (offer,) = a.offers.of("rate")
        assert offer.needs == (Dependency("base", ">=1 <3"),)
        before = a.offers.stamp()
        await a.stock.add(service(tmp_path, dependencies=needs[:1]))
        assert a.offers.stamp() != before and a.offers.of("rate")[0].needs == ()
