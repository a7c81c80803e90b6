"""Which topics to ask an engine for now, for how many jobs, and how long to wait: pure choices.

An engine that takes a whole group of topics in one call (Camunda 7) is asked for all of them at
once; one that takes a single topic a call (Camunda 8) has a poll for each. While there is credit
for everybody that is all. It becomes a question of fairness when an engine has more than the mesh
can take: Camunda 7 answers for a group with whatever its database finds first, so one topic's
backlog would have every slot. Rules:

1. All polls together never ask for more than the credits, nor a poll for more than any of its
   topics has: what a poll brings finds a holder. When there is anything to spend, each topic with
   credit is in a poll: a long one for others alone would starve it although nothing is to be done.
2. A topic's window starts at one and doubles while polls come back full; an empty poll closes it
   to one again. A topic in a poll that came back full is *hot*: the engine probably has more.
3. When hot topics want more than there is, each is asked for by itself, at once and without
   waiting, for its max-min fair share of the slots (`shares.split`), counting the jobs that
   it has open: a topic whose jobs are slow comes up to its share and no further.
4. Meanwhile a slot is kept for the others (of a poll-per-topic engine a quarter of the slots),
   which are asked for once a second, without waiting either; what comes makes them hot, too. The
   last slot is never for a topic that has more than an equal part already, hot or not.
5. With more topics than slots, the one that was not asked for longest is first, and waits are
   short enough that all have had their turn within one long wait.

The price: a priority counts among the jobs of one topic, and among those of all topics only while
there is credit for everybody; and beside a hot topic one slot of the whole mesh may stay free.
"""

from gossamer_mesh.leases.shares import split

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

JOBS_PER_POLL_MAX = 256
"""More in one answer only delays the first of them; both Camundas answer this many in well under
a second."""

GLANCE_MS = 1_000
"""Between two looks for jobs of quiet topics while others keep the mesh busy."""

GROUP_POLLS_MAX = 4
"""Polls of an engine that takes whole groups, where topics are served by different nodes."""


class Poll:
    """One call to an engine.

    Attributes:
        topics: names, in order.
        jobs_max: credits that it is promised.
        wait_ms: how long the engine may keep it open; 0: it answers at once.
        number: tells it from another of the same topics.
    """

    __slots__ = ("jobs_max", "number", "topics", "wait_ms")

    def __init__(self, topics: "tuple[str, ...]", jobs_max: int, wait_ms: int, number: int) -> None:
        self.topics = topics
        self.jobs_max = jobs_max
        self.wait_ms = wait_ms
        self.number = number


_NEVER_MS = -(2**62)


class _Topic:
    __slots__ = ("asked_ms", "hot", "polling", "window_jobs")

    def __init__(self) -> None:
        self.window_jobs = 1
        self.hot = False
        self.asked_ms = _NEVER_MS
        self.polling = False


class Lanes:
    """The polls of one claimer at one engine.

    Args:
        topics_max: how many topics the engine takes in one call, 1 or None for any number.
        wait_ms_max: how long a poll may wait.
    """

    __slots__ = ("_crowd", "_look_ms", "_number", "_open", "_topics", "_topics_max", "_wait_ms_max")

    def __init__(self, topics_max: "int | None", wait_ms_max: int) -> None:
        self._topics_max = topics_max
        self._wait_ms_max = wait_ms_max
        self._topics: dict[str, _Topic] = {}
        self._open: dict[int, Poll] = {}
        self._number = 0
        self._look_ms: int | None = None
        self._crowd: set[str] = set()

    def polls_open(self) -> int:
        """Polls under way; each may still bring jobs."""
        return len(self._open)

    def promised(self) -> int:
        """Credits that polls under way may still spend."""
        return sum(one.jobs_max for one in self._open.values())

    def is_hot(self) -> bool:
        """Whether the engine probably has more than was asked for."""
        return any(one.hot for one in self._topics.values())

    def is_crowded_by(self, name: str) -> bool:
        """Whether the topic has more than there are slots for, as the last plan saw it."""
        return name in self._crowd

    def next_look_ms(self) -> "int | None":
        """When to plan again although nothing changed; None for never."""
        return self._look_ms

    def rest(self) -> None:
        """There is nothing to spend, or nobody to ask for: no look before something changes."""
        self._look_ms = None

    def plan(
        self,
        credits: "Mapping[str, int]",
        credit: int,
        open_jobs: "Mapping[str, int]",
        now_ms: int,
    ) -> "list[Poll]":
        """The polls to start now; each must come back through `end`.

        Args:
            credits: jobs that may be activated, by topic, for every topic that is served.
            credit: the same for all topics together.
            open_jobs: jobs by topic that this claimer has, with holders or on their way.
            now_ms: any clock that does not go back.
        """
        self._look_ms = None
        self._crowd = set()
        known = set(credits)
        for poll in self._open.values():
            known.update(poll.topics)
        self._topics = {name: self._topics.get(name) or _Topic() for name in known}
        names = sorted(credits, key=lambda name: (self._topics[name].asked_ms, name))
        total = credit + sum(open_jobs.get(name, 0) for name in names)
        # Without a credit for it a topic competes with nobody: its nodes may all be others.
        hot = [name for name in names if self._topics[name].hot and credits[name] > 0]
        cold = [name for name in names if name not in hot]
        kept = self._kept(len(cold), total)
        wants = {name: open_jobs.get(name, 0) for name in cold}
        for name in hot:
            wants[name] = open_jobs.get(name, 0) + self._topics[name].window_jobs
        bounds = split(total - kept, wants, self._number)
        # The last slot is for those alone that have no more than an equal part already.
        modest = [name for name in names if open_jobs.get(name, 0) * len(names) <= total]
        if all(bounds[name] >= wants[name] for name in hot):
            return self._plan_calm(names, modest, credits, credit, total, now_ms)
        self._crowd = set(hot)
        quiet = [name for name in cold if name in modest]
        rooms = [(name, min(bounds[name] - open_jobs.get(name, 0), credits[name])) for name in hot]
        return self._plan_crowded(quiet, rooms, credits, credit, max(1, kept), now_ms)

    def end(self, poll: Poll, brought: "Mapping[str, int] | None") -> None:
        """A poll has ended.

        Args:
            poll: as `plan` gave it.
            brought: jobs by topic; None when the engine did not answer.
        """
        del self._open[poll.number]
        is_full = brought is not None and sum(brought.values()) >= poll.jobs_max
        for name in poll.topics:
            topic = self._topics.get(name)
            if topic is None:
                continue
            topic.polling = False
            if brought is None:
                continue
            jobs = brought.get(name, 0)
            topic.hot = is_full and jobs > 0
            if topic.hot:
                topic.window_jobs = min(JOBS_PER_POLL_MAX, max(topic.window_jobs, jobs) * 2)
            elif not any(brought.values()):
                topic.window_jobs = 1

    def _kept(self, cold: int, total: int) -> int:
        """Slots that hot topics leave to the others."""
        if not cold or total < 2:
            return 0
        return 1 if self._topics_max is None else min(cold, max(1, total // 4))

    def _plan_calm(
        self,
        names: list[str],
        modest: list[str],
        credits: "Mapping[str, int]",
        credit: int,
        total: int,
        now_ms: int,
    ) -> "list[Poll]":
        """There is credit for everybody: long polls."""
        askable = [name for name in names if credits[name] > 0 and not self._topics[name].polling]
        if self._topics_max is None:
            # Of a first answer that takes everything, one slot stays for the other topics.
            kept = any(modest and set(one.topics) <= set(modest) for one in self._open.values())
            spare = 1 if len(names) > 1 and total > 1 and not kept else 0
            if spare and credit - self.promised() <= spare:
                askable, spare = [name for name in askable if name in modest], 0
            return self._ask_groups(askable, credits, credit - spare, now_ms)
        wait_ms = min(self._wait_ms_max, self._wait_ms_max * max(1, total) // max(1, len(names)))
        polls = []
        for name in askable:
            jobs = min(self._topics[name].window_jobs, credits[name])
            polls += self._ask([name], jobs, credit, wait_ms, now_ms)
        return polls

    def _ask_groups(
        self, names: "list[str]", credits: "Mapping[str, int]", credit: int, now_ms: int
    ) -> "list[Poll]":
        """Long polls that ask for all these topics between them, each for one job at least."""
        polls: list[Poll] = []
        left = credit - self.promised()
        groups = _by_credit(names, credits, min(GROUP_POLLS_MAX, left)) if left > 0 else []
        for number, (group, jobs) in enumerate(groups):
            left_to_others = len(groups) - number - 1
            polls += self._ask(group, jobs, credit - left_to_others, self._wait_ms_max, now_ms)
        return polls

    def _plan_crowded(
        self,
        quiet: list[str],
        rooms: "list[tuple[str, int]]",
        credits: "Mapping[str, int]",
        credit: int,
        glances_max: int,
        now_ms: int,
    ) -> "list[Poll]":
        """Hot topics want more than there is: all polls are short, first those for the quiet."""
        polls: list[Poll] = []
        askable = [name for name in quiet if credits[name] > 0 and not self._topics[name].polling]
        due = [name for name in askable if self._topics[name].asked_ms + GLANCE_MS <= now_ms]
        if self._topics_max is None and due:
            polls += self._ask(askable, 1, credit, 0, now_ms)
        else:
            for name in due[:glances_max]:
                polls += self._ask([name], 1, credit, 0, now_ms)
        for name, free in rooms:
            if not self._topics[name].polling:
                jobs = min(free, self._topics[name].window_jobs)
                polls += self._ask([name], jobs, credit, 0, now_ms)
        due_ms = [self._topics[name].asked_ms + GLANCE_MS for name in quiet]
        later_ms = [one for one in due_ms if one > now_ms]
        self._look_ms = min(later_ms) if later_ms else None
        return polls

    def _ask(
        self, names: "list[str]", jobs: int, credit: int, wait_ms: int, now_ms: int
    ) -> "list[Poll]":
        """One poll, or none when all credits are promised."""
        jobs = min(jobs, credit - self.promised(), JOBS_PER_POLL_MAX)
        if jobs <= 0:
            return []
        self._number += 1
        poll = Poll(tuple(sorted(names)), jobs, wait_ms, self._number)
        for name in names:
            self._topics[name].polling = True
            self._topics[name].asked_ms = now_ms
        self._open[poll.number] = poll
        return [poll]


def _by_credit(
    names: "list[str]", credits: "Mapping[str, int]", groups_max: int
) -> "list[tuple[list[str], int]]":
    """Topics that one poll may ask for together, with the jobs that each of them has credit for;
    `groups_max` groups at most.

    Where every node serves everything that is one group. Otherwise an answer may be all of one
    topic, so each poll asks for no more than its least topic has.
    """
    groups: dict[int, list[str]] = {}
    for name in names:
        groups.setdefault(credits[name], []).append(name)
    ordered = sorted(groups.items(), reverse=True)
    while len(ordered) > groups_max:
        (_, more), (jobs, fewer) = ordered[-2:]
        ordered[-2:] = [(jobs, more + fewer)]
    return [(group, jobs) for jobs, group in ordered]
