"""Says once that the other side is away, and once that it is back; and how long to wait.

Trouble that somebody has to mend, such as a token that is refused, has a kind. It is said even if
something else was said before: who reads that the gateway cannot be reached, and starts it, has
to learn that it does not let this worker in.
"""

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
        self._is_away = False
        self._kind = ""

    @property
    def is_away(self) -> bool:
        """Whether the last word was of trouble."""
        return self._is_away

    def away(self, trouble: str, kind: str = "") -> None:
        """There is trouble; said if it is the first, or of a kind that was not the last one."""
        with self._lock:
            is_news = not self._is_away or kind not in {"", self._kind}
            self._is_away = True
            self._kind = kind or self._kind
        if is_news:
            log.warning("%s: %s; waiting", self._place, trouble)

    def back(self, *, unless: str = "") -> None:
        """All is well; said if there was trouble, but not of this kind."""
        with self._lock:
            if not self._is_away or (unless and self._kind == unless):
                return
            self._is_away = False
            self._kind = ""
        log.info("%s: back", self._place)


def wait_s(tries: int) -> float:
    """How long to wait after so many tries that failed, 1 or more: with jitter, so that many
    workers don't come back at once."""
    longest: float = min(WAIT_S_MAX, WAIT_S * 2 ** min(tries - 1, 10))
    return longest * (0.5 + random.random() / 2)
