"""What the tests of the worker SDKs share."""

from collections.abc import Iterator

import pytest
from tests.kafka_fixture import broker_of
from tests.sdk.secure_kafka import SecureKafka


@pytest.fixture(scope="session")
def secure_kafka(request: pytest.FixtureRequest) -> Iterator[SecureKafka]:
    """A broker behind TLS and SASL that the whole session shares."""
    with broker_of(SecureKafka, request.config) as broker:
        yield broker
