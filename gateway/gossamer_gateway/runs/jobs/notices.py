"""Why nothing happens in a run, where that is known: nobody asks for the jobs of a step.

It is known of actions whose jobs workers fetch; whether somebody consumes a Kafka's topic only that
knows. Providers are asked by the gateway itself.
"""

import time
from collections.abc import Mapping

from gossamer_gateway.runs.config import WorkflowsConfig
from gossamer_gateway.runs.jobs.asked import SILENT_MS, Asked
from gossamer_gateway.runs.model.definition import Definition
from gossamer_gateway.runs.model.run import Run, StepStatus


async def notices(
    config: WorkflowsConfig, asked: Asked, run: Run, definition: Definition
) -> Mapping[str, str]:
    """Sentences by step."""
    waiting: dict[str, str] = {}
    for id, state in run.steps.items():
        action = definition.steps[id].action
        at_work = state.status is StepStatus.RUNNING
        if at_work and action is not None and config.is_offered(action):
            waiting[id] = action
    if not waiting:
        return {}
    last = await asked.last(waiting.values())
    now_ms = time.time_ns() // 1_000_000
    told = {}
    for id, action in waiting.items():
        at_ms = last.get(action)
        if at_ms is None:
            told[id] = f"nobody has asked for jobs of {action}; is its worker running?"
        elif now_ms - at_ms > SILENT_MS:
            ago_s = (now_ms - at_ms) // 1_000
            told[id] = f"nobody has asked for jobs of {action} for {ago_s} s"
    return told
