"""BPMN for tests, written short: a process from its elements, with the flows between them."""

import itertools

_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<bpmn:definitions xmlns:bpmn="http://www.omg.org/spec/BPMN/20100524/MODEL"
 xmlns:camunda="http://camunda.org/schema/1.0/bpmn" id="d" targetNamespace="t">"""


def bpmn(*elements: str, process_id: str = "P", outside: str = "", attributes: str = "") -> bytes:
    """A file with one process. Each element stands on a line of its own; the first is line 4."""
    head = (
        f'<bpmn:process id="{process_id}" isExecutable="true" '
        f'camunda:historyTimeToLive="P1D" {attributes}>'
    )
    body = "\n".join(elements)
    return f"{_HEAD}\n{head}\n{body}\n</bpmn:process>{outside}\n</bpmn:definitions>".encode()


def start(node_id: str = "s") -> str:
    return f'<bpmn:startEvent id="{node_id}"/>'


def end(node_id: str = "e", error: str | None = None) -> str:
    inner = f'<bpmn:errorEventDefinition errorRef="{error}"/>' if error else ""
    return f'<bpmn:endEvent id="{node_id}">{inner}</bpmn:endEvent>'


def task(node_id: str, attributes: str = "", inner: str = "", topic: str | None = None) -> str:
    return (
        f'<bpmn:serviceTask id="{node_id}" camunda:type="external" '
        f'camunda:topic="{topic or node_id}" {attributes}>{inner}</bpmn:serviceTask>'
    )


def call(node_id: str, called: str, *mappings: str) -> str:
    return (
        f'<bpmn:callActivity id="{node_id}" calledElement="{called}">'
        f"<bpmn:extensionElements>{''.join(mappings)}</bpmn:extensionElements></bpmn:callActivity>"
    )


def gateway(node_id: str, default: str | None = None) -> str:
    given = f'default="{default}"' if default else ""
    return f'<bpmn:exclusiveGateway id="{node_id}" {given}/>'


def catch(node_id: str, attached_to: str, error: str | None = None, attributes: str = "") -> str:
    given = f'errorRef="{error}"' if error else ""
    return (
        f'<bpmn:boundaryEvent id="{node_id}" attachedToRef="{attached_to}">'
        f"<bpmn:errorEventDefinition {given} {attributes}/></bpmn:boundaryEvent>"
    )


def flow(source: str, target: str, condition: str | None = None) -> str:
    inner = (
        f"<bpmn:conditionExpression><![CDATA[{condition}]]></bpmn:conditionExpression>"
        if condition
        else ""
    )
    name = f"{source}-{target}"
    return (
        f'<bpmn:sequenceFlow id="{name}" sourceRef="{source}" targetRef="{target}">{inner}'
        "</bpmn:sequenceFlow>"
    )


def chain(*nodes: str) -> str:
    """Flows from each node to the next, on one line."""
    return "".join(flow(one, other) for one, other in itertools.pairwise(nodes))


def error(error_id: str, code: str | None = None, attributes: str = "") -> str:
    given = f'errorCode="{code}"' if code else ""
    return f'<bpmn:error id="{error_id}" {given} {attributes}/>'


def one_task(process_id: str = "P", topic: str = "t") -> bytes:
    """start → task `t` → end."""
    return bpmn(start(), task("t", topic=topic), end(), chain("s", "t", "e"), process_id=process_id)
