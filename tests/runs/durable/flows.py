"""Workflows that the tests of what keeps runs are made of, and workers without a network."""

from collections.abc import Callable, Sequence
from typing import Any

from gossamer_gateway.runs.engine import Answer, Engine, Job
from gossamer_gateway.runs.model.definition import (
    Branch,
    Definition,
    Place,
    Retry,
    Step,
    StepType,
)
from gossamer_gateway.runs.model.events import Failure

LINE = Definition(
    "line",
    "one",
    {
        "one": Step("one", action="one", next="two"),
        "two": Step("two", action="two", next="three"),
        "three": Step("three", action="three"),
    },
)
"""Three steps, one after the other."""

BUSY = Definition(
    "busy",
    "first",
    {
        "first": Step("first", action="one", retry=Retry(initial_delay_ms=1), next="which"),
        "which": Step(
            "which",
            StepType.CHOICE,
            choices=(Branch({"path": "$.input.n", "above": 5}, "fork"),),
            default="fork",
        ),
        "fork": Step("fork", StepType.PARALLEL, branches=("left", "right"), next="join"),
        "left": Step("left", action="two", timeout_ms=60_000, next="join"),
        "right": Step(
            "right",
            places=(Place("AWS", "f"), Place("GCP", "g")),
            retry=Retry(max_attempts=1, initial_delay_ms=1),
            next="join",
        ),
        "join": Step("join", StepType.JOIN, next="last"),
        "last": Step("last", action="three"),
    },
)
"""All kinds of steps."""

QUEUES = ("one", "two", "three", "provider:AWS", "provider:GCP")

Judge = Callable[[Job], Answer]


def well(job: Job) -> Answer:
    """Does it."""
    return Answer(job.step, job.attempt, {"did": job.step, "got": job.payload})


def at_second(job: Job) -> Answer:
    """Does it at the second attempt; the clouds' first is to blame each time."""
    if job.queue == "provider:AWS":
        return Answer(job.step, job.attempt, failure=Failure("Throttled", blame="provider"))
    if job.step == "first" and job.attempt == 1:
        return Answer(job.step, job.attempt, failure=Failure("Sulking"))
    return well(job)


async def work(engine: Engine, judge: Judge = well, queues: Sequence[str] = QUEUES) -> int:
    """Works until nothing is free; returns how many jobs that were."""
    worked = 0
    while jobs := await engine.fetch(queues, "w", jobs_max=100, lock_ms=60_000):
        await engine.answer_all([(one.run, judge(one)) for one in jobs])
        worked += len(jobs)
    return worked


async def lines(engine: Engine, count: int, **more: Any) -> list[str]:
    """Triggers runs of LINE."""
    await engine.define(LINE)
    return [(await engine.trigger("line", {"n": n}, **more)).id for n in range(count)]
