"""Versions of a key's state: which of two is newer, and whether both come from one history.

Each write of a key's state has a number, one more than the write before, and a *ballot*: the term
and the id of the home under which it was written. A home never writes under a ballot that another
home, or itself before, has had. A version carries its *line*: where in the numbers each of the last
reigns began. Two versions are of one history if they name the same reign for the lower one's
number; otherwise the key was *forked*: two homes, which could not see each other, both wrote.

Of two versions the higher number is the newer one, so of a fork the side that worked more jobs
wins. Between equal numbers the later term does: a state that only one node had, because its home
died before it was copied, loses against what was written since.
"""

from dataclasses import dataclass

LINE_MAX = 8
"""Reigns that a version remembers. Forks that lie further back are not seen, only resolved."""

NUMBER_MAX = 2**62

TERM_MAX = 2**62

Ballot = tuple[int, str]
"""A reign over a key: its term, and its home's id. Compared in this order."""

NO_BALLOT: Ballot = (0, "")


@dataclass(frozen=True, slots=True)
class Version:
    """Of a key's state. The one without number is that of a key that never had a state.

    Attributes:
        number: writes so far.
        line: of the last reigns, the number of its first write, its term and its home; the newest
            comes last.
    """

    number: int = 0
    line: tuple[tuple[int, int, str], ...] = ()

    @property
    def ballot(self) -> Ballot:
        """Under which it was written."""
        return self.line[-1][1:] if self.line else NO_BALLOT

    def next(self, ballot: Ballot) -> "Version":
        """The version of the next write."""
        number = self.number + 1
        if self.line and self.ballot == ballot:
            return Version(number, self.line)
        return Version(number, (*self.line, (number, *ballot))[-LINE_MAX:])

    def reign_at(self, number: int) -> Ballot | None:
        """Who wrote that number in this version's history; None for what it does not remember."""
        for first, term, home in reversed(self.line):
            if first <= number:
                return (term, home)
        return None

    def order(self) -> tuple[int, Ballot]:
        """The newer of two versions has the higher one."""
        return (self.number, self.ballot)


NOTHING = Version()


def newer(one: Version, other: Version) -> bool:
    """Whether the first goes on, where both are found."""
    return one.order() > other.order()


def forked(one: Version, other: Version) -> bool:
    """Whether neither comes from the other, as far as they remember."""
    number = min(one.number, other.number)
    if number == 0:
        return False
    mine, theirs = one.reign_at(number), other.reign_at(number)
    return mine is not None and theirs is not None and mine != theirs
