"""When what the sink knows can no longer be believed. Pure: no I/O, no clock.

An engine in which nothing happens exports nothing, so silence tells nothing. But the gateway hears
of the engine in other ways: each instance it starts and each job it fetches has a key, and keys are
given in the order in which they stand in the log. While the sink has not come to a key that the
gateway was told long ago, it is deaf: the exporter is off, points elsewhere, or lags far behind.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gossamer_gateway.sink.records import partition_of

DEAF_MS = 30_000
"""How far the sink may lag behind what the gateway was told. The exporter's own delay is 5 s by
default, and it waits some seconds before it repeats a bulk that failed."""

PARTITIONS_MAX = 1_000
"""Partitions of all engines that are watched; Zeebe's largest clusters have some hundreds."""


@dataclass(slots=True)
class _Awaited:
    """The first key that the sink has not come to, and the last one, and when they were told."""

    first: int
    first_ms: int
    last: int
    last_ms: int


@dataclass(slots=True)
class Watch:
    """What one gateway was told by engines itself."""

    _awaited: dict[tuple[str, int], _Awaited] = field(default_factory=dict)

    def noticed(self, engine: str, key: int, now_ms: int) -> None:
        """The engine itself named a key: of an instance that it started, of a job it handed out."""
        place = (engine, partition_of(key))
        awaited = self._awaited.get(place)
        if awaited is None:
            if len(self._awaited) < PARTITIONS_MAX:
                self._awaited[place] = _Awaited(key, now_ms, key, now_ms)
        elif key > awaited.last:
            awaited.last, awaited.last_ms = key, now_ms

    def behind_ms(self, engine: str, key_max: Mapping[int, int], now_ms: int) -> int:
        """How long the sink has lacked what this gateway was told; 0 when it lacks nothing.

        Args:
            key_max: the highest key that the sink knows, by partition.
        """
        longest = 0
        for place, awaited in list(self._awaited.items()):
            if place[0] != engine:
                continue
            known = key_max.get(place[1], -1)
            if known >= awaited.last:
                del self._awaited[place]
                continue
            if known >= awaited.first:
                awaited.first, awaited.first_ms = awaited.last, awaited.last_ms
            longest = max(longest, now_ms - awaited.first_ms)
        return longest
