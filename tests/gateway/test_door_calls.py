"""The door in front of gRPC: a real server, and calls with and without what opens it."""

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trio
from tests.gateway.door_world import (
    NOW_MS,
    WITH_KEYS,
    Authority,
    Clock,
    MemoryStorage,
    keyring_of,
    new_key,
)
from tests.gateway.grpc_unary import unary

from gossamer_gateway.door.calls import admit_call
from gossamer_gateway.door.certificates import Subjects
from gossamer_gateway.door.config import DoorConfig
from gossamer_gateway.door.gate import Gate
from gossamer_gateway.door.limits import Limit
from gossamer_gateway.door.principals import Grant, Principal, Role
from gossamer_gateway.door.rules import SERVICE
from gossamer_gateway.grpc import Asked, GrpcServer
from gossamer_node.grpc import Channel, Code, RpcError

TOPOLOGY, STREAM = SERVICE + "Topology", SERVICE + "StreamActivatedJobs"
CONFIG = DoorConfig(
    WITH_KEYS, limits=(Limit("calls", 2, 60_000, paths=(f"{SERVICE}*",)),), waiting_max=1
)


class World:
    def __init__(self) -> None:
        storage = MemoryStorage(Clock())
        self.reader = new_key(storage, "reader", Grant(Role.READ))
        self.worker = new_key(storage, "worker", Grant(Role.WORK, (), (STREAM,)))
        self.gate = Gate(CONFIG, keyring=keyring_of(storage), now_ms=Clock())
        self.who: list[Principal] = []
        self.port = 0
        self.waiting = trio.Event()

    async def topology(self, asked: Asked) -> bytes:
        async with admit_call(self.gate, asked.metadata, asked.certificate, asked.path) as who:
            self.who.append(who)
            return who.name.encode()

    async def stream(self, asked: Asked) -> None:
        async with admit_call(self.gate, asked.metadata, asked.certificate, asked.path):
            self.waiting.set()
            await trio.sleep_forever()

    async def call(self, path: str, **metadata: str) -> bytes:
        channel = Channel("127.0.0.1", self.port, tls=None, peer="the gateway")
        told = [(name.replace("_", "-"), value) for name, value in metadata.items()]
        try:
            (answer,) = await channel.call(
                path,
                b"",
                timeout_ms=60_000,
                metadata=[(name.encode(), value.encode()) for name, value in told],
            )
            return answer
        finally:
            await channel.aclose()


@pytest.fixture
async def world(nursery: trio.Nursery) -> AsyncIterator[World]:
    world = World()
    methods = {TOPOLOGY: unary(world.topology), STREAM: world.stream}
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    world.port = listener.socket.getsockname()[1]
    await nursery.start(GrpcServer(methods).serve, listener)
    yield world
    nursery.cancel_scope.cancel()


async def test_a_key_opens(world: World) -> None:
    assert await world.call(TOPOLOGY, authorization=f"Bearer {world.reader}") == b"reader"
    assert await world.call(TOPOLOGY, x_api_key=world.reader) == b"reader"


@pytest.mark.parametrize(
    "metadata", [{}, {"authorization": "Bearer gsk_x"}, {"authorization": "Bearer a.b.c"}]
)
async def test_who_says_nothing_true_stays_outside(world: World, metadata: dict[str, str]) -> None:
    with pytest.raises(RpcError) as refusal:
        await world.call(TOPOLOGY, **metadata)
    assert refusal.value.code is Code.UNAUTHENTICATED
    assert world.who == []


async def test_a_role_is_not_another(world: World) -> None:
    for path, key in ((STREAM, world.reader), (TOPOLOGY, world.worker)):
        with pytest.raises(RpcError) as refusal:
            await world.call(path, authorization=f"Bearer {key}")
        assert refusal.value.code is Code.PERMISSION_DENIED


async def test_limits_and_places_are_kept(world: World) -> None:
    reader = f"Bearer {world.reader}"
    for _ in range(2):
        await world.call(TOPOLOGY, authorization=reader)
    with pytest.raises(RpcError, match="Too many") as refusal:
        await world.call(TOPOLOGY, authorization=reader)
    assert refusal.value.code is Code.RESOURCE_EXHAUSTED

    worker = f"Bearer {world.worker}"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(world.call, STREAM, authorization=worker))
        await world.waiting.wait()
        for _ in range(3):
            with pytest.raises(RpcError, match="wait already") as refusal:
                await world.call(STREAM, authorization=worker)
            assert refusal.value.code is Code.RESOURCE_EXHAUSTED
        nursery.cancel_scope.cancel()


async def test_a_place_comes_back_however_the_call_ends() -> None:
    gate = Gate(replace(CONFIG, authentication=()), now_ms=Clock())
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            async with admit_call(gate, {}, None, STREAM):
                1 / 0  # noqa: B018


async def test_a_certificate_opens(tmp_path: Path) -> None:
    config = DoorConfig((Subjects({"cn:worker": (Grant(Role.WORK),)}),))
    der = Authority(tmp_path).der("worker")

    gate = Gate(config, now_ms=lambda: int(time.time() * 1_000))
    async with admit_call(gate, {}, der, STREAM) as who:
        assert who.name == "cn:worker"
    late = Gate(config, now_ms=lambda: NOW_MS * 2)
    with pytest.raises(RpcError, match="expired"):
        async with admit_call(late, {}, der, STREAM):
            pytest.fail("it has ended")


async def test_a_method_that_is_not_known_is_the_admins(world: World) -> None:
    with pytest.raises(RpcError, match="role admin"):
        async with admit_call(
            world.gate, {b"x-api-key": world.reader.encode()}, None, SERVICE + "New"
        ):
            pytest.fail("it is let in")
