"""A definition and what follows from it alone: which branch a step is in, where branches meet."""

from collections.abc import Iterator

from gossamer_gateway.runs.model.definition import Definition, Step, StepType


class Flow:
    """A checked definition, ready to be followed.

    Attributes:
        heads: of each step that is within a parallel: the first step of its innermost branch.
        forks: of each join: its parallel.
    """

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self.heads: dict[str, str] = {}
        self.forks: dict[str, str] = {}
        for step in definition.steps.values():
            if step.type is StepType.PARALLEL and step.next is not None:
                self.forks[step.next] = step.id
        self._walk(definition.start_at, None)

    def __getitem__(self, step_id: str) -> Step:
        return self.definition.steps[step_id]

    def _walk(self, start: str, head: str | None) -> None:
        # Innermost last: a branch within a branch overwrites what the outer one wrote.
        seen: set[str] = set()
        waiting: list[tuple[str, str | None]] = [(start, head)]
        while waiting:
            id, head = waiting.pop()
            if id in seen:
                continue
            seen.add(id)
            if head is not None:
                self.heads[id] = head
            step = self[id]
            if step.type is StepType.PARALLEL:
                waiting += [(branch, branch) for branch in step.branches]
                if step.next is not None:
                    waiting.append((step.next, head))  # the join is where its parallel is
            else:
                inner = {join for join, fork in self.forks.items() if head in self[fork].branches}
                waiting += [(next, head) for next in follows(step) if next not in inner]


def follows(step: Step) -> Iterator[str]:
    """The steps that may come right after one; of a parallel: its branches."""
    if step.type is StepType.PARALLEL:
        yield from step.branches
        return
    for branch in step.choices:
        yield branch.next
    for one in (step.default, step.next):
        if one is not None:
            yield one
