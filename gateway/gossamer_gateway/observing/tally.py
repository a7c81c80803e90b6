"""Counts and times of one kind of thing, for Prometheus. Pure.

A histogram has one set of bounds for all: from what a settlement at a quick engine takes to a long
poll's usual 30 s.
"""

from bisect import bisect_left
from typing import Final

BOUNDS_S: Final = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper ends of the buckets, themselves included; one more has the rest."""


class Times:
    """A histogram of how long things took."""

    __slots__ = ("buckets", "sum_s")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0

    def note(self, took_ns: int) -> None:
        """One more."""
        took_s = took_ns / 1e9
        self.buckets[bisect_left(BOUNDS_S, took_s)] += 1
        self.sum_s += took_s

    def __len__(self) -> int:
        return sum(self.buckets)
