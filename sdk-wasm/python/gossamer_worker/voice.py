"""Says once that the other side is away, and once that it is back; and how long to wait."""

from __future__ import annotations

import logging
import random
import threading

log = logging.getLogger("gossamer_worker")

WAIT_S = 0.1
WAIT_S_MAX = 5.0
"""The first wait after trouble, and the longest: each is twice the one before."""


class Voice:
    """What is said of one other side."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._lock = threading.Lock()
        self._trouble = ""

    @property
    def is_away(self) -> bool:
        """Whether the last word was of trouble."""
        return bool(self._trouble)

    def away(self, trouble: str) -> None:
        """There is trouble; said unless the last word was this already."""
        with self._lock:
            first = not self._trouble
            self._trouble = trouble
        if first:
            log.warning("%s: %s; waiting", self._place, trouble)

    def back(self) -> None:
        """All is well; said if there was trouble."""
        with self._lock:
            had, self._trouble = self._trouble, ""
        if had:
            log.info("%s: back", self._place)


def wait_s(tries: int) -> float:
    """How long to wait after so many tries that failed, 1 or more: with jitter, so that many
    workers don't come back at once."""
    longest: float = min(WAIT_S_MAX, WAIT_S * 2 ** min(tries - 1, 10))
    return longest * (0.5 + random.random() / 2)
