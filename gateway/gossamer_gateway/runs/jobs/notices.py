"""Who has the jobs of a run, and why nothing happens, where that is known: nobody asks for them.

It is known of actions whose jobs workers fetch. Of those that go over Kafka it is not: who consumes
a topic, only Kafka knows. Providers are asked by the gateway itself.
"""

import time
from collections.abc import Callable, Iterable, Mapping

from gossamer_gateway.runs.jobs.asked import SILENT_MS, Asked
from gossamer_gateway.runs.jobs.holding import Held
from gossamer_gateway.runs.model.definition import Definition
from gossamer_gateway.runs.model.run import Run, StepStatus


async def notices(
    is_offered: Callable[[str], bool],
    asked: Asked,
    run: Run,
    definition: Definition,
    held: Iterable[Held],
) -> Mapping[str, str]:
    """Sentences by step.

    Args:
        is_offered: whether jobs of an action are fetched here.
        held: the run's jobs.
    """
    now_ms = time.time_ns() // 1_000_000
    at_work = {one.step for one in held if one.worker is not None and one.free_ms > now_ms}
    waiting: dict[str, str] = {}
    for id, state in run.steps.items():
        action = definition.steps[id].action
        if action is None or state.status is not StepStatus.RUNNING or id in at_work:
            continue
        if is_offered(action):
            waiting[id] = action
    if not waiting:
        return {}
    last = await asked.last(waiting.values())
    told = {}
    for id, action in waiting.items():
        at_ms = last.get(action)
        if at_ms is None:
            told[id] = f"nobody has asked for jobs of {action}; is its worker running?"
        elif now_ms - at_ms > SILENT_MS:
            ago_s = (now_ms - at_ms) // 1_000
            told[id] = f"nobody has asked for jobs of {action} for {ago_s} s"
    return told
