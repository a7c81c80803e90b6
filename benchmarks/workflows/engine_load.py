"""The engine under load: so many runs under way, and workers that answer at once."""

import time
from collections.abc import Sequence
from math import ceil

import trio
from benchmarks.workflows.measured import (
    STEPS,
    Measured,
    cpu_s,
    own_cpu_s,
    percentile,
    with_children,
)

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


def _database_s(pid: int | None) -> float:
    return 0.0 if pid is None else cpu_s(with_children(pid))


async def measure(
    engines: Sequence[Engine], runs: int, under_way: int, database: int | None = None
) -> Measured:
    """Has so many runs go through, on one engine or several in turn.

    Args:
        database: the process that all others of it are children of.
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
            for _ in range(ceil(WORKERS / len(engines))):
                nursery.start_soon(work, engine)
        cpu_began_s, database_began_s = own_cpu_s(), _database_s(database)
        at_s = time.perf_counter()
        async with trio.open_nursery() as triggers:
            for number in range(runs):
                await slots.acquire()
                triggers.start_soon(trigger, engines[number % len(engines)])
        await is_over.wait()
        seconds = time.perf_counter() - at_s
        steps = runs * STEPS
        used_s, database_s = own_cpu_s() - cpu_began_s, _database_s(database) - database_began_s
        nursery.cancel_scope.cancel()
    took_ms = [(ended[id] - began[id]) * 1_000 for id in ended]
    return Measured(
        runs, seconds, used_s / steps * 1e6, database_s / steps * 1e6,
        percentile(took_ms, 0.5), percentile(took_ms, 0.99),
    )  # fmt: skip
