"""How many lines a service's workers may log.

A job's own bound does not help where a thousand jobs a second log: then the node's log, and who
reads it, drown in one service. So a service has so many lines a second besides, saved up to a
burst. What is beyond is counted and dropped, and said in one line of the node's own now and then.
"""

import logging
import threading
import time
from collections.abc import Callable

LINES_PER_S = 200
"""Of one service on one node, in the long run."""

BURST_LINES = 2_000
"""At once, after a quiet time: twenty jobs that say all they may."""

NOTICE_S = 10.0
"""Between two lines about lines that were dropped."""

_log = logging.getLogger("gossamer.wasm")


class Lines:
    """One service's bound: a bucket of tokens. Safe to use from several threads."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self.dropped = 0
        self._now_s = now_s
        self._lock = threading.Lock()
        self._left = float(BURST_LINES)
        self._counted_s = now_s()
        self._untold = 0
        self._told_s: float | None = None

    def take(self) -> bool:
        """Whether one more line may be logged, which then counts."""
        with self._lock:
            now_s = self._now_s()
            gained = (now_s - self._counted_s) * LINES_PER_S
            self._left, self._counted_s = min(BURST_LINES, self._left + gained), now_s
            if self._left < 1:
                return False
            self._left -= 1
            return True

    def drop(self, count: int, service: str) -> None:
        """Count a job's lines that were not logged, and say so if it is time."""
        with self._lock:
            now_s = self._now_s()
            self.dropped += count
            self._untold += count
            if self._told_s is not None and now_s - self._told_s < NOTICE_S:
                return
            untold, self._untold, self._told_s = self._untold, 0, now_s
        _log.warning(
            "%s lines of %s were not logged; a job has 100, and a service %s a second",
            f"{untold:,}",
            service,
            LINES_PER_S,
        )
