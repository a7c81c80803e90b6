"""A small seeded random generator: the same seed gives the same choices on every interpreter.

MicroPython has no `random.Random`, and a simulation must be repeatable to the byte, so the core
brings Marsaglia's xorshift32 (Journal of Statistical Software 8(14), 2003). It shuffles probe
orders and picks peers; keys and nonces come from elsewhere.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeVar

    T = TypeVar("T")

_MASK = 0xFFFFFFFF


class Rng:
    """A stream of choices.

    Args:
        seed: any integer; its lower 64 bits count.
    """

    def __init__(self, seed: int) -> None:
        folded = (seed ^ (seed >> 32)) & _MASK
        # Spread the bits of small seeds (Knuth's multiplicative hash); zero would stay zero.
        self._state = (folded * 2654435761 + 0x9E3779B9) & _MASK or 1

    def bits(self) -> int:
        """The next 32 bits, never zero."""
        x = self._state
        x ^= (x << 13) & _MASK
        x ^= x >> 17
        x ^= (x << 5) & _MASK
        self._state = x
        return x

    def below(self, bound: int) -> int:
        """A number from 0, below `bound`; the bias is at most bound ÷ 2³²."""
        return (self.bits() * bound) >> 32

    def shuffle(self, items: "list[T]") -> None:
        """Fisher-Yates, in place."""
        for last in range(len(items) - 1, 0, -1):
            other = self.below(last + 1)
            items[last], items[other] = items[other], items[last]

    def sample(self, items: "Sequence[T]", count: int) -> "list[T]":
        """At most `count` different items, in random order."""
        if count * 2 >= len(items):
            shuffled = list(items)
            self.shuffle(shuffled)
            return shuffled[:count]
        picked: list[int] = []
        while len(picked) < count:
            index = self.below(len(items))
            if index not in picked:
                picked.append(index)
        return [items[index] for index in picked]
