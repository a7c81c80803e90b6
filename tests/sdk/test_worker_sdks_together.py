"""Workers of one action, each in another language: they share its jobs, and none is done twice."""

from contextlib import ExitStack
from uuid import uuid4

import pytest
from tests.kafka_fixture import Kafka
from tests.sdk.worker_behaviour import JobsBus, jobs_bus
from tests.sdk.worker_sdks import ALL

__all__ = ["jobs_bus"]

pytestmark = pytest.mark.kafka


def test_three_languages_share_an_action(kafka: Kafka, jobs_bus: JobsBus) -> None:
    its = f"all-{uuid4().hex[:8]}-"
    with ExitStack() as stack:
        workers = []
        for sdk in ALL:
            sdk.made()
            command = (*sdk.conformance, its)
            worker = stack.enter_context(sdk.started(command, GOSSAMER_KAFKA=kafka.address))
            worker.wait_said("ready: ")
            workers.append(worker)
        runs = [jobs_bus.job(its + "count", None) for _ in range(120)]
        jobs_bus.wait(lambda: all(run in jobs_bus.results for run in runs))
        said = [one for run in runs for one in jobs_bus.results[run]]
        assert len({one["worker"] for one in said}) == len(ALL), "one of them had no share"
        assert [one["output"] for one in said] == [[1, 1, True]] * len(runs)
        for sdk, worker in zip(ALL, workers, strict=True):
            assert worker.end() == sdk.ended
