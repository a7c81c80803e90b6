"""The time by which a gateway's long polls go, put forward by a test: who waits for minutes, so
that no busy machine ends the wait before all are there, hears at once that its time is up."""

from collections.abc import Callable

import pytest

from gossamer_gateway.polls import driver, hub
from gossamer_gateway.polls.driver import Polling

__all__ = ["ahead", "short_polls"]

Ahead = Callable[[Polling, int], None]


@pytest.fixture
def short_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Polls at engines are never cut off, so a gateway's end waits for them: for a second here."""
    monkeypatch.setattr(hub, "WAIT_MS", 1_000)


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch, short_polls: None) -> Ahead:
    """Puts the time forward by so many ms."""
    ahead_ms = 0
    inside = driver._now_ms

    def now_ms() -> int:
        return inside() + ahead_ms

    def forward(polling: Polling, by_ms: int) -> None:
        nonlocal ahead_ms
        ahead_ms += by_ms
        polling._sooner.set()

    monkeypatch.setattr(driver, "_now_ms", now_ms)
    return forward
