"""A run that is told words, and judged after each: what holds of every run at every time.

`Course` keeps the events as they would be on a disk, so that what it holds is what a gateway has
that reads them back. `definition_of` makes definitions at random, all shapes within each other.
`expected` is a second, simple reading of what a definition means, to compare runs with.
"""

import random
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from gossamer_gateway.runs.model import deciding
from gossamer_gateway.runs.model import events as e
from gossamer_gateway.runs.model.conditions import holds
from gossamer_gateway.runs.model.deciding import Answer, Verdict
from gossamer_gateway.runs.model.definition import Definition, StepType
from gossamer_gateway.runs.model.events import AnyEvent, Event, Failure
from gossamer_gateway.runs.model.flow import Flow
from gossamer_gateway.runs.model.mapping import fill
from gossamer_gateway.runs.model.problems import DefinitionRefused
from gossamer_gateway.runs.model.reading import read_object
from gossamer_gateway.runs.model.run import Run, Status, StepStatus, evolve, fold

FULL_JITTER = 0.999


class Course:
    """One run and its events."""

    def __init__(self, definition: Definition, given: Any = None, chance: float = 0.5) -> None:
        self.flow = Flow(definition)
        self.now_ms = 1_000
        self.log: list[bytes] = []
        self.chance: Callable[[], float] = lambda: chance
        (event,) = deciding.trigger(self.flow, "r", given, self.now_ms, key="k")
        self.run = evolve(None, event)
        self.log.append(e.encode(event))
        self.done: Counter[str] = Counter()
        self.open: set[str] = set()

    # Words

    def start(self) -> list[Event]:
        return self.take(deciding.start(self.flow, self.run, self.now_ms))

    def answer(self, step: str, output: Any = None, *, attempt: int = 0) -> list[Event]:
        attempt = attempt or self.run.steps[step].attempt
        return self.said(Answer(step, attempt, output))

    def fail(self, step: str, failure: Failure | str = "Oops", *, attempt: int = 0) -> list[Event]:
        failure = Failure(failure) if isinstance(failure, str) else failure
        attempt = attempt or self.run.steps[step].attempt
        return self.said(Answer(step, attempt, failure=failure))

    def said(self, answer: Answer) -> list[Event]:
        """An answer; the same once more must change nothing."""
        verdict = deciding.verdict(self.run, answer)
        late = self.run.late
        events = deciding.answer(self.flow, self.run, answer, self.now_ms, self.chance)
        expected = {
            Verdict.TAKEN: bool(events) and not isinstance(events[0], e.AttemptLate),
            Verdict.LATE: [type(one) for one in events] == [e.AttemptLate]
            or (late == deciding.LATE_MAX and not events),
            Verdict.REPEATED: not events,
            Verdict.UNKNOWN: not events,
        }
        assert expected[verdict], (verdict, events)
        self.take(events)
        again = deciding.answer(self.flow, self.run, answer, self.now_ms, self.chance)
        if self.run.seq < deciding.FULL:
            assert again == []
        return events

    def wait(self, ms: int | None = None) -> list[Event]:
        """Time passes: so much, or until the next thing is due."""
        if ms is None:
            assert self.run.due_ms is not None
            self.now_ms = max(self.now_ms, self.run.due_ms)
        else:
            self.now_ms += ms
        return self.take(deciding.due(self.flow, self.run, self.now_ms, self.chance))

    def cancel(self) -> list[Event]:
        events = self.take(deciding.cancel(self.flow, self.run, self.now_ms, reason="r", who="w"))
        assert deciding.cancel(self.flow, self.run, self.now_ms) == []
        return events

    def retry(self) -> list[Event]:
        return self.take(deciding.retry(self.flow, self.run, self.now_ms, who="w"))

    def crash(self) -> None:
        """All that is in memory is gone."""
        self.run = fold(self.history())

    # What is there

    def history(self) -> list[AnyEvent]:
        return [e.decode(one) for one in self.log]

    def at_work(self) -> list[tuple[str, int]]:
        return [
            (id, one.attempt)
            for id, one in self.run.steps.items()
            if one.status is StepStatus.RUNNING
        ]

    def kinds(self) -> list[str]:
        return [type(one).__name__ for one in self.history()]

    # What holds

    def take(self, events: list[Event]) -> list[Event]:
        """Events come true, one by one."""
        for event in events:
            before = self.run
            data = e.encode(event)
            decoded = e.decode(data)
            assert decoded == event and e.encode(decoded) == data
            self.run = evolve(before, decoded)
            self.log.append(data)
            assert self.run.seq == before.seq + 1 == event.seq == len(self.log)
            self._judge(before, decoded)
        self._judge_state()
        return events

    def _judge(self, before: Run, event: AnyEvent) -> None:
        if before.status.has_ended:
            assert isinstance(event, e.AttemptLate | e.RunRetried), event
        if isinstance(event, e.StepStarted):
            assert self.done[event.step] == 0, "a step that is done begins again"
        if isinstance(event, e.AttemptStarted):
            assert event.step not in self.open, "two attempts at once"
            assert event.due_ms >= event.at_ms or self.flow[event.step].deadline_ms
            self.open.add(event.step)
        if isinstance(event, e.AttemptFailed | e.StepCompleted):
            self.open.discard(event.step)
        if isinstance(event, e.StepCompleted):
            self.done[event.step] += 1
            assert self.done[event.step] == 1, "a step is effective twice"
        if isinstance(event, e.JoinCompleted):
            fork = self.flow[self.flow.forks[event.step]]
            assert tuple(event.output) == fork.branches == tuple(before.joins[event.step]) or set(
                fork.branches
            ) == set(before.joins[event.step])
        if self.run.status.has_ended:
            self.open.clear()

    def _judge_state(self) -> None:
        run = self.run
        opened = [id for id, one in run.steps.items() if one.status.is_open]
        if run.status is Status.RUNNING:
            assert opened, "nothing is open, so it would never end"
            assert run.due_ms is not None, "nothing is due, so it might never end"
        else:
            assert not opened and run.due_ms is None
        for one in run.steps.values():
            assert (one.due_ms is not None) is one.status.is_open
        assert len(self.log) <= e.EVENTS_MAX


def workflow(*steps: dict[str, Any], start: str | None = None) -> Definition:
    made: dict[str, Any] = {"id": "w", "steps": list(steps)}
    return read_object(made if start is None else made | {"startAt": start})


# Definitions at random


class _Maker:
    def __init__(self, rng: random.Random, size: int) -> None:
        self._rng = rng
        self._left = size
        self.steps: list[dict[str, Any]] = []

    def chain(self, depth: int, then: str | None) -> str:
        """Some steps one after another, which go on there; the first one's id."""
        for _ in range(self._rng.randint(1, 3)):
            then = self._one(depth, then)
        assert then is not None
        return then

    def _one(self, depth: int, then: str | None) -> str:
        self._left -= 1
        id = f"s{len(self.steps)}"
        kind = self._rng.random()
        step: dict[str, Any] = {"id": id}
        self.steps.append(step)
        if depth == 0 or self._left <= 0 or kind < 0.5:
            self._task(step, then)
        elif kind < 0.75:
            step["type"] = "CHOICE"
            ways = [self._way(depth, then) for _ in range(self._rng.randint(1, 3))]
            step["choices"] = [{"when": self._condition(), "next": way} for way in ways]
            step["default"] = self._way(depth, then)
        else:
            join = {"id": f"j{len(self.steps)}", "type": "JOIN", "next": then}
            self.steps.append(join)
            branches = [
                self.chain(depth - 1, str(join["id"])) for _ in range(self._rng.randint(1, 3))
            ]
            step |= {"type": "PARALLEL", "branches": branches, "next": join["id"]}
        return id

    def _way(self, depth: int, then: str | None) -> str:
        if then is not None and self._rng.random() < 0.4:
            return then
        return self.chain(depth - 1, then)

    def _condition(self) -> dict[str, Any]:
        path = self._rng.choice(["$.input.n", "$.previous.n", "$.previous", "$.input.gone"])
        asks: list[dict[str, Any]] = [{"lessThan": 5}, {"exists": True}, {"equals": 3}]
        condition = {"path": path, **self._rng.choice([*asks, {"in": [1, 2]}])}
        return {"not": condition} if self._rng.random() < 0.2 else condition

    def _task(self, step: dict[str, Any], then: str | None) -> None:
        rng = self._rng
        if then is not None:
            step["next"] = then
        if rng.random() < 0.7:
            step["action"] = rng.choice("abc")
        else:
            places = rng.sample(["AWS", "GCP", "Azure"], rng.randint(1, 3))
            step |= {"provider": places[0], "functionId": "f"}
            if places[1:]:
                step["fallbackProvider"] = places[1:]
        step["retry"] = {
            "maxAttempts": rng.randint(1, 4),
            "initialDelayMs": rng.choice([0, 10, 500]),
            "jitter": rng.choice([0, 0.5, 1]),
        }
        step["timeoutMs"] = rng.choice([1, 100, 5_000])
        if rng.random() < 0.2:
            step["deadlineMs"] = rng.choice([1, 300, 20_000])
        if rng.random() < 0.3:
            step["input"] = {"i": "$.input.n", "n": 3, "p": "$.previous"}
        if rng.random() < 0.2:
            step["output"] = rng.choice([{"n": "$.result.n"}, {"n": 1, "i": "$.input"}])


def definition_of(rng: random.Random, size: int = 25) -> Definition:
    """A definition, all of whose templates can be filled if `input` and each result have an `n`."""
    maker = _Maker(rng, size)
    start = maker.chain(3, None)
    for step in maker.steps:
        if step.get("next", "") is None:
            del step["next"]
    written = {"id": "w", "startAt": start, "steps": maker.steps}
    made = read_object(written)
    # Some name what others gave, as far as that is allowed.
    tasks = [step for step in maker.steps if "timeoutMs" in step]
    for _ in range(min(len(tasks), 5)):
        step, other = rng.choice(tasks), rng.choice(maker.steps)
        before = step.get("input")
        step["input"] = {"n": 2, "of": f"$.steps.{other['id']}"}
        try:
            made = read_object(written)
        except DefinitionRefused:
            del step["input"]
            if before is not None:
                step["input"] = before
    return made


def result_of(step: str, payload: Any) -> dict[str, Any]:
    """What a worker gives: always the same for the same."""
    n = payload.get("n", 0) if isinstance(payload, dict) else 0
    return {"n": (n + len(step)) % 7 if isinstance(n, int) else 0, "by": step}


def expected(definition: Definition, given: Any) -> tuple[Any, dict[str, Any]]:
    """What a run gives in the end if nothing fails, and what each of its steps gives."""
    outputs: dict[str, Any] = {}

    def goes(id: str | None, value: Any, until: str | None) -> Any:
        while id is not None and id != until:
            step = definition.steps[id]
            known: Mapping[str, Any] = {"input": given, "steps": outputs, "previous": value}
            id = step.next
            if step.type is StepType.TASK:
                payload = value if not _is_set(step.input) else fill(step.input, known)
                result = result_of(step.id, payload)
                known = {**known, "previous": payload, "result": result}
                value = result if not _is_set(step.output) else fill(step.output, known)
            elif step.type is StepType.CHOICE:
                found = [one.next for one in step.choices if holds(one.when, known)]
                id = found[0] if found else step.default
            elif step.type is StepType.PARALLEL:
                outputs[step.id] = value
                assert step.next is not None
                came = {one: goes(one, value, step.next) for one in step.branches}
                outputs[step.next] = came
                value, id = came, definition.steps[step.next].next
                continue
            outputs[step.id] = value
        return value

    return goes(definition.start_at, given, None), outputs


def _is_set(template: Any) -> bool:
    return type(template).__name__ != "UnsetType"
