"""The book of settings over rows: what counts is kept, logged, and there after a restart."""

from typing import Any

import pytest
from tests.gateway.settings_world import ALL_FORMS, ENGINES, MESH

from gossamer_gateway.errors import BadRequest, UnknownSetting
from gossamer_gateway.routing.messages import Facts, MessageRule, where
from gossamer_gateway.routing.router import Router
from gossamer_gateway.routing.routes import WHOLE
from gossamer_gateway.settings import signed
from gossamer_gateway.settings.book import Book
from gossamer_gateway.settings.table import Setting
from gossamer_gateway.storage import Storage
from gossamer_mesh.identity import Identity
from gossamer_node.errors import EngineUnavailable

ONE, OTHER = Identity.generate(), Identity.generate()


def book_of(storage: Storage, identity: Identity = ONE) -> Book:
    return Book(storage, identity, MESH, ALL_FORMS)


def said(
    value: dict[str, Any] | None, clock: int, *, of: Identity = OTHER, kind: str = "route"
) -> Setting:
    return signed.sign(of, MESH, kind, "hotel", value, clock=clock, who="bob", at_ms=5)


ALL_C7 = {"shares": {"c7": WHOLE}, "sticky": "business-key"}


async def test_changes_are_kept_and_logged(storage: Storage) -> None:
    router = Router(book_of(storage), ENGINES)
    await router.set("hotel", {"c8": 2_500}, "ada")
    await router.set("hotel", {"c8": 0}, "bob", "header:X-Tenant")
    await router.set("car", {"c8": WHOLE}, "ada", "")
    await router.remove("car", "ada")
    again = book_of(storage)
    await again.refresh()
    after = Router(again, ENGINES)
    assert after.routes() == router.routes()
    (route,) = after.routes()
    assert (route.shares, route.sticker, route.who) == ({"c7": WHOLE}, "header:X-Tenant", "bob")
    lines = await after.audit()
    assert [(one.name, one.who) for one in lines] == [
        ("car", "ada"),
        ("car", "ada"),
        ("hotel", "bob"),
        ("hotel", "ada"),
    ]
    assert lines[0].value is None and lines[0].was == {"shares": {"c8": WHOLE}, "sticky": ""}
    assert lines[2].was == {"shares": {"c7": 7_500, "c8": 2_500}, "sticky": "business-key"}
    assert lines[3].was is None
    assert {one.version.gateway for one in lines} == {ONE.node_id}
    assert lines == sorted(lines, key=lambda one: -one.number)
    assert await after.audit("hotel", count_max=1) == lines[2:3]
    assert await after.audit("hotel", before=lines[2].number) == lines[3:]
    assert await after.audit_rules() == []


async def test_the_later_of_two_counts_in_the_rows_too(storage: Storage) -> None:
    book = book_of(storage)
    heard: list[Setting] = []
    book.listen(heard.extend)
    first = await book.change("route", "hotel", ALL_C7, "ada")
    clock = first.version.clock
    assert not await book.learn([said(None, clock - 1)])
    later = said(None, clock + 1)
    assert await book.learn([said(ALL_C7, clock - 7), later])
    assert not await book.learn([later])
    assert heard == [first, later]
    assert [one.who for one in await book.history("route")] == ["bob", "ada"]
    last = await book.change("route", "hotel", ALL_C7, "ada")
    assert last.version.clock > clock + 1


async def test_gateways_that_share_rows_read_each_other(storage: Storage) -> None:
    books = [book_of(storage, one) for one in (ONE, OTHER)]
    made = [await books[turn % 2].change("route", "hotel", ALL_C7, "ada") for turn in range(6)]
    # Each wins over the one before, though neither has read the other's.
    assert made == sorted(made, key=lambda one: one.version)
    for book in books:
        await book.refresh()
        assert book.table.get("route", "hotel") == made[-1]
    assert [one.version for one in await books[0].history("route")] == [
        one.version for one in reversed(made)
    ]
    heard: list[Setting] = []
    books[1].listen(heard.extend)
    await books[1].refresh()
    assert heard == []


async def test_an_old_word_does_not_undo_what_others_wrote_to_shared_rows(storage: Storage) -> None:
    books = [book_of(storage, one) for one in (ONE, OTHER)]
    made = await books[0].change("route", "hotel", ALL_C7, "ada")
    # It has not read the rows yet, and hears by the mesh what was said before.
    await books[1].learn([said(None, made.version.clock - 1)])
    await books[1].refresh()
    again = book_of(storage)
    await again.refresh()
    assert books[1].table.all() == again.table.all() == [made]
    assert [one.who for one in await again.history("route")] == ["ada"]


async def test_what_another_gateway_sent_is_judged_as_a_person_s_is(storage: Storage) -> None:
    book = book_of(storage)
    assert not await book.learn([said({"shares": {"c7": 1}}, 1)])
    assert book.refused == 1 and book.table.all() == []
    # Of an engine that is not here, for others may have it; and of a kind that is not known here.
    assert await book.learn([said({"shares": {"c9": WHOLE}}, 1), said({"a": 1}, 2, kind="later")])
    router = Router(book, ENGINES)
    with pytest.raises(EngineUnavailable, match="sends this start to c9, which this gateway"):
        router.engine_for("hotel", business_key=None, headers={}, dialect="camunda7")


@pytest.mark.parametrize(
    ("shares", "sticker", "sentence"),
    [
        ({"c9": WHOLE}, "", "there is no engine c9 here; there are c7, c8."),
        ({}, "", "the shares make 0 % together"),
        ({"c7": -1}, "", "the share of c7 is -0.01 %"),
        ({"c7": 2 * WHOLE}, "", "the share of c7 is 200 %"),
        ({"c7": WHOLE}, "luck", "sticky is 'luck'"),
    ],
)
async def test_a_wrong_route_changes_nothing(
    storage: Storage, shares: dict[str, int], sticker: str, sentence: str
) -> None:
    router = Router(book_of(storage), ENGINES)
    with pytest.raises(BadRequest) as caught:
        await router.set("hotel", shares, "ada", sticker)
    assert str(caught.value).startswith(sentence)
    with pytest.raises(UnknownSetting, match="there is no route hotel here"):
        await router.remove("hotel", "ada")
    assert router.routes() == [] and await router.audit() == []


async def test_where_starts_go(storage: Storage) -> None:
    router = Router(book_of(storage), ENGINES)

    def engine(
        process: str = "hotel", key: str | None = None, dialect: Any = "camunda7", **headers: str
    ) -> str:
        given = {name.replace("_", "-"): text for name, text in headers.items()}
        return router.engine_for(
            process, business_key=key, headers=given, dialect=dialect
        ).name  # fmt: skip

    assert engine() == "c7" and engine(dialect="camunda8") == "c8"
    assert engine(gossamer_engine="c8") == "c8"
    assert router.routed("hotel", None, {}) is None
    await router.set("hotel", {"c8": 5_000}, "ada")
    by_key = {key: engine(key=key) for key in map(str, range(50))}
    assert set(by_key.values()) == {"c7", "c8"}
    assert by_key == {key: engine(key=key, dialect="camunda8") for key in by_key}
    assert {engine() for _ in range(100)} == {"c7", "c8"}  # nothing sticks: a miss in 2**99
    assert engine(gossamer_engine="c7") == "c7"
    with pytest.raises(BadRequest, match="no engine c9 here"):
        engine(gossamer_engine="c9")
    await router.set("hotel", {"c8": 5_000}, "ada", "header:X-Tenant")
    by_tenant = {engine(key=str(key), x_tenant="acme") for key in range(50)}
    assert len(by_tenant) == 1
    await router.set("*", {"c8": WHOLE}, "ada")
    assert engine("car") == "c8"
    await router.remove("hotel", "ada")
    assert engine() == "c8"
    routed = router.routed("hotel", None, {})
    assert routed is not None and routed.name == "c8"


async def test_rules_for_messages_are_set_and_removed(storage: Storage) -> None:
    router = Router(book_of(storage), ENGINES)
    assert router.rule_of("paid") is None
    rule = MessageRule("paid", "start", "hotel")
    await router.set_rule(rule, "ada")
    await router.set_rule(MessageRule("news", "all"), "ada")
    assert router.rule_of("paid") == rule
    assert [one.message for one in router.rules()] == ["news", "paid"]
    await router.remove_rule("paid", "bob")
    assert router.rule_of("paid") is None
    assert [one.who for one in await router.audit_rules("paid")] == ["bob", "ada"]
    with pytest.raises(BadRequest, match="to: start needs process"):
        await router.set_rule(MessageRule("paid", "start"), "ada")
    facts = Facts(("c7", "c8"), "c7", routed="c8")
    assert where(rule, facts) != where(MessageRule("paid", "instance"), facts)
