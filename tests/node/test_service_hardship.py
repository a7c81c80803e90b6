"""What goes wrong between and below nodes that keep services: wrong bytes, silent members, broken
disks, clocks, two who decide at once. Each is contained, and what can be mended mends itself.
"""

import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.node.registry_world import MESH, CountingEngine, World, node, service, sign
from tests.patience import until

from gossamer_mesh.drivers.calls import Handler
from gossamer_mesh.drivers.links import SERVICES
from gossamer_mesh.identity import operator_of
from gossamer_mesh.orders import NUMBER_MAX, next_number
from gossamer_mesh.packing import pack, unpack
from gossamer_node.errors import NodeError, ServiceError
from gossamer_node.jobs import Failed, Job, JobRef
from gossamer_node.registry import travel
from gossamer_node.registry.package import (
    read_package,
    read_word,
    sign_addition,
    sign_removal,
    write_signature,
)
from gossamer_node.variables import Variables
from gossamer_node.wasm import Detached

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
OPERATORS = [operator_of(KEY), operator_of(OTHER)]

CHUNK = 32
"""Small, so that a small module has many."""

Answer = Callable[[bytes], bytes | None]


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a node does every second or so, it does more often here; nothing is measured."""
    monkeypatch.setattr(travel, "LOOK_S", 0.1)
    monkeypatch.setattr(travel, "PAUSE_S_FIRST", 0.1)
    monkeypatch.setattr(travel, "DISK_PAUSE_S", 0.1)


@asynccontextmanager
async def mesh_of(folder: Path, count: int) -> AsyncIterator[list[World]]:
    async with AsyncExitStack() as stack:
        worlds: list[World] = []
        for number in range(count):
            seeds = [worlds[0].mesh.address] if worlds else []
            opened = node(folder / f"node-{number}", seeds=seeds, operators=OPERATORS)
            worlds.append(await stack.enter_async_context(opened))
        for world in worlds:
            await until(lambda world=world: len(world.mesh.members()) == count)  # type: ignore[misc]
        yield worlds


def serve_chunks(world: World, change: Callable[[str, int, bytes], bytes | None]) -> None:
    """Lets a node change the chunks that it sends: by the module's hash and the chunk's place."""
    honest = world.travel._answer

    async def answer(sender: str, question: bytes) -> bytes | None:
        asked = unpack(question)
        plain = await honest(sender, question)
        return plain if asked[0] != "module" else change(asked[1].hex(), asked[2], plain)

    world.mesh.handle(SERVICES, Handler(answer, 1_024, 10.0, 2**24))


def flipped(answer: bytes, at: int) -> bytes:
    chunk = bytearray(unpack(answer))
    chunk[at] ^= 1
    return pack(bytes(chunk))


TAMPERED: dict[str, Callable[[int, int, bytes], bytes | None]] = {
    # (offset, size, answer)
    "first bit": lambda offset, size, one: flipped(one, 0) if offset == 0 else one,
    "first chunk's end": lambda offset, size, one: flipped(one, -1) if offset == 0 else one,
    "middle": lambda offset, size, one: flipped(one, 9) if offset == 2 * CHUNK else one,
    "last bit": lambda offset, size, one: flipped(one, -1) if offset + CHUNK >= size else one,
    "all": lambda offset, size, one: flipped(one, 0),
}

MISSHAPEN: dict[str, Callable[[int, int, bytes], bytes | None]] = {
    "length field": lambda offset, size, one: one[:1] + bytes((one[1] ^ 1,)) + one[2:],
    "kind": lambda offset, size, one: bytes((one[0] ^ 1,)) + one[1:],
    "one byte short": lambda offset, size, one: pack(unpack(one)[:-1]),
    "one byte long": lambda offset, size, one: pack(unpack(one) + b"x"),
    "nothing": lambda offset, size, one: pack(b""),
    "text": lambda offset, size, one: pack("x" * CHUNK),
    "a list": lambda offset, size, one: pack([unpack(one)]),
    "no end": lambda offset, size, one: pack(bytes(travel.ANSWER_BYTES_MAX + 1)),
    "cut off": lambda offset, size, one: one[:-1],
    "no answer": lambda offset, size, one: None,
}


async def test_wrong_bytes_at_any_place_are_refused_and_another_member_has_the_right_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(travel, "CHUNK_BYTES", CHUNK)
    monkeypatch.setattr(travel, "FETCHES_MAX", 32)
    monkeypatch.setattr(travel, "PAUSE_S_LAST", 1.0)
    monkeypatch.setattr(travel, "TIMEOUT_S", 3.0)
    kinds = {**TAMPERED, **MISSHAPEN}
    files = [sign(service(tmp_path, f"s{n}", turns=n + 1), KEY) for n in range(len(kinds))]
    async with mesh_of(tmp_path, 2) as (first, second):
        by_module: dict[str, tuple[str, int]] = {}
        asked: set[str] = set()

        def change(module: str, offset: int, answer: bytes) -> bytes | None:
            kind, size = by_module[module]
            asked.add(kind)
            return kinds[kind](offset, size, answer)

        serve_chunks(first, change)
        for file, kind in zip(files, kinds, strict=True):
            told = await first.stock.add(file)
            by_module[str(told["module"])] = (kind, int(str(told["bytes"])))
        assert min(size for _, size in by_module.values()) > 4 * CHUNK
        await until(lambda: second.travel.counts["content_refused"] == len(TAMPERED))
        await until(lambda: asked == set(kinds) and second.travel.counts["chunks_refused"] > 0)
        states = {second.state(f"s{n}", "1.0.0") for n in range(len(kinds))}
        assert states == {"coming"}
        services = tmp_path / "node-1" / "services"
        assert list(services.glob("*.wasm")) == []
        assert all(one.stat().st_size < 2**16 for one in (services / "coming").iterdir())
        seeds = [first.mesh.address]
        async with node(tmp_path / "third", seeds=seeds, operators=OPERATORS) as third:
            for file in files:
                await third.stock.add(file)
            names = [f"s{n}" for n in range(len(kinds))]
            await until(lambda: {second.state(one, "1.0.0") for one in names} == {"live"})


async def test_a_member_that_stalls_in_a_module_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(travel, "CHUNK_BYTES", CHUNK)
    monkeypatch.setattr(travel, "TIMEOUT_S", 0.5)
    file = sign(service(tmp_path), KEY)
    async with mesh_of(tmp_path, 2) as (first, second):
        honest, stalled = first.travel._answer, trio.Event()

        async def stall(sender: str, question: bytes) -> bytes:
            asked = unpack(question)
            if asked[0] == "module" and asked[2] > CHUNK:
                stalled.set()
                await trio.sleep_forever()
            return await honest(sender, question)

        first.mesh.handle(SERVICES, Handler(stall, 1_024, 10.0, 2**20))
        await first.stock.add(file)
        await stalled.wait()
        await until(lambda: second.travel.counts["questions_failed"] >= 1)
        coming = tmp_path / "node-1" / "services" / "coming"
        assert [one.stat().st_size for one in coming.iterdir()] == [2 * CHUNK]
        assert (await second.stock.add(service(tmp_path, "own", turns=2)))["state"] == "live"
        first.mesh.handle(SERVICES, Handler(honest, 1_024, 10.0, 2**20))
        await until(lambda: second.state("rate", "1.0.0") == "live")
        # It went on where it was.
        assert second.travel.counts["bytes_fetched"] == file.with_name("worker.wasm").stat().st_size


async def test_two_nodes_that_add_different_bytes_as_one_version_end_with_the_same(
    tmp_path: Path,
) -> None:
    number = next_number(0)
    async with mesh_of(tmp_path, 3) as worlds:
        await worlds[0].stock.add(sign(service(tmp_path), KEY))
        for world, key, turns in ((worlds[1], KEY, 2), (worlds[2], OTHER, 3)):
            file = service(tmp_path / str(turns), version="2.0.0", turns=turns)
            package = read_package(file, with_signature=False)
            write_signature(file, sign_addition(key, MESH, number, package))
            await world.stock.add(file)
        await until(lambda: {one.state("rate", "2.0.0") for one in worlds} == {"live"})
        await until(lambda: len({one.registry.digest() for one in worlds}) == 1)
        rows = [one.registry.get("rate", "2.0.0") for one in worlds]
        assert len({row.module for row in rows if row}) == 1
        # The version before comes to all of them as well, and rests.
        await until(lambda: {one.state("rate", "1.0.0") for one in worlds} == {"registered"})


async def test_an_old_order_played_again_brings_nothing_back(tmp_path: Path) -> None:
    file = sign(service(tmp_path), KEY)
    order = read_package(file).order
    assert order is not None
    async with node(tmp_path / "node", operators=OPERATORS) as world:
        await world.stock.add(file)
        number = next_number(world.stock.highest("rate", "1.0.0"))
        await world.stock.order(sign_removal(KEY, MESH, number, "rate", "1.0.0"))
        assert await world.stock.learn([read_word(order, MESH, OPERATORS)]) == 0
        assert world.state("rate", "1.0.0") == "none"
        with pytest.raises(ServiceError, match="a machine whose clock is right"):
            await world.stock.add(file)


async def test_a_clock_that_was_set_back_is_named_and_hinders_no_removal(tmp_path: Path) -> None:
    file = service(tmp_path)
    package = read_package(file, with_signature=False)
    tomorrow = next_number(0) + 86_400_000
    async with node(tmp_path / "node", operators=OPERATORS) as world:
        write_signature(file, sign_addition(KEY, MESH, tomorrow, package))
        await world.stock.add(file)
        await world.stock.remove("rate", None)
        # One's own decision is later than what it is about, whatever the clock says.
        assert world.stock.highest("rate", "1.0.0") > tomorrow
        await world.stock.add(file)
        with pytest.raises(ServiceError, match="a machine whose clock is right"):
            await world.stock.add(sign(file, KEY))


async def test_what_an_operator_decided_who_is_trusted_no_more_yields(tmp_path: Path) -> None:
    file = service(tmp_path)
    package = read_package(file, with_signature=False)
    write_signature(file, sign_addition(OTHER, MESH, NUMBER_MAX, package))
    async with node(tmp_path / "node", operators=OPERATORS) as world:
        await world.stock.add(file)
        assert world.state("rate", "1.0.0") == "live"
    # The key was stolen, and is taken off the configuration.
    async with node(tmp_path / "node", operators=OPERATORS[:1]) as world:
        row = world.registry.get("rate", "1.0.0")
        assert row is not None and "is no operator here" in row.refused
        told = await world.stock.add(sign(service(tmp_path, turns=2), KEY))
        assert told["state"] == "live"
        # The stolen key's order cannot come back.
        assert await world.stock.learn([]) == 0
        row = world.registry.get("rate", "1.0.0")
        assert row is not None and row.number < NUMBER_MAX


async def test_a_module_that_breaks_on_the_disk_is_fetched_anew(tmp_path: Path) -> None:
    file = sign(service(tmp_path), KEY)
    async with mesh_of(tmp_path, 2) as (first, second):
        await first.stock.add(sign(service(tmp_path, version="0.9.0", turns=2), KEY))
        await first.stock.add(file)
        await until(lambda: second.state("rate", "1.0.0") == "live")
        await until(lambda: second.state("rate", "0.9.0") == "registered")
        one = second.executor.callee("rate")
        row = second.registry.get("rate", "1.0.0")
        assert one is not None and row is not None
        await second.loader.park(one.worker)  # type: ignore[arg-type]
        second.registry.contents.module(row.module).write_bytes(b"\0asm")
        with pytest.raises(ServiceError, match="is not the one that was added"):
            await second.loader.live(one.worker)  # type: ignore[arg-type]
        second.loader.broken(one.worker, "as a job that comes would say")  # type: ignore[arg-type]
        await until(lambda: second.state("rate", "1.0.0") == "live")
        assert second.travel.counts["module_fetched"] == 3


async def test_a_module_that_nobody_else_has_is_refused_and_the_one_before_takes_over(
    tmp_path: Path,
) -> None:
    engine = CountingEngine()
    async with node(tmp_path / "node", [engine]) as world:
        await world.stock.add(service(tmp_path, version="1.0.0"))
        await world.stock.add(service(tmp_path, version="2.0.0"))
    async with node(tmp_path / "node", [engine]) as world:
        row = world.registry.get("rate", "2.0.0")
        assert row is not None
        world.registry.contents.module(row.module).unlink()
        served = world.executor.callee("rate")
        assert served is not None
        job = Job(JobRef("none", "1", "rate", "test", retries=3), Variables(), lock_ms=60_000)
        outcome = await served.worker.run(job, deadline_ms=60_000, context=Detached())
        # The try costs the job nothing, and the next one finds the version before.
        assert isinstance(outcome, Failed) and outcome.retries == 3
        assert "cannot be read (No such file or directory); add the service" in outcome.message
        await until(lambda: world.state("rate", "2.0.0") == "refused")
        await until(lambda: world.state("rate", "1.0.0") == "live")
        engine.add("rate", 1)
        await until(lambda: engine.versions["1.0.0"] == 1)
        # To add it again mends it.
        await world.stock.add(service(tmp_path, version="2.0.0"))
        assert world.state("rate", "2.0.0") == "live"


async def test_a_folder_that_takes_nothing_says_so_and_the_node_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with mesh_of(tmp_path, 2) as (first, second):
        coming = tmp_path / "node-1" / "services" / "coming"
        coming.rmdir()
        coming.write_text("a file where a folder should be: to root, too, that is unwritable")
        with pytest.raises(NodeError, match=r"the service cannot be kept in .*; see to the disk"):
            await second.stock.add(service(tmp_path, "own"))
        assert second.registry.known() == 0
        await first.stock.add(sign(service(tmp_path), KEY))
        await until(lambda: "see to the disk" in caplog.text)
        assert second.state("rate", "1.0.0") == "coming"
        coming.unlink()
        coming.mkdir()
        await until(lambda: second.state("rate", "1.0.0") == "live")


async def test_a_registry_that_breaks_is_said_in_a_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "node"
    async with node(folder, operators=OPERATORS) as world:
        for number in range(30):
            await world.stock.add(service(tmp_path, f"s{number}"))
    file = folder / "services" / "registry.sqlite"
    whole = file.read_bytes()
    assert len(whole) > 3 * 4_096
    file.write_bytes(whole[:4_096] + os.urandom(len(whole) - 4_096))
    with pytest.raises(NodeError, match=r"registry .* cannot be .* move .* add the services"):
        async with node(folder, operators=OPERATORS):
            pass
    file.write_bytes(b"")
    async with node(folder, operators=OPERATORS) as world:
        assert world.registry.known() == 0
