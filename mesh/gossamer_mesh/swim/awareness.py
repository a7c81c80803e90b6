"""Local health: how far a member may trust its own clock and its own probes (Lifeguard, LHA).

A member that is slow itself sees others fail. So it keeps a score of what speaks against itself,
from 0 (healthy) to `awareness_max` - 1, and gives everyone (score + 1) times as long to answer,
and probes that much less often (Dadgar, Phillips and Currey, arXiv 1707.00788, §IV.A; memberlist
`awareness.go`). What counts is the table `DELTAS`.
"""

ANSWERED = "probe answered in time"
FAILED = "probe failed that nobody relayed"
NACK_MISSING = "nack missing"
REFUTED = "refuted a word on ourselves"
WOKE_LATE = "woke late"

DELTAS = {
    ANSWERED: -1,
    FAILED: 1,
    NACK_MISSING: 1,
    REFUTED: 1,
    WOKE_LATE: 1,
}
"""What happened → what it adds to the score. The first four are the paper's and memberlist's. A
relay that says that it got no answer (nack) shows that our link is well and the target is not;
one that says nothing speaks against us. Waking late is ours: a timer that fires long after its
time is the plainest sign of a starved processor."""


class Awareness:
    """The score of one member.

    Args:
        score_max: it stays below; 1 switches local health off.
    """

    def __init__(self, score_max: int) -> None:
        self._score_max = score_max
        self.score = 0

    def take(self, happening: str, times: int = 1) -> None:
        """Counts what happened, by the table, within the bounds."""
        score = self.score + DELTAS[happening] * times
        self.score = max(0, min(score, self._score_max - 1))

    def scale(self, length_ms: int) -> int:
        """How long it is in our present health."""
        return length_ms * (self.score + 1)
