"""Many runs in virtual time, with workers and a network that lose, repeat and reorder; and crashes.

A gateway keeps the log of each run on a disk; everything else of it is memory, which a crash takes:
in the middle of a decision (then nobody was answered, and who asked asks again), or after it is on
the disk and before anybody heard. Workers take attempts, some fail, some are slow, some die; an
answer comes never, once, or more often. All is drawn from one seed; `python -m
tests.runs.sim_runs SEED` plays it again and prints what happened.
"""

import heapq
import random
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.runs.runs_world import definition_of, expected, result_of

from gossamer_gateway.runs.model import deciding
from gossamer_gateway.runs.model import events as e
from gossamer_gateway.runs.model.deciding import Answer
from gossamer_gateway.runs.model.definition import Definition
from gossamer_gateway.runs.model.events import Event, Failure
from gossamer_gateway.runs.model.flow import Flow
from gossamer_gateway.runs.model.run import Run, Status, StepStatus, evolve, fold

RUNS = 20
END_MS = 3_600_000
"""Until then things go wrong; from then on nothing does, so that all must come to an end."""


@dataclass
class _Stored:
    """A run's part of the disk."""

    definition: Definition
    given: Any
    flow: Flow
    log: list[bytes] = field(default_factory=list)
    payloads: dict[str, Any] = field(default_factory=dict)


class Sim:
    """One world of one seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.now_ms = 0
        self.seen: Counter[str] = Counter()
        self.disk: dict[str, _Stored] = {}
        self._memory: dict[str, Run] = {}
        self._ahead: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0

    @property
    def _is_wild(self) -> bool:
        return self.now_ms < END_MS

    def play(self) -> None:
        """All of it, until every run has ended, and the judgement."""
        for n in range(RUNS):
            self._at(self.rng.randint(0, 60_000), lambda n=n: self._trigger(f"r{n}"))  # type: ignore[misc]
        self._at(1_000, self._crash)
        for _ in range(400_000):
            if not self._ahead:
                break
            self.now_ms, _, act = heapq.heappop(self._ahead)
            act()
        else:
            raise AssertionError("the world does not come to an end")
        self._judge()

    def _at(self, delay_ms: int, act: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._ahead, (self.now_ms + max(0, delay_ms), self._count, act))

    # The gateway

    def _trigger(self, id: str) -> None:
        definition = definition_of(self.rng, 15)
        given = {"n": self.rng.randint(0, 9)}
        stored = _Stored(definition, given, Flow(definition))
        (event,) = deciding.trigger(stored.flow, id, given, self.now_ms)
        stored.log.append(e.encode(event))
        self.disk[id] = stored
        self._memory[id] = evolve(None, event)
        self._word(id, lambda flow, run: deciding.start(flow, run, self.now_ms))

    def _word(self, id: str, decide: Callable[[Flow, Run], list[Event]]) -> None:
        """Something is said to a run; who says it goes on until it is heard."""
        stored = self.disk[id]
        run = self._memory.get(id)
        if run is None:
            run = self._memory[id] = fold(e.decode(one) for one in stored.log)
        events = decide(stored.flow, run)
        fate = self.rng.random() if self._is_wild else 1.0
        if fate < 0.02:  # it died before the disk had it
            self.seen["died before the disk"] += 1
            self._memory.clear()
            self._at(self.rng.randint(1, 2_000), lambda: self._word(id, decide))
            return
        for event in events:
            stored.log.append(e.encode(event))
            run = evolve(run, event)
            self.seen[type(event).__name__] += 1
            if isinstance(event, e.StepStarted):
                stored.payloads[event.step] = event.input
        self._memory[id] = run
        if fate < 0.04:  # it died before anybody heard, so the word comes again
            self.seen["died after the disk"] += 1
            self._memory.clear()
            self._at(self.rng.randint(1, 2_000), lambda: self._word(id, decide))
            self._at(self.rng.randint(1, 2_000), lambda: self._offer_again(id))
            return
        for event in events:
            if isinstance(event, e.AttemptStarted):
                self._offer(id, event.step, event.attempt)
            if isinstance(event, e.RunFailed):
                self._at(self.rng.randint(0, 90_000), lambda: self._retry(id))
        if events and run.due_ms is not None:
            self._at(run.due_ms - self.now_ms, lambda: self._due(id))

    def _due(self, id: str) -> None:
        self._word(id, lambda flow, run: deciding.due(flow, run, self.now_ms, self.rng.random))

    def _retry(self, id: str) -> None:
        self._word(id, lambda flow, run: deciding.retry(flow, run, self.now_ms))

    def _crash(self) -> None:
        """The gateway dies and comes back: it knows what is on the disk, and offers it again."""
        self._memory.clear()
        for id in self.disk:
            self._offer_again(id)
        if self._is_wild:
            self._at(self.rng.randint(1_000, 400_000), self._crash)

    def _offer_again(self, id: str) -> None:
        run = fold(e.decode(one) for one in self.disk[id].log)
        for step, state in run.steps.items():
            if state.status is StepStatus.RUNNING:
                self._offer(id, step, state.attempt)
        if run.due_ms is not None:
            self._at(run.due_ms - self.now_ms, lambda: self._due(id))
        if run.status is Status.PENDING:
            self._word(id, lambda flow, run: deciding.start(flow, run, self.now_ms))
        if run.status is Status.FAILED:
            self._at(self.rng.randint(0, 90_000), lambda: self._retry(id))

    # Workers, and the way to them

    def _offer(self, id: str, step: str, attempt: int) -> None:
        copies = self.rng.choice([0, 1, 1, 1, 2]) if self._is_wild else 1
        for _ in range(copies):
            delay = self.rng.choice([0, 5, 50, 3_000]) if self._is_wild else 0
            self._at(delay, lambda: self._work(id, step, attempt))

    def _work(self, id: str, step: str, attempt: int) -> None:
        self.seen["work"] += 1
        said = Answer(step, attempt, result_of(step, self.disk[id].payloads[step]))
        if self._is_wild and self.rng.random() < 0.2:
            blame = self.rng.choice(["worker", "function", "provider"])
            said = Answer(step, attempt, failure=Failure("F", "broken", blame))
        copies = self.rng.choice([0, 1, 1, 1, 1, 3]) if self._is_wild else 1
        for _ in range(copies):
            slow = self.rng.choice([0, 1, 80, 6_000, 200_000]) if self._is_wild else 0
            self._at(slow, lambda: self._word(
                id, lambda flow, run: deciding.answer(
                    flow, run, said, self.now_ms, self.rng.random)))  # fmt: skip

    # The judgement

    def _judge(self) -> None:
        assert len(self.disk) == RUNS
        for id, stored in self.disk.items():
            history = [e.decode(one) for one in stored.log]
            run = fold(history)
            where = f"{id} of seed {self.seed}"
            assert run.status is Status.COMPLETED, (where, run.status, run.failure)
            assert [one.seq for one in history] == list(range(1, len(history) + 1)), where
            done = Counter(one.step for one in history if isinstance(one, e.StepCompleted))
            assert not done or max(done.values()) == 1, (where, done)
            output, outputs = expected(stored.definition, stored.given)
            assert run.output == output, where
            assert {step: one.output for step, one in run.steps.items()} == outputs, where


def main(seed: int) -> None:
    """Plays one seed and prints what happened in it."""
    world = Sim(seed)
    world.play()
    print(f"seed {seed}: {dict(sorted(world.seen.items()))}")


if __name__ == "__main__":
    for number in map(int, sys.argv[1:]):
        main(number)
