"""The worker SDK for Java: its own tests, then on a real Kafka and with a real gateway."""

import pytest
from tests.kafka_fixture import Kafka
from tests.sdk.worker_behaviour import *  # noqa: F403
from tests.sdk.worker_behaviour import JobsBus, prefix_of
from tests.sdk.worker_faults import *  # noqa: F403
from tests.sdk.worker_sdks import JAVA, Sdk
from tests.sdk.worker_security import *  # noqa: F403


@pytest.fixture(scope="module")
def sdk() -> Sdk:
    JAVA.made()
    return JAVA


@pytest.mark.kafka
def test_many_actions_read_others_large_jobs_in_little_memory(
    sdk: Sdk, kafka: Kafka, jobs_bus: JobsBus
) -> None:
    """Each action reads the whole topic, and the heap has less than a fetch of each might be."""
    its = prefix_of(sdk)
    for number in range(40):
        jobs_bus.message("another's", str(number), b'"' + bytes(1_000_000) + b'"')
    with sdk.started((*sdk.conformance, its), GOSSAMER_KAFKA=kafka.address) as worker:
        worker.wait_said("ready: ")
        assert jobs_bus.result(jobs_bus.job(its + "echo", "small"))["output"] == "small"
        assert worker.end() == sdk.ended
