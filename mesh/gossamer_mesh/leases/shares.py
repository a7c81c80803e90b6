"""How many slots each claim group gets: none starves, none hoards, no slot is offered twice.

A holder that serves several engines could offer all its free slots to each of them; then two
claimers spend the same slot, one of the jobs finds none, and goes back to its engine. So the slots
are split, max-min fair (Bertsekas and Gallager, Data Networks, §6.5.2): everybody gets an equal
part, and what one does not want the others share. What a group wants follows from its recent
use: what runs, and a window of free slots that doubles each time it is used up, and halves with
each heartbeat in which less than half of it was. So a group that has nothing to do ties up one
slot, and a busy one has the rest after a few grants. What is left, and slots that are fewer than
the groups, they take turns at: a slot that one does not use is another's in the next heartbeat.
"""

WINDOW_MAX = 2**14
"""As many slots as no node has."""


def split(slots: int, wants: "dict[str, int]", turn: int) -> "dict[str, int]":
    """Splits slots among names, max-min fair: one for each that wants any, while they last.

    Args:
        slots: to give away.
        wants: how many each would take.
        turn: who is served first; each number, one further on.

    Returns: a share for each name, no more than it wants, no more than `slots` in all.
    """
    names = sorted(wants)
    if names:
        first = turn % len(names)
        names = names[first:] + names[:first]
    shares = dict.fromkeys(names, 0)
    left = slots
    open_names = [name for name in names if wants[name] > 0]
    while left > 0 and open_names:
        each = max(1, left // len(open_names))
        for name in open_names:
            more = min(each, wants[name] - shares[name], left)
            shares[name] += more
            left -= more
        open_names = [name for name in open_names if shares[name] < wants[name]]
    return shares


class Shares:
    """One holder's free slots, among the groups that it serves."""

    __slots__ = ("_granted", "_turn", "_used", "_windows")

    def __init__(self) -> None:
        self._windows: dict[str, int] = {}
        self._used: dict[str, int] = {}  # of the window
        self._granted: dict[str, int] = {}  # since the last heartbeat
        self._turn = 0

    def note_grant(self, group: str) -> None:
        """The group has spent a slot that was offered to it."""
        self._granted[group] = self._granted.get(group, 0) + 1
        used = self._used.get(group, 0) + 1
        window = self._windows.get(group, 1)
        if used >= window:
            self._windows[group] = min(2 * window, WINDOW_MAX)
            used = 0
        self._used[group] = used

    def note_heartbeat(self) -> None:
        """A heartbeat has passed: windows that were not used close, turns go on."""
        self._turn += 1
        for group in list(self._windows):
            window = self._windows[group]
            granted = self._granted.get(group, 0)
            if granted == 0:
                del self._windows[group]
            elif 2 * granted < window:
                self._windows[group] = max(1, window // 2)
            self._used[group] = 0
        self._granted = {}

    def offers(
        self, slots_free: int, groups: "list[str]", running: "dict[str, int]"
    ) -> "dict[str, int]":
        """What to offer to each group, in all no more than is free.

        Args:
            slots_free: jobs that could start now.
            groups: that are served and claimed.
            running: jobs by group; those of a group that is not served any more may be among them.
        """
        if len(groups) == 1:
            return {groups[0]: slots_free}
        runs = {group: running.get(group, 0) for group in groups}
        # Only a group that runs nothing has a slot kept for it while it asks for nothing.
        wants = {
            group: runs[group] + self._windows.get(group, 0 if runs[group] else 1)
            for group in groups
        }
        bounds = split(slots_free + sum(runs.values()), wants, self._turn)
        lacks = {group: max(0, bounds[group] - runs[group]) for group in groups}
        shares = split(slots_free, lacks, self._turn)
        rest = slots_free - sum(shares.values())
        more = split(rest, {group: 0 if shares[group] else 1 for group in groups}, self._turn)
        return {group: shares[group] + more[group] for group in groups}
