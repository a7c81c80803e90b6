"""How tests wait for what tells nobody when it begins, and how long before they fail.

A machine that stands still, as a virtual one does that is paused, lets the clock run and nothing
else. A deadline would pass meanwhile, and the test fail before it has looked even once more. So
patience is not measured by the clock, but by the time in which this process ran: however late the
clock says that it is, one `TICK_S` counts as `TICK_S_MAX` at most.
"""

import inspect
import textwrap
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import trio

PATIENCE_S = 60.0
"""What would take this long hangs. Nothing is measured by it."""

LOOK_S = 0.01
"""Between two looks."""

TICK_S = 0.5
TICK_S_MAX = 1.0

VALUE_CHARACTERS_MAX = 20_000
"""Of each value that is shown."""

T = TypeVar("T")


async def until(is_so: Callable[[], bool], patience_s: float = PATIENCE_S) -> float:
    """Looks until something is so; returns how many seconds that took.

    Raises:
        trio.TooSlowError: it was not so in all the time; it says what, and what it was made of.
    """
    began_s = trio.current_time()
    with patience(patience_s, lambda: described(is_so)):
        while not is_so():  # noqa: ASYNC110 - what is so tells nobody
            await trio.sleep(LOOK_S)
    return trio.current_time() - began_s


async def seen(
    look: Callable[[], Awaitable[T | None]],
    patience_s: float = PATIENCE_S,
    pause_s: float = LOOK_S,
) -> T:
    """Looks until there is something to see, for what must be asked for; returns it.

    Raises:
        trio.TooSlowError: as `until` does.
    """
    with patience(patience_s, lambda: described(look)):
        while not (found := await look()):  # noqa: ASYNC110 - mostly in other processes
            await trio.sleep(pause_s)
    return found


@contextmanager
def patience(
    patience_s: float = PATIENCE_S, awaited: Callable[[], str] = lambda: "the block's end"
) -> Iterator[None]:
    """Ends its block when it took too long.

    Args:
        awaited: says, in that case, what was waited for.

    Raises:
        trio.TooSlowError: the block did not end by itself.
    """
    block, watching = trio.CancelScope(), trio.CancelScope()

    async def watch() -> None:
        with watching:
            left_s, last_s = patience_s, trio.current_time()
            while left_s > 0:
                await trio.sleep(min(TICK_S, left_s))
                now_s = trio.current_time()
                left_s -= min(now_s - last_s, TICK_S_MAX)
                last_s = now_s
            block.cancel()

    trio.lowlevel.spawn_system_task(watch)
    try:
        with block:
            yield
    finally:
        watching.cancel()
    if block.cancelled_caught:
        raise trio.TooSlowError(f"{patience_s:g} s were not enough for {awaited()}") from None


def described(condition: Callable[[], object]) -> str:
    """A condition's source, and the values of what it looks at."""
    try:
        text = textwrap.dedent(inspect.getsource(condition)).strip()
    except (OSError, TypeError, SyntaxError):
        text = repr(condition)
    try:
        values = inspect.getclosurevars(condition).nonlocals
    except (TypeError, ValueError):
        return text
    shown = [f"  {name} = {repr(each)[:VALUE_CHARACTERS_MAX]}" for name, each in values.items()]
    return "\n".join([text, *shown])
