"""Settings between real gateways on loopback: at once, after an absence, and from nobody else."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import trio
from tests.gateway.settings_world import ALL_FORMS, MESH, Gateway, gateway
from tests.mesh.mesh_fixture import config_of
from tests.patience import until

from gossamer_gateway import tables
from gossamer_gateway.routing.routes import WHOLE
from gossamer_gateway.settings import signed
from gossamer_gateway.settings.book import Book
from gossamer_gateway.settings.spreading import PAGE_BYTES, TAG, TIMEOUT_S, digest_of
from gossamer_gateway.settings.table import Setting
from gossamer_gateway.storage import SqlitePlace, open_storage
from gossamer_mesh.drivers import Mesh, open_mesh
from gossamer_mesh.drivers.calls import Handler
from gossamer_mesh.drivers.links import SETTINGS
from gossamer_mesh.identity import Identity
from gossamer_mesh.packing import pack, unpack

ALL_C8 = {"shares": {"c8": WHOLE}, "sticky": "business-key"}


@asynccontextmanager
async def gateways(count: int) -> AsyncIterator[list[Gateway]]:
    """Gateways that name each other, and all know each other's digest."""
    identities = [Identity.generate() for _ in range(count)]
    ids = [one.node_id for one in identities]
    async with AsyncExitStack() as stack:
        opened: list[Gateway] = []
        for one in identities:
            seeds = [opened[0].mesh.address] if opened else []
            opened.append(await stack.enter_async_context(gateway(one, ids, seeds)))
        for each in opened:
            await until(lambda each=each: len(known(each)) == count)  # type: ignore[misc]
        yield opened


def known(one: Gateway) -> list[str]:
    """Gateways of which it has the digest, itself among them."""
    return [each.id for each in one.mesh.members() if digest_of(each) is not None]


def cut(all_of_them: Sequence[Gateway], lonely: Gateway | None) -> None:
    """Parts one from all others, as far as they can see; or nobody."""
    for one in all_of_them:
        others = [each.mesh.node_id for each in all_of_them if each is not one]
        hidden = others if one is lonely else [lonely.mesh.node_id] if lonely else []
        one.hidden.clear()
        one.hidden.update(hidden)
    for one in all_of_them:
        one.mesh.admission_changed()


async def effective(among: Sequence[Gateway], process: str, shares: dict[str, int] | None) -> float:
    return await until(lambda: all(one.shares(process) == shares for one in among))


async def test_a_change_is_effective_everywhere_at_once_and_back_as_fast() -> None:
    async with gateways(3) as all_three:
        for turn in range(6):
            one = all_three[turn % 3]
            share = {"c8": 100 * (turn + 1), "c7": WHOLE - 100 * (turn + 1)}
            await one.router.set("hotel", share, "ada")
            await effective(all_three, "hotel", share)
        await all_three[0].router.remove("hotel", "ada")
        await effective(all_three, "hotel", None)
        # By being told, not by looking at digests.
        told = sum(one.spreading.counts["settings_told"] for one in all_three)
        assert told == 7 * 2
        assert len({one.book.table.digest() for one in all_three}) == 1
        for one in all_three:
            assert len(await one.router.audit("hotel")) == 7
            assert not one.spreading.counts["words_refused"]


async def test_a_gateway_that_was_away_catches_up_and_so_do_the_others() -> None:
    first, second = Identity.generate(), Identity.generate()
    ids = [first.node_id, second.node_id]
    memory = open_storage(SqlitePlace(None), tables.FORM)
    async with memory as rows, gateway(first, ids) as one:
        async with gateway(second, ids, [one.mesh.address], rows) as other:
            await until(lambda: len(known(one)) == len(known(other)) == 2)
            await one.router.set("hotel", {"c8": 1_000}, "ada")
            await effective([one, other], "hotel", {"c8": 1_000, "c7": 9_000})
        # It is gone without a word, as one that was killed. Both change while they are apart.
        await one.router.set("hotel", {"c8": 5_000}, "ada")
        await one.router.set("boat", {"c8": 5_000}, "ada")
        lonely = Book(rows, second, MESH, ALL_FORMS)
        await lonely.refresh()
        await lonely.change("route", "car", ALL_C8, "bob")
        await trio.sleep(0.002)  # by the clock of this machine, which both go by
        await lonely.change("route", "hotel", ALL_C8, "bob")
        async with gateway(second, ids, [one.mesh.address], rows) as other:
            both = [one, other]
            await effective(both, "hotel", {"c8": WHOLE})
            await effective(both, "car", {"c8": WHOLE})
            await effective(both, "boat", {"c7": 5_000, "c8": 5_000})
            await until(lambda: one.book.table.digest() == other.book.table.digest())
        assert [line.who for line in await one.router.audit("hotel")] == ["bob", "ada", "ada"]


async def test_parted_gateways_agree_when_they_meet_again() -> None:
    async with gateways(3) as all_three:
        one, two, lonely = all_three
        others = [one, two]
        cut(all_three, lonely)
        await until(lambda: len(known(one)) == len(known(two)) == 2 and len(known(lonely)) == 1)
        await lonely.router.set("hotel", {"c8": 100}, "bob")
        await lonely.router.set("car", {"c8": 100}, "bob")
        await trio.sleep(0.002)
        await one.router.set("hotel", {"c8": 200}, "ada")
        await effective(others, "hotel", {"c8": 200, "c7": 9_800})
        assert lonely.shares("hotel") == {"c8": 100, "c7": 9_900}
        cut(all_three, None)
        await effective(all_three, "hotel", {"c8": 200, "c7": 9_800})
        await effective(all_three, "car", {"c8": 100, "c7": 9_900})
        await until(lambda: len({each.book.table.digest() for each in all_three}) == 1)


async def test_a_gateway_hands_on_what_another_signed() -> None:
    first, gone, late = (Identity.generate() for _ in range(3))
    ids = [one.node_id for one in (first, gone, late)]
    async with gateway(first, ids) as one:
        async with gateway(gone, ids, [one.mesh.address]) as other:
            await until(lambda: len(known(other)) == 2)
            page = {"match": {"path": "/v2/*"}, "respond": {"body": "x" * 20_000}}
            for number in range(20):  # some pages of them
                await other.book.change("override", f"rule-{number}", page, "ada")
            await until(lambda: one.book.table.digest() == other.book.table.digest())
        assert sum(len(each.word) for each in one.book.table.all()) > 2 * PAGE_BYTES
        async with gateway(late, ids, [one.mesh.address]) as new:
            await until(lambda: one.book.table.digest() == new.book.table.digest())
            assert {each.version.gateway for each in new.book.table.all()} == {gone.node_id}


async def test_gateways_that_are_not_named_are_not_heard_and_told_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    first, stranger = Identity.generate(), Identity.generate()
    async with gateway(first, []) as one:
        await one.router.set("hotel", {"c8": 100}, "ada")
        named = [first.node_id]
        async with gateway(stranger, named, [one.mesh.address]) as other:
            await until(lambda: len(known(one)) == len(known(other)) == 2)
            await other.router.set("hotel", ALL_C8["shares"], "eve")  # type: ignore[arg-type]
            await until(lambda: one.spreading.counts["strangers_refused"] > 1)
            assert other.shares("hotel") == {"c8": WHOLE}
            assert one.shares("hotel") == {"c8": 100, "c7": 9_900}
            assert f"{stranger.node_id} speaks of settings" in caplog.text
            assert caplog.text.count("speaks of settings") == 1


@asynccontextmanager
async def one_and_its_peer(
    tags: dict[str, Any] | None = None,
) -> AsyncIterator[tuple[Gateway, Mesh, Identity]]:
    """A gateway, and a bare member that it takes for another."""
    first, second = Identity.generate(), Identity.generate()
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(gateway(first, [second.node_id]))
        config = config_of(one.mesh.address, identity=second)
        peer = await stack.enter_async_context(open_mesh(config))
        peer.set_tags({TAG: bytes(8)} if tags is None else tags)
        await until(lambda: peer.node_id in [each.id for each in one.mesh.members()])
        await until(lambda: one.mesh.node_id in [each.id for each in peer.members()])
        yield one, peer, second


async def ask(peer: Mesh, one: Gateway, question: object) -> Any:
    request = question if isinstance(question, bytes) else pack(question)
    return unpack(await peer.ask(one.mesh.node_id, SETTINGS, request, timeout_s=TIMEOUT_S))


def word(of: Identity, clock: int, value: dict[str, Any] | None, mesh: str = "gossamer") -> Setting:
    return signed.sign(of, mesh, "route", "hotel", value, clock=clock, who="eve", at_ms=1)


async def test_forged_foreign_and_old_words_of_a_peer_change_nothing() -> None:
    async with one_and_its_peer() as (one, peer, identity):
        before = await one.router.set("hotel", {"c8": 100}, "ada")
        late = before.version.clock + 1_000
        stranger = Identity.generate()
        good = word(identity, late, ALL_C8)
        _, _, payload, signature = unpack(good.word)
        own_key = one.book.table.all()[0].word[:40]
        refused = [
            word(stranger, late, ALL_C8).word,
            word(identity, late, ALL_C8, mesh="another").word,
            own_key + good.word[40:],  # in the gateway's own name
            good.word[:-1] + bytes([good.word[-1] ^ 1]),
            pack([1, unpack(word(stranger, late, None).word)[1], payload, signature]),
            word(identity, late, {"shares": {"c8": 1}}).word,  # no route
        ]
        for each in refused:
            await ask(peer, one, ["tell", [each]])
        assert one.spreading.counts["words_refused"] == len(refused) - 1 and one.book.refused == 1
        assert one.router.routes() == [before]
        # Its own, signed as it should be, is taken; an old one that is said again is not.
        await ask(peer, one, ["tell", [good.word]])
        await one.router.set("hotel", {"c8": 300}, "ada")
        (digest,) = await ask(peer, one, ["tell", [good.word, word(identity, 5, None).word]])
        assert digest == one.book.table.digest()
        assert one.shares("hotel") == {"c8": 300, "c7": 9_700}
        assert len(await one.router.audit()) == 3


@pytest.mark.parametrize(
    "question",
    [
        b"", b"\xc1", b"\xdf\xff\xff\xff\xff", None, 7, [], {}, ["tell"], ["tell", 7], ["page"],
        ["page", 1, 2], ["page", "a"], ["tell", {"a": 1}], ["more", 1], [["tell"], []],
        ["tell", [1, None, "word", b"", b"junk", [b"deep"]]],
    ],
)  # fmt: skip
async def test_junk_of_a_peer_is_counted_and_dropped(question: object) -> None:
    async with one_and_its_peer() as (one, peer, _):
        await ask(peer, one, question)
        counts = one.spreading.counts
        assert counts["questions_unreadable"] + counts["words_refused"] > 0
        assert await ask(peer, one, ["page", "", ""]) == [[], None]


async def test_a_member_that_says_it_is_no_gateway_is_not_heard() -> None:
    async with one_and_its_peer({"other": 1}) as (one, peer, identity):
        assert await ask(peer, one, ["tell", [word(identity, 5, ALL_C8).word]]) is None
        assert one.spreading.counts["strangers_refused"] == 1
        assert one.router.routes() == []


ANSWERS: list[object] = [
    b"", b"\xc1", 7, [], [1], [[], 7], [[], ["a", 1]], [["junk", b"junk", 7], None],
    [[b"junk"] * 500, ["a", "b"]],  # for ever the same page
]  # fmt: skip


async def test_junk_that_a_peer_answers_is_counted_and_dropped() -> None:
    asked = 0
    said: object = None

    async def answer(_: str, question: bytes) -> bytes:
        nonlocal asked
        asked += unpack(question)[0] == "page"
        return said if isinstance(said, bytes) else pack(said)

    async with one_and_its_peer() as (one, peer, identity):
        peer.handle(SETTINGS, Handler(answer, 10_000, TIMEOUT_S, 2**20))
        for number, each in enumerate(ANSWERS, start=1):
            said, before = each, asked
            peer.set_tags({TAG: number.to_bytes(8)})
            await until(lambda before=before: asked > before)  # type: ignore[misc]
        assert one.router.routes() == []
        await one.router.set("hotel", {"c8": 100}, "ada")
        said = [[word(identity, 2**52, ALL_C8).word], None]
        peer.set_tags({TAG: b"all good"})
        await effective([one], "hotel", {"c8": WHOLE})
        assert one.spreading.counts["answers_unreadable"] >= len(ANSWERS) - 3
