"""Who has the jobs of a run, and why nothing happens, where that is known: nobody asks for them.

Workers that fetch jobs are noted when they do; of those that have them over Kafka, Kafka is asked.
Providers are asked by the gateway itself.
"""

import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping

from gossamer_gateway.runs.jobs.asked import SILENT_MS, Asked
from gossamer_gateway.runs.jobs.holding import Held
from gossamer_gateway.runs.model.definition import Definition
from gossamer_gateway.runs.model.run import Run, StepStatus

Idle = Callable[[Collection[str]], Awaitable[Collection[str]]]
"""Tells which of some actions are known to have no worker at Kafka."""


async def notices(
    is_offered: Callable[[str], bool],
    asked: Asked,
    idle: Idle | None,
    run: Run,
    definition: Definition,
    held: Iterable[Held],
) -> Mapping[str, str]:
    """Sentences by step.

    Args:
        is_offered: whether jobs of an action are fetched here.
        idle: of the others; None: there are none, or nothing of them is known.
        held: the run's jobs.
    """
    now_ms = time.time_ns() // 1_000_000
    at_work = {one.step for one in held if one.worker is not None and one.free_ms > now_ms}
    waiting: dict[str, str] = {}
    sent: dict[str, str] = {}
    for id, state in run.steps.items():
        action = definition.steps[id].action
        if action is None or state.status is not StepStatus.RUNNING or id in at_work:
            continue
        (waiting if is_offered(action) else sent)[id] = action
    told = {}
    if sent and idle is not None:
        without = await idle(set(sent.values()))
        told = {
            id: f"no worker of {action} is at Kafka (nobody in its group workflow-worker.{action});"
            " is its worker running?"
            for id, action in sent.items()
            if action in without
        }
    if not waiting:
        return told
    last = await asked.last(waiting.values())
    for id, action in waiting.items():
        at_ms = last.get(action)
        if at_ms is None:
            told[id] = f"nobody has asked for jobs of {action}; is its worker running?"
        elif now_ms - at_ms > SILENT_MS:
            ago_s = (now_ms - at_ms) // 1_000
            told[id] = f"nobody has asked for jobs of {action} for {ago_s} s"
    return told
