"""What a claimer asks its engine for: within its credits, and so that no topic starves another."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_mesh.leases.lanes import JOBS_PER_POLL_MAX, Lanes, Poll

TOPICS = "abcd"
WAIT_MS_MAX = 10_000


def of(*polls: Poll) -> list[tuple[str, int]]:
    return [("".join(one.topics), one.jobs_max) for one in polls]


def test_a_group_is_asked_for_at_once_and_one_slot_stays_for_a_late_topic() -> None:
    lanes = Lanes(None, WAIT_MS_MAX)
    (poll,) = lanes.plan(dict.fromkeys(TOPICS, 8), 8, {}, 0)
    assert of(poll) == [("abcd", 7)] and poll.wait_ms == WAIT_MS_MAX
    assert lanes.plan(dict.fromkeys(TOPICS, 8), 8, {}, 0) == []
    assert Lanes(None, WAIT_MS_MAX).plan({"a": 8}, 8, {}, 0)[0].jobs_max == 8


def test_a_poll_per_topic_begins_with_one_job_and_doubles() -> None:
    lanes = Lanes(1, WAIT_MS_MAX)
    polls = lanes.plan(dict.fromkeys(TOPICS, 64), 64, {}, 0)
    assert of(*polls) == [(name, 1) for name in TOPICS]
    windows = []
    for brought in (1, 2, 4, 3, 0):
        lanes.end(polls[0], {"a": brought} if brought else {})
        polls = lanes.plan(dict.fromkeys(TOPICS, 64), 64, {}, 0)
        windows.append(polls[0].jobs_max)
    assert windows == [2, 4, 8, 8, 1]


def test_where_nodes_serve_different_topics_no_poll_asks_for_more_than_each_topic_has() -> None:
    """An answer may be all of one topic: eight jobs of `b` would find three slots."""
    polls = Lanes(None, WAIT_MS_MAX).plan({"a": 5, "b": 3, "c": 5}, 9, {}, 0)
    assert of(*polls) == [("ac", 5), ("b", 3)]
    many = Lanes(None, WAIT_MS_MAX).plan(
        {f"t{number}": number for number in range(1, 9)}, 99, {}, 0
    )
    assert [one.jobs_max for one in many] == [8, 7, 6, 1] and len(many[-1].topics) == 5


@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 9), min_size=1), st.integers(0, 9)
)
def test_while_there_is_nothing_to_do_every_topic_with_a_slot_is_asked_for(
    credits: dict[str, int], more: int
) -> None:
    """Whatever the polls of the others hold: a long poll for some alone would starve the rest."""
    lanes = Lanes(None, WAIT_MS_MAX)
    credit = max(credits.values()) + more
    polls = lanes.plan(credits, credit, {}, 0)
    assert sorted(name for one in polls for name in one.topics) == sorted(credits)
    assert sum(one.jobs_max for one in polls) <= credit
    assert all(one.jobs_max <= credits[name] for one in polls for name in one.topics)


def test_a_topic_that_gets_a_slot_late_is_in_the_next_poll_that_starts() -> None:
    lanes = Lanes(None, WAIT_MS_MAX)
    (first,) = lanes.plan({"a": 3}, 3, {}, 0)
    assert lanes.plan({"a": 3, "b": 1}, 3, {}, 1) == []
    lanes.end(first, {})
    polls = lanes.plan({"a": 3, "b": 1}, 3, {}, WAIT_MS_MAX)
    assert {name for one in polls for name in one.topics} == {"a", "b"}


def test_more_topics_than_slots_take_turns() -> None:
    """A lane that asks again as soon as its poll has ended would leave the other two unasked."""
    lanes = Lanes(1, WAIT_MS_MAX)
    asked: Counter[str] = Counter()
    now_ms = 0
    for _ in range(20):
        polls = lanes.plan(dict.fromkeys(TOPICS, 2), 2, {}, now_ms)
        assert len(polls) == 2 and {one.wait_ms for one in polls} == {WAIT_MS_MAX // 2}
        now_ms += polls[0].wait_ms
        for poll in polls:
            asked.update(poll.topics)
            lanes.end(poll, {})
    assert set(asked.values()) == {10}, asked


@given(st.data())
def test_polls_never_ask_for_more_than_the_credits(data: st.DataObject) -> None:
    lanes = Lanes(data.draw(st.sampled_from([None, 1])), WAIT_MS_MAX)
    polls: list[Poll] = []
    open_jobs: Counter[str] = Counter()
    slots = data.draw(st.integers(0, 20))
    now_ms = 0
    for _ in range(data.draw(st.integers(1, 15))):
        now_ms += data.draw(st.integers(0, 2_000))
        credit = slots - open_jobs.total()
        served = data.draw(st.sets(st.sampled_from(TOPICS)))
        polls += lanes.plan(dict.fromkeys(served, credit), credit, open_jobs, now_ms)
        assert sum(one.jobs_max for one in polls) == lanes.promised() <= credit
        assert lanes.polls_open() == len(polls)
        for poll in polls:
            assert 1 <= poll.jobs_max <= JOBS_PER_POLL_MAX
        assert max(Counter(name for one in polls for name in one.topics).values(), default=1) == 1
        ends = data.draw(st.integers(0, 2 * len(polls)))
        if ends < len(polls):
            poll = polls.pop(ends)
            brought = Counter(
                data.draw(st.lists(st.sampled_from(poll.topics), max_size=poll.jobs_max))
            )
            lanes.end(poll, data.draw(st.sampled_from([None, brought])))
            open_jobs += brought if lanes.is_hot() else Counter()
        for name in TOPICS:
            if open_jobs[name]:
                open_jobs[name] -= 1


@dataclass
class Played:
    """An engine that always finds the first topic first, nodes with slots, and the time."""

    slots: int
    work_ms: dict[str, int]
    backlog: Counter[str]
    arrivals: dict[int, str] = field(default_factory=dict)
    now_ms: int = 0
    running: list[tuple[int, str]] = field(default_factory=list)
    waits_ms: dict[str, list[int]] = field(default_factory=dict)
    came_ms: dict[str, list[int]] = field(default_factory=dict)
    open: list[tuple[int, Poll]] = field(default_factory=list)
    calls: int = 0

    def fetch(self, poll: Poll) -> Counter[str]:
        brought: Counter[str] = Counter()
        for name in poll.topics:
            jobs = min(self.backlog[name], poll.jobs_max - brought.total())
            brought[name] += jobs
            self.backlog[name] -= jobs
            for _ in range(jobs):
                if self.came_ms.get(name):
                    came_ms = self.came_ms[name].pop(0)
                    self.waits_ms.setdefault(name, []).append(self.now_ms - came_ms)
                self.running.append((self.now_ms + self.work_ms[name], name))
        assert len(self.running) <= self.slots
        return +brought

    def run(
        self,
        until_ms: int,
        plan: Callable[[dict[str, int], int, Counter[str], int], list[Poll]],
        end: Callable[[Poll, Counter[str]], None],
    ) -> None:
        while self.now_ms < until_ms:
            if self.now_ms in self.arrivals:
                name = self.arrivals[self.now_ms]
                self.backlog[name] += 1
                self.came_ms.setdefault(name, []).append(self.now_ms)
            self.running = [one for one in self.running if one[0] > self.now_ms]
            for since_ms, poll in list(self.open):
                brought = self.fetch(poll)
                if brought or self.now_ms >= since_ms + poll.wait_ms:
                    self.open.remove((since_ms, poll))
                    end(poll, brought)
            open_jobs = Counter(name for _, name in self.running)
            credit = self.slots - open_jobs.total()
            for poll in plan(dict.fromkeys(self.work_ms, credit), credit, open_jobs, self.now_ms):
                self.calls += 1
                self.open.append((self.now_ms, poll))
            self.now_ms += 5


def everything_at_once(topics: str) -> Callable[..., list[Poll]]:
    """What a claimer did before: one poll for all topics and all credits."""

    def plan(credits: dict[str, int], credit: int, _: Counter[str], now_ms: int) -> list[Poll]:
        return [Poll(tuple(topics), credit, WAIT_MS_MAX, now_ms)] if credit else []

    return plan


def unfair(played: Played, until_ms: int) -> None:
    plan = everything_at_once("".join(sorted(played.work_ms)))
    played.run(until_ms, lambda *now: [] if played.open else plan(*now), lambda *_: None)


def fair(played: Played, until_ms: int, topics_max: int | None) -> None:
    lanes = Lanes(topics_max, WAIT_MS_MAX)
    played.run(until_ms, lanes.plan, lanes.end)


def flooded(slots: int = 8, work_ms: int = 50) -> Played:
    """One topic with a backlog without end, and a job of another every two seconds."""
    return Played(
        slots,
        {"a": work_ms, "b": 20},
        Counter(a=1_000_000),
        {now_ms: "b" for now_ms in range(2_000, 30_000, 2_000)},
    )


def test_one_poll_for_everything_starves_a_topic_behind_a_backlog() -> None:
    """What `Lanes` is there for: with one poll for all, `b` never runs."""
    played = flooded()
    unfair(played, 32_000)
    assert played.waits_ms.get("b") is None


@pytest.mark.parametrize("topics_max", [None, 1])
@pytest.mark.parametrize("slots", [1, 2, 8])
def test_a_topic_behind_the_backlog_of_another_waits_a_glance(
    topics_max: int | None, slots: int
) -> None:
    played = flooded(slots)
    fair(played, 32_000, topics_max)
    assert len(played.waits_ms["b"]) == 14
    assert max(played.waits_ms["b"]) <= 1_100, played.waits_ms["b"]
    # And the flood has the rest: of eight slots it uses seven.
    taken = 1_000_000 - played.backlog["a"]
    assert taken >= 0.8 * max(1, slots - 1) * 32_000 / 55


@pytest.mark.parametrize("topics_max", [None, 1])
def test_a_slow_topic_leaves_slots_to_a_quick_one(topics_max: int | None) -> None:
    """All slots full of jobs of a minute would keep out jobs of 20 ms for a minute."""
    played = flooded(8, work_ms=60_000)
    fair(played, 32_000, topics_max)
    assert max(played.waits_ms["b"]) <= 1_100, played.waits_ms["b"]
    slow = flooded(8, work_ms=60_000)
    unfair(slow, 62_000)
    assert max(slow.waits_ms.get("b", [99_999])) > 50_000


@pytest.mark.parametrize("topics_max", [None, 1])
def test_two_backlogs_share_the_slots(topics_max: int | None) -> None:
    played = Played(8, {"a": 100, "b": 100}, Counter(a=100_000, b=100_000))
    fair(played, 30_000, topics_max)
    taken = {name: 100_000 - played.backlog[name] for name in "ab"}
    assert 0.8 < taken["a"] / taken["b"] < 1.25, taken
    alone = Played(8, {"a": 100, "b": 100}, Counter(a=100_000, b=100_000))
    unfair(alone, 30_000)
    assert alone.backlog["b"] == 100_000


def test_a_quiet_mesh_asks_no_more_often_than_its_polls_end() -> None:
    played = Played(8, dict.fromkeys(TOPICS, 20), Counter())
    fair(played, 60_000, None)
    assert played.calls <= 7


@pytest.mark.parametrize("topics_max", [None, 1])
def test_a_trickle_of_slow_jobs_neither_takes_the_last_slot_nor_stops_the_polls(
    topics_max: int | None,
) -> None:
    """A topic that never fills a poll comes up to all slots but one."""
    played = Played(
        8,
        {"a": 600_000, "b": 20},
        Counter(),
        {now_ms: "b" if now_ms % 10_000 else "a" for now_ms in range(5_000, 200_000, 5_000)},
    )
    fair(played, 200_000, topics_max)
    assert max(played.waits_ms["b"]) <= 1_100, played.waits_ms["b"]
    assert sum(name == "a" for _, name in played.running) == 7


def test_a_loop_that_has_nothing_to_spend_does_not_look_again_and_again() -> None:
    lanes = Lanes(None, WAIT_MS_MAX)
    (first,) = lanes.plan({"a": 4, "b": 4}, 4, {}, 0)
    lanes.end(first, {"a": first.jobs_max})
    lanes.plan({"a": 1, "b": 1}, 1, {"a": 3}, 10)
    look_ms = lanes.next_look_ms()
    assert look_ms is not None and look_ms > 10
    lanes.rest()
    assert lanes.next_look_ms() is None
