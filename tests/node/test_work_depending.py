"""A service whose dependencies are not there takes no jobs, says so, and goes to work by itself."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.node.registry_world import CountingEngine, World, node, service
from tests.patience import until

from gossamer_node.errors import ServiceError
from gossamer_node.registry.ranges import parse_range
from gossamer_node.service.host import HOST, Capability
from gossamer_node.service.spec import Dependency
from gossamer_node.work import depending
from gossamer_node.work.depending import Standing, View, look
from gossamer_node.work.offers import Offer

Said = Mapping[str, str]
"""Offers as a test writes them: `member name version`, and what it needs."""


def needs(text: str) -> tuple[Dependency, ...]:
    """`rates ^1, base *`."""
    parts = [one.strip().partition(" ") for one in text.split(",") if one.strip()]
    return tuple(Dependency(name, version) for name, _, version in parts)


def seen(services: Said, offers: Said) -> View:
    found: list[Offer] = []
    for said, text in offers.items():
        member, name, version = said.split()
        found.append(Offer(member, name, version, needs(text)))
    return look(
        {name: needs(text) for name, text in services.items()},
        lambda name: [one for one in found if one.name == name],
    )


@pytest.mark.parametrize(
    ("services", "offers", "waiting"),
    [
        ({"a": "b ^1"}, {}, {"a": "b ^1, which nobody offers"}),
        ({"a": "b ^1"}, {"m b 1.4.0": ""}, {}),
        ({"a": "b ^2"}, {"m b 1.4.0": "", "n b 1.4.0": ""}, {"a": "b ^2, of which there is 1.4.0"}),
        ({"a": "b ^2"}, {"m b 1.4.0": "", "n b 2.1.0": ""}, {}),
        ({"a": "b *"}, {"m b 1.0.0-rc": ""}, {"a": "b *, of which there is 1.0.0-rc"}),
        (
            {"a": "b *, c *, d ~1.2"},
            {"m b 1.0.0": "", "m d 1.3.0": ""},
            {"a": "c *, which nobody offers; for d ~1.2, of which there is 1.3.0"},
        ),
        # What a dependency lacks, its dependents lack; not where another member has it all.
        ({"a": "b *"}, {"m b 1.0.0": "c ^1"}, {"a": "b *, which lacks c ^1"}),
        ({"a": "b *"}, {"m b 1.0.0": "c ^1", "m c 1.0.0": ""}, {}),
        ({"a": "b *"}, {"m b 1.0.0": "c ^1", "n b 1.1.0": ""}, {}),
        ({"a": "b *"}, {"m b 1.0.0": "c *", "m c 1.0.0": "d *"}, {"a": "b *, which lacks d *"}),
        # A circle is met by itself, and falls as a whole.
        ({"a": "b *"}, {"m b 1.0.0": "a *", "m a 1.0.0": "b *"}, {}),
        ({"a": "a *"}, {"m a 1.0.0": "a *"}, {}),
        (
            {"a": "b *"},
            {"m b 1.0.0": "a *", "m a 1.0.0": "b *, c *"},
            {"a": "b *, which lacks c *"},
        ),
        (
            {"a": "b ^3"},
            {f"m{n} b {n}.0.0": "" for n in (1, 2, 4, 5, 6)},
            {"a": "b ^3, of which there is 1.0.0, 2.0.0, 4.0.0, 2 more"},
        ),
    ],
)
def test_what_waits_and_why(services: Said, offers: Said, waiting: Said) -> None:
    assert seen(services, offers).waiting == waiting


def test_what_is_behind_a_dependency_is_wanted_too() -> None:
    view = seen({"a": "b ^1"}, {"m b 1.0.0": "c ^2, d *", "m c 2.0.0": "b ^1, e *"})
    assert view.wanted == (*needs("b ^1, c ^2, d *, e *"),)
    assert view.unusable == {("m", "b"), ("m", "c")}


def test_only_so_much_of_what_others_invent_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depending, "NEEDS_MAX", 3)
    invented = ", ".join(f"x{number} *" for number in range(100))
    view = seen({"a": "b *"}, {"m b 1.0.0": invented})
    assert len(view.wanted) == 4
    assert view.waiting == {"a": "b *, which lacks x0 *, x1 *, x2 *"}


NAMES = st.sampled_from("abcdef")
NEEDS = st.lists(st.tuples(NAMES, st.sampled_from(["*", "^1", "^2"])), max_size=3, unique=True)
WORLDS = st.dictionaries(
    st.tuples(st.sampled_from("mno"), NAMES), st.tuples(st.sampled_from(["1.0.0", "2.0.0"]), NEEDS)
)


def usable_slowly(
    offers: dict[tuple[str, str], tuple[str, list[tuple[str, str]]]],
) -> set[tuple[str, str]]:
    """The same, as a person would do it: strike out what lacks something until nothing does."""
    left = set(offers)
    while True:
        lacking = {
            one
            for one in left
            for name, version in offers[one][1]
            if not any(
                other[1] == name and offers[other][0] in parse_range(version) for other in left
            )
        }
        if not lacking:
            return left
        left -= lacking


@given(WORLDS, NEEDS)
def test_the_quick_way_finds_what_striking_out_finds(
    offers: dict[tuple[str, str], tuple[str, list[tuple[str, str]]]],
    wanted: list[tuple[str, str]],
) -> None:
    found = [
        Offer(member, name, version, tuple(Dependency(*one) for one in behind))
        for (member, name), (version, behind) in offers.items()
    ]
    view = look(
        {"own": [Dependency(*one) for one in wanted]},
        lambda name: [one for one in found if one.name == name],
    )
    usable = usable_slowly(offers)
    assert not view.unusable & usable
    reached = {one.name for one in view.wanted}
    assert view.unusable == {one for one in set(offers) - usable if one[1] in reached}
    is_met = all(
        any(one[1] == name and offers[one][0] in parse_range(version) for one in usable)
        for name, version in wanted
    )
    assert ("own" in view.waiting) is not is_met


def test_a_service_returns_at_once_and_later_each_time_that_it_is_lost_soon() -> None:
    one = Standing(0)
    assert one.waits
    one.note(True, 10)
    assert not one.waits
    waited = []
    now = 10
    for _ in range(10):
        one.note(False, now)
        assert one.waits
        lost = now
        while one.waits:
            now += 100
            one.note(True, now)
        waited.append(now - lost)
    assert waited == [100, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]
    now += depending.STABLE_MS
    one.note(False, now)
    one.note(True, now)
    assert not one.waits


# --- in a mesh


def at_work(world: World, name: str = "rate") -> bool:
    return name not in world.executor.waiting()


def topics(world: World) -> list[str]:
    return [one.name for one in world.executor.topics("source", 4)]


def claimed(world: World) -> list[str]:
    """The topics that this node's claimer asks its engine for."""
    (claimer,) = world.leasing._claimers.values()
    return sorted(one.name for one in claimer.topics())


async def test_a_service_goes_to_work_when_its_dependency_appears_and_stops_when_it_is_gone(
    tmp_path: Path,
) -> None:
    engine = CountingEngine()
    async with (
        node(tmp_path / "a", [engine]) as a,
        node(tmp_path / "b", seeds=[a.mesh.address]) as b,
    ):
        engine.add("rate", 3)
        said = await a.stock.add(
            service(tmp_path, dependencies=[{"name": "base", "version": "^2.0.0"}])
        )
        assert said["state"] == "lacking"
        assert said["waits"] == "waits for base ^2.0.0, which nobody offers"
        assert topics(a) == []
        # A version that won't do is not enough.
        await b.stock.add(service(tmp_path, "base", "1.9.0"))
        await until(lambda: "of which there is 1.9.0" in a.executor.waiting()["rate"])
        assert topics(a) == [] and not engine.completed
        await b.stock.add(service(tmp_path, "base", "2.1.0"))
        await until(lambda: len(engine.completed) == 3)
        assert a.state("rate", "1.0.0") == "live" and topics(a) == ["rate"]
        await b.stock.remove("base", "2.1.0")
        await until(lambda: not at_work(a))
        assert topics(a) == []
        # The claimer hears of it with the next heartbeat, and asks for no more of its jobs.
        await until(lambda: claimed(a) == ["base"])
        engine.add("rate", 2)
        assert len(engine.completed) == 3
        await b.stock.add(service(tmp_path, "base", "2.2.0"))
        await until(lambda: len(engine.completed) == 5)


async def test_a_dependency_that_its_member_takes_along_is_gone(tmp_path: Path) -> None:
    async with node(tmp_path / "a") as a:
        need = [{"name": "base", "version": "*"}]
        await a.stock.add(service(tmp_path, dependencies=need))
        async with node(tmp_path / "b", seeds=[a.mesh.address]) as b:
            await b.stock.add(service(tmp_path, "base"))
            await until(lambda: at_work(a))
            await b.mesh.leave()
        await until(lambda: not at_work(a))


async def test_two_services_that_need_each_other_work_wherever_they_are(tmp_path: Path) -> None:
    async with node(tmp_path / "a") as a, node(tmp_path / "b", seeds=[a.mesh.address]) as b:
        one = service(tmp_path, "one", dependencies=[{"name": "two", "version": "^1"}])
        two = service(tmp_path, "two", dependencies=[{"name": "one", "version": "^1"}])
        await a.stock.add(one)
        assert not at_work(a, "one")
        await b.stock.add(two)
        await until(lambda: at_work(a, "one") and at_work(b, "two"))
        # On one node, too, and without a moment's wait.
        await a.stock.add(two)
        assert at_work(a, "two")
        # A third that one of them begins to need stops both, and lets both go.
        more = [{"name": "two", "version": "^1"}, {"name": "base", "version": "^1"}]
        await a.stock.remove("two", None)
        await a.stock.add(service(tmp_path, "one", "1.1.0", dependencies=more))
        await until(lambda: not at_work(a, "one") and not at_work(b, "two"))
        assert "which lacks base ^1" in b.executor.waiting()["two"]
        await b.stock.add(service(tmp_path, "base"))
        await until(lambda: at_work(a, "one") and at_work(b, "two"))


async def test_it_is_said_once_and_again_when_it_goes_to_work(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(depending, "SAY_MS", 100)
    caplog.set_level(logging.INFO, "gossamer.services")

    def said(part: str) -> list[str]:
        return [one.getMessage() for one in caplog.records if part in one.getMessage()]

    async with node(tmp_path / "a") as a:
        await a.stock.add(service(tmp_path, dependencies=[{"name": "base", "version": "^2"}]))
        await until(lambda: bool(said("takes no jobs until")))
        await a.stock.add(service(tmp_path, "base", "1.0.0"))
        await a.stock.add(service(tmp_path, "other"))
        await until(lambda: "there is 1.0.0" in a.executor.waiting()["rate"])
        await a.stock.add(service(tmp_path, "base", "2.0.0"))
        assert at_work(a)
    assert said("takes no jobs until") == [
        "rate waits for base ^2, which nobody offers: it takes no jobs until that is there; add it "
        "to a node, or change `dependencies`"
    ]
    assert len(said("goes to work")) == 1


async def test_what_is_lost_again_and_again_returns_later_and_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # To add a service takes no time here, however busy the machine is.
    clock_ms = 0
    monkeypatch.setattr(depending, "now_ms", lambda: clock_ms)
    async with node(tmp_path / "a") as a:
        await a.stock.add(service(tmp_path, dependencies=need("base")))
        base = service(tmp_path, "base")
        for _ in range(2):
            await a.stock.add(base)
            assert at_work(a)
            await a.stock.remove("base", None)
            assert not at_work(a)
        await a.stock.add(base)
        assert a.executor.waiting() == {
            "rate": "waits for what was lost again and again, and is there now"
        }
        clock_ms += depending.PAUSE_MS_FIRST
        await until(lambda: at_work(a))


async def test_the_hosts_own_come_first_whatever_a_service_is_called(tmp_path: Path) -> None:
    async with node(tmp_path / "a") as a:
        await a.stock.add(service(tmp_path, "grpc", "7.0.0"))
        with pytest.raises(ServiceError, match=r"grpc \^7, and this host has grpc 1\.0\.0"):
            await a.stock.add(service(tmp_path, dependencies=[{"name": "grpc", "version": "^7"}]))
        assert a.state("rate", "1.0.0") == "none"
        await a.stock.add(service(tmp_path, dependencies=[{"name": "grpc", "version": "^1.0.0"}]))
        assert at_work(a) and a.state("rate", "1.0.0") == "live"


async def test_a_node_of_another_version_refuses_what_its_host_lacks_and_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [{"name": "kv", "version": "^1.0.0"}]
    async with node(tmp_path / "a") as a:
        await a.stock.add(service(tmp_path, dependencies=wanted))
        row = a.registry.get("rate", "1.0.0")
        assert row is not None
    with monkeypatch.context() as later:
        later.setitem(HOST, "kv", Capability("kv", "2.0.0", "values, kept otherwise"))
        async with node(tmp_path / "a") as a:
            assert a.state("rate", "1.0.0") == "refused" and a.offers.of("rate") == []
            with pytest.raises(ServiceError, match=r"kv \^1\.0\.0, and this host has kv 2\.0\.0"):
                a.stock.judge(row, row.description)
    async with node(tmp_path / "a") as a:
        assert a.state("rate", "1.0.0") == "parked"


async def test_what_a_dependency_lacks_on_another_node_its_dependents_lack(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        worlds: list[World] = []
        for number in range(3):
            seeds = [worlds[0].mesh.address] if worlds else []
            opened = node(tmp_path / f"node-{number}", seeds=seeds)
            worlds.append(await stack.enter_async_context(opened))
        a, b, c = worlds
        await c.stock.add(service(tmp_path, dependencies=need("middle")))
        await b.stock.add(service(tmp_path, "middle", dependencies=need("base")))
        await until(lambda: "which lacks base *" in c.executor.waiting().get("rate", ""))
        await a.stock.add(service(tmp_path, "base"))
        await until(lambda: at_work(b, "middle") and at_work(c))


def need(*names: str) -> Sequence[dict[str, Any]]:
    return [{"name": one, "version": "*"} for one in names]
