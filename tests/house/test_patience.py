"""How tests wait: a machine that stands still costs no patience, what hangs is said."""

import pytest
import trio
from tests.patience import PATIENCE_S, patience, seen, until
from trio.testing import MockClock


async def test_a_machine_that_stood_still_has_its_time_left(autojump_clock: MockClock) -> None:
    steps = 0

    async def stumble() -> None:
        nonlocal steps
        for _ in range(10):
            autojump_clock.jump(10 * PATIENCE_S)  # a paused machine, for all that it sees
            await trio.sleep(1)
            steps += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stumble)
        assert await until(lambda: steps == 10) > 100 * PATIENCE_S

        async def look() -> int | None:
            await trio.sleep(5)
            return steps if steps == 20 else None

        nursery.start_soon(stumble)
        assert await seen(look) == 20


async def test_what_hangs_is_said_with_what_it_hangs_on(autojump_clock: MockClock) -> None:
    members = ["one"]
    with pytest.raises(trio.TooSlowError) as caught:
        await until(lambda: len(members) == 2)
    assert "await until(lambda: len(members) == 2)\n  members = ['one']" in str(caught.value)
    assert trio.current_time() < 2 * PATIENCE_S

    async def two_members() -> bool:
        await trio.sleep_forever()  # as a peer that never answers
        return len(members) == 2

    with pytest.raises(trio.TooSlowError, match="async def two_members"):
        await seen(two_members)
    with pytest.raises(trio.TooSlowError, match="7 s were not enough"), patience(7):
        await trio.sleep_forever()


async def test_errors_come_through_as_they_are(autojump_clock: MockClock) -> None:
    with pytest.raises(KeyError), patience():
        raise KeyError
    with pytest.raises(ZeroDivisionError):
        await until(lambda: 1 // 0 > 0)
    with patience(1):
        pass
    await trio.sleep(2)  # nothing of it is left that could end this
