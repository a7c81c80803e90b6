"""What the gateway's tests may ask for."""

from collections.abc import Generator

import pytest
from tests.gateway import compatibility
from tests.gateway.ahead import ahead, short_polls
from tests.gateway.places import place, storage
from tests.gateway.sink_world import zeebe_with_sink

__all__ = ["ahead", "place", "short_polls", "storage", "zeebe_with_sink"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "proves: what an endpoint does on an engine")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    compatibility.keep(item, report)
    return report


def pytest_sessionfinish() -> None:
    compatibility.write_kept()
