"""Runs of which Zeebe says nothing: no step of them is at work here, and no job comes. Pure.

Between two steps that is so for milliseconds, and while an engine has much to do for longer. Where
it lasts, somebody has a hand in that engine: an instance was ended there while none of its jobs was
here, or a worker of somebody else's has a job, failed it, or has done the last one. No call and no
lock of ours would ever tell; so such a run is asked after, ever more seldom.
"""

from collections import OrderedDict
from collections.abc import Iterable

RUNS_MAX = 10_000
"""That are remembered."""

PAUSE_MAX = 32
"""Between two questions, as a multiple of the first one's."""


class Quiet:
    """Remembers since when runs are quiet.

    Args:
        after_s: when one is asked after, the first time.
    """

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self._known: OrderedDict[str, tuple[int, float, float]] = OrderedDict()

    def look(self, found: Iterable[tuple[str, int]], now_s: float) -> list[str]:
        """Which of these are to be asked after now.

        Args:
            found: runs that are quiet, each with the number of its newest event.
        """
        wanted = []
        for id, seq in found:
            known_seq, ask_s, pause_s = self._known.get(id, (0, 0.0, 0.0))
            if known_seq != seq:
                ask_s, pause_s = now_s + self._after_s, self._after_s
            elif ask_s <= now_s:
                wanted.append(id)
                pause_s = min(2 * pause_s, PAUSE_MAX * self._after_s)
                ask_s = now_s + pause_s
            self._known[id] = seq, ask_s, pause_s
            self._known.move_to_end(id)
        while len(self._known) > RUNS_MAX:
            self._known.popitem(last=False)
        return wanted
