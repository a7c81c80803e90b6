"""What is not run is refused by element and line, all at once; a file can do no harm."""

import itertools

import pytest
from tests.gateway.bpmn_text import (
    bpmn,
    call,
    catch,
    chain,
    end,
    error,
    flow,
    gateway,
    start,
    task,
)

from gossamer_gateway.embedded import bpmn as module
from gossamer_gateway.embedded.bpmn import parse_bpmn
from gossamer_gateway.embedded.model import (
    BoundaryEvent,
    CallActivity,
    ErrorEndEvent,
    Gateway,
    ServiceTask,
    Transfer,
)
from gossamer_gateway.errors import Problem


def problems(*elements: str, outside: str = "", attributes: str = "") -> list[Problem]:
    processes, found = parse_bpmn(bpmn(*elements, outside=outside, attributes=attributes))
    assert not (found and processes)
    return found


def test_all_that_is_run_is_read() -> None:
    processes, found = parse_bpmn(
        bpmn(
            start(),
            task(
                "t",
                'camunda:taskPriority="7" camunda:asyncBefore="false" name="Work"',
                '<bpmn:documentation>x</bpmn:documentation><bpmn:extensionElements>'
                '<camunda:properties><camunda:property name="k" value="v"/></camunda:properties>'
                '<other:thing xmlns:other="urn:other"/></bpmn:extensionElements>',
            ),
            call(
                "c", "Q", '<camunda:in variables="all"/>', '<camunda:in source="a" target="b"/>',
                '<camunda:in businessKey="#{execution.processBusinessKey}"/>',
                '<camunda:out source="x" target="y"/>',
            ),
            gateway("g", "g-e"), end(), end("bad", "E2"),
            catch("any", "t"),
            catch("one", "t", "E1",
                  'camunda:errorCodeVariable="c" camunda:errorMessageVariable="m"'),
            chain("s", "t", "c", "g", "e"), flow("g", "t", "${again}"), chain("any", "bad"),
            chain("one", "e"),
            '<bpmn:laneSet id="lanes"/><bpmn:textAnnotation id="note"/>',
            outside=error("E1", "ONE") + error("E2", "TWO", 'camunda:errorMessage="second"')
            + '<bpmn:message id="unused"/><di:BPMNDiagram xmlns:di="urn:di"/>',
            attributes='name="All" camunda:versionTag="v1"',
        )
    )  # fmt: skip
    assert found == []
    (process,) = processes
    assert (process.id, process.name, process.version_tag) == ("P", "All", "v1")
    assert process.start.id == "s"
    work = process.nodes["t"]
    assert isinstance(work, ServiceTask)
    assert (work.topic, work.priority, work.properties) == ("t", 7, {"k": "v"})
    called = process.nodes["c"]
    assert isinstance(called, CallActivity)
    assert called.inputs == (Transfer(), Transfer("a", "b"))
    assert called.outputs == (Transfer("x", "y"),)
    assert called.business_key is not None
    assert isinstance(process.nodes["g"], Gateway)
    assert process.nodes["bad"] == ErrorEndEvent("bad", None, "TWO", "second")
    assert process.nodes["one"] == BoundaryEvent("one", None, "t", "ONE", "c", "m")
    one, any_other = process.catching("t", "ONE"), process.catching("t", "ELSE")
    assert one is not None and any_other is not None
    assert (one.id, any_other.id) == ("one", "any")
    assert process.catching("c", "ONE") is None


REFUSED = [
    ('<bpmn:scriptTask id="x"/>', "x", "scripts are never run"),
    ('<bpmn:userTask id="x"/>', "x", "no task list"),
    ('<bpmn:parallelGateway id="x"/>', "x", "one token"),
    ('<bpmn:inclusiveGateway id="x"/>', "x", "exclusive gateway"),
    ('<bpmn:subProcess id="x"/>', "x", "called by a call activity"),
    ('<bpmn:intermediateCatchEvent id="x"/>', "x", "waited for"),
    ('<bpmn:dataObject id="x"/>', "x", "does not know it"),
    ('<bpmn:serviceTask id="x" camunda:class="a.B"/>', "x", "camunda:class"),
    ('<bpmn:serviceTask id="x" camunda:type="external"/>', "x", "camunda:topic"),
    (task("x", topic="${t}"), "x", "only a fixed text"),
    (task("x", 'camunda:taskPriority="${p}"'), "x", "not a whole number"),
    (task("x", 'camunda:asyncBefore="true"'), "x", "one transaction"),
    (task("x", 'isForCompensation="true"'), "x", "isForCompensation"),
    (task("x", 'activiti:async="true" xmlns:activiti="http://activiti.org/bpmn"'), "x", "activiti"),
    (task("x", inner="<bpmn:multiInstanceLoopCharacteristics/>"), "x", "runs once"),
    (
        task("x", inner="<bpmn:extensionElements><camunda:inputOutput/></bpmn:extensionElements>"),
        "x",
        "not mapped at a task",
    ),
    (
        task(
            "x",
            inner="<bpmn:extensionElements><camunda:executionListener/></bpmn:extensionElements>",
        ),
        "x",
        "listeners run code",
    ),
    (
        '<bpmn:boundaryEvent id="x" attachedToRef="t"><bpmn:timerEventDefinition/>'
        "</bpmn:boundaryEvent>",
        "x",
        "no timers",
    ),
    (
        '<bpmn:endEvent id="x"><bpmn:terminateEventDefinition/></bpmn:endEvent>',
        "x",
        "plain end event does the same",
    ),
    (end("x", "nowhere"), "x", "which is not there"),
    (end("x", "CODELESS"), "x", "without an errorCode"),
    (catch("x", "s"), "x", "which is no activity"),
    (catch("x", "t") + catch("y", "t"), "y", "catches the same error"),
    (call("x", "${which}"), "x", "only a fixed text"),
    (call("x", "Q", '<camunda:in sourceExpression="${a}" target="b"/>'), "x", "source and target"),
    (call("x", "Q", '<camunda:in variables="all" local="true"/>'), "x", "source and target"),
    (call("x", "Q", '<camunda:in businessKey="${1 + 1}"/>'), "x", "arithmetic"),
    ('<bpmn:callActivity id="x" calledElement="Q" camunda:calledElementBinding="version"/>', "x",
     "calledElementBinding"),
    (task("u") + flow("u", "e", "${x}"), "u-e", "after an exclusive gateway"),
    (flow("t", "nowhere"), "t-nowhere", "not in its process"),
    (flow("e", "t"), "e", "a token ends there"),
    (flow("t", "s"), "t-s", "nothing can lead into"),
    (gateway("x", "other"), "x", "does not leave it"),
    (gateway("x"), "x", "no outgoing flow"),
    (gateway("x") + flow("x", "t") + flow("x", "e"), "x-t", "needs a condition"),
    (gateway("x") + flow("x", "e", "${a b}") + flow("x", "t", "${c}"), "x-e", "position"),
    (gateway("x") + flow("x", "e", "${a}"), "x-e", "can't have a condition"),
    (start("x"), "P", "2 start events"),
    (task("t"), "t", "an id that line"),
    (
        gateway("x", "x-y") + gateway("y", "y-e") + flow("x", "y") + flow("x", "e", "${a}")
        + flow("y", "e") + flow("y", "x", "${b}"),
        "x",
        "circle without a task",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("element", "element_id", "why"), REFUSED)
def test_what_is_not_run_is_refused_by_element_and_line(
    element: str, element_id: str, why: str
) -> None:
    found = problems(
        start(), task("t"), end(), chain("s", "t", "e"), element, outside=error("CODELESS")
    )
    matching = [problem for problem in found if why in problem.message]
    assert matching, found
    elsewhere = {"P": 4, "e": 7}
    assert (matching[0].element_id, matching[0].line) == (element_id, elsewhere.get(element_id, 9))


def test_an_element_without_an_id_is_refused_by_what_it_stands_in() -> None:
    found = problems(start(), end(), chain("s", "e"), '<bpmn:endEvent name="nameless"/>')
    assert [(problem.element_id, problem.line) for problem in found] == [("P", 8)]


def test_all_problems_are_told_at_once() -> None:
    found = problems(
        start(), '<bpmn:scriptTask id="a"/>', '<bpmn:userTask id="b"/>', task("c", 'default="x"'),
        end(), chain("s", "a", "b", "c", "e"),
    )  # fmt: skip
    assert [(problem.element_id, problem.line) for problem in found] == [
        ("a", 6),
        ("b", 7),
        ("c", 8),
    ]


def test_a_flow_to_a_refused_element_is_no_second_problem() -> None:
    found = problems(start(), '<bpmn:scriptTask id="a"/>', end(), chain("s", "a", "e"))
    assert [problem.element_id for problem in found] == ["a"]


def test_processes_that_are_not_executable_are_passed_over() -> None:
    other = '<bpmn:process id="Other" isExecutable="false"><bpmn:scriptTask id="x"/></bpmn:process>'
    processes, found = parse_bpmn(bpmn(start(), end(), chain("s", "e"), outside=other))
    assert ([process.id for process in processes], found) == (["P"], [])


def test_a_file_without_a_process_is_refused() -> None:
    text = bpmn(start()).replace(b'isExecutable="true"', b'isExecutable="false"')
    _, found = parse_bpmn(text)
    assert "no executable process" in found[0].message


def test_two_processes_of_one_id_are_refused() -> None:
    text = bpmn(start(), end(), chain("s", "e")).decode()
    head, process, tail = text.partition("<bpmn:process")
    body, close, rest = tail.partition("</bpmn:process>")
    twice = head + (process + body + close) * 2 + rest
    _, found = parse_bpmn(twice.encode())
    assert "2 processes with the id 'P'" in found[0].message


ENTITY = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
BOMB = (
    '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">'
    + "".join(
        f'<!ENTITY {one} "{f"&{other};" * 10}">' for other, one in itertools.pairwise("abcdefghi")
    )
    + "]>"
)


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (ENTITY, "&e;"),
        (BOMB, "&i;"),
        (BOMB, '<x y="&i;"/>'),
        ("<!DOCTYPE x>", ""),
        ('<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd">', ""),
        ("", "&undefined;"),
        ("", "<deep>" * 5_000),
    ],
)
def test_a_hostile_file_is_refused(head: str, body: str) -> None:
    data = bpmn(start(), end(), chain("s", "e"), outside=body).decode()
    marker = "<bpmn:definitions"
    processes, found = parse_bpmn(data.replace(marker, head + marker, 1).encode())
    assert processes == [] and len(found) == 1
    assert "root:" not in found[0].message


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00\xff\xfe", b"<a/>", b"not xml", bpmn(start())[:-20], b"<" * 100_000,
     b" " * (module.FILE_BYTES_MAX + 1)],
)  # fmt: skip
def test_what_is_not_bpmn_is_one_problem(data: bytes) -> None:
    processes, found = parse_bpmn(data)
    assert processes == [] and len(found) == 1


def test_a_flood_of_problems_is_cut() -> None:
    found = problems(*(f'<bpmn:scriptTask id="x{number}"/>' for number in range(1_000)))
    assert len(found) == module.PROBLEMS_MAX
