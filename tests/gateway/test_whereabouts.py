"""Which engine an id belongs to, with engines that have it, haven't, are silent, slow or broken."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from gossamer_gateway import whereabouts
from gossamer_gateway.names import forms
from gossamer_gateway.names.numbers import NUMBER_END
from gossamer_gateway.whereabouts import ASK_S, At, Found, Nowhere, Unavailable, Whereabouts
from gossamer_node.engines.config import Kind
from gossamer_node.errors import EngineRefused, EngineUnavailable

ID = "d4e3f0a0-c6f2-11f0-8de9-0242ac120002"
KINDS: dict[str, Kind] = {"old": "camunda7", "new": "camunda8", "embedded": "camunda7"}


@dataclass
class World:
    """Engines that answer as they are told to.

    Attributes:
        behaviour: by engine: `yes`, `no`, `down`, `refuses`, `hangs`, and how long it takes.
        recalled: what is on disk.
    """

    behaviour: Mapping[str, tuple[str, float]]
    recalled: Mapping[tuple[str, str], str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def ask(self, engine: str, thing: str, id: str) -> bool:
        self.asked.append(engine)
        how, takes_s = self.behaviour[engine]
        await trio.sleep(takes_s)
        if how == "down":
            raise EngineUnavailable("down")
        if how == "refuses":
            raise EngineRefused("not you")
        if how == "hangs":
            await trio.sleep_forever()
        if how == "breaks":
            raise KeyError(engine)
        return how == "yes"

    async def recall(self, thing: str, id: str) -> str | None:
        return self.recalled.get((thing, id))


@pytest.mark.parametrize(
    ("id", "engines"),
    [
        ("45077364-8439-43dc-af12-3f8b5fbb0da6", ["old", "embedded"]),
        ("hotel:1:4711", ["old", "embedded"]),
        ("", ["old", "embedded"]),
        ("4711", ["old", "embedded"]),
        (str(NUMBER_END - 1), ["old", "embedded"]),
        (str(NUMBER_END), ["new"]),
        (str(2**63 - 1), ["new"]),
        (str(2**63), ["old", "embedded"]),
        ("9" * 5_000, ["old", "embedded"]),
        ("0" + str(NUMBER_END), ["old", "embedded"]),
        ("-" + str(NUMBER_END), ["old", "embedded"]),
        ("²²²²²²²²²²²²²²²²²²", ["old", "embedded"]),
    ],
)
def test_who_can_have_an_id(id: str, engines: list[str]) -> None:
    assert whereabouts.candidates(id, KINDS) == tuple(At(name, id) for name in engines)


def test_a_uuid_of_ours_tells_engine_and_number() -> None:
    ours = forms.to_uuid(forms.tag_of("new"), NUMBER_END + 5)
    assert whereabouts.candidates(ours, KINDS) == (At("new", str(NUMBER_END + 5)),)
    gone = forms.to_uuid(forms.tag_of("gone"), 5)
    assert whereabouts.candidates(gone, KINDS) == ()


async def test_where_one_can_have_it_nobody_is_asked() -> None:
    world = World({})
    finder = Whereabouts(KINDS, world.ask, world.recall)
    number = str(NUMBER_END + 5)
    assert await finder.find("process-instance", number) == At("new", number)
    gone = forms.to_uuid(forms.tag_of("gone"), 5)
    assert await finder.find("process-instance", gone) == Nowhere()


async def test_what_was_seen_is_not_asked_again() -> None:
    world = World({"old": ("no", 0), "embedded": ("yes", 0)}, {("task", "on disk"): "old"})
    finder = Whereabouts(KINDS, world.ask, world.recall)
    for _ in range(3):
        assert await finder.find("task", ID) == At("embedded", ID)
    assert sorted(world.asked) == ["embedded", "old"]
    assert await finder.find("task", "on disk") == At("old", "on disk")
    finder.seen("task", "told", "old")
    assert await finder.find("task", "told") == At("old", "told")
    assert len(world.asked) == 2
    # The same id of another thing is another.
    assert await finder.find("deployment", ID) == At("embedded", ID)
    assert len(world.asked) == 4


async def test_what_is_on_disk_of_an_engine_that_is_gone_counts_for_nothing() -> None:
    world = World({"old": ("yes", 0), "embedded": ("no", 0)}, {("task", ID): "removed"})
    finder = Whereabouts(KINDS, world.ask, world.recall)
    assert await finder.find("task", ID) == At("old", ID)


async def test_a_no_and_a_silence_are_not_remembered() -> None:
    behaviour = {"old": ("no", 0.0), "embedded": ("no", 0.0)}
    world = World(behaviour)
    finder = Whereabouts(KINDS, world.ask, world.recall)
    assert await finder.find("task", ID) == Nowhere()
    behaviour["embedded"] = ("down", 0)
    assert await finder.find("task", ID) == Unavailable(("embedded",))
    behaviour["embedded"] = ("yes", 0)
    assert await finder.find("task", ID) == At("embedded", ID)


async def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whereabouts, "SEEN_MAX", 3)
    world = World({"old": ("yes", 0), "embedded": ("no", 1e9)})
    finder = Whereabouts(KINDS, world.ask, world.recall)
    for id in "abcabcd":
        await finder.find("task", id)
    assert world.asked.count("old") == 4
    await finder.find("task", "d")
    assert world.asked.count("old") == 4
    await finder.find("task", "a")
    assert world.asked.count("old") == 5


async def test_a_yes_waits_for_nobody(autojump_clock: MockClock) -> None:
    world = World({"old": ("hangs", 0), "embedded": ("yes", 0.25)})
    finder = Whereabouts(KINDS, world.ask, world.recall)
    assert await finder.find("task", ID) == At("embedded", ID)
    assert trio.current_time() == 0.25


async def test_a_mistake_of_ours_comes_out_by_itself() -> None:
    world = World({"old": ("breaks", 0), "embedded": ("hangs", 0)})
    with pytest.raises(KeyError):
        await Whereabouts(KINDS, world.ask, world.recall).find("task", ID)


BEHAVIOUR = st.tuples(
    st.sampled_from(["yes", "no", "down", "refuses", "hangs"]),
    st.sampled_from([0.0, 0.5, 1.0, ASK_S + 1]),
)


@given(st.lists(BEHAVIOUR, min_size=2, max_size=5), st.uuids(version=4))
def test_what_is_answered_follows_from_what_engines_say(
    behaviours: list[tuple[str, float]], id: UUID
) -> None:
    behaviour = {f"e{n}": one for n, one in enumerate(behaviours)}
    world = World(behaviour)
    kinds: dict[str, Kind] = dict.fromkeys(behaviour, "camunda7")
    took_s = 0.0

    async def main() -> Found:
        nonlocal took_s
        began_s = trio.current_time()
        found = await Whereabouts(kinds, world.ask, world.recall).find("task", str(id))
        took_s = trio.current_time() - began_s
        return found

    found = trio.run(main, clock=MockClock(autojump_threshold=0))
    in_time = {name: how for name, (how, s) in behaviour.items() if s < ASK_S}
    first_s = min((s for how, s in behaviours if how == "yes" and s < ASK_S), default=None)
    silent = tuple(name for name in behaviour if in_time.get(name) not in ("yes", "no"))
    if first_s is not None:
        assert isinstance(found, At) and in_time[found.engine] == "yes"
        assert behaviour[found.engine][1] == took_s == first_s
    elif silent:
        assert found == Unavailable(silent)
    else:
        assert found == Nowhere()
    assert took_s <= ASK_S and sorted(world.asked) == sorted(behaviour)
