"""How much work a claim group has against how many slots serve it: the signal to scale by.

A claimer knows both. Demand is what runs, what waits, and, while polls come back full, half as
much again: how much more an engine has it does not say, so who scales by this grows by a half at a
time until the polls are no longer full. Capacity is the slots that run its jobs or are offered.

The mesh gossips the signal, so it must be quiet: it is smoothed, up within seconds and down within
half a minute; it is told in a few digits (`level`); and what was told changes at most every
`TOLD_MS_MIN`, by an eighth at least. Integers, in thousandths where it matters.
"""

SAMPLE_MS = 1_000
"""How often a claimer looks."""

RISE_MS = 3_000
FALL_MS = 30_000
"""Time constants of the smoothing: a burst is answered, a lull is waited for, as slots that are
given up too early must come back."""

TOLD_MS_MIN = 5_000
"""Between two changes of what is told."""

BUSY_PARTS = 4
SLOT_PARTS = 5
"""Four of five slots busy is what capacity is wanted for: then a job seldom waits for a slot, and
a lost node's work finds room on the others."""

LEVEL_MAX = 2**20


def level(value: int) -> int:
    """The next number above that is told: to 8 each one, from there in steps of an eighth."""
    step = 1
    while 16 * step <= value:
        step *= 2
    if value < 8:
        step = 1
    return min(LEVEL_MAX, (value + step - 1) // step * step)


def desired(demand: int) -> int:
    """The slots that this demand is best served by."""
    return (demand * SLOT_PARTS + BUSY_PARTS - 1) // BUSY_PARTS


class Demand:
    """One claim group's demand and capacity.

    Attributes:
        told: (demand, capacity) as the mesh is told.
    """

    __slots__ = ("_capacity", "_demand", "_sampled_ms", "_told_ms", "told")

    def __init__(self) -> None:
        self._demand = 0
        self._capacity = 0
        self._sampled_ms: int | None = None
        self._told_ms: int | None = None
        self.told = (0, 0)

    def note(self, running: int, waiting: int, hot: bool, capacity: int, now_ms: int) -> bool:
        """Takes a sample; every `SAMPLE_MS` or so.

        Args:
            running: jobs with holders.
            waiting: jobs here without one.
            hot: polls come back full.
            capacity: slots that run this group's jobs or are offered to it.

        Returns: whether `told` has changed.
        """
        demand = running + waiting
        if hot:
            demand += max(1, demand // 2)
        if self._sampled_ms is None:
            self._demand, self._capacity = 1_000 * demand, 1_000 * capacity
        else:
            passed_ms = max(0, now_ms - self._sampled_ms)
            self._demand = _towards(self._demand, 1_000 * demand, passed_ms)
            self._capacity = _towards(self._capacity, 1_000 * capacity, passed_ms)
        self._sampled_ms = now_ms
        if self._told_ms is not None and now_ms < self._told_ms + TOLD_MS_MIN:
            return False
        before = self.told
        self.told = (_retold(before[0], self._demand), _retold(before[1], self._capacity))
        if self.told == before:
            return False
        self._told_ms = now_ms
        return True


def _towards(value: int, target: int, passed_ms: int) -> int:
    """Exponential smoothing, in its linear form for steps shorter than the constant."""
    constant_ms = RISE_MS if target > value else FALL_MS
    moved = (target - value) * min(passed_ms, constant_ms) // constant_ms
    # The last thousandths would take for ever, as the division rounds them away.
    return target if abs(target - value) < 50 else value + moved


def _retold(told: int, thousandths: int) -> int:
    """What is told stays, until the truth is more than half a job and an eighth away from it."""
    if abs(thousandths - 1_000 * told) <= max(500, 125 * told):
        return told
    return level((thousandths + 500) // 1_000)


class Instances:
    """How many of a service's jobs a node runs at once, between a minimum and a maximum.

    Up at once when the mesh wants more slots than it has, at most twofold every `UP_MS`, which is
    how long the signal needs to tell of what was done; down by an eighth every `DOWN_MS`, and only
    when a quarter of the slots is too many, so that the two do not chase each other.
    """

    UP_MS = 2 * TOLD_MS_MIN
    DOWN_MS = 60_000

    __slots__ = ("_changed_ms", "count", "least", "most")

    def __init__(self, least: int, most: int, now_ms: int) -> None:
        self.least = least
        self.most = most
        self.count = least
        self._changed_ms = now_ms

    def note(self, demand: int, capacity: int, now_ms: int) -> bool:
        """Follows the signal of the groups that the service works for, taken together.

        Returns: whether `count` has changed.
        """
        wanted = desired(demand)
        count = self.count
        passed_ms = now_ms - self._changed_ms
        if wanted > capacity and passed_ms >= self.UP_MS:
            fitting = count * wanted // max(1, capacity)
            count = min(self.most, max(count + 1, min(2 * count, fitting)))
        elif 4 * wanted < 3 * capacity and passed_ms >= self.DOWN_MS:
            count = max(self.least, count - max(1, count // 8))
        if count == self.count:
            return False
        self.count = count
        self._changed_ms = now_ms
        return True
