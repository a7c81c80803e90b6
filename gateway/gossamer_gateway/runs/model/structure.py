"""How the steps of a definition hang together: that each can be reached and each way ends. Pure.

What holds afterwards, and `flow` and `deciding` rely on: there are no cycles. A branch of a
parallel is entered only by its parallel and left only to its join; branches are disjoint and nest;
a join is of one parallel. So in a run a step happens at most once, and when all branches of a
parallel have come to its join, nothing of them is at work. A template names only steps that have
run for certain when it is filled; a condition, which may ask what `exists`, those that may have.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import UNSET

from gossamer_gateway.runs.model.conditions import TOGETHER
from gossamer_gateway.runs.model.definition import Definition, StepType
from gossamer_gateway.runs.model.mapping import ROOTS, is_path, parts
from gossamer_gateway.runs.model.problems import Problems, shown
from gossamer_gateway.runs.model.values import Path


@dataclass(frozen=True, slots=True)
class Link:
    """One step names another, at a field. A parallel names its join as its `next`."""

    source: str
    target: str
    at: Path


def check(
    definition: Definition,
    links: Sequence[Link],
    at: Mapping[str, Path],
    problems: Problems,
    *,
    follow: bool,
) -> None:
    """Tells what is wrong with the whole.

    Args:
        links: all that its steps name, known or not.
        at: the place of each step.
        follow: False: ids or links are missing, so that only single ones are judged.
    """
    _Structure(definition, links, at, problems).check(follow)


class _Structure:
    def __init__(
        self,
        definition: Definition,
        links: Sequence[Link],
        at: Mapping[str, Path],
        problems: Problems,
    ) -> None:
        self._steps = definition.steps
        self._start = definition.start_at
        self._at = at
        self._problems = problems
        self._all = links
        self._links: dict[str, list[Link]] = {id: [] for id in self._steps}
        for link in links:
            if link.target in self._steps:
                self._links[link.source].append(link)
        self._numbers = {id: number for number, id in enumerate(self._steps)}
        self._forks: dict[str, str] = {}
        """Joins and their parallels."""

    def check(self, follow: bool) -> None:
        known = self._are_known()
        joined = self._are_joined() if known and follow else False
        if known and follow and self._has_no_cycle():
            order = self._ordered()
            if len(order) == len(self._steps) and joined and self._nests():
                self._templates(order)
                return
        self._templates(None)

    def _are_known(self) -> bool:
        """Each step that is named is there."""
        unknown = [link for link in self._all if link.target not in self._steps]
        for link in unknown:
            guess = self._problems.guess(link.target, self._steps)
            said = f"there is no step {shown(link.target)}{guess or '; write the id of one'}"
            self._problems.add(link.at, said)
        if self._start not in self._steps and self._steps:
            guess = self._problems.guess(self._start, self._steps)
            said = f"there is no step {shown(self._start)}{guess or '; write the id of one'}"
            self._problems.add(("startAt",), said)
            return False
        return not unknown

    def _are_joined(self) -> bool:
        """Each parallel has a join, and each join one parallel."""
        before = self._problems.count
        for id, step in self._steps.items():
            if step.type is not StepType.PARALLEL or step.next is None:
                continue
            where = (*self._at[id], "next")
            if self._steps[step.next].type is not StepType.JOIN:
                said = f"{shown(step.next)} is no JOIN; a parallel's `next` is where it is joined"
                self._problems.add(where, said)
            elif step.next in self._forks:
                said = f"{shown(step.next)} joins {self._forks[step.next]}; write a JOIN of its own"
                self._problems.add(where, said)
            else:
                self._forks[step.next] = id
            seen: set[str] = set()
            for position, branch in enumerate(step.branches):
                where = (*self._at[id], "branches", position)
                if branch in seen:
                    self._problems.add(where, f"{shown(branch)} stands here twice; keep one")
                elif self._steps[branch].type is StepType.JOIN:
                    self._problems.add(where, "a branch begins with a step of its own, not a JOIN")
                seen.add(branch)
        for id, step in self._steps.items():
            if step.type is StepType.JOIN and id not in self._forks:
                said = "no parallel is joined here; name it as the `next` of one, or remove it"
                self._problems.add(self._at[id], said)
        return self._problems.count == before

    def _has_no_cycle(self) -> bool:
        """No step comes after itself. Each cycle is told where it closes."""
        found = False
        done: set[str] = set()
        for first in self._steps:
            if first in done:
                continue
            way: list[str] = [first]  # from the first step to the one that is looked at
            on_way = {first}
            ahead = [iter(self._links[first])]
            while ahead:
                link = next(ahead[-1], None)
                if link is None:
                    ahead.pop()
                    done.add(way[-1])
                    on_way.discard(way.pop())
                elif link.target in on_way:
                    found = True
                    circle = [*way[way.index(link.target) :], link.target]
                    named = " → ".join(circle if len(circle) <= 12 else [*circle[:11], "…"])
                    said = f"this closes a cycle, {named}; a step happens once, let it end"
                    self._problems.add(link.at, said)
                elif link.target not in done:
                    way.append(link.target)
                    on_way.add(link.target)
                    ahead.append(iter(self._links[link.target]))
        return not found

    def _ordered(self) -> list[str]:
        """All steps that can be reached, each after those that lead to it; the others are told."""
        reached = {self._start}
        waiting = [self._start]
        while waiting:
            for link in self._links[waiting.pop()]:
                if link.target not in reached:
                    reached.add(link.target)
                    waiting.append(link.target)
        for id in self._steps:
            if id not in reached:
                said = f"no way leads from {self._start} to {id}; lead one there, or remove it"
                self._problems.add(self._at[id], said)
        coming = dict.fromkeys(self._steps, 0)
        for id in reached:
            for link in self._links[id]:
                coming[link.target] += 1
        order = [self._start]
        for id in order:  # it grows while it is walked
            for link in self._links[id]:
                coming[link.target] -= 1
                if coming[link.target] == 0:
                    order.append(link.target)
        return order

    def _nests(self) -> bool:
        """No way leads into a branch or out of it, but by its parallel and its join."""
        before = self._problems.count
        heads: dict[str, str | None] = {self._start: None}
        joins: dict[str, str] = {}  # of the branch that begins so, its join
        waiting = [self._start]
        while waiting:
            id = waiting.pop()
            step, head = self._steps[id], heads[id]
            if step.type is StepType.PARALLEL and step.next is not None:
                joins.update(dict.fromkeys(step.branches, step.next))
            elif not self._links[id] and head is not None:
                said = f"the branch of {head} ends here; lead it to its join, {joins[head]}"
                self._problems.add(self._at[id], said)
            for link in self._links[id]:
                target = link.target
                is_fork = step.type is StepType.PARALLEL
                is_own_join = is_fork and target == step.next
                below = target if is_fork and not is_own_join else head
                if self._steps[target].type is StepType.JOIN and not is_own_join:
                    self._comes_to_join(link, head, joins)
                    continue
                if target not in heads:
                    heads[target] = below
                    waiting.append(target)
                elif heads[target] != below:
                    said = (
                        f"{shown(target)} is {_where(heads[target])} already, "
                        f"and this way is {_where(below)}; let each have steps of its own"
                    )
                    self._problems.add(link.at, said)
        if self._start in self._forks:
            self._problems.add(("startAt",), "a run cannot begin with a JOIN; write another step")
        return self._problems.count == before

    def _comes_to_join(self, link: Link, head: str | None, joins: Mapping[str, str]) -> None:
        if head is None:
            said = f"{shown(link.target)} joins branches, and this is in none; write another step"
            self._problems.add(link.at, said)
        elif joins[head] != link.target:
            said = f"the branch of {head} is joined at {joins[head]}, not here; write that"
            self._problems.add(link.at, said)

    # Templates and conditions

    def _templates(self, order: Sequence[str] | None) -> None:
        """Each path is one, and leads to something that is there. `order` None: as far as known."""
        certain, possible = self._known_before(order) if order is not None else ({}, {})
        for id, step in self._steps.items():
            at = self._at[id]
            for name, template in (("input", step.input), ("output", step.output)):
                if template is not UNSET:
                    for path, text in _paths(template, (*at, name)):
                        self._path(text, path, id, name == "output", certain.get(id))
            for position, branch in enumerate(step.choices):
                for path, text in _condition_paths(branch.when, (*at, "choices", position, "when")):
                    self._path(text, path, id, False, possible.get(id))

    def _path(self, text: str, at: Path, id: str, is_output: bool, before: int | None) -> None:
        try:
            root, *rest = parts(text)
        except ValueError as error:
            self._problems.add(at, f"{error}; a text that begins with $. is written $$.")
            return
        roots = ROOTS if is_output else ROOTS[:-1]
        if root not in roots:
            guess = self._problems.guess(str(root), roots)
            said = f"a path begins with $.{', $.'.join(roots)}; $.{root} is not known here{guess}"
            self._problems.add(at, said)
        elif root == "steps":
            if not rest or not isinstance(rest[0], str):
                self._problems.add(at, "name a step, as $.steps.charge")
            elif rest[0] not in self._steps:
                guess = self._problems.guess(rest[0], self._steps)
                said = f"there is no step {shown(rest[0])}{guess or '; write the id of one'}"
                self._problems.add(at, said)
            elif before is not None and not before >> self._numbers[rest[0]] & 1:
                said = f"{shown(rest[0])} may not have run when {id} does"
                self._problems.add(at, f"{said}; name a step that always comes before it")

    def _known_before(self, order: Sequence[str]) -> tuple[dict[str, int], dict[str, int]]:
        """Of each step: which have run for certain before it, and which may have, as bits."""
        certain: dict[str, int] = {self._start: 0}
        possible: dict[str, int] = {self._start: 0}
        ends: dict[
            tuple[str, str], int
        ] = {}  # of a branch, by its join: what is certain at its end
        heads: dict[str, str | None] = {self._start: None}
        for id in order:
            step = self._steps[id]
            if step.type is StepType.JOIN:
                fork = self._steps[self._forks[id]]
                for branch in fork.branches:
                    certain[id] |= ends[id, branch]
            own = 1 << self._numbers[id]
            for link in self._links[id]:
                target = link.target
                possible[target] = possible.get(target, 0) | possible[id] | own
                if step.type is StepType.PARALLEL:
                    # To the join this says what is certain whatever its branches do.
                    certain[target] = certain[id] | own
                    heads[target] = heads[id] if target == step.next else target
                elif self._steps[target].type is StepType.JOIN:
                    branch_end = (target, heads[id] or "")
                    ends[branch_end] = ends.get(branch_end, ~0) & (certain[id] | own)
                else:
                    certain[target] = certain.get(target, ~0) & (certain[id] | own)
                    heads[target] = heads[id]
        return certain, possible


def _where(head: str | None) -> str:
    return "outside of all branches" if head is None else f"in the branch of {head}"


def _paths(template: Any, at: Path) -> Iterator[tuple[Path, str]]:
    """All paths of a template, each with its place."""
    if isinstance(template, str):
        if is_path(template):
            yield at, template
    elif isinstance(template, dict):
        for name, value in template.items():
            yield from _paths(value, (*at, name))
    elif isinstance(template, list):
        for position, value in enumerate(template):
            yield from _paths(value, (*at, position))


def _condition_paths(condition: Mapping[str, Any], at: Path) -> Iterator[tuple[Path, str]]:
    for name in TOGETHER:
        inner = condition.get(name)
        if name == "not" and inner is not None:
            yield from _condition_paths(inner, (*at, name))
        elif inner is not None:
            for position, one in enumerate(inner):
                yield from _condition_paths(one, (*at, name, position))
    if "path" in condition:
        yield (*at, "path"), condition["path"]
