"""The worker SDK for Node: its own tests, then on a real Kafka and with a real gateway."""

import pytest
from tests.sdk.worker_behaviour import *  # noqa: F403
from tests.sdk.worker_faults import *  # noqa: F403
from tests.sdk.worker_sdks import NODE, Sdk
from tests.sdk.worker_security import *  # noqa: F403


@pytest.fixture(scope="module")
def sdk() -> Sdk:
    NODE.made()
    return NODE
