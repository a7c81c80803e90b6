"""The part of the interpreter that host functions may take from everybody else.

A guest that calls the host without end holds Python's lock for a few microseconds each time and
wants it back at once, before a thread that was woken for it has a core to run on. Several of them
hand it around among themselves, and the trio loop stands in line for tens of milliseconds. So the
time that host functions compute, of all guests together, is counted (their waits are not), and a
guest whose call found it used up pauses until some is earned back. What guests compute by
themselves costs nobody the lock and is left alone, and so is a job that calls the host now and
then.
"""

import time
from collections.abc import Callable

SHARE = 0.5
"""Of the time that passes: host functions are Python, of which one thread runs at a time."""

CALL_S = 3e-6
"""What the way into a host function and back takes of the lock, which no clock within it sees."""

BURST_S = 0.01
"""At once, after a quiet time: two thousand calls."""

QUANTUM_S = 0.001
"""Earned back before a guest goes on: pauses for each call's few microseconds cost more than
they give."""


class Share:
    """A bucket of seconds.

    It has no lock: two threads at once may count one call of the two, which over thousands is
    nothing, where a lock would be one more thing to stand in line for.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._left_s = BURST_S
        self._counted_s = now_s()

    def spend(self, seconds: float) -> float:
        """Count what a host function computed.

        Returns: for how long its guest is to pause, mostly 0.
        """
        now_s = self._now_s()
        earned_s = (now_s - self._counted_s) * SHARE
        self._left_s = min(BURST_S, self._left_s + earned_s) - seconds - CALL_S
        self._counted_s = now_s
        return 0.0 if self._left_s >= 0 else (QUANTUM_S - self._left_s) / SHARE
