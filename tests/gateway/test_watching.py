"""A gateway that watches real members of a mesh: it asks, hears, and is not harmed."""

from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.gateway.v1_world import open_gateway
from tests.patience import patience, until

from gossamer_gateway.errors import Overloaded
from gossamer_gateway.watching import watching
from gossamer_mesh.drivers import Mesh, MeshConfig, open_mesh
from gossamer_mesh.drivers.calls import Handler
from gossamer_mesh.drivers.links import WATCH
from gossamer_mesh.identity import Identity
from gossamer_mesh.keyring import Keyring
from gossamer_mesh.packing import pack, unpack
from gossamer_node.watching import Told

RING = Keyring((bytes(range(32)),))

ROW = {
    "role": "node", "version": "1", "up_ms": 1, "slots": 2, "running": 0, "unacknowledged": 0,
    "services": 0, "leases": 0, "outcomes": {}, "engines": [], "claimed": {}, "gossip": {},
}  # fmt: skip


async def join(stack: AsyncExitStack, name: str, seed: Mesh) -> Mesh:
    """One more member."""
    config = MeshConfig(Identity.generate(), RING, name=name, seeds=(seed.address,))
    mesh = await stack.enter_async_context(open_mesh(config))
    await mesh.join([seed.address])
    return mesh


async def test_it_asks_who_is_there_and_tells_who_watches() -> None:
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(open_gateway(RING))
        with gateway.watching.watch() as subscription:
            node = await join(stack, "one", gateway.mesh)
            Told(node, lambda section, after: [[dict(ROW)] if section == "node" else [], []])

            def seen() -> Any:
                shown = gateway.watching.picture.node(node.node_id)
                return shown is not None and shown.slots == 2

            await until(seen)
            kinds = [one.kind for one in await subscription.next() if one.subject == node.node_id]
            assert kinds[0] == "node.joined" and set(kinds[1:]) <= {"node.changed"}
            await node.leave()

            async def left() -> None:
                while True:
                    for one in await subscription.next():
                        if one.kind == "node.left":
                            return

            with patience():
                await left()


async def test_junk_and_silence_of_members_do_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    answers: list[Any] = [
        b"", b"\xff\xff", pack(None), pack([1]), pack([[ROW] * 500, []]), pack([[], ["a", "b"]]),
        pack([[dict(ROW, slots=-1)], []]), pack([[dict(ROW, slots=2**63)], []]),
        pack([[dict(ROW, claimed={"g": 1})], []]), pack([[dict(ROW, version="x" * 9_999)], []]),
    ]  # fmt: skip
    asked = 0

    async def answer(_sender: str, data: bytes) -> bytes | None:
        nonlocal asked
        assert unpack(data)[0] in ("node", "services", "leases")
        asked += 1
        return answers[asked % len(answers)]  # type: ignore[no-any-return]

    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(open_gateway(RING))
        node = await join(stack, "junk", gateway.mesh)
        node.handle(WATCH, Handler(answer, 4_096, 5.0, 2**20))
        silent = await join(stack, "silent", gateway.mesh)

        def looked() -> bool:
            gateway.watching._pauses_s.clear()  # in a hurry
            gateway.watching._asked_s.clear()
            shown = gateway.watching.picture.node(silent.node_id)
            return asked > 3 * len(answers) and shown is not None and shown.silent

        with gateway.watching.watch():
            await until(looked)
        shown = gateway.watching.picture.node(node.node_id)
        assert shown is not None and (shown.version is None or len(shown.version) <= 256)
        assert (await gateway.http.get("/v1/nodes")).status_code == 200
    assert not [one for one in caplog.records if one.levelname == "ERROR"]


async def test_who_reads_too_slowly_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "WAITING_MAX", 10)
    monkeypatch.setattr(watching, "SUBSCRIBERS_MAX", 2)
    async with open_gateway(RING) as gateway:
        with gateway.watching.watch() as slow, gateway.watching.watch() as quick:
            with pytest.raises(Overloaded), gateway.watching.watch():
                pass
            for number in range(30):
                gateway.watching.tell("route.changed", str(number), {})
                assert [one.subject for one in await quick.next()][-1] == str(number)
            assert slow.is_cut and await slow.next() == []
            assert not quick.is_cut
        assert gateway.watching.watchers == 0


async def test_a_gateway_nobody_looks_at_asks_seldom() -> None:
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(open_gateway(RING))
        node = await join(stack, "one", gateway.mesh)
        told = Told(node, lambda section, after: [[dict(ROW)] if section == "node" else [], []])
        await until(lambda: told.counts["questions"] >= 1)
        at_rest = gateway.watching.counts["questions"]
        with gateway.watching.watch():
            await until(lambda: told.counts["questions"] >= 4)
        assert at_rest <= 2
        assert not gateway.watching._due()


async def test_a_gateway_tells_others_what_it_is() -> None:
    async with (
        open_gateway(RING, name="one") as one,
        open_gateway(
            RING, name="two", seeds=[f"{one.mesh.address[0]}:{one.mesh.address[1]}"]
        ) as two,
    ):

        def known() -> bool:
            shown = one.watching.picture.node(two.mesh.node_id)
            return shown is not None and shown.role == "gateway" and shown.slots is None

        with one.watching.watch():
            await until(known)
