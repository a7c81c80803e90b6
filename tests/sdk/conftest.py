"""What the tests of the worker SDKs share."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.downloads import downloads_shown
from tests.sdk.secure_kafka import SecureKafka

from gossamer_node.errors import LocalEngineMissing


@pytest.fixture(scope="session")
def secure_kafka(request: pytest.FixtureRequest) -> Iterator[SecureKafka]:
    """A broker behind TLS and SASL that the whole session shares."""
    folder = Path(tempfile.mkdtemp(prefix="gossamer-kafka-"))
    broker = SecureKafka(folder, downloads_shown(request.config))
    try:
        try:
            broker.start()
        except LocalEngineMissing as error:
            pytest.skip(f"NOT RUN: {error}")
        yield broker
        broker.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
