"""Definitions drawn at random, with what workers say in them: equal seeds give equal ones."""

from collections.abc import Sequence
from random import Random
from typing import Any

from gossamer_gateway.runs.model.deciding import Answer
from gossamer_gateway.runs.model.events import Failure

DEPTH_MAX = 3


class RandomFlow:
    """A definition of blocks within blocks, and its workers.

    Attributes:
        text: the definition, as its author writes it.
        given: the input of its run.
        fails: whether a step of it fails for good until the run is retried; then it has no
            parallel, for how far the branches beside have come is a matter of time.
    """

    def __init__(self, seed: int, id: str, actions: Sequence[str]) -> None:
        self._random = Random(seed)
        self._seed = seed
        self._actions = actions
        self._steps: list[dict[str, Any]] = []
        self.fails = self._random.random() < 0.3
        self.given = {"x": self._random.randrange(4), "name": "näme"}
        start = self._ways(self._random.randint(1, 4), None, 0)
        assert start is not None
        self.id = id
        self.text: dict[str, Any] = {"id": id, "startAt": start, "steps": self._steps}
        tasks = [one["id"] for one in self._steps if one["type"] == "TASK"]
        self._failing = self._random.choice(tasks) if self.fails else None

    def answer(self, step: str, attempt: int, payload: Any, *, healed: bool = False) -> Answer:
        """What a worker says."""
        draw = Random(f"{self._seed} {step} {attempt}")
        if step == self._failing and not healed:
            return Answer(step, attempt, failure=Failure("Broken", "it is", retryable=False))
        if attempt < 3 and draw.random() < 0.2:
            return Answer(step, attempt, failure=Failure("Busy", "not now"))
        return Answer(step, attempt, {"n": draw.randrange(4), "of": step})

    def _new(self, type: str, **fields: Any) -> dict[str, Any]:
        step = {"id": f"{type.lower()}#{len(self._steps)}", "type": type, **fields}
        self._steps.append(step)
        return step

    def _ways(self, blocks: int, next: str | None, depth: int) -> str | None:
        """Blocks one after the other, before `next`; gives where they begin."""
        for number in range(blocks):
            kind = self._random.random()
            if depth >= DEPTH_MAX or kind < 0.5 or (next is None and number == 0 and kind < 0.8):
                next = self._task(next)
            elif kind < 0.75 or self.fails:
                next = self._choice(next, depth)
            else:
                next = self._parallel(next, depth)
        return next

    def _task(self, next: str | None) -> str:
        retry = {"maxAttempts": 3, "initialDelayMs": 1}
        step = self._new("TASK", action=self._random.choice(self._actions), retry=retry)
        if next is not None:
            step["next"] = next
        return str(step["id"])

    def _choice(self, next: str | None, depth: int) -> str:
        ways = [self._ways(self._random.randint(0, 2), next, depth + 1) for _ in range(3)]
        ends = [one if one is not None else self._task(None) for one in ways]
        path = self._random.choice(("$.input.x", "$.previous.n", "$.previous"))
        choices = [
            {"when": {"path": path, "equals": number}, "next": end}
            for number, end in enumerate(ends[:2])
        ]
        return str(self._new("CHOICE", choices=choices, default=ends[2])["id"])

    def _parallel(self, next: str | None, depth: int) -> str:
        join = self._new("JOIN")
        if next is not None:
            join["next"] = next
        branches = []
        for _ in range(self._random.randint(2, 3)):
            branch = self._ways(self._random.randint(1, 2), self._task(join["id"]), depth + 1)
            branches.append(branch)
        return str(self._new("PARALLEL", branches=branches, next=join["id"])["id"])
