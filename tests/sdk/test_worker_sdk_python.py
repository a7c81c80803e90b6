"""The worker SDK for Python: its own tests, then on a real Kafka and with a real gateway."""

import pytest
from tests.sdk.worker_behaviour import *  # noqa: F403
from tests.sdk.worker_faults import *  # noqa: F403
from tests.sdk.worker_sdks import PYTHON, Sdk
from tests.sdk.worker_security import *  # noqa: F403


@pytest.fixture(scope="module")
def sdk() -> Sdk:
    PYTHON.made()
    return PYTHON
