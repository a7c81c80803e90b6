"""How long credentials are kept, and how often they are asked for, whatever becomes of them."""

import time
from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from gossamer_gateway.runs.providers.keeping import AGAIN_S, FETCH_S, Fetched, Keeper, NoCredentials


def counted(*said: Callable[[], Fetched[str]]) -> tuple[Keeper[str], list[int]]:
    """A keeper whose fetches do this, in turn, and how often it fetched."""
    fetches: list[int] = []

    async def fetch() -> Fetched[str]:
        await trio.lowlevel.checkpoint()
        fetches.append(1)
        return said[min(len(fetches), len(said)) - 1]()

    return Keeper(fetch), fetches


def fails() -> Fetched[str]:
    raise NoCredentials("the metadata is away")


async def test_many_who_wait_are_one_fetch() -> None:
    keeper, fetches = counted(lambda: Fetched("a"))
    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(keeper.get)
    assert await keeper.get() == "a" and len(fetches) == 1


async def test_they_are_renewed_before_their_end(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = time.time()
    keeper, fetches = counted(
        lambda: Fetched("a", now_s + 3_600), fails, lambda: Fetched("b", now_s + 9_000)
    )
    assert await keeper.get() == "a"
    monkeypatch.setattr(time, "time", lambda: now_s + 3_000)
    assert await keeper.get() == "a" and len(fetches) == 1
    monkeypatch.setattr(time, "time", lambda: now_s + 3_500)
    assert await keeper.get() == "a", "the renewal failed, and they still hold"
    assert await keeper.get() == "a" and len(fetches) == 2, "it is not tried with every call"
    await trio.sleep(AGAIN_S)
    assert await keeper.get() == "b" and len(fetches) == 3


async def test_those_that_have_ended_are_not_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = time.time()
    keeper, _ = counted(lambda: Fetched("a", now_s + 100), fails)
    assert await keeper.get() == "a"
    monkeypatch.setattr(time, "time", lambda: now_s + 101)
    with pytest.raises(NoCredentials, match="away"):
        await keeper.get()


async def test_what_was_refused_is_fetched_anew() -> None:
    keeper, fetches = counted(lambda: Fetched("a"), lambda: Fetched("b"))
    assert await keeper.get() == "a"
    assert await keeper.other_than("another") == "a" and len(fetches) == 1
    assert await keeper.other_than("a") == "b" and len(fetches) == 2
    assert await keeper.get() == "b"


async def test_many_who_were_refused_are_one_fetch() -> None:
    for value, expected in (("b", "b"), ("a", None)):  # new ones, or the same again
        keeper, fetches = counted(lambda: Fetched("a"), lambda value=value: Fetched(value))  # type: ignore[misc]
        await keeper.get()
        found: list[str | None] = []

        async def refused(keeper: Keeper[str] = keeper, found: list[str | None] = found) -> None:
            found.append(await keeper.other_than("a"))

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(refused)
        assert found == [expected] * 50 and len(fetches) == 2


async def test_a_function_that_refuses_everybody_costs_no_fetch_for_each_call(
    autojump_clock: MockClock,
) -> None:
    """An endpoint that gives another token each time would be asked with every call."""
    now_s = time.time()
    given = iter(range(1_000))
    keeper, fetches = counted(lambda: Fetched(str(next(given)), now_s + 3_600))
    for _ in range(20):
        await keeper.other_than(await keeper.get())
    assert len(fetches) == 2
    await trio.sleep(AGAIN_S)
    assert await keeper.other_than(await keeper.get()) == "2"


async def test_many_who_find_none_are_one_fetch(autojump_clock: MockClock) -> None:
    """Each would wait for all before it, and then count as a provider that is too slow."""

    async def slow() -> Fetched[str]:
        fetches.append(1)
        await trio.sleep(2)
        raise NoCredentials("the metadata is away")

    fetches: list[int] = []
    keeper = Keeper(slow)
    failed: list[str] = []

    async def get() -> None:
        with pytest.raises(NoCredentials) as caught:
            await keeper.get()
        failed.append(str(caught.value))

    began_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(get)
    assert failed == ["the metadata is away"] * 50 and len(fetches) == 1
    assert trio.current_time() - began_s < 3
    await trio.sleep(AGAIN_S)
    await get()
    assert len(fetches) == 2


async def test_nobody_waits_for_a_renewal_while_the_old_ones_hold(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = time.time()

    async def fetch() -> Fetched[str]:
        fetches.append(1)
        if len(fetches) > 1:
            await trio.sleep_forever()
        return Fetched("a", now_s + 3_600)

    fetches: list[int] = []
    keeper = Keeper(fetch)
    await keeper.get()
    monkeypatch.setattr(time, "time", lambda: now_s + 3_500)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.get)  # it renews
        await wait_all_tasks_blocked()
        began_s = trio.current_time()
        for _ in range(20):
            assert await keeper.get() == "a"
        assert trio.current_time() == began_s
    assert trio.current_time() == began_s + FETCH_S and len(fetches) == 2


async def test_refused_and_none_to_be_had_is_said_so(autojump_clock: MockClock) -> None:
    keeper, fetches = counted(lambda: Fetched("a"), fails, lambda: Fetched("b"))
    await keeper.get()
    for _ in range(3):
        with pytest.raises(NoCredentials, match="away"):
            await keeper.other_than("a")
    assert await keeper.get() == "a" and len(fetches) == 2, "others may still be let in with them"
    await trio.sleep(AGAIN_S)
    assert await keeper.other_than("a") == "b"


async def test_who_gives_up_waiting_takes_nobody_along(autojump_clock: MockClock) -> None:
    async def fetch() -> Fetched[str]:
        await trio.sleep(3)
        return Fetched("a")

    keeper = Keeper(fetch)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.get)
        with trio.move_on_after(1):
            await keeper.get()
    with trio.fail_after(0.1):
        assert await keeper.get() == "a"


@pytest.mark.parametrize("ends_s", [float("nan"), float("inf"), -float("inf")])
def test_an_end_is_a_time(ends_s: float) -> None:
    with pytest.raises(ValueError, match="no time"):
        Fetched("a", ends_s)
