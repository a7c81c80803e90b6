"""The hub of long polls: rules one by one, then whole crowds against engines of a simulation."""

import random
from collections.abc import Sequence

import pytest

from gossamer_gateway.polls import hub as hubs
from gossamer_gateway.polls.hub import Ask, Give, Hub, PutBack, Refuse

LONG_MS = 30_000
SHAPE = "a topic"


def come(
    hub: Hub[str],
    now_ms: int = 0,
    *,
    wanted: int = 1,
    for_ms: int = LONG_MS,
    engines: Sequence[str] = ("c7", "c8"),
    shape: str = SHAPE,
) -> tuple[int, list[object]]:
    waiter, todo = hub.wait(shape, engines, wanted=wanted, until_ms=now_ms + for_ms, now_ms=now_ms)
    assert waiter is not None
    return waiter, todo


def test_a_waiter_is_served_by_whoever_answers_first() -> None:
    hub: Hub[str] = Hub()
    one, todo = come(hub)
    assert todo == [Ask("c7", SHAPE, 1, hubs.WAIT_MS), Ask("c8", SHAPE, 1, hubs.WAIT_MS)]
    assert hub.answered("c8", SHAPE, ["job"], 10) == [Give(one, ("job",))]
    assert hub.next_ms() is None
    # The other poll still runs; what it brings waits for the worker to ask again.
    assert hub.answered("c7", SHAPE, ["late"], 20) == []
    two, todo = come(hub, 30)
    assert todo == [Give(two, ("late",))]


def test_a_crowd_of_shapes_asks_one_after_another() -> None:
    hub: Hub[str] = Hub()
    crowd = 100
    asked = []
    for number in range(hubs.POLLS_MAX + crowd):
        _, todo = come(hub, engines=["c7"], shape=f"shape {number}")
        asked += todo
    at_once = [one for one in asked if isinstance(one, Ask)]
    assert len(at_once) == hubs.POLLS_MAX + 1
    for turn in range(1, crowd):
        now_ms = turn * hubs.TURN_GAP_MS
        assert hub.next_ms() == now_ms
        todo = hub.tick(now_ms)
        assert todo == [Ask("c7", f"shape {hubs.POLLS_MAX + turn}", 1, 0)]


def test_an_engine_that_says_nothing_holds_nobody_up_for_long() -> None:
    hub: Hub[str] = Hub()
    one, _ = come(hub, for_ms=0)
    assert hub.answered("c7", SHAPE, [], hubs.HEARING_MS - 5) == []
    assert hub.tick(hubs.HEARING_MS - 1) == []
    assert hub.tick(hubs.HEARING_MS) == [Give(one, ())]
    two, _ = come(hub, hubs.HEARING_MS + 1, for_ms=0, engines=["mute"], shape="another")
    assert hub.tick(2 * hubs.HEARING_MS + 1) == [Refuse(two, (("mute", hubs.SILENT),))]


def test_a_poll_that_waits_as_long_as_its_waiter_is_still_heard() -> None:
    hub: Hub[str] = Hub()
    one, todo = come(hub, for_ms=500, engines=["c7"])
    assert todo == [Ask("c7", SHAPE, 1, 500)]
    assert hub.tick(500) == []
    assert hub.answered("c7", SHAPE, [], 530) == [Give(one, ())]


def test_what_nobody_asks_for_goes_back() -> None:
    hub: Hub[str] = Hub()
    one, _ = come(hub)
    assert hub.leave(one, 50) == []
    assert hub.answered("c7", SHAPE, ["x", "y"], 100) == []
    assert hub.next_ms() == 100 + hubs.POCKET_MS
    assert hub.tick(99 + hubs.POCKET_MS) == []
    assert hub.tick(100 + hubs.POCKET_MS) == [PutBack("c7", ("x", "y"))]
    assert hub.answered("c8", SHAPE, [], 9_000) == []
    assert hub.next_ms() is None


def test_replicas_share_polls_and_the_longest_waits_first() -> None:
    hub: Hub[str] = Hub()
    first, todo = come(hub, wanted=2, engines=["c7"])
    assert todo == [Ask("c7", SHAPE, 2, hubs.WAIT_MS)]
    second, todo = come(hub, wanted=5, engines=["c7"])
    assert todo == []
    assert hub.answered("c7", SHAPE, ["1", "2", "3"], 5) == [
        Give(first, ("1", "2")),
        Give(second, ("3",)),
    ]
    third, todo = come(hub, 6, engines=["c7"])
    fourth, more = come(hub, 6, wanted=9, engines=["c7"])
    assert todo == [Ask("c7", SHAPE, 1, hubs.WAIT_MS)] and not more
    assert hub.answered("c7", SHAPE, [], 7) == [Ask("c7", SHAPE, 10, hubs.WAIT_MS)]
    hub.leave(third, 8)
    assert hub.answered("c7", SHAPE, ["4"], 8) == [Give(fourth, ("4",))]


def test_a_client_that_does_not_wait_hears_what_all_engines_say_now() -> None:
    hub: Hub[str] = Hub()
    one, todo = come(hub, for_ms=0)
    assert todo == [Ask("c7", SHAPE, 1, 0), Ask("c8", SHAPE, 1, 0)]
    assert hub.next_ms() == hubs.HEARING_MS and hub.answered("c7", SHAPE, [], 5) == []
    assert hub.answered("c8", SHAPE, [], 9) == [Give(one, ())]
    # Beside one that waits: its polls wait because there is nothing.
    _, todo = come(hub, 10)
    assert len(todo) == 2
    two, todo = come(hub, 11, for_ms=0)
    assert todo == [Give(two, ())]


def test_failures_are_told_when_nobody_could_say() -> None:
    hub: Hub[str] = Hub()
    one, _ = come(hub, for_ms=5_000)
    assert hub.failed("c7", SHAPE, "down", 10) == []
    assert hub.tick(10 + hubs.FAILED_MS) == [Ask("c7", SHAPE, 1, 5_000 - 10 - hubs.FAILED_MS)]
    assert hub.failed("c7", SHAPE, "down", 2_000) == []
    assert hub.failed("c8", SHAPE, "slow", 4_500) == [Ask("c7", SHAPE, 1, 500)]
    assert hub.next_ms() == 5_000 and hub.tick(4_999) == []
    assert hub.tick(5_000) == [Refuse(one, (("c7", "down"), ("c8", "slow")))]


def test_one_engine_that_says_nothing_is_enough() -> None:
    hub: Hub[str] = Hub()
    one, _ = come(hub, for_ms=0)
    assert hub.failed("c7", SHAPE, "down", 10) == []
    assert hub.answered("c8", SHAPE, [], 20) == [Give(one, ())]


def test_an_engine_holds_so_many_polls_and_others_take_turns() -> None:
    hub: Hub[str] = Hub()
    shapes = [f"topic {count}" for count in range(hubs.POLLS_MAX + 1)]
    asked = [come(hub, engines=["c7"], shape=one)[1] for one in shapes]
    waits = [ask.wait_ms for (ask,) in asked if isinstance(ask, Ask)]
    assert waits == [hubs.WAIT_MS] * hubs.POLLS_MAX + [0]
    last = shapes[-1]
    assert hub.answered("c7", last, [], 100) == []
    assert hub.tick(100 + hubs.TURN_MS) == [Ask("c7", last, 1, 0)]
    assert hub.answered("c7", last, [], 1_200) == []
    # A place is free: its next poll waits.
    assert hub.answered("c7", shapes[0], ["job"], 1_300) != []
    assert hub.tick(1_200 + hubs.TURN_MS) == [Ask("c7", last, 1, hubs.WAIT_MS)]


def test_waiters_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs, "WAITERS_MAX", 2)
    hub: Hub[str] = Hub()
    one, _ = come(hub)
    come(hub)
    assert hub.wait(SHAPE, ["c7"], wanted=1, until_ms=1, now_ms=0) == (None, [])
    hub.leave(one, 0)
    hub.leave(one, 0)
    come(hub)


def test_a_shape_is_forgotten_with_its_last_waiter() -> None:
    hub: Hub[str] = Hub()
    one, _ = come(hub, engines=["c7"])
    hub.failed("c7", SHAPE, "down", 10)
    hub.leave(one, 20)
    assert hub.next_ms() is None and not hub._shapes


class World:
    """Engines with jobs, clients that come and go, and an account of every job."""

    def __init__(self, seed: int) -> None:
        self.luck = random.Random(seed)
        self.hub: Hub[str] = Hub()
        self.now_ms = 0
        self.queues: dict[tuple[str, str], list[str]] = {}
        self.polls: list[tuple[int, Ask]] = []
        self.waiting: dict[int, tuple[str, int, int]] = {}
        self.done: list[str] = []
        self.made: list[str] = []
        self.down: set[str] = set()

    def run(self) -> None:
        for _ in range(400):
            self._act()
            self._move(self.now_ms + self.luck.randrange(400))
        self.down = set()
        for waiter in sorted(self.waiting):
            self._do(self.hub.leave(waiter, self.now_ms))
        self.waiting = {}
        self._move(self.now_ms + 10 * hubs.WAIT_MS)
        # Nothing is held when nobody asks any more: every job was given once, or is at its engine.
        left = [job for queue in self.queues.values() for job in queue]
        assert sorted(self.done + left) == sorted(self.made)
        assert self.hub.next_ms() is None and not self.polls
        assert not self.hub._shapes and not self.hub._waiters
        assert not any(self.hub._polls.values())

    def _act(self) -> None:
        shape = self.luck.choice("pqr")
        match self.luck.randrange(8):
            case 0 | 1:
                for _ in range(self.luck.randrange(1, 4)):
                    job = f"job {len(self.made)}"
                    self.made.append(job)
                    self.queues.setdefault((self.luck.choice(["c7", "c8"]), shape), []).append(job)
            case 2 | 3 | 4 | 5:
                wanted = self.luck.randrange(1, 5)
                until_ms = self.now_ms + self.luck.choice([0, 300, 5_000, 60_000])
                waiter, todo = self.hub.wait(
                    shape, ["c7", "c8"], wanted=wanted, until_ms=until_ms, now_ms=self.now_ms
                )
                assert waiter is not None
                self.waiting[waiter] = (shape, wanted, until_ms)
                self._do(todo)
            case 6 if self.waiting:
                waiter = self.luck.choice(sorted(self.waiting))
                del self.waiting[waiter]
                self._do(self.hub.leave(waiter, self.now_ms))
            case 7:
                self.down ^= {self.luck.choice(["c7", "c8"])}

    def _move(self, until_ms: int) -> None:
        while True:
            times = [at_ms for at_ms, _ in self.polls]
            due_ms = self.hub.next_ms()
            if due_ms is not None:
                times.append(max(due_ms, self.now_ms))
            if not times or min(times) > until_ms:
                self.now_ms = max(self.now_ms, until_ms)
                return
            self.now_ms = max(self.now_ms, min(times))
            for poll in [one for one in self.polls if one[0] <= self.now_ms]:
                self.polls.remove(poll)
                self._end(poll[1])
            self._do(self.hub.tick(self.now_ms))
            due_ms = self.hub.next_ms()
            assert due_ms is None or due_ms > self.now_ms, "a tick leaves nothing that is due"

    def _end(self, ask: Ask) -> None:
        assert isinstance(ask.shape, str)
        queue = self.queues.setdefault((ask.engine, ask.shape), [])
        if ask.engine in self.down:
            self._do(self.hub.failed(ask.engine, ask.shape, "down", self.now_ms))
            return
        jobs = queue[: ask.jobs_max]
        del queue[: ask.jobs_max]
        self._do(self.hub.answered(ask.engine, ask.shape, jobs, self.now_ms))

    def _do(self, todo: list[object]) -> None:
        for one in todo:
            match one:
                case Ask(engine, shape):
                    assert not any(
                        (other.engine, other.shape) == (engine, shape) for _, other in self.polls
                    )
                    slow_ms = self.luck.randrange(50)
                    if self.queues.get((engine, str(shape))) is None or self.luck.random() < 0.5:
                        slow_ms += one.wait_ms
                    self.polls.append((self.now_ms + slow_ms, one))
                case Give(waiter, jobs):
                    _, wanted, until_ms = self.waiting.pop(waiter)
                    assert len(jobs) <= wanted and (jobs or self.now_ms >= until_ms)
                    self.done += jobs
                case Refuse(waiter):
                    assert self.now_ms >= self.waiting.pop(waiter)[2]
                case PutBack(engine, jobs):
                    shape = "p"  # any: the account is of jobs
                    self.queues.setdefault((engine, shape), []).extend(jobs)
                case _:
                    raise AssertionError(one)


@pytest.mark.parametrize("seed", range(300))
def test_every_job_is_given_once_or_goes_back(seed: int) -> None:
    World(seed).run()


def test_an_engine_is_asked_for_parts_by_themselves_within_its_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hubs, "POLLS_MAX", 2)
    hub: Hub[str] = Hub()
    parts = [hubs.lane("c8", name) for name in ("a", "b", "c")]
    assert [hubs.engine_of(one) for one in parts] == [("c8", "a"), ("c8", "b"), ("c8", "c")]
    assert hubs.engine_of("c7") == ("c7", "")
    one, todo = come(hub, engines=["c7", *parts])
    waits = {ask.engine: ask.wait_ms > 0 for ask in todo if isinstance(ask, Ask)}
    assert waits == {"c7": True, parts[0]: True, parts[1]: True, parts[2]: False}
    # What one part brings serves the waiter; another's comes for the next.
    assert hub.answered(parts[1], SHAPE, ["job"], 10) == [Give(one, ("job",))]
    assert hub.answered(parts[0], SHAPE, ["late"], 20) == []
    two, todo = come(hub, 30, engines=["c7", *parts])
    assert todo == [Give(two, ("late",))]
