"""How messages travel in `lease_model`: which of them arrive, and when.

Two kinds. Streams, as between nodes: in order and at most once; when one breaks, what was under way
is lost. Datagrams, which are worse than anything the drivers do: lost, twice, late, out of order.
"""

import random
from collections import Counter

Pair = tuple[str, str]
"""Sender and receiver."""


class LeaseNetwork:
    """The links between members.

    Args:
        rng: decides delays and losses.
        datagrams: the second kind.
    """

    def __init__(self, rng: random.Random, datagrams: bool) -> None:
        self._rng = rng
        self._datagrams = datagrams
        self._cut: set[Pair] = set()
        self._stream: Counter[Pair] = Counter()
        self._arrival_ms: dict[Pair, int] = {}

    def send(self, pair: Pair, now_ms: int) -> tuple[int, list[int]]:
        """Sends one message. Returns its stream, for `arrives`, and the times of its arrival."""
        stream = self._stream[pair]
        if pair[0] == pair[1]:
            return stream, [now_ms]
        if pair in self._cut:
            return stream, []
        arrival_ms = now_ms + self._rng.randrange(1, 30)
        if self._datagrams:
            luck = self._rng.random()
            copies = 0 if luck < 0.02 else 2 if luck > 0.95 else 1
            late = [self._rng.random() < 0.02 for _ in range(copies)]
            return stream, [
                arrival_ms + (self._rng.randrange(500, 5_000) if one else 0) for one in late
            ]
        arrival_ms = max(arrival_ms, self._arrival_ms.get(pair, 0))
        self._arrival_ms[pair] = arrival_ms
        return stream, [arrival_ms]

    def arrives(self, pair: Pair, stream: int) -> bool:
        """Whether the stream has not broken since the message was sent."""
        return self._datagrams or self._stream[pair] == stream

    def break_streams(self, pairs: set[Pair]) -> None:
        """What is under way is lost; what is sent from now on takes a new stream."""
        self._stream.update(pairs)

    def cut(self, pairs: set[Pair]) -> None:
        """Nothing passes any more."""
        self._cut |= pairs
        self.break_streams(pairs)

    def heal(self, pairs: set[Pair] | None = None) -> None:
        """These links, or all, work again."""
        self._cut -= self._cut.copy() if pairs is None else pairs
