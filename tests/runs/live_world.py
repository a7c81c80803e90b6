"""Runs in a gateway with everything that a live page shows: retries, failovers, late answers,
branches, and texts that mean harm.

Functions of clouds are worked by the test: the gateway's own calls are stopped.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.gateway.whole_gateway import Whole, open_whole
from tests.patience import patience, seen

from gossamer_gateway.runs.engine import Engine
from gossamer_gateway.runs.live.bridge import Bridge
from gossamer_gateway.runs.model.deciding import Answer, Verdict
from gossamer_gateway.runs.model.definition import Definition, Place, Retry, Step, StepType
from gossamer_gateway.runs.model.events import Failure
from gossamer_gateway.runs.model.run import StepStatus

HARM = "<script>document.title='harmed'</script><img src=x onerror=\"document.title='harmed'\">"
"""What a page must show and not do."""

QUICK = Retry(max_attempts=2, initial_delay_ms=150, jitter=0)

ORDER = Definition(
    "order",
    "reserve",
    {
        "reserve": Step("reserve", action="reserve", retry=QUICK, next="prepare"),
        "prepare": Step("prepare", StepType.PARALLEL, branches=("pay", "pack"), next="together"),
        "pay": Step(
            "pay",
            places=(Place("cloud-a", "pay", "west"), Place("cloud-b", "pay")),
            retry=QUICK,
            timeout_ms=60_000,
            next="together",
        ),
        "pack": Step("pack", action="pack", retry=QUICK, next="label"),
        "label": Step("label", action="label", next="together"),
        "together": Step("together", StepType.JOIN, next="ship"),
        "ship": Step("ship", action="ship", retry=QUICK),
    },
    name="Order of a shop",
)

HELLO = Definition("hello", "greet", {"greet": Step("greet", action="greet", retry=QUICK)})

DOWN = Failure("Unavailable", "503 from the provider", "provider")


@dataclass(frozen=True)
class LiveWorld:
    """A running one."""

    whole: Whole

    @property
    def url(self) -> str:
        return self.whole.gateway.url

    @property
    def engine(self) -> Engine:
        return self.whole.gateway.workflows.engine

    @property
    def bridge(self) -> Bridge:
        return self.whole.gateway.workflows.bridge

    async def trigger(self, workflow: str, given: Any = None, key: str | None = None) -> str:
        return (await self.engine.trigger(workflow, given, key=key)).id

    async def done(self, run: str, step: str, output: Any = None) -> None:
        """The attempt at work is done."""
        await self._says(run, step, output=output)

    async def fails(self, run: str, step: str, failure: Failure = DOWN) -> None:
        """The attempt at work fails."""
        await self._says(run, step, failure=failure)

    async def late(self, run: str, step: str, attempt: int) -> None:
        """Somebody answers an attempt that was given up."""
        await self.engine.answer(run, Answer(step, attempt, "at last"))

    async def begun(self, run: str, step: str, attempt: int) -> None:
        """Waits until an attempt is at work."""
        with patience():
            while True:
                rung = self.engine.news.next
                state = (await self.engine.run(run)).steps.get(step)
                if (
                    state is not None
                    and state.attempt >= attempt
                    and state.status is StepStatus.RUNNING
                ):
                    return
                await rung.wait()

    async def _says(self, run: str, step: str, **said: Any) -> None:
        """Answers the attempt at work. On a busy machine its time may be over: then the next."""

        async def is_taken() -> bool:
            attempt = (await self.engine.run(run)).steps[step].attempt
            return await self.engine.answer(run, Answer(step, attempt, **said)) is Verdict.TAKEN

        await seen(is_taken)

    async def an_order(self, given: Any = None, *, key: str | None = None) -> str:
        """An order up to its last step, with all that may happen on the way."""
        run = await self.trigger("order", given, key)
        await self.fails(
            run, "reserve", Failure("OutOfStock", "shelf 7 is empty, another is asked")
        )
        await self.begun(run, "reserve", 2)
        await self.done(run, "reserve", {"shelf": 8})
        await self.fails(run, "pay")
        await self.done(run, "pack", {"box": "small"})
        await self.begun(run, "pay", 2)
        await self.fails(run, "pay")
        await self.begun(run, "pay", 3)
        await self.done(run, "label", "DE-1207")
        await self.done(run, "pay", {"paid": True, "by": "cloud-b"})
        return run


@asynccontextmanager
async def open_live(folder: Path, **more: Any) -> AsyncIterator[LiveWorld]:
    """Serves until the block is left. Takes what `open_whole` takes."""
    async with open_whole(folder, **more) as whole:
        world = LiveWorld(whole)
        whole.gateway.workflows.invoker.stop()
        await world.engine.define(ORDER)
        await world.engine.define(HELLO)
        yield world
