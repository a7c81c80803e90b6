"""The worker SDK for Python: its own tests, then on a real Kafka and with a real gateway."""

import pytest
from tests.sdk.worker_behaviour import *  # noqa: F403
from tests.sdk.worker_sdks import PYTHON, Sdk


@pytest.fixture(scope="module")
def sdk() -> Sdk:
    PYTHON.made()
    return PYTHON
