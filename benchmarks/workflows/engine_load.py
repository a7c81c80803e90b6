"""The engine under load: so many runs under way, and workers that answer at once."""

import time
from collections.abc import Mapping, Sequence
from math import ceil
from types import MappingProxyType

import trio
from benchmarks.workflows.measured import Measured, Meter

from gossamer_gateway.runs.engine import Answer, Engine
from gossamer_gateway.runs.model.definition import Definition, Step
from gossamer_gateway.runs.model.events import Event
from gossamer_gateway.runs.model.run import Run

LINE = Definition(
    "bench",
    "one",
    {
        "one": Step("one", action="one", next="two"),
        "two": Step("two", action="two", next="three"),
        "three": Step("three", action="three"),
    },
)
ACTIONS = ("one", "two", "three")
WORKERS = 4
BATCH = 32
"""Jobs that a worker takes at once."""
INPUT = {"order": "o-4711", "amount": 12.5, "lines": [1, 2, 3]}


_NOTHING: Mapping[str, int] = MappingProxyType({})


async def measure(
    engines: Sequence[Engine],
    runs: int,
    under_way: int,
    others: Mapping[str, int] = _NOTHING,
    *,
    workers: int = WORKERS,
) -> Measured:
    """Has so many runs go through, on one engine or several in turn.

    Args:
        others: what is measured beside this process, each by the first of its processes.
        workers: in this process; 0 where others do the work.
    """
    await engines[0].define(LINE)
    began: dict[str, float] = {}
    ended: dict[str, float] = {}
    is_over = trio.Event()
    slots = trio.Semaphore(under_way)

    def happened(run: Run, _: Sequence[Event]) -> None:
        if run.status.has_ended and run.id not in ended:
            ended[run.id] = time.perf_counter()
            slots.release()
            if len(ended) == runs:
                is_over.set()

    async def trigger(engine: Engine) -> None:
        at_s = time.perf_counter()
        began[(await engine.trigger("bench", INPUT)).id] = at_s

    async def work(engine: Engine) -> None:
        while True:
            jobs = await engine.fetch(ACTIONS, "w", jobs_max=BATCH, lock_ms=60_000)
            if jobs:
                answers = [(one.run, Answer(one.step, one.attempt, one.payload)) for one in jobs]
                await engine.answer_all(answers)
            else:
                await engine.wait_free(ACTIONS, trio.current_time() + 10)

    for engine in engines:
        engine.listen(happened)
    async with trio.open_nursery() as nursery:
        for engine in engines:
            nursery.start_soon(engine.keep_time)
            for _ in range(ceil(workers / len(engines))):
                nursery.start_soon(work, engine)
        meter = Meter(others, under_way)
        async with trio.open_nursery() as triggers:
            for number in range(runs):
                await slots.acquire()
                triggers.start_soon(trigger, engines[number % len(engines)])
        await is_over.wait()
        measured = meter.measured(began, ended)
        nursery.cancel_scope.cancel()
    return measured
