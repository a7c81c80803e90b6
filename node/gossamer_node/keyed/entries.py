"""One key at its home: the table of its steps, who waits, whose turn it is."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from gossamer_node.keyed import messages as wire
from gossamer_node.keyed.floor import Stored
from gossamer_node.keyed.key import Key
from gossamer_node.keyed.versions import NO_BALLOT, NOTHING, Ballot, Version

State = Literal["consulting", "settling", "open", "reading", "taken"]

_STEPS: dict[tuple[State, str], State] = {
    ("consulting", "agreed"): "settling",
    ("consulting", "outbid"): "consulting",
    ("settling", "settled"): "open",
    ("settling", "outbid"): "consulting",
    ("open", "changed"): "consulting",
    ("open", "asked"): "reading",
    ("open", "taken over"): "taken",
    ("open", "keep"): "settling",
    ("reading", "known"): "open",
    ("reading", "gone"): "open",
    ("reading", "granted"): "taken",
    ("taken", "keep"): "settling",
    ("taken", "over"): "open",
}
"""Besides, an entry in any state may be dropped: another home has the key, or nobody wants it."""


@dataclass(slots=True)
class Waiting:
    """A job that wants the turn."""

    member: str
    ask: wire.Ask
    seen_ms: int


@dataclass(slots=True)
class Turn:
    """Who has it, and until when."""

    member: str
    run: int
    attempt: int
    until_ms: int
    asked_ms: int


class Entry:
    """One key at its home.

    Attributes:
        ballot: of its reign, or of the one that its consultation is for.
        stamp: of the view that it consulted.
        circle: whom it consults, this member included; `replies`: who has answered.
        awaited: whose word is missing, for those that wait.
        stored: what is being settled; in memory while it is.
        version: what is settled.
        keep: what a turn leaves, until it is settled or refused.
        copies: who confirmed what is being settled; `copied_to`: who should.
        is_here: whether it is on this disk.
    """

    __slots__ = (
        "awaited",
        "ballot",
        "circle",
        "copied_to",
        "copies",
        "is_here",
        "keep",
        "key",
        "queue",
        "replies",
        "sent_ms",
        "stamp",
        "state",
        "stored",
        "tries",
        "turn",
        "version",
    )

    def __init__(self, key: Key) -> None:
        self.key = key
        self.state: State = "consulting"
        self.ballot: Ballot = NO_BALLOT
        self.stamp = -1
        self.circle: list[str] = []
        self.replies: dict[str, wire.Has] = {}
        self.awaited: tuple[str, ...] = ()
        self.stored: Stored | None = None
        self.version = NOTHING
        self.turn: Turn | None = None
        self.keep: tuple[str, wire.Keep] | None = None
        self.queue: deque[Waiting] = deque()
        self.copies: set[str] = set()
        self.copied_to = ""
        self.is_here = False
        self.tries = 0
        self.sent_ms = 0

    def step(self, word: str) -> None:
        """Raises KeyError for a step that the table does not have."""
        self.state = _STEPS[self.state, word]


def copy_of(entry: Entry, stored: Stored) -> wire.Copy:
    """What goes to another's disk."""
    return wire.Copy(entry.key, entry.ballot, stored.version, stored.state, stored.answers)


def answers_of(version: Version, replies: Mapping[str, wire.Has]) -> set[wire.Answer]:
    """What members answered in the history of a version."""
    return {
        one
        for has in replies.values()
        for one in has.answers
        if one[3] <= version.number and version.reign_at(one[3]) == has.version.reign_at(one[3])
    }


def has_turn(entry: Entry, member: str, run: int) -> bool:
    """Whether it is this run's turn."""
    turn = entry.turn
    return turn is not None and (turn.member, turn.run) == (member, run)
