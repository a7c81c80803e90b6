"""Steps as a node's adapter of Camunda 7 works them: those tests of the port's conformance suite
that speak of jobs, with workflows for processes.

What speaks of processes, retries that an engine counts, or paths that a BPMN error takes is not
here: a workflow has a policy instead, and `test_runs_jobs_mesh` shows it.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from tests.conformance.bench import Bench, PathProcess
from tests.conformance.test_engine_port import (
    test_activation_takes_no_more_than_asked,
    test_asking_for_nothing_brings_nothing,
    test_cancelled_poll_gives_back_what_it_brings,
    test_closing_waits_for_the_polls,
    test_error_needs_a_code,
    test_expired_lock_frees_the_job,
    test_extended_lock_holds,
    test_job_whose_lock_has_ended_is_not_locked,
    test_long_poll_is_woken,
    test_only_wanted_variables_are_fetched,
    test_outputs_keep_their_types,
    test_poll_may_end_empty,
    test_probe_tells_what_is_there,
    test_released_job_is_free_at_once,
    test_settled_job_is_gone,
    test_value_that_the_engine_cannot_hold_is_refused,
    test_variables_arrive_as_they_were_started,
    test_what_a_worker_id_has_locked,
    test_wrong_url_is_refused,
)
from tests.runs.worlds import World

from gossamer_node.engines import camunda8_variables
from gossamer_node.engines.camunda7 import Camunda7
from gossamer_node.engines.config import EngineConfig
from gossamer_node.variables import Variables

__all__ = [
    "test_activation_takes_no_more_than_asked",
    "test_asking_for_nothing_brings_nothing",
    "test_cancelled_poll_gives_back_what_it_brings",
    "test_closing_waits_for_the_polls",
    "test_error_needs_a_code",
    "test_expired_lock_frees_the_job",
    "test_extended_lock_holds",
    "test_job_whose_lock_has_ended_is_not_locked",
    "test_long_poll_is_woken",
    "test_only_wanted_variables_are_fetched",
    "test_outputs_keep_their_types",
    "test_poll_may_end_empty",
    "test_probe_tells_what_is_there",
    "test_released_job_is_free_at_once",
    "test_settled_job_is_gone",
    "test_value_that_the_engine_cannot_hold_is_refused",
    "test_variables_arrive_as_they_were_started",
    "test_what_a_worker_id_has_locked",
    "test_wrong_url_is_refused",
]


class Workflows(Camunda7):
    """The adapter, which starts a workflow where the suite starts a process."""

    def __init__(self, config: EngineConfig, world: World) -> None:
        super().__init__(config)
        self.world = world

    async def start(
        self, process_id: str, *, variables: Variables, business_key: str | None = None
    ) -> str:
        given = camunda8_variables.to_json(variables, {})
        return await self.world.trigger(process_id, given)


@dataclass(slots=True)
class WorkflowBench(Bench):
    """A path is two steps."""

    async def deploy_path(self) -> PathProcess:
        assert isinstance(self.engine, Workflows)
        id = f"{self.prefix}path"
        path = PathProcess(id, f"{id}-work", f"{id}-after", f"{id}-recover")
        await self.engine.world.define(id, {"action": path.work}, {"action": path.after})
        return path


@pytest.fixture
def engine_config(world: World) -> EngineConfig:
    url = f"{world.whole.gateway.url}/workflow/engine-rest"
    return EngineConfig("bench", "camunda7", url)


@pytest.fixture
async def bench(engine_config: EngineConfig, world: World) -> AsyncIterator[Bench]:
    engine = Workflows(engine_config, world)
    yield WorkflowBench("workflows", engine)
    await engine.aclose()
