"""A definition from what its author wrote: all of it judged, every problem told at once. Pure.

Two forms are one language. With `startAt` the steps are a graph: each names its `next`, and one
that names none is an end. Without, they are a list: in the order of `stepIndex`, where it is given,
tasks and joins are followed by the step after them. `fields` says what may stand where, `structure`
judges how steps hang together, `texts` reads JSON and YAML.
"""

from typing import Any

import msgspec
from msgspec import UNSET

from gossamer_gateway.runs.model import structure, texts
from gossamer_gateway.runs.model.definition import Branch, Definition, Place, Retry, Step, StepType
from gossamer_gateway.runs.model.fields import DEFINITION, FIELDS_OF, WRONG, Read
from gossamer_gateway.runs.model.problems import Places, Problems, shown
from gossamer_gateway.runs.model.structure import Link
from gossamer_gateway.runs.model.values import TOO_DEEP, Path, flaws

_NO_WORK = "a task needs an `action`, or a `provider` and a `functionId`; write one of them"


def read_definition(data: bytes | str) -> Definition:
    """A definition from JSON, or from YAML where the text does not begin with `{`.

    Raises: DefinitionRefused, with lines and columns.
    """
    value, problems = texts.read(data)
    return _read(value, problems)


def read_object(value: Any, at: str = "", text: bytes | None = None) -> Definition:
    """A definition from JSON that has been read before.

    Args:
        at: the field of a larger object in which it stood, as `workflow`: paths begin with it.
        text: the JSON text of that larger object, if its lines are to be told.

    Raises: DefinitionRefused.
    """

    def places() -> Places:
        return texts.json_places(text.decode(errors="replace"))[0] if text else Places()

    problems = Problems((at,) if at else (), places)
    definition = _read(value, problems)
    if len(msgspec.json.encode(definition)) > texts.TEXT_BYTES_MAX:
        problems.add((), f"a definition has at most {texts.TEXT_BYTES_MAX} bytes; make it smaller")
        problems.check()
    return definition


def as_written(definition: Definition) -> dict[str, Any]:
    """A definition as its author might have written it, with `startAt`; `read_object` reverses it.

    What is as it would be by itself is left out.
    """
    made: dict[str, Any] = {"id": definition.id}
    if definition.name is not None:
        made["name"] = definition.name
    made["startAt"] = definition.start_at
    made["steps"] = [_step_as_written(step) for step in definition.steps.values()]
    return made


def _step_as_written(step: Step) -> dict[str, Any]:
    plain = msgspec.json.decode(msgspec.json.encode(step))
    made: dict[str, Any] = {"id": step.id, "type": step.type.value}
    if step.places:
        first, *others = plain.pop("places")
        made |= {name: value for name, value in first.items() if value is not None}
        if others:
            made["fallbackProvider"] = [
                {name: value for name, value in one.items() if value is not None} for one in others
            ]
    if step.retry == Retry():
        plain.pop("retry", None)
    made.update(plain)
    return made


def _read(value: Any, problems: Problems) -> Definition:
    for path, message in flaws(value):
        problems.spoil(path, message)
        if message == TOO_DEEP:
            problems.check()  # whoever looks further goes down with it
    made = DEFINITION.read(value, (), problems)
    if made is WRONG or "steps" not in made:
        problems.check()
    definition = _Reading(made, problems).definition()
    problems.check()
    return definition


class _Reading:
    """Puts a definition together from fields that have been read."""

    def __init__(self, made: Read, problems: Problems) -> None:
        self._made = made
        self._problems = problems
        self._links: list[Link] = []
        self._sound = True
        """Whether ids, types and links can be trusted, so that it makes sense to follow them."""

    def definition(self) -> Definition:
        drafts = self._made["steps"]
        is_list = self._made.lacks("startAt")
        order = self._order(drafts)
        ids = self._ids(drafts, order)
        steps: dict[str, Step] = {}
        at: dict[str, Path] = {}
        for position, index in enumerate(order):
            id, draft = ids.get(index), drafts[index]
            if id is None:
                continue
            after = next((ids[one] for one in order[position + 1 :] if one in ids), None)
            at[id] = ("steps", index)
            steps[id] = self._step(id, draft, at[id], after if is_list else None)
        start_at = self._made.get("startAt") or next(iter(steps), "")
        definition = Definition(
            self._made.get("id", ""), start_at, steps, name=self._made.get("name")
        )
        structure.check(definition, self._links, at, self._problems, follow=self._sound)
        return definition

    def _order(self, drafts: list[Any]) -> list[int]:
        """Positions of the steps, in the order that `stepIndex` gives them."""
        usable = [at for at, draft in enumerate(drafts) if draft is not WRONG]
        if len(usable) < len(drafts):
            self._sound = False
        numbered = [at for at in usable if "stepIndex" in drafts[at]]
        if not numbered:
            return usable
        first: dict[int, int] = {}
        for at in usable:
            index = drafts[at].get("stepIndex")
            if index is None:
                said = "`stepIndex` is missing here and given elsewhere; give it to all or to none"
                self._problems.add(("steps", at), said)
            elif first.setdefault(index, at) != at:
                said = f"steps[{first[index]}] has stepIndex {index} as well; number them anew"
                self._problems.add(("steps", at, "stepIndex"), said)
        return sorted(usable, key=lambda at: (drafts[at].get("stepIndex", 0), at))

    def _ids(self, drafts: list[Any], order: list[int]) -> dict[int, str]:
        """The ids of the steps that have one, by position."""
        ids: dict[int, str] = {}
        taken: dict[str, int] = {}
        for at in sorted(order):
            id = drafts[at].get("id")
            if id is None:
                continue
            if id in taken:
                said = f"steps[{taken[id]}] is called {shown(id)} as well; name one of them anew"
                self._problems.add(("steps", at, "id"), said)
                self._sound = False
                continue
            taken[id] = at
            ids[at] = id
        for at in order:
            draft = drafts[at]
            if at in ids or "id" in draft:
                continue
            action = draft.get("action")
            if action is None or "id" in draft.wrong:
                if draft.lacks("id") and draft.lacks("action"):
                    is_task = draft.get("type", "TASK") == "TASK" and draft.lacks("provider")
                    said = _NO_WORK if is_task else "`id` is missing; write a name for this step"
                    self._problems.add(("steps", at), said)
                self._sound = False
                continue
            id, number = action, 1
            while id in taken:
                number += 1
                id = f"{action}#{number}"
            taken[id] = at
            ids[at] = id
        return {at: ids[at] for at in order if at in ids}

    def _step(self, id: str, draft: Read, at: Path, after: str | None) -> Step:
        if "type" in draft.wrong:
            self._sound = False
            return Step(id)
        kind = StepType(draft.get("type", "TASK"))
        for name in (*draft, *draft.wrong):
            if name not in FIELDS_OF[kind]:
                said = f"a {kind.value} has no `{name}`; remove it"
                self._problems.add((*at, name), said, name=True)
        if not draft.wrong.isdisjoint(("next", "default", "choices", "branches")):
            self._sound = False
        values: dict[str, Any] = {}
        if kind is StepType.TASK:
            values = self._task(draft, at)
        elif kind is StepType.CHOICE:
            values["choices"] = self._choices(draft, at)
            values["default"] = draft.get("default")
            if values["default"] is not None:
                self._links.append(Link(id, values["default"], (*at, "default")))
        elif kind is StepType.PARALLEL:
            values["branches"] = self._branches(draft, at)
        for position, branch in enumerate(values.get("choices", ())):
            self._links.append(Link(id, branch.next, (*at, "choices", position, "next")))
        for position, branch in enumerate(values.get("branches", ())):
            self._links.append(Link(id, branch, (*at, "branches", position)))
        if kind is not StepType.CHOICE:
            values["next"] = self._next(id, kind, draft, at, after)
        return Step(id, kind, **values)

    def _next(
        self, id: str, kind: StepType, draft: Read, at: Path, after: str | None
    ) -> str | None:
        if not draft.lacks("next"):
            next_: str | None = draft.get("next")
        else:
            next_ = after if kind is not StepType.PARALLEL else None
        if next_ is not None:
            self._links.append(Link(id, next_, (*at, "next")))
        elif kind is StepType.PARALLEL and "next" not in draft.wrong:
            said = "`next` is missing; write the id of the JOIN at which its branches end"
            self._problems.add(at, said)
            self._sound = False
        return next_

    def _choices(self, draft: Read, at: Path) -> tuple[Branch, ...]:
        if draft.lacks("choices"):
            said = "`choices` is missing; write a list of {when, next}"
            self._problems.add(at, said)
        found = [one for one in draft.get("choices", ()) if one is not WRONG]
        right = [one for one in found if "when" in one and "next" in one]
        if len(right) < len(draft.get("choices", ())) or not right:
            self._sound = False
        return tuple(Branch(one["when"], one["next"]) for one in right)

    def _branches(self, draft: Read, at: Path) -> tuple[str, ...]:
        if draft.lacks("branches"):
            said = "`branches` is missing; write a list of the first steps of its branches"
            self._problems.add(at, said)
        found = [one for one in draft.get("branches", ()) if one is not WRONG]
        if len(found) < len(draft.get("branches", ())) or not found:
            self._sound = False
        return tuple(found)

    def _task(self, draft: Read, at: Path) -> dict[str, Any]:
        values: dict[str, Any] = {
            "input": draft.get("input", UNSET),
            "output": draft.get("output", UNSET),
            "retry": self._retry(draft.get("retry", Read()), (*at, "retry")),
            "action": draft.get("action"),
        }
        if "timeoutMs" in draft:
            values["timeout_ms"] = draft["timeoutMs"]
        if "deadlineMs" in draft:
            values["deadline_ms"] = draft["deadlineMs"]
        if not draft.lacks("provider"):
            if not draft.lacks("action"):
                said = "a task has an `action` or a `provider`, not both; remove one of them"
                self._problems.add((*at, "provider"), said, name=True)
            values["action"] = None
            if "provider" in draft:
                values["places"] = self._places(draft, at)
            return values
        for name in ("functionId", "region", "fallbackProvider"):
            if not draft.lacks(name):
                said = f"`{name}` goes with a `provider`, which is missing; write `provider`"
                self._problems.add((*at, name), said, name=True)
        if draft.lacks("action"):
            self._problems.add(at, _NO_WORK)
        return values

    def _places(self, draft: Read, at: Path) -> tuple[Place, ...]:
        if draft.lacks("functionId"):
            said = "`functionId` is missing; write what the provider calls the function"
            self._problems.add(at, said)
        function: str = draft.get("functionId", "")
        places = [Place(draft["provider"], function, draft.get("region"))]
        given = draft.get("fallbackProvider", [])
        many = given if isinstance(given, list) else [given]
        for position, one in enumerate(many):
            if one is WRONG or (isinstance(one, dict) and "provider" not in one):
                continue  # told by `fields`
            if isinstance(one, str):
                place = Place(one, function)
            else:
                place = Place(one["provider"], one.get("functionId", function), one.get("region"))
            if place in places:
                where = (*at, "fallbackProvider")
                where = (*where, position) if isinstance(given, list) else where
                self._problems.add(where, "this place comes before; write another or remove it")
            places.append(place)
        return tuple(places)

    def _retry(self, draft: Read, at: Path) -> Retry:
        names = {
            "maxAttempts": "max_attempts", "initialDelayMs": "initial_delay_ms",
            "multiplier": "multiplier", "maxDelayMs": "max_delay_ms", "jitter": "jitter",
        }  # fmt: skip
        values: dict[str, Any] = {
            attribute: draft[name] for name, attribute in names.items() if name in draft
        }
        for name, attribute in (("on", "on"), ("notOn", "not_on")):
            values[attribute] = tuple(one for one in draft.get(name, ()) if one is not WRONG)
        policy = Retry(**values)
        if policy.initial_delay_ms > policy.max_delay_ms:
            said = f"this is above maxDelayMs ({policy.max_delay_ms}); lower it or raise that"
            self._problems.add((*at, "initialDelayMs"), said)
        return policy
