"""Reads BPMN, and refuses whatever the engine would not run as Camunda 7 does.

What is understood stands in the tables below; an element, a child or an attribute that stands in
none of them is a problem with its id, its line and what to use instead, and all problems of a file
are told at once. Only notation (diagrams, lanes, notes) and what other vendors add in their own
namespaces is passed over. The file is not trusted: no document type declaration, no entities, no
network, a bound on its size.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from lxml import etree

from gossamer_gateway.embedded.expressions import Expression, compile_expression
from gossamer_gateway.embedded.model import (
    BoundaryEvent,
    CallActivity,
    EndEvent,
    ErrorEndEvent,
    Gateway,
    Node,
    Process,
    SequenceFlow,
    ServiceTask,
    StartEvent,
    Transfer,
)
from gossamer_gateway.errors import ExpressionRefused, Problem

FILE_BYTES_MAX = 1_000_000
"""A model drawn by a person, diagram included, has tens of kilobytes."""
PROBLEMS_MAX = 200
"""Told at most; who has more needs another kind of help."""
PRIORITY_MAX = 2**63 - 1
"""Camunda 7 keeps a task's priority in a Java long."""

BPMN = "http://www.omg.org/spec/BPMN/20100524/MODEL"
CAMUNDA = "http://camunda.org/schema/1.0/bpmn"
ACTIVITI = "http://activiti.org/bpmn"
"""Camunda 7 still reads its ancestor's attributes, so they are refused rather than passed over."""

NOTATION = frozenset({"documentation", "extensionElements", "incoming", "outgoing"})
"""Children that every element may have."""

CHILDREN: Mapping[str, frozenset[str]] = {
    "definitions": frozenset(
        {"process", "error", "collaboration", "category", "message", "signal", "escalation"}
    ),
    "process": frozenset(
        {"startEvent", "endEvent", "serviceTask", "callActivity", "exclusiveGateway",
         "boundaryEvent", "sequenceFlow", "laneSet", "textAnnotation", "association", "group"}
    ),
    "startEvent": frozenset(),
    "endEvent": frozenset({"errorEventDefinition"}),
    "boundaryEvent": frozenset({"errorEventDefinition"}),
    "serviceTask": frozenset(),
    "callActivity": frozenset(),
    "exclusiveGateway": frozenset(),
    "sequenceFlow": frozenset({"conditionExpression"}),
    "errorEventDefinition": frozenset(),
    "error": frozenset(),
    "conditionExpression": frozenset(),
}  # fmt: skip
"""BPMN elements that are understood, and what may stand in each; all that is listed under
`definitions` and `process` but has no entry of its own is notation, and not looked into."""

ATTRIBUTES: Mapping[str, frozenset[str]] = {
    "process": frozenset({"isExecutable", "processType", "isClosed"}),
    "boundaryEvent": frozenset({"attachedToRef"}),
    "serviceTask": frozenset({"implementation"}),
    "callActivity": frozenset({"calledElement"}),
    "exclusiveGateway": frozenset({"default", "gatewayDirection"}),
    "sequenceFlow": frozenset({"sourceRef", "targetRef", "isImmediate"}),
    "errorEventDefinition": frozenset({"errorRef"}),
    "error": frozenset({"errorCode", "structureRef"}),
}
"""Plain attributes beside `id` and `name`."""

CAMUNDA_ATTRIBUTES: Mapping[str, frozenset[str]] = {
    "process": frozenset(
        {"versionTag", "historyTimeToLive", "isStartableInTasklist", "taskPriority"}
    ),
    "serviceTask": frozenset({"type", "topic", "taskPriority"}),
    "errorEventDefinition": frozenset({"errorCodeVariable", "errorMessageVariable"}),
    "error": frozenset({"errorMessage"}),
}

NEUTRAL: Mapping[str, str] = {
    "cancelActivity": "true",
    "isInterrupting": "true",
    "parallelMultiple": "false",
    "isForCompensation": "false",
    "startQuantity": "1",
    "completionQuantity": "1",
    "asyncBefore": "false",
    "asyncAfter": "false",
    "async": "false",
    "calledElementBinding": "latest",
}
"""Attributes that may stand anywhere with the value that they have when they are left out."""

CAMUNDA_CHILDREN: Mapping[str, frozenset[str]] = {
    "callActivity": frozenset({"in", "out", "properties"}),
}
CAMUNDA_CHILDREN_ANYWHERE = frozenset({"properties"})

INSTEAD: Mapping[str, str] = {
    "scriptTask": "scripts are never run; use a service task with an external topic",
    "userTask": "there is no task list; use a service task with an external topic",
    "sendTask": "messages are not sent; use a service task with an external topic",
    "businessRuleTask": "decisions are not run; use a service task with an external topic",
    "task": "it does nothing; remove it, or make it a service task with an external topic",
    "manualTask": "it does nothing; remove it, or make it a service task with an external topic",
    "receiveTask": "messages are not received; split the process there",
    "intermediateCatchEvent": "nothing is waited for but workers; split the process there",
    "intermediateThrowEvent": "nothing is thrown but errors; use an error end event",
    "eventBasedGateway": "nothing is waited for but workers; split the process there",
    "parallelGateway": "an instance has one token; put the steps one after the other",
    "inclusiveGateway": "an instance has one token; use an exclusive gateway",
    "complexGateway": "an instance has one token; use an exclusive gateway",
    "subProcess": "make it a process of its own, called by a call activity",
    "transaction": "make it a process of its own, called by a call activity",
    "adHocSubProcess": "make it a process of its own, called by a call activity",
    "timerEventDefinition": "there are no timers",
    "messageEventDefinition": "there are no messages",
    "signalEventDefinition": "there are no signals",
    "terminateEventDefinition": "an instance has one token, so a plain end event does the same",
    "multiInstanceLoopCharacteristics": "an activity runs once; loop with an exclusive gateway",
    "standardLoopCharacteristics": "an activity runs once; loop with an exclusive gateway",
    "inputOutput": "variables are not mapped at a task; let the worker name them",
    "executionListener": "listeners run code; use a service task with an external topic",
    "errorEventDefinition": "let the worker answer with a BPMN error",
    "asyncBefore": "every request is one transaction up to the next external task",
    "asyncAfter": "every request is one transaction up to the next external task",
}
"""What to use in place of elements and attributes that people often have."""


def parse_bpmn(data: bytes) -> tuple[list[Process], list[Problem]]:
    """Reads one file.

    Returns: its executable processes, or every problem; processes are empty when there are any.
    """
    if len(data) > FILE_BYTES_MAX:
        return [], [Problem(f"the file has {len(data)} bytes, {FILE_BYTES_MAX} are allowed")]
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False,
        huge_tree=False, remove_comments=True, remove_pis=True,
    )  # fmt: skip
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        return [], [Problem(f"the file is not XML: {error.msg}", line=error.lineno or 0)]
    if root.getroottree().docinfo.doctype:
        return [], [Problem("a document type declaration is not read; remove it", line=1)]
    if root.tag != f"{{{BPMN}}}definitions":
        return [], [Problem("the file is not BPMN 2.0: its root is not bpmn:definitions", line=1)]
    reader = _Reader(root)
    processes = reader.read()
    return ([], reader.problems[:PROBLEMS_MAX]) if reader.problems else (processes, [])


def _split(tag: str) -> tuple[str, str]:
    """`{namespace}local` as (namespace, local)."""
    namespace, _, local = tag.rpartition("}")
    return namespace[1:], local


class _Reader:
    """Reads one document: by the tables, then node by node, then how they hang together."""

    def __init__(self, root: Any) -> None:
        self.problems: list[Problem] = []
        self._root = root
        self._errors = {error.get("id"): error for error in root.findall(f"{{{BPMN}}}error")}

    def read(self) -> list[Process]:
        self._check(self._root, "definitions")
        found = [
            self._process(element)
            for element in self._root.findall(f"{{{BPMN}}}process")
            if element.get("isExecutable", "true") == "true"
        ]
        if not found and not self.problems:
            self._refuse(self._root, "has no executable process; set isExecutable to true")
        for process_id, times in Counter(process.id for process in found).items():
            if times > 1:
                self._refuse(self._root, f"has {times} processes with the id '{process_id}'")
        return found

    def _refuse(self, element: Any, what: str) -> None:
        kind, owner = _split(element.tag)[1], element
        while owner is not None and not owner.get("id"):
            owner = owner.getparent()
        owner_id = None if owner is None else owner.get("id")
        self.problems.append(Problem(f"{kind} '{owner_id}' {what}", owner_id, element.sourceline))

    # --- by the tables ---

    def _check(self, element: Any, kind: str) -> None:
        """Refuses children and attributes that stand in no table."""
        for name, value in element.attrib.items():
            self._check_attribute(element, kind, *_split(name), value)
        for child in element:
            namespace, local = _split(child.tag)
            if namespace == BPMN and local in CHILDREN[kind]:
                executable = local != "process" or child.get("isExecutable", "true") == "true"
                if local in CHILDREN and executable:
                    self._check(child, local)
            elif namespace == BPMN and local == "extensionElements":
                self._check_extensions(child, kind)
            elif namespace in ("", BPMN) and local not in NOTATION:
                self._refuse_child(element, child, local)

    def _check_attribute(
        self, element: Any, kind: str, namespace: str, local: str, value: str
    ) -> None:
        if namespace == "":
            known = local in ("id", "name") or local in ATTRIBUTES.get(kind, frozenset())
            known = known or kind == "definitions"
        elif namespace == CAMUNDA:
            known = local in CAMUNDA_ATTRIBUTES.get(kind, frozenset()) or local == "exclusive"
        else:
            known = namespace != ACTIVITI
        if not known and NEUTRAL.get(local) != value:
            prefix = {CAMUNDA: "camunda:", ACTIVITI: "activiti:"}.get(namespace, "")
            instead = INSTEAD.get(local)
            self._refuse(
                element,
                f'has {prefix}{local}="{value[:80]}", which is not run'
                + (f": {instead}" if instead else ""),
            )

    def _check_extensions(self, extensions: Any, kind: str) -> None:
        allowed = CAMUNDA_CHILDREN.get(kind, CAMUNDA_CHILDREN_ANYWHERE)
        for child in extensions:
            namespace, local = _split(child.tag)
            if namespace in (CAMUNDA, ACTIVITI) and (namespace, local) not in (
                (CAMUNDA, name) for name in allowed
            ):
                self._refuse_child(extensions.getparent(), child, f"camunda:{local}")

    def _refuse_child(self, element: Any, child: Any, shown: str) -> None:
        instead = INSTEAD.get(shown.removeprefix("camunda:"), "this engine does not know it")
        if child.get("id"):
            self._refuse(child, f"is not run: {instead}")
        else:
            owner = f"{_split(element.tag)[1]} '{element.get('id')}'"
            line = child.sourceline or element.sourceline
            self.problems.append(
                Problem(f"{owner} has {shown}, which is not run: {instead}",
                        element.get("id"), line)
            )  # fmt: skip

    # --- the nodes ---

    def _process(self, element: Any) -> Process:
        nodes: dict[str, Node] = {}
        places: dict[str, Any] = {}
        flows: list[SequenceFlow] = []
        for child in element:
            namespace, kind = _split(child.tag)
            if namespace != BPMN or kind not in CHILDREN["process"] or kind not in CHILDREN:
                continue
            node_id = child.get("id")
            if not node_id:
                self._refuse(child, "has no id")
            elif node_id in places:
                self._refuse(child, f"has an id that line {places[node_id].sourceline} has, too")
            else:
                places[node_id] = child
                if kind == "sequenceFlow":
                    flows.append(self._flow(child))
                else:
                    nodes[node_id] = self._node(kind, child, node_id, child.get("name"))
        process_id = element.get("id")
        if not process_id:
            self._refuse(element, "has no id")
        tag = element.get(f"{{{CAMUNDA}}}versionTag")
        process = Process(process_id or "", element.get("name"), tag, nodes, tuple(flows))
        _Shape(process, element, places, self._refuse).check()
        return process

    def _flow(self, element: Any) -> SequenceFlow:
        condition = element.find(f"{{{BPMN}}}conditionExpression")
        expression = None
        if condition is not None:
            expression = self._expression(element, "".join(condition.itertext()), "a condition")
        return SequenceFlow(
            element.get("id"), element.get("sourceRef", ""), element.get("targetRef", ""),
            expression,
        )  # fmt: skip

    def _expression(self, element: Any, text: str, what: str) -> Expression | None:
        try:
            return compile_expression(text)
        except ExpressionRefused as error:
            self._refuse(element, f"has {what} that is not run: {error}")
            return None

    def _node(self, kind: str, element: Any, node_id: str, name: str | None) -> Node:
        match kind:
            case "startEvent":
                return StartEvent(node_id, name)
            case "exclusiveGateway":
                return Gateway(node_id, name, element.get("default"))
            case "serviceTask":
                return self._service_task(element, node_id, name)
            case "callActivity":
                return self._call_activity(element, node_id, name)
            case "endEvent":
                return self._end_event(element, node_id, name)
        assert kind == "boundaryEvent", kind
        return self._boundary_event(element, node_id, name)

    def _service_task(self, element: Any, node_id: str, name: str | None) -> Node:
        topic = element.get(f"{{{CAMUNDA}}}topic", "")
        if element.get(f"{{{CAMUNDA}}}type") != "external" or not topic:
            self._refuse(element, 'needs camunda:type="external" and camunda:topic')
        self._plain(element, topic, "camunda:topic")
        properties = {
            entry.get("name", ""): entry.get("value", "")
            for entry in element.iter(f"{{{CAMUNDA}}}property")
        }
        return ServiceTask(node_id, name, topic, self._priority(element), properties)

    def _priority(self, element: Any) -> int:
        """The task's own, else its process's, else 0."""
        name = f"{{{CAMUNDA}}}taskPriority"
        text = element.get(name) or element.getparent().get(name) or "0"
        try:
            priority = int(text[:30])
        except ValueError:
            priority = PRIORITY_MAX + 1
        if abs(priority) > PRIORITY_MAX:
            self._refuse(element, f"has the priority {text[:80]!r}, which is not a whole number")
        return priority

    def _plain(self, element: Any, text: str | None, what: str) -> None:
        if text and ("${" in text or "#{" in text):
            self._refuse(element, f"has an expression as {what}; only a fixed text is run")

    def _call_activity(self, element: Any, node_id: str, name: str | None) -> Node:
        called = element.get("calledElement", "")
        if not called:
            self._refuse(element, "needs calledElement, the id of the process to call")
        self._plain(element, called, "calledElement")
        inputs: list[Transfer] = []
        business_key = None
        for entry in element.iter(f"{{{CAMUNDA}}}in"):
            if entry.get("businessKey") is not None and set(entry.keys()) == {"businessKey"}:
                business_key = self._expression(entry, entry.get("businessKey"), "a business key")
            else:
                inputs.append(self._transfer(entry))
        outputs = [self._transfer(entry) for entry in element.iter(f"{{{CAMUNDA}}}out")]
        return CallActivity(node_id, name, called, tuple(inputs), tuple(outputs), business_key)

    def _transfer(self, entry: Any) -> Transfer:
        given = dict(entry.attrib)
        if given.get("local") == "false":
            del given["local"]
        if given == {"variables": "all"}:
            return Transfer()
        if set(given) == {"source", "target"} and all(given.values()):
            return Transfer(given["source"], given["target"])
        self._refuse(
            entry, 'needs variables="all", or source and target; expressions are not run there'
        )
        return Transfer()

    def _end_event(self, element: Any, node_id: str, name: str | None) -> Node:
        definitions = element.findall(f"{{{BPMN}}}errorEventDefinition")
        if not definitions:
            return EndEvent(node_id, name)
        code, message = self._error(definitions[0])
        if not code:
            self._refuse(element, "throws an error without an errorCode")
        return ErrorEndEvent(node_id, name, code or "", message)

    def _boundary_event(self, element: Any, node_id: str, name: str | None) -> Node:
        definitions = element.findall(f"{{{BPMN}}}errorEventDefinition")
        if len(definitions) != 1:
            self._refuse(element, "needs exactly one errorEventDefinition")
            return BoundaryEvent(node_id, name, "", None, None, None)
        definition = definitions[0]
        code, _ = self._error(definition)
        return BoundaryEvent(
            node_id, name, element.get("attachedToRef", ""), code,
            definition.get(f"{{{CAMUNDA}}}errorCodeVariable"),
            definition.get(f"{{{CAMUNDA}}}errorMessageVariable"),
        )  # fmt: skip

    def _error(self, definition: Any) -> tuple[str | None, str | None]:
        reference = definition.get("errorRef")
        if reference is None:
            return None, None
        error = self._errors.get(reference)
        if error is None:
            self._refuse(definition, f"refers to the error '{reference}', which is not there")
            return None, None
        code, message = error.get("errorCode"), error.get(f"{{{CAMUNDA}}}errorMessage")
        self._plain(error, code, "errorCode")
        self._plain(error, message, "camunda:errorMessage")
        return code or None, message


class _Shape:
    """How the nodes of one process hang together."""

    def __init__(
        self,
        process: Process,
        element: Any,
        places: Mapping[str, Any],
        refuse: Callable[[Any, str], None],
    ) -> None:
        self._process = process
        self._element = element
        self._places = places
        self._refuse = refuse
        self._outgoing: dict[str, list[SequenceFlow]] = {node: [] for node in process.nodes}

    def check(self) -> None:
        self._ends_of_flows()
        starts = [node for node in self._process.nodes.values() if isinstance(node, StartEvent)]
        if len(starts) != 1:
            self._refuse(self._element, f"has {len(starts)} start events where one is needed")
        for node in self._process.nodes.values():
            self._exits(node)
        self._boundaries()
        self._endless()

    def _ends_of_flows(self) -> None:
        for flow in self._process.flows:
            place = self._places[flow.id]
            source = self._process.nodes.get(flow.source)
            target = self._process.nodes.get(flow.target)
            for end, node in ((flow.source, source), (flow.target, target)):
                if node is None and end not in self._refused_ids():
                    self._refuse(place, f"refers to '{end}', which is not in its process")
            if source is not None:
                self._outgoing[flow.source].append(flow)
            if isinstance(target, StartEvent | BoundaryEvent):
                self._refuse(place, f"leads into '{flow.target}', which nothing can lead into")
            conditional = place.find(f"{{{BPMN}}}conditionExpression") is not None
            if conditional and source is not None and not isinstance(source, Gateway):
                self._refuse(
                    place, "has a condition, which is read only after an exclusive gateway"
                )

    def _refused_ids(self) -> set[str]:
        """Elements that were refused as such: a flow to one is not another problem."""
        return {child.get("id") for child in self._element}

    def _exits(self, node: Node) -> None:
        place, flows = self._places[node.id], self._outgoing[node.id]
        if isinstance(node, EndEvent | ErrorEndEvent):
            if flows:
                self._refuse(place, "has an outgoing flow, but a token ends there")
        elif isinstance(node, Gateway):
            self._choices(node, place, flows)
        elif len(flows) != 1:
            self._refuse(
                place, f"has {len(flows)} outgoing flows where exactly one is needed; "
                "lead to an end event, or choose with an exclusive gateway"
            )  # fmt: skip

    def _choices(self, node: Gateway, place: Any, flows: list[SequenceFlow]) -> None:
        if not flows:
            self._refuse(place, "has no outgoing flow")
        if node.default_flow is not None and node.default_flow not in [flow.id for flow in flows]:
            self._refuse(place, f"has the default '{node.default_flow}', which does not leave it")
        for flow in flows:
            given = self._places[flow.id].find(f"{{{BPMN}}}conditionExpression") is not None
            if len(flows) == 1 or flow.id == node.default_flow:
                if given:
                    self._refuse(
                        self._places[flow.id], "is taken anyway and can't have a condition"
                    )
            elif not given:
                self._refuse(
                    self._places[flow.id], "needs a condition, or be the gateway's default"
                )

    def _boundaries(self) -> None:
        seen: set[tuple[str, str | None]] = set()
        for node in self._process.nodes.values():
            if not isinstance(node, BoundaryEvent):
                continue
            place = self._places[node.id]
            host = self._process.nodes.get(node.attached_to)
            if not isinstance(host, ServiceTask | CallActivity):
                if host or node.attached_to not in self._refused_ids():
                    self._refuse(
                        place, f"is attached to '{node.attached_to}', which is no activity"
                    )
            elif (node.attached_to, node.code) in seen:
                self._refuse(place, "catches the same error as another event of its activity")
            seen.add((node.attached_to, node.code))

    def _endless(self) -> None:
        """A circle of gateways alone would turn for ever inside one request."""
        nodes = self._process.nodes
        after = {
            node.id: [
                flow.target
                for flow in self._outgoing[node.id]
                if isinstance(nodes.get(flow.target), Gateway)
            ]
            for node in nodes.values()
            if isinstance(node, Gateway)
        }
        try:
            TopologicalSorter(after).prepare()
        except CycleError as error:
            circle = error.args[1]  # which of its members begins it is chance
            first = next(node_id for node_id in nodes if node_id in circle)
            self._refuse(
                self._places[first], f"lies on a circle without a task: {', '.join(circle)}"
            )
