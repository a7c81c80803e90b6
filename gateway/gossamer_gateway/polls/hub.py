"""Who waits for jobs, and which polls run at the engines for them. Pure: no I/O, takes `now_ms`.

A client's poll names a *shape*: topics, lock times, filters, everything that makes its question
differ from another. Waiters of one shape share polls, one at each engine at a time: a hundred
replicas of a worker cost an engine as much as one. Rules:

1. Whoever waits longest is served first, with what is there, up to what it wants, from whichever
   engine answers first.
2. A poll at an engine is never cut off: on both Camundas that leaves the next job locked for
   nobody. So what it brings may find that its waiter has left, or was served by another engine.
   Then it stays in the *pocket* of its shape for `POCKET_MS`, as workers ask again at once; after
   that it goes back to the engine.
3. An engine holds at most `POLLS_MAX` polls of ours that wait. Camunda 7 answers 500 past 200 for
   all its clients. Shapes beyond that take turns with polls that are answered at once.
4. Nobody is told that there is nothing before each engine has said so since it asked; one that
   waits with a poll of that shape, or failed a moment ago, has. An engine that says nothing at all
   holds nobody up for more than `HEARING_MS` past its time: a poll that waited for as long as its
   waiter says so a moment after it.
5. A poll that failed is not repeated for `FAILED_MS`. A waiter whose time has come hears of
   failures only if no engine could say that it has nothing.
6. Waiters and pockets are bounded; one more waiter is refused, and the rest is left at the engine.

An engine that can't be asked for all of a shape at once is named once for each part of it, as
`lane` spells it: a poll for each, and their bound is the engine's.
"""

from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

WAITERS_MAX = 10_000
"""In all shapes together."""

POLLS_MAX = 64
"""That wait at one engine at a time; several gateways share Camunda 7's 200."""

WAIT_MS = 10_000
"""How long such a poll waits at most: the time in which a job may come for a waiter that left."""

TURN_MS = 1_000
"""Between two turns of a shape that has no waiting poll."""

TURN_GAP_MS = 10
"""Between the turns of two shapes at one engine. A thousand shapes that each asked every second
were more than both Camundas bear beside their work; so each has its turn every ten."""

POCKET_MS = 2_000
"""How long a worker may take to ask again."""

FAILED_MS = 1_000

HEARING_MS = 2_000
"""How late an engine may say that it has nothing: a busy one takes some tenths."""

JOBS_MAX = 1_000
"""That one poll asks for, whatever its waiters want."""

SILENT = "it has not answered yet"

J = TypeVar("J")


def lane(engine: str, part: str = "") -> str:
    """An engine's name where a part of a shape is asked for by itself."""
    return f"{engine}\0{part}" if part else engine


def engine_of(lane: str) -> tuple[str, str]:
    """The engine and the part of `lane`."""
    engine, _, part = lane.partition("\0")
    return engine, part


@dataclass(frozen=True, slots=True)
class Ask:
    """Begin a poll at an engine. Its end is told by `answered` or `failed`, always."""

    engine: str
    shape: Hashable
    jobs_max: int
    wait_ms: int


@dataclass(frozen=True, slots=True)
class Give(Generic[J]):
    """Answer a waiter with these jobs, perhaps none."""

    waiter: int
    jobs: tuple[J, ...]


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer a waiter with what the engines' last polls failed of, by engine."""

    waiter: int
    reasons: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class PutBack(Generic[J]):
    """Give these jobs back to their engine, as if nobody had asked."""

    engine: str
    jobs: tuple[J, ...]


@dataclass(slots=True)
class _Waiter:
    id: int
    wanted: int
    until_ms: int
    unheard: set[str]
    """Engines that have not answered since it asked."""
    patience_ms: int
    """Until when it waits for those."""

    def over_ms(self) -> int:
        """When its time is up, as things are."""
        return self.patience_ms if self.unheard else self.until_ms


@dataclass(slots=True)
class _Lane:
    """A shape at one engine."""

    running: bool = False
    waits: bool = False
    next_ms: int = 0
    has_turn: bool = False
    failure: str | None = None


@dataclass(slots=True)
class _Shape(Generic[J]):
    lanes: dict[str, _Lane]
    waiters: deque[_Waiter] = field(default_factory=deque)
    pocket: deque[tuple[int, str, J]] = field(default_factory=deque)


class Hub(Generic[J]):
    """All waiters of a gateway. Each method returns what to do now."""

    def __init__(self) -> None:
        self._shapes: dict[Hashable, _Shape[J]] = {}
        self._waiters: dict[int, Hashable] = {}
        self._last_id = 0
        self._polls: dict[str, int] = {}
        self._turns_ms: dict[str, int] = {}

    def wait(
        self, shape: Hashable, engines: Sequence[str], *, wanted: int, until_ms: int, now_ms: int
    ) -> tuple[int | None, list[object]]:
        """A client asks.

        Args:
            engines: where its jobs may be, as names or `lane`s; for one shape always the same.
            wanted: at most so many jobs, at least 1.
            until_ms: when it wants an answer at the latest.

        Returns: the waiter's number, None if there is no room for it.
        """
        if len(self._waiters) >= WAITERS_MAX:
            return None, []
        if shape not in self._shapes:
            self._shapes[shape] = _Shape({name: _Lane() for name in engines})
        self._last_id += 1
        here = self._shapes[shape]
        unheard = {
            name
            for name, one in here.lanes.items()
            if not (one.running and one.waits) and (one.running or one.next_ms <= now_ms)
        }
        patience_ms = until_ms + HEARING_MS
        waiter = _Waiter(self._last_id, wanted, until_ms, unheard, patience_ms)
        self._waiters[waiter.id] = shape
        here.waiters.append(waiter)
        return waiter.id, list(self._advance(shape, now_ms))

    def leave(self, waiter: int, now_ms: int) -> list[object]:
        """A client has gone. What its poll brings goes to others, or back."""
        shape = self._waiters.pop(waiter, None)
        if shape is None:
            return []
        kept = self._shapes[shape].waiters
        kept.remove(next(one for one in kept if one.id == waiter))
        return list(self._advance(shape, now_ms))

    def answered(
        self, engine: str, shape: Hashable, jobs: Sequence[J], now_ms: int
    ) -> list[object]:
        """A poll ended well, perhaps without a job."""
        here = self._shapes[shape]
        lane = self._end(engine, here)
        lane.failure = None
        lane.next_ms = now_ms if lane.waits or jobs else now_ms + TURN_MS
        here.pocket.extend((now_ms + POCKET_MS, engine, job) for job in jobs)
        return list(self._advance(shape, now_ms))

    def failed(self, engine: str, shape: Hashable, reason: str, now_ms: int) -> list[object]:
        """A poll ended without an answer."""
        lane = self._end(engine, self._shapes[shape])
        lane.failure = reason
        lane.next_ms = now_ms + FAILED_MS
        return list(self._advance(shape, now_ms))

    def tick(self, now_ms: int) -> list[object]:
        """Time has passed."""
        return [one for shape in list(self._shapes) for one in self._advance(shape, now_ms)]

    def next_ms(self) -> int | None:
        """When `tick` has something to do; None for never."""
        times: list[int] = []
        for here in self._shapes.values():
            times += [one.over_ms() for one in here.waiters]
            times += [until_ms for until_ms, _, _ in here.pocket]
            if here.waiters:
                late_ms = max(one.until_ms for one in here.waiters)
                times += [
                    one.next_ms
                    for one in here.lanes.values()
                    if not one.running and one.next_ms < late_ms
                ]
        return min(times, default=None)

    def waiting(self) -> dict[str, int]:
        """How many clients wait for jobs that may be at an engine, by engine."""
        counted: dict[str, int] = {}
        for here in self._shapes.values():
            for engine in here.lanes:
                counted[engine] = counted.get(engine, 0) + len(here.waiters)
        return counted

    # --- inside

    def _end(self, engine: str, here: _Shape[J]) -> _Lane:
        lane = here.lanes[engine]
        assert lane.running, f"no poll of this shape runs at {engine}"
        lane.running = False
        if lane.waits:
            self._polls[engine_of(engine)[0]] -= 1
        for waiter in here.waiters:
            waiter.unheard.discard(engine)
        return lane

    def _advance(self, shape: Hashable, now_ms: int) -> Iterator[object]:
        here = self._shapes[shape]
        yield from self._serve(here)
        yield from self._put_back(here, now_ms)
        yield from self._time_out(here, now_ms)
        yield from self._ask(shape, here, now_ms)
        if not here.waiters and not here.pocket and not any(x.running for x in here.lanes.values()):
            del self._shapes[shape]

    def _serve(self, here: _Shape[J]) -> Iterator[object]:
        while here.waiters and here.pocket:
            waiter = here.waiters.popleft()
            count = min(waiter.wanted, len(here.pocket))
            jobs = tuple(here.pocket.popleft()[2] for _ in range(count))
            del self._waiters[waiter.id]
            yield Give(waiter.id, jobs)

    def _put_back(self, here: _Shape[J], now_ms: int) -> Iterator[object]:
        late: dict[str, list[J]] = {}
        while here.pocket and here.pocket[0][0] <= now_ms:
            _, engine, job = here.pocket.popleft()
            late.setdefault(engine, []).append(job)
        for engine, jobs in late.items():
            yield PutBack(engine, tuple(jobs))

    def _time_out(self, here: _Shape[J], now_ms: int) -> Iterator[object]:
        over = [one for one in here.waiters if one.over_ms() <= now_ms]
        for waiter in over:
            here.waiters.remove(waiter)
            del self._waiters[waiter.id]
            failures = [
                (name, one.failure or SILENT)
                for name, one in here.lanes.items()
                if one.failure or name in waiter.unheard
            ]
            if len(failures) == len(here.lanes):
                yield Refuse(waiter.id, tuple(failures))
            else:
                yield Give(waiter.id, ())

    def _ask(self, shape: Hashable, here: _Shape[J], now_ms: int) -> Iterator[object]:
        if not here.waiters:
            return
        wanted = min(JOBS_MAX, sum(one.wanted for one in here.waiters))
        for engine, lane in here.lanes.items():
            if lane.running or lane.next_ms > now_ms:
                continue
            if not any(one.until_ms > now_ms or engine in one.unheard for one in here.waiters):
                continue  # they wait for another engine's word alone
            left_ms = max(one.until_ms for one in here.waiters) - now_ms
            name, _ = engine_of(engine)
            lane.waits = self._polls.get(name, 0) < POLLS_MAX and left_ms > 0
            if left_ms > 0 and not lane.waits and not lane.has_turn:
                lane.next_ms = max(now_ms, self._turns_ms.get(name, 0))
                self._turns_ms[name] = lane.next_ms + TURN_GAP_MS
                lane.has_turn = True
                if lane.next_ms > now_ms:
                    continue
            lane.has_turn = False
            lane.running = True
            if lane.waits:
                self._polls[name] = self._polls.get(name, 0) + 1
            yield Ask(engine, shape, wanted, min(WAIT_MS, left_ms) if lane.waits else 0)
