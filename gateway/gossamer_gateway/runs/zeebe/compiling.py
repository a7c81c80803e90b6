"""A definition as BPMN for Zeebe. Pure: equal definitions give equal bytes, whatever their version.

A task becomes a service task whose job type is its action, a choice an exclusive gateway, parallel
and join parallel gateways. What a step's attempts need (mappings, retries, timeouts, places) is not
in it: the gateway sees to that.

Zeebe's parallel gateway waits for a token on each flow that comes in. So where several ways lead to
a parallel, or several of one branch to its join, they are brought together first.

Ids are the author's, behind a prefix; a character that modelers do not take in an id, as the `#` of
an action's second step, is written as its number: `_x23_`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from xml.sax.saxutils import escape, quoteattr

from gossamer_gateway.runs.model.definition import Step, StepType
from gossamer_gateway.runs.model.flow import Flow
from gossamer_gateway.runs.zeebe.layout import Edge, Node, draw
from gossamer_gateway.runs.zeebe.steering import choice_variables

PROCESS_PREFIX = "gossamer-"
"""Of process ids: no process of somebody else is replaced by a workflow of the same name."""

PROVIDER_PREFIX = "gossamer:provider:"
"""Of job types of tasks that are functions at a provider."""

WORDS_CHARACTERS_MAX = 68
"""Of a condition written beside its flow."""

_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]|_(?=x)")
"""Also what would look as if it were one written so."""

_SIGNS = {
    "equals": "=",
    "notEquals": "≠",
    "lessThan": "<",
    "lessThanOrEqual": "≤",
    "greaterThan": ">",
    "greaterThanOrEqual": "≥",
    "in": "in",
}


@dataclass(frozen=True, slots=True)
class Compiled:
    """A process, ready to be deployed.

    Attributes:
        process: its id.
        resource: the name of its file.
        types: of its jobs.
    """

    process: str
    resource: str
    xml: bytes
    types: frozenset[str]


class _Way(NamedTuple):
    """From a step to a step, or to the end; in words, and on which condition."""

    source: str
    target: str
    name: str = ""
    condition: str | None = None


@dataclass(frozen=True, slots=True)
class _Flow:
    id: str
    source: str
    target: str
    name: str = ""
    condition: str | None = None


def job_type(step: Step, prefix: str = "") -> str:
    """What Zeebe calls jobs of a task."""
    if step.action is not None:
        return prefix + step.action
    return prefix + PROVIDER_PREFIX + step.places[0].provider


def process_id(workflow: str) -> str:
    """What Zeebe calls a workflow."""
    return PROCESS_PREFIX + _safe(workflow)


def compile_definition(flow: Flow, job_prefix: str = "") -> Compiled:
    """The process of a checked definition.

    Args:
        job_prefix: before the types of its jobs.
    """
    definition = flow.definition
    process = process_id(definition.id)
    merges, flows = _flows(flow)
    elements = ['<startEvent id="start"/>']
    kinds = {"start": "event", "end": "event"}
    for step in definition.steps.values():
        elements.append(_element(step, job_prefix))
        kinds[_id(step.id)] = "task" if step.type is StepType.TASK else "gateway"
    for merge in merges:
        elements.append(f"<exclusiveGateway id={quoteattr(merge)}/>")
        kinds[merge] = "gateway"
    elements.append('<endEvent id="end"/>')
    elements += map(_sequence_flow, flows)
    drawing = draw(
        [Node(id, kind) for id, kind in kinds.items()],
        [Edge(one.id, one.source, one.target, one.name) for one in flows],
    )
    tasks = [one for one in definition.steps.values() if one.type is StepType.TASK]
    body = "\n    ".join(elements)
    name = quoteattr(definition.name or definition.id)
    xml = f"""<?xml version="1.0" encoding="UTF-8"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL"
    xmlns:bpmndi="http://www.omg.org/spec/BPMN/20100524/DI"
    xmlns:dc="http://www.omg.org/spec/DD/20100524/DC"
    xmlns:di="http://www.omg.org/spec/DD/20100524/DI"
    xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
    xmlns:zeebe="http://camunda.org/schema/zeebe/1.0"
    id="definitions" targetNamespace="http://gossamer" exporter="Gossamer">
  <process id={quoteattr(process)} name={name} isExecutable="true">
    {body}
  </process>
  <bpmndi:BPMNDiagram id="diagram">
    <bpmndi:BPMNPlane id="plane" bpmnElement={quoteattr(process)}>
{drawing}
    </bpmndi:BPMNPlane>
  </bpmndi:BPMNDiagram>
</definitions>
"""
    types = frozenset(job_type(one, job_prefix) for one in tasks)
    return Compiled(process, f"{process}.bpmn", xml.encode(), types)


def words(condition: Mapping[str, Any]) -> str:
    """A condition for people."""
    said = _words(condition)
    return said if len(said) <= WORDS_CHARACTERS_MAX else said[: WORDS_CHARACTERS_MAX - 1] + "…"


def _flows(flow: Flow) -> tuple[list[str], list[_Flow]]:
    """Gateways that bring ways together before a parallel gateway, and all sequence flows."""
    definition = flow.definition
    variables = choice_variables(definition)
    ways = [_Way("start", definition.start_at)]
    for step in definition.steps.values():
        if step.type is StepType.CHOICE:
            said: dict[str, list[str]] = {}
            for branch in step.choices:
                said.setdefault(branch.next, []).append(words(branch.when))
            if step.default is not None:
                said.setdefault(step.default, []).append("otherwise")
            for target, told in said.items():
                condition = f'= {variables[step.id]} = "{target}"'
                ways.append(_Way(step.id, target, " or ".join(told), condition))
        elif step.type is StepType.PARALLEL:
            ways += [_Way(step.id, branch) for branch in step.branches]
        else:
            ways.append(_Way(step.id, step.next or ""))
    merges = _merges(flow, ways)
    flows: list[_Flow] = []
    for source, target, name, holds in ways:
        there = "end" if target == "" else _id(target)
        there = merges.get(_entrance(flow, source, target), there)
        here = source if source == "start" else _id(source)
        flows.append(_Flow(f"flow-{len(flows) + 1}", here, there, name, holds))
    for (target, _), merge in merges.items():
        flows.append(_Flow(f"flow-{len(flows) + 1}", merge, _id(target)))
    return list(merges.values()), flows


def _merges(flow: Flow, ways: list[_Way]) -> dict[tuple[str, str], str]:
    """By entrance, the gateway that brings its ways together."""
    count: dict[tuple[str, str], int] = {}
    for source, target, _, _ in ways:
        entrance = _entrance(flow, source, target)
        count[entrance] = count.get(entrance, 0) + 1
    parallel = (StepType.PARALLEL, StepType.JOIN)
    several = [
        one for one, number in count.items()
        if number > 1 and one[0] and flow[one[0]].type in parallel
    ]  # fmt: skip
    return {one: f"merge-{number}" for number, one in enumerate(several, 1)}


def _entrance(flow: Flow, source: str, target: str) -> tuple[str, str]:
    """A join has one for each branch, all else one."""
    return target, flow.heads[source] if target in flow.forks else ""


def _element(step: Step, job_prefix: str) -> str:
    ids = f"id={quoteattr(_id(step.id))} name={quoteattr(step.id)}"
    if step.type is StepType.CHOICE:
        return f"<exclusiveGateway {ids}/>"
    if step.type is not StepType.TASK:
        return f"<parallelGateway {ids}/>"
    return (
        f"<serviceTask {ids}><extensionElements>"
        f"<zeebe:taskDefinition type={quoteattr(job_type(step, job_prefix))}/>"
        f'<zeebe:taskHeaders><zeebe:header key="step" value={quoteattr(step.id)}/>'
        "</zeebe:taskHeaders></extensionElements></serviceTask>"
    )


def _sequence_flow(one: _Flow) -> str:
    name = f" name={quoteattr(one.name)}" if one.name else ""
    ends = f"sourceRef={quoteattr(one.source)} targetRef={quoteattr(one.target)}"
    if one.condition is None:
        return f'<sequenceFlow id="{one.id}"{name} {ends}/>'
    return (
        f'<sequenceFlow id="{one.id}"{name} {ends}>'
        f'<conditionExpression xsi:type="tFormalExpression">{escape(one.condition)}'
        "</conditionExpression></sequenceFlow>"
    )


def _id(step: str) -> str:
    return "step-" + _safe(step)


def _safe(text: str) -> str:
    return _UNSAFE.sub(lambda found: f"_x{ord(found[0]):x}_", text)


def _words(condition: Mapping[str, Any]) -> str:
    for name, sign in (("all", " and "), ("any", " or ")):
        if name in condition:
            return "(" + sign.join(map(_words, condition[name])) + ")"
    if "not" in condition:
        return "not " + _words(condition["not"])
    path = condition["path"]
    said = [
        f"{path} {sign} {condition[name]!r}" for name, sign in _SIGNS.items() if name in condition
    ]
    if "exists" in condition:
        said.append(path + (" exists" if condition["exists"] else " is missing"))
    return " and ".join(said)
