"""Who offers what: asked by name, and of members that changed; what is junk counts for nothing."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from tests.patience import patience, until

from gossamer_mesh.drivers import Mesh, MeshConfig, open_mesh
from gossamer_mesh.drivers.calls import Handler
from gossamer_mesh.drivers.links import OFFERS
from gossamer_mesh.identity import Identity
from gossamer_mesh.keyring import Keyring
from gossamer_mesh.packing import pack, unpack
from gossamer_node.errors import NodeError
from gossamer_node.registry.semver import precedence
from gossamer_node.service.spec import Dependency
from gossamer_node.work import offers
from gossamer_node.work.electing import STAMP_MAX, offers_of, tags
from gossamer_node.work.offers import Offers, Own

NEEDS = (Dependency("base", "^1.0.0"),)


class Shelf:
    """What one member offers; `set` changes it as a registry would."""

    def __init__(self, mesh: Mesh, **versions: str) -> None:
        self.own = {name: Own(version) for name, version in versions.items()}
        self.changes = 0
        self._mesh = mesh
        self.offers = Offers(mesh, self)
        self.say()

    def __repr__(self) -> str:
        return f"Shelf({self._mesh.node_id[:4]}, {self.own}, {dict(self.offers.counts)})"

    @property
    def id(self) -> str:
        return self._mesh.node_id

    def offered(self, name: str) -> Own | None:
        return self.own.get(name)

    def stamp(self) -> int | None:
        return self.changes if self.own else None

    def say(self) -> None:
        self._mesh.set_tags(tags({}, {}, offers=self.stamp()))

    def set(self, name: str, own: Own | None) -> None:
        self.own.pop(name, None)
        if own is not None:
            self.own[name] = own
        self.changes += 1
        self.offers.own_changed()
        self.say()

    def versions(self, name: str, version: str = "*") -> list[tuple[str, str]]:
        return [(one.member, one.version) for one in self.offers.of(name, version)]


@asynccontextmanager
async def member(seeds: Sequence[tuple[str, int]] = ()) -> AsyncIterator[Mesh]:
    settings = MeshConfig(
        identity=Identity.generate(), keyring=Keyring((bytes(32),)), seeds=tuple(seeds)
    )
    async with open_mesh(settings) as mesh:
        yield mesh


@asynccontextmanager
async def shelves(*stocks: dict[str, str]) -> AsyncIterator[list[Shelf]]:
    """Members that see each other; each offers what its dictionary says."""
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        found: list[Shelf] = []
        for stock in stocks:
            seeds = [found[0]._mesh.address] if found else []
            found.append(Shelf(await stack.enter_async_context(member(seeds)), **stock))
            nursery.start_soon(found[-1].offers.run)
        await until(lambda: all(len(one._mesh.members()) == len(stocks) for one in found))
        yield found
        nursery.cancel_scope.cancel()


async def test_who_depends_on_a_name_learns_who_offers_it_and_when_that_changes() -> None:
    async with shelves({}, {"rates": "1.2.0"}, {"rates": "2.0.0"}) as (asking, one, two):
        asking.offers.want([Dependency("rates", "^1.0.0")])
        await until(lambda: asking.versions("rates", "^1.0.0") == [(one.id, "1.2.0")])
        await until(lambda: asking.versions("rates") == [(two.id, "2.0.0"), (one.id, "1.2.0")])
        one.set("rates", Own("1.3.0", NEEDS))
        await until(lambda: asking.versions("rates", "^1.0.0") == [(one.id, "1.3.0")])
        assert asking.offers.of("rates", "^1.0.0")[0].needs == NEEDS
        one.set("rates", None)
        await until(lambda: asking.versions("rates") == [(two.id, "2.0.0")])


async def test_what_this_node_has_itself_is_an_offer_and_needs_no_question() -> None:
    async with shelves({"rates": "1.0.0"}, {"rates": "1.1.0"}) as (asking, other):
        assert asking.versions("rates") == [(asking.id, "1.0.0")]
        asking.set("rates", Own("1.0.1"))
        assert asking.versions("rates") == [(asking.id, "1.0.1")]
        asking.offers.want([Dependency("rates", "*")])
        await until(lambda: len(asking.versions("rates")) == 2)
        assert asking.versions("rates")[0] == (other.id, "1.1.0")


async def test_a_waiter_is_told_of_offers_that_come_and_go_with_their_member() -> None:
    async with shelves({}) as (asking,), trio.open_nursery() as nursery:
        asking.offers.want([Dependency("rates", "*")])
        gone = trio.Event()

        async def live() -> None:
            async with member([asking._mesh.address]) as mesh:
                Shelf(mesh, rates="1.0.0")
                await gone.wait()
                await mesh.leave()

        nursery.start_soon(live)
        with patience():
            while not asking.versions("rates"):
                await asking.offers.wait_changed()
            gone.set()
            while asking.versions("rates"):
                await asking.offers.wait_changed()


async def test_who_depends_on_nothing_asks_nobody_and_forgets_what_it_knew() -> None:
    async with shelves({}, {"rates": "1.0.0"}) as (asking, other):
        asking.offers.want([Dependency("rates", "*")])
        await until(lambda: bool(asking.versions("rates")))
        asking.offers.want([])
        assert asking.versions("rates") == []
        asked = asking.offers.counts["answers"]
        for number in range(3):
            other.set("rates", Own(f"1.0.{number + 1}"))
            await until(
                lambda: [offers_of(one) for one in asking._mesh.members()].count(other.changes) == 1
            )
        assert asking.offers.counts["answers"] == asked


async def test_no_more_members_are_asked_than_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offers, "ENOUGH", 2)
    monkeypatch.setattr(offers, "ASKED_MAX", 1)
    stocks = [{"rates": "1.0.0", "other": "1.0.0"}] * 4
    async with shelves({}, *stocks) as (asking, *others):
        asking.offers.want([Dependency("rates", "^1.0.0")])
        await until(lambda: len(asking.versions("rates")) == 2)
        known = {member for member, _ in asking.versions("rates")}
        # Of those that it knows it hears what changes; it then looks for another.
        changing = next(one for one in others if one.id in known)
        changing.set("rates", None)
        await until(lambda: changing.id not in [id for id, _ in asking.versions("rates")])
        await until(lambda: len(asking.versions("rates")) == 2)
        assert asking.offers.counts["answers"] == 4


async def test_more_names_than_one_answer_takes_are_asked_for_in_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(offers, "NAMES_MAX", 7)
    monkeypatch.setattr(offers, "ANSWER_BYTES_MAX", 160)
    names = {f"s{number}": "1.0.0" for number in range(30)}
    async with shelves({}, names) as (asking, other):
        asking.offers.want([Dependency(name, "*") for name in [*names, "none"]])
        await until(lambda: all(asking.versions(name) for name in names))
        assert asking.versions("none") == []
        assert asking.offers.counts["answers"] > 30 // 7
        assert other.offers.counts["questions_unreadable"] == 0


JUNK: list[Any] = [
    None,
    7,
    b"rates",
    [],
    [0, []],
    [2, []],
    [1, [["rates", "1.0.0", []], ["rates", "1.0.0", []]]],
    [1, [["other", "1.0.0", []]]],
    [1, [["rates", "latest", []]]],
    [1, [["rates", "1.0.0"]]],
    [1, [["rates", "1.0.0", [["a", "^^1"]]]]],
    [1, [["rates", "1.0.0", [["a b", "1"]]]]],
    [1, [["rates", "1.0.0", [["a", "1"]] * (offers.NEEDS_MAX + 1)]]],
    [1, [["rates", "1" * 70 + ".0.0", []]]],
    [1, [["rates", "1.0.0", [["a", "1" * 200]]]]],
    [[1], [["rates", "1.0.0", []]]],
]


@pytest.mark.parametrize("junk", [pack(one) for one in JUNK] + [b"", b"\xc1", b"\xff" * 100])
async def test_junk_for_an_answer_is_no_offer_and_harms_nothing(junk: bytes) -> None:
    async with shelves({}, {"rates": "1.0.0"}) as (asking, other):

        async def answer(sender: str, request: bytes) -> bytes:
            return junk

        other._mesh.handle(OFFERS, Handler(answer, 10_000, 5))
        asking.offers.want([Dependency("rates", "*")])
        counts = asking.offers.counts
        await until(lambda: counts["answers_unreadable"] + counts["questions_failed"] > 0)
        assert asking.versions("rates") == [] and not counts["answers"]


PLAIN: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text(max_size=8)
    | st.binary(max_size=8)
    | st.sampled_from(["rates", "other", "1.0.0", "2.0.0-rc.1", "^1", "*"]),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=20,
)


@given(PLAIN | st.tuples(st.integers(0, 3), st.lists(st.tuples(PLAIN, PLAIN, PLAIN))).map(list))
def test_any_answer_is_offers_of_what_was_asked_or_none(answer: Any) -> None:
    names = ["rates", "other"]
    found = offers._read("m", names, unpack(pack(answer)))
    if found is not None:
        count, said = found
        assert 0 < count <= len(names) and {one.name for one in said} <= set(names[:count])
        assert all(one.member == "m" and precedence(one.version) for one in said)


@pytest.mark.parametrize(
    "junk", [b"", b"\xc1", pack(7), pack(["rates", 7, None, b"x", ["rates"]]), pack(["a"] * 257)]
)
async def test_junk_for_a_question_is_answered_with_nothing(junk: bytes) -> None:
    async with shelves({}, {"rates": "1.0.0"}) as (asking, other):
        answer = unpack(await asking._mesh.ask(other.id, OFFERS, junk, timeout_s=5))
        assert answer in (None, [5, [["rates", "1.0.0", []]]])


@pytest.mark.parametrize("junk", [None, -1, STAMP_MAX + 1, True, "7", b"7", [7]])
async def test_a_tag_of_another_form_says_nothing(junk: Any) -> None:
    async with shelves({}, {"rates": "1.0.0"}) as (asking, other):
        other._mesh.set_tags({"offers": junk})
        await until(lambda: all(offers_of(one) is None for one in asking._mesh.members()))


async def test_a_registry_that_cannot_be_read_offers_nothing_and_goes_on() -> None:
    async with shelves({}, {"rates": "1.0.0"}) as (asking, other):
        broken = trio.Event()

        def offered(name: str) -> Own | None:
            if broken.is_set():
                return Own("1.0.0")
            raise NodeError("the registry cannot be read; see to the disk.")

        other.offered = offered  # type: ignore[method-assign]
        asking.offers.want([Dependency("rates", "*")])
        await until(lambda: asking.offers.counts["questions_failed"] > 0)
        assert other.offers.of("rates") == [] and asking.versions("rates") == []
        broken.set()
        await until(lambda: asking.versions("rates") == [(other.id, "1.0.0")])
