"""A definition and what follows from it alone: which branch a step is in, where branches meet."""

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
        self._walk()

    def __getitem__(self, step_id: str) -> Step:
        return self.definition.steps[step_id]

    def __contains__(self, step_id: str) -> bool:
        return step_id in self.definition.steps

    def _walk(self) -> None:
        # Branches are disjoint and left only to their joins (see `structure`), so a step has the
        # head of whatever leads to it first; a join has that of its parallel.
        seen: set[str] = set()
        waiting: list[tuple[str, str | None]] = [(self.definition.start_at, None)]
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
                    waiting.append((step.next, head))
                continue
            nexts = (*(one.next for one in step.choices), step.default, step.next)
            waiting += [(one, head) for one in nexts if one is not None and one not in self.forks]
