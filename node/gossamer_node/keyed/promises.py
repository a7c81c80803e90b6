"""Which home this member follows for a key: the one with the highest ballot that it was told of.

A promise is kept in memory alone. Where a member forgets one, because it starts anew or because it
follows too many, the ballots of what it has on its disk still stand.
"""

from collections import OrderedDict
from dataclasses import dataclass

from gossamer_node.keyed.key import Key
from gossamer_node.keyed.versions import NO_BALLOT, Ballot

PROMISES_MAX = 65_536
"""The ones that were made or heard of longest ago are forgotten first."""


@dataclass(frozen=True, slots=True)
class Promise:
    """`at_ms`: when it was made."""

    ballot: Ballot
    at_ms: int


class Promises:
    """All of a member's."""

    def __init__(self) -> None:
        self._made: OrderedDict[Key, Promise] = OrderedDict()

    def __len__(self) -> int:
        return len(self._made)

    def ballot(self, key: Key) -> Ballot:
        """What it follows; `NO_BALLOT` for none."""
        made = self._made.get(key)
        return NO_BALLOT if made is None else made.ballot

    def get(self, key: Key) -> Promise | None:
        return self._made.get(key)

    def follow(self, key: Key, ballot: Ballot, now_ms: int) -> bool:
        """Promises to follow a ballot, unless it follows a higher one already."""
        made = self._made.get(key)
        if made is not None and made.ballot > ballot:
            return False
        self._made[key] = Promise(ballot, now_ms)
        self._made.move_to_end(key)
        if len(self._made) > PROMISES_MAX:
            self._made.popitem(last=False)
        return True
