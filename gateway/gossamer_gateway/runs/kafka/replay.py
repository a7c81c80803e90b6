"""Runs from `workflow-events` alone: duplicates are dropped, gaps are named. Pure.

The topic holds each run's events in order, some of them more than once. A run that is in order is
folded as its events come; what comes before its turn is kept aside until the rest is there. What is
missing at the end (the topic's retention has passed, say) is a gap, and the run's state is the one
before it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from gossamer_gateway.runs.model import events as e
from gossamer_gateway.runs.model.events import AnyEvent
from gossamer_gateway.runs.model.run import OutOfPlace, Run, evolve

ASIDE_MAX = 20_000
"""Events of one run that wait for earlier ones: as many as a run may have."""


@dataclass(slots=True)
class _Course:
    run: Run | None = None
    aside: dict[int, AnyEvent] = field(default_factory=dict)
    problem: str = ""

    @property
    def seq(self) -> int:
        return self.run.seq if self.run is not None else 0


@dataclass(frozen=True, slots=True)
class Gap:
    """Events of a run that were not there. `last` None: nobody knows how many.

    Attributes:
        first, last: their numbers.
        problem: of a run whose events don't follow from each other, why not.
    """

    run: str
    first: int
    last: int
    problem: str = ""

    def __str__(self) -> str:
        if self.problem:
            return f"run {self.run}: event {self.first} does not follow: {self.problem}"
        if self.first == self.last:
            return f"run {self.run}: event {self.first} is missing"
        return f"run {self.run}: events {self.first} to {self.last} are missing"


class Replay:
    """All runs of a topic, or one."""

    def __init__(self, only: str | None = None) -> None:
        self._only = only
        self._courses: dict[str, _Course] = {}
        self.events = 0
        """That had an effect."""
        self.duplicates = 0
        self.unread = 0
        """Messages that are no events, or of a kind that this version doesn't know."""

    def take(self, data: bytes) -> AnyEvent | None:
        """Hears the next message. Gives its event the first time, None for one heard before."""
        try:
            event = e.decode(data)
        except msgspec.DecodeError:
            self.unread += 1
            return None
        if self._only is not None and event.run != self._only:
            return None
        course = self._courses.setdefault(event.run, _Course())
        if event.seq <= course.seq or event.seq in course.aside:
            self.duplicates += 1
            return None
        if len(course.aside) >= ASIDE_MAX:
            self.unread += 1
            return None
        course.aside[event.seq] = event
        while not course.problem and (following := course.aside.get(course.seq + 1)) is not None:
            try:
                course.run = evolve(course.run, following)
            except OutOfPlace as error:
                course.problem = str(error)
                break
            del course.aside[course.seq]
            self.events += 1
        return event

    def runs(self) -> list[Run]:
        """The states, in the order in which the runs were triggered."""
        found = [one.run for one in self._courses.values() if one.run is not None]
        return sorted(found, key=lambda run: (run.triggered_ms, run.id))

    def gaps(self) -> Iterator[Gap]:
        """What is missing."""
        for id, course in self._courses.items():
            if course.problem:
                yield Gap(id, course.seq + 1, course.seq + 1, course.problem)
                continue
            expected = course.seq + 1
            for seq in sorted(course.aside):
                if seq > expected:
                    yield Gap(id, expected, seq - 1)
                expected = seq + 1
