"""Services go from node to node: what is signed, whole and granted; nothing else."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.node.registry_world import MESH, CountingEngine, World, node, service, sign
from tests.patience import until

from gossamer_mesh.drivers.calls import Handler
from gossamer_mesh.drivers.links import SERVICES
from gossamer_mesh.identity import operator_of
from gossamer_mesh.orders import next_number
from gossamer_mesh.packing import pack, unpack
from gossamer_node.errors import ServiceError
from gossamer_node.registry import travel
from gossamer_node.registry.package import sign_removal
from gossamer_node.service.grants import Grants

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(32))
OPERATORS = [operator_of(KEY)]


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a node does every second or so, it does more often here; nothing is measured."""
    monkeypatch.setattr(travel, "LOOK_S", 0.1)
    monkeypatch.setattr(travel, "PAUSE_S_FIRST", 0.1)
    monkeypatch.setattr(travel, "PAUSE_S_LAST", 1.0)


@asynccontextmanager
async def mesh_of(
    folder: Path, count: int, engine: CountingEngine | None = None
) -> AsyncIterator[list[World]]:
    """Nodes that see each other; the first one reaches the engine."""
    async with AsyncExitStack() as stack:
        worlds: list[World] = []
        for number in range(count):
            seeds = [worlds[0].mesh.address] if worlds else []
            engines = [engine] if engine and not worlds else []
            opened = node(folder / f"node-{number}", engines, seeds=seeds, operators=OPERATORS)
            worlds.append(await stack.enter_async_context(opened))
        for world in worlds:
            await until(lambda world=world: len(world.mesh.members()) == count)  # type: ignore[misc]
        yield worlds


def states(worlds: list[World], version: str = "1.0.0") -> list[str]:
    return [one.state("rate", version) for one in worlds]


async def test_a_service_added_on_one_of_three_nodes_works_jobs_on_all_three(
    tmp_path: Path,
) -> None:
    engine = CountingEngine()
    file = sign(service(tmp_path, turns=1_000_000), KEY)
    async with mesh_of(tmp_path, 3, engine) as worlds:
        await worlds[1].stock.add(file)
        await until(lambda: states(worlds) == ["live"] * 3)
        digests = {one.registry.digest() for one in worlds}
        assert len(digests) == 1 and digests != {b""}
        while not all(one.executor.outcomes["completed"] for one in worlds):
            done = len(engine.completed)
            engine.add("rate", 12)
            await until(lambda done=done: len(engine.completed) == done + 12)  # type: ignore[misc]


async def test_a_version_rolls_out_and_back_on_all_nodes_under_load(tmp_path: Path) -> None:
    engine = CountingEngine()
    given = 0
    files = [sign(service(tmp_path, version=f"{n}.0.0", turns=500_000), KEY) for n in (1, 2)]
    async with mesh_of(tmp_path, 3, engine) as worlds, trio.open_nursery() as nursery:
        busy = trio.CancelScope()

        async def keep_busy() -> None:
            nonlocal given
            with busy:
                while True:
                    if engine.waiting() < 20:
                        engine.add("rate", 20)
                        given += 20
                    await trio.sleep(0.01)

        await worlds[1].stock.add(files[0])
        nursery.start_soon(keep_busy)
        await until(lambda: states(worlds) == ["live"] * 3)
        await until(lambda: engine.versions["1.0.0"] >= 50)
        await worlds[2].stock.add(files[1])
        await until(lambda: states(worlds, "2.0.0") == ["live"] * 3)
        await until(lambda: engine.versions["2.0.0"] >= 50)
        await until(lambda: states(worlds) == ["registered"] * 3)
        number = next_number(worlds[0].stock.highest("rate", "2.0.0"))
        await worlds[0].stock.order(sign_removal(KEY, MESH, number, "rate", "2.0.0"))
        await until(lambda: states(worlds) == ["live"] * 3)
        again = engine.versions["1.0.0"]
        await until(lambda: engine.versions["1.0.0"] >= again + 50)
        busy.cancel()
        await until(lambda: len(engine.completed) == given)
        assert states(worlds, "2.0.0") == ["none"] * 3
    # All of them were completed, and none failed: `fail` of this engine raises.
    assert engine.waiting() == 0


async def test_a_module_changed_by_one_bit_on_its_way_is_refused(tmp_path: Path) -> None:
    file = sign(service(tmp_path), KEY)
    async with mesh_of(tmp_path, 2) as (first, second):
        honest = first.travel._answer

        async def flip(sender: str, question: bytes) -> bytes:
            answer = await honest(sender, question)
            if unpack(question)[0] != "module":
                return answer
            chunk = bytearray(unpack(answer))
            chunk[len(chunk) // 2] ^= 1
            return pack(bytes(chunk))

        limits = (travel.REQUEST_BYTES_MAX, travel.TIMEOUT_S, travel.ANSWER_BYTES_MAX)
        first.mesh.handle(SERVICES, Handler(flip, *limits))
        await first.stock.add(file)
        await until(lambda: second.travel.counts["content_refused"] == 1)
        assert second.state("rate", "1.0.0") == "coming"
        assert list((tmp_path / "node-1" / "services").glob("*.wasm")) == []
        assert list((tmp_path / "node-1" / "services" / "coming").glob("*")) == []
        # Nor is it asked again. Another node that has it right is.
        first.mesh.handle(SERVICES, Handler(honest, *limits))
        seeds = [first.mesh.address]
        async with node(tmp_path / "third", seeds=seeds, operators=OPERATORS) as third:
            await until(lambda: third.state("rate", "1.0.0") == "live")
            await until(lambda: second.state("rate", "1.0.0") == "live")


async def test_a_service_yaml_changed_on_its_way_is_refused(tmp_path: Path) -> None:
    file = sign(service(tmp_path), KEY)
    async with mesh_of(tmp_path, 2) as (first, second):
        honest = first.travel._answer

        async def change(sender: str, question: bytes) -> bytes:
            answer = await honest(sender, question)
            if unpack(question)[0] != "description":
                return answer
            return pack(unpack(answer) + b"# and more\n")

        limits = (travel.REQUEST_BYTES_MAX, travel.TIMEOUT_S, travel.ANSWER_BYTES_MAX)
        first.mesh.handle(SERVICES, Handler(change, *limits))
        await first.stock.add(file)
        await until(lambda: second.travel.counts["content_refused"] >= 1)
        assert second.state("rate", "1.0.0") == "coming"


async def test_what_nobody_signed_stays_where_it_is(tmp_path: Path) -> None:
    async with mesh_of(tmp_path, 2) as (first, second):
        await first.stock.add(service(tmp_path, "here", turns=7))
        await first.stock.add(sign(service(tmp_path), KEY))
        await until(lambda: second.state("rate", "1.0.0") == "live")
        assert first.state("here", "1.0.0") == "live"
        assert second.registry.get("here", "1.0.0") is None
        # Nor does anybody get it who knows its hash.
        row = first.registry.get("here", "1.0.0")
        assert row is not None
        question = pack(["module", bytes.fromhex(row.module), 0])
        answer = await second.mesh.ask(first.mesh.node_id, SERVICES, question, timeout_s=10)
        assert unpack(answer) is None


async def test_the_order_of_a_strangers_key_is_refused(tmp_path: Path) -> None:
    file = sign(service(tmp_path), STRANGER)
    async with mesh_of(tmp_path, 2) as (first, second):
        with pytest.raises(ServiceError, match=r"is no operator here; name it in mesh\.operators"):
            await first.stock.add(file)
        seeds = [first.mesh.address]
        strange = [operator_of(STRANGER), *OPERATORS]
        async with node(tmp_path / "third", seeds=seeds, operators=strange) as third:
            await third.stock.add(file)
            await third.stock.add(sign(service(tmp_path, "known"), KEY))
            await until(lambda: second.state("known", "1.0.0") == "live")
            # It may have heard of `known` from the first one, which has not kept the other order.
            await until(lambda: second.travel.counts["orders_refused"] >= 1)
            assert second.registry.get("rate", "1.0.0") is None


async def test_a_signature_for_other_bytes_or_another_mesh_is_refused(tmp_path: Path) -> None:
    file = sign(service(tmp_path), KEY)
    module = file.with_name("worker.wasm")
    module.write_bytes(module.read_bytes() + b"\0\x02\x01x")
    async with node(tmp_path / "node", operators=OPERATORS) as world:
        with pytest.raises(ServiceError, match="is for something else than what lies beside it"):
            await world.stock.add(file)
        assert world.registry.known() == 0


async def test_a_break_is_gone_on_from_with_another_member(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(travel, "TIMEOUT_S", 3.0)
    # A custom section makes it larger than two chunks.
    file = service(tmp_path)
    module = file.with_name("worker.wasm")
    filler = b"\x01n" + bytes(3 * travel.CHUNK_BYTES)
    size = len(filler)
    length = bytes((size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14))
    module.write_bytes(module.read_bytes() + b"\0" + length + filler)
    sign(file, KEY)
    total = module.stat().st_size
    async with mesh_of(tmp_path, 2) as (first, second):
        honest = first.travel._answer
        chunks = 0

        async def break_off(sender: str, question: bytes) -> bytes | None:
            nonlocal chunks
            if unpack(question)[0] == "module":
                chunks += 1
                if chunks > 2:
                    return None  # the link ends without an answer
            return await honest(sender, question)

        limits = (travel.REQUEST_BYTES_MAX, travel.TIMEOUT_S, travel.ANSWER_BYTES_MAX)
        first.mesh.handle(SERVICES, Handler(break_off, *limits))
        await first.stock.add(file)
        await until(lambda: chunks >= 3)
        coming = tmp_path / "node-1" / "services" / "coming"
        assert [one.stat().st_size for one in coming.iterdir()] == [2 * travel.CHUNK_BYTES]
        # A third one has it from elsewhere.
        seeds = [first.mesh.address]
        async with node(tmp_path / "third", seeds=seeds, operators=OPERATORS) as third:
            await until(lambda: third.state("rate", "1.0.0") == "coming")
            told = await third.stock.add(file)
            assert told["state"] == "live"
            await until(lambda: second.state("rate", "1.0.0") == "live")
        assert second.travel.counts["bytes_fetched"] == total
        assert list(coming.iterdir()) == []


async def test_who_sends_less_than_asked_for_is_not_waited_for(tmp_path: Path) -> None:
    async with mesh_of(tmp_path, 2) as (first, second):
        honest = first.travel._answer
        chunks = 0

        async def dribble(sender: str, question: bytes) -> bytes:
            nonlocal chunks
            answer = await honest(sender, question)
            if unpack(question)[0] != "module":
                return answer
            chunks += 1
            return pack(unpack(answer)[:1])

        limits = (travel.REQUEST_BYTES_MAX, travel.TIMEOUT_S, travel.ANSWER_BYTES_MAX)
        first.mesh.handle(SERVICES, Handler(dribble, *limits))
        await first.stock.add(sign(service(tmp_path), KEY))
        await until(lambda: chunks >= 2)
        assert second.travel.counts["bytes_fetched"] == 0


async def test_what_a_node_does_not_grant_is_neither_fetched_nor_served(tmp_path: Path) -> None:
    file = sign(service(tmp_path, capabilities={"config": ["currency"]}), KEY)
    grants = {"rate": Grants(config={"currency": "EUR"})}
    async with node(tmp_path / "a", operators=OPERATORS, grants=grants) as granting:
        seeds = [granting.mesh.address]
        await granting.stock.add(file)
        async with node(tmp_path / "b", seeds=seeds, operators=OPERATORS) as other:
            await until(lambda: other.state("rate", "1.0.0") == "refused")
            row = other.registry.get("rate", "1.0.0")
            assert row is not None and "which this node doesn't grant" in row.refused
            assert list((tmp_path / "b" / "services").glob("*.wasm")) == []
        async with node(tmp_path / "b", seeds=seeds, operators=OPERATORS, grants=grants) as other:
            await until(lambda: other.state("rate", "1.0.0") == "live")


async def test_a_service_with_state_by_key_works_on_all_nodes(tmp_path: Path) -> None:
    dense: dict[str, Any] = {"profile": "dense", "dense": {"key": "/job/key"}}
    engine = CountingEngine()
    async with mesh_of(tmp_path, 2, engine) as worlds:
        await worlds[0].stock.add(sign(service(tmp_path, turns=500_000, **dense), KEY))
        await until(lambda: states(worlds) == ["live"] * 2)
        await until(lambda: all(one.is_shared("rate") for one in worlds))
        engine.add("rate", 40)
        await until(lambda: len(engine.completed) == 40)
        assert all(one.moving.statistics()["consultations"] for one in worlds)


async def test_a_node_that_was_away_learns_what_was_added_and_removed(tmp_path: Path) -> None:
    async with node(tmp_path / "a", operators=OPERATORS) as stays:
        seeds = [stays.mesh.address]
        await stays.stock.add(sign(service(tmp_path), KEY))
        async with node(tmp_path / "b", seeds=seeds, operators=OPERATORS) as other:
            await until(lambda: other.state("rate", "1.0.0") == "live")
        number = next_number(stays.stock.highest("rate", "1.0.0"))
        await stays.stock.order(sign_removal(KEY, MESH, number, "rate", "1.0.0"))
        await stays.stock.add(sign(service(tmp_path, version="0.9.0"), KEY))
        async with node(tmp_path / "b", seeds=seeds, operators=OPERATORS) as other:
            await until(lambda: other.state("rate", "0.9.0") == "live")
            await until(lambda: other.state("rate", "1.0.0") == "none")
            assert other.registry.digest() == stays.registry.digest()
            assert stays.state("rate", "1.0.0") == "none", "it came back"


async def test_a_long_list_comes_by_pages_and_a_change_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gossamer_node.registry.store.PAGE_BYTES_MAX", 2_000)
    async with node(tmp_path / "a", operators=OPERATORS) as first:
        for number in range(20):
            await first.stock.add(sign(service(tmp_path, f"s{number}"), KEY))
        asked = 0
        honest = first.travel._answer

        async def count(sender: str, question: bytes) -> bytes:
            nonlocal asked
            asked += unpack(question)[0] == "words"
            return await honest(sender, question)

        limits = (travel.REQUEST_BYTES_MAX, travel.TIMEOUT_S, travel.ANSWER_BYTES_MAX)
        first.mesh.handle(SERVICES, Handler(count, *limits))
        seeds = [first.mesh.address]
        async with node(tmp_path / "b", seeds=seeds, operators=OPERATORS) as second:
            await until(lambda: second.stock.status()["registered"] == 20)
            await until(lambda: second.registry.wanted() == [])
            before = asked
            assert before > 1
            await first.stock.add(sign(service(tmp_path, "one-more"), KEY))
            await until(lambda: second.state("one-more", "1.0.0") == "live")
            assert asked == before + 1


@pytest.mark.parametrize(
    "question",
    [
        b"",
        b"\xc1",
        pack(None),
        pack(["words"]),
        pack(["words", -1]),
        pack(["words", 2**63]),
        pack(["words", "x"]),
        pack(["description", "a", 1, 2]),
        pack(["description", "a", "b", 2**64 - 1]),
        pack(["module", b"x", -1]),
        pack(["module", b"../../x", 0]),
        pack(["module", "../../x", 0]),
        pack({"a": 1}),
    ],
)
async def test_junk_is_answered_with_nothing(tmp_path: Path, question: bytes) -> None:
    async with node(tmp_path / "node", operators=OPERATORS) as world:
        assert unpack(await world.travel._answer("somebody", question)) is None


@pytest.mark.parametrize(
    "answer",
    [
        b"\xc1",
        pack(None),
        pack([1, 2, 3]),
        pack([b"d", 1, -1, []]),
        pack([b"d", 5, 4, [b"junk", 7, None]]),
        pack([b"d", 2**63, 2**63, [b"junk"] * 100]),
    ],
)
async def test_junk_that_a_member_answers_changes_nothing(tmp_path: Path, answer: bytes) -> None:
    async with mesh_of(tmp_path, 2) as (first, second):
        asked = 0

        async def junk(sender: str, question: bytes) -> bytes:
            nonlocal asked
            asked += 1
            return answer

        first.mesh.handle(SERVICES, Handler(junk, 1_024, travel.TIMEOUT_S, 2**20))
        await first.stock.add(sign(service(tmp_path), KEY))
        await until(lambda: asked >= 1)
        await second.stock.add(sign(service(tmp_path, "fine"), KEY))
        await until(lambda: second.state("fine", "1.0.0") == "live")
        assert second.registry.get("rate", "1.0.0") is None


async def test_a_service_of_an_operator_who_is_trusted_no_more_is_not_served(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "node"
    async with node(folder, operators=OPERATORS) as world:
        await world.stock.add(sign(service(tmp_path), KEY))
    async with node(folder, operators=[operator_of(STRANGER)]) as world:
        assert world.state("rate", "1.0.0") == "refused"
    async with node(folder, operators=OPERATORS) as world:
        assert world.state("rate", "1.0.0") == "parked"


async def test_more_questions_than_are_answered_at_once_get_nothing(tmp_path: Path) -> None:
    answers: list[object] = []
    async with node(tmp_path / "node", operators=OPERATORS) as world:
        await world.stock.add(sign(service(tmp_path), KEY))

        async def ask() -> None:
            answers.append(unpack(await world.travel._answer("somebody", pack(["words", 0]))))

        async with trio.open_nursery() as nursery:
            for _ in range(3 * travel.ANSWERS_MAX):
                nursery.start_soon(ask)
        assert world.travel.counts["questions_refused"] == 2 * travel.ANSWERS_MAX
        assert sum(one is not None for one in answers) == travel.ANSWERS_MAX
        await ask()
        assert answers[-1] is not None
