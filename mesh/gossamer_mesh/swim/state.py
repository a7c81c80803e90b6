"""What a member can be, which word on it wins, and what each change means.

Every update names a member, an incarnation and a state. Only the member itself raises its
incarnation, so a higher incarnation is newer; within one incarnation the graver state wins (SWIM,
Das, Gupta and Motivala 2002, §4.2). That order is total, so all who have heard the same updates,
in whatever order, agree. Unlike in the paper, death is not for ever: a higher incarnation brings
a member back, as in memberlist.
"""

ALIVE = 0
SUSPECT = 1
DEAD = 2
LEFT = 3

STATE_NAMES = ("alive", "suspect", "dead", "left")

UNKNOWN = -1
"""No member of the table: the state before the first update."""

PRESENT = (ALIVE, SUSPECT)
GONE = (DEAD, LEFT)

JOINED = "joined"
CHANGED = "changed"
SUSPECTED = "suspected"
CLEARED = "cleared"
DIED = "died"
DEPARTED = "left"
NOTHING = ""

TRANSITIONS = {
    (UNKNOWN, ALIVE): JOINED,
    (ALIVE, ALIVE): CHANGED,
    (ALIVE, SUSPECT): SUSPECTED,
    (ALIVE, DEAD): DIED,
    (ALIVE, LEFT): DEPARTED,
    (SUSPECT, ALIVE): CLEARED,
    (SUSPECT, SUSPECT): NOTHING,
    (SUSPECT, DEAD): DIED,
    (SUSPECT, LEFT): DEPARTED,
    (DEAD, ALIVE): JOINED,
    (DEAD, DEAD): NOTHING,
    (DEAD, LEFT): NOTHING,
    (LEFT, ALIVE): JOINED,
    (LEFT, DEAD): NOTHING,
    (LEFT, LEFT): NOTHING,
}
"""(state held, state heard) → the event. A pair that is not here changes nothing: a suspicion or a
death of a member that we never met tells us nothing to act on, and a suspicion cannot wake the
dead (a newer suspicion means that a newer claim is on its way, and that one will)."""


def supersedes(incarnation: int, state: int, held_incarnation: int, held_state: int) -> bool:
    """Whether an update beats what is held: newer, or as new and graver."""
    if incarnation != held_incarnation:
        return incarnation > held_incarnation
    return state > held_state
