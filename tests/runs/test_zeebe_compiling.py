"""Definitions as BPMN, and where a run that was decided goes on: without an engine."""

import re
from typing import Any
from xml.etree import ElementTree

import pytest
from tests.runs.random_flows import RandomFlow

from gossamer_gateway.runs.model import deciding
from gossamer_gateway.runs.model import events as e
from gossamer_gateway.runs.model.deciding import ZEEBE, Answer
from gossamer_gateway.runs.model.events import Event, Failure
from gossamer_gateway.runs.model.flow import Flow
from gossamer_gateway.runs.model.reading import read_object
from gossamer_gateway.runs.model.run import Run, Status, fold
from gossamer_gateway.runs.zeebe import steering
from gossamer_gateway.runs.zeebe.compiling import compile_definition, process_id, words

BPMN = "{http://www.omg.org/spec/BPMN/20100524/MODEL}"
DI = "{http://www.omg.org/spec/BPMN/20100524/DI}"
DC = "{http://www.omg.org/spec/DD/20100524/DC}"

SEEDS = range(60)


def random_flow(seed: int) -> Flow:
    return Flow(read_object(RandomFlow(seed, "random", ["a", "b"]).text))


def parsed(flow: Flow) -> ElementTree.Element:
    return ElementTree.fromstring(compile_definition(flow).xml)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_parallel_gateway_waits_for_no_way_that_is_not_gone(seed: int) -> None:
    flow = random_flow(seed)
    process = parsed(flow)
    coming: dict[str, int] = {}
    for one in process.iter(f"{BPMN}sequenceFlow"):
        coming[one.attrib["targetRef"]] = coming.get(one.attrib["targetRef"], 0) + 1
    for one in process.iter(f"{BPMN}parallelGateway"):
        step = flow[one.attrib["name"]]
        branches = len(flow[flow.forks[step.id]].branches) if step.id in flow.forks else 1
        assert coming[one.attrib["id"]] == branches, step.id


@pytest.mark.parametrize("seed", SEEDS)
def test_all_is_drawn_and_nothing_over_another(seed: int) -> None:
    process = parsed(random_flow(seed))
    shapes = {one.attrib["bpmnElement"]: one[0].attrib for one in process.iter(f"{DI}BPMNShape")}
    edges = {one.attrib["bpmnElement"] for one in process.iter(f"{DI}BPMNEdge")}
    for one in process[0]:
        ids = edges if one.tag == f"{BPMN}sequenceFlow" else shapes
        assert one.attrib["id"] in ids
    middles = [
        (int(one["x"]) + int(one["width"]) // 2, int(one["y"]) + int(one["height"]) // 2)
        for one in shapes.values()
    ]
    assert len(set(middles)) == len(middles)


def test_equal_definitions_give_equal_bytes_whatever_their_version() -> None:
    one, other = (RandomFlow(3, "random", ["a", "b"]).text for _ in range(2))
    later = read_object(other)
    later = type(later)(later.id, later.start_at, later.steps, 7, later.name)
    assert compile_definition(Flow(read_object(one))).xml == compile_definition(Flow(later)).xml


def test_names_are_safe_and_stay_apart() -> None:
    names = ("a", "a#2", "a.2", "a-2", "a_2", "a·23·2")
    ids = [process_id(one) for one in names]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[A-Za-z][\w.·-]*", one) for one in ids)


def test_conditions_in_words() -> None:
    said = {
        "any": [
            {"path": "$.input.x", "greaterThan": 1},
            {"not": {"path": "$.previous", "exists": True}},
        ]
    }
    assert words(said) == "($.input.x > 1 or not $.previous exists)"


GRAPH: dict[str, Any] = {
    "id": "w", "startAt": "first",
    "steps": [
        {"id": "first", "type": "TASK", "action": "a", "next": "which"},
        {"id": "which", "type": "CHOICE", "default": "fork",
         "choices": [{"when": {"path": "$.previous", "equals": 1}, "next": "last"}]},
        {"id": "fork", "type": "PARALLEL", "branches": ["left", "right"], "next": "join"},
        {"id": "left", "type": "TASK", "action": "a", "next": "join"},
        {"id": "right", "type": "TASK", "action": "a", "next": "join"},
        {"id": "join", "type": "JOIN", "next": "last"},
        {"id": "last", "type": "TASK", "action": "b", "input": {"got": "$.previous"}},
    ],
}  # fmt: skip


class Case:
    """A run that Zeebe would execute."""

    def __init__(self, text: dict[str, Any] = GRAPH, given: Any = None) -> None:
        self.flow = Flow(read_object(text))
        self.events: list[Event] = deciding.trigger(self.flow, "r", given, 0, executor=ZEEBE)
        self.note(deciding.start(self.flow, self.run, 0, place="4"))

    @property
    def run(self) -> Run:
        return fold(self.events)

    def note(self, events: list[Event]) -> list[str]:
        self.events += events
        return [type(one).__name__ for one in events]

    def reaches(self, step: str) -> list[str]:
        return self.note(deciding.reached(self.flow, self.run, step, 0, job=f"job of {step}"))

    def answers(self, step: str, output: Any, failure: Failure | None = None) -> list[str]:
        said = Answer(step, self.run.steps[step].attempt, output, failure)
        return self.note(deciding.answer(self.flow, self.run, said, 0, lambda: 0.5))


def test_a_task_begins_when_it_is_reached_and_not_before() -> None:
    case = Case()
    assert steering.first(case.flow, case.run) == ({}, ("first",))
    assert case.run.steps == {}
    assert case.reaches("first") == ["StepStarted", "AttemptStarted"]
    assert case.reaches("first") == []
    assert case.run.steps["first"].job == "job of first"
    assert case.answers("first", 1) == ["StepCompleted", "ChoiceTaken"]
    assert steering.after(case.flow, case.run, "first") == ({"choice_2": "last"}, ("last",))
    case.reaches("last")
    assert case.run.steps["last"].input == {"got": 1}
    assert case.answers("last", "end") == ["StepCompleted", "RunCompleted"]
    assert case.run.output == "end"


def test_the_last_branch_says_what_is_behind_the_join() -> None:
    case = Case()
    case.reaches("first")
    assert case.answers("first", 2) == ["StepCompleted", "ChoiceTaken", "ParallelStarted"]
    onward = steering.after(case.flow, case.run, "first")
    assert onward is not None and onward.variables == {"choice_2": "fork"}
    assert set(onward.tasks) == {"left", "right"}
    case.reaches("right")
    case.reaches("left")
    case.answers("right", "r")
    assert steering.after(case.flow, case.run, "right") == ({}, ())
    assert case.answers("left", "l") == ["StepCompleted", "BranchJoined", "JoinCompleted"]
    assert steering.after(case.flow, case.run, "left") == ({}, ("last",))
    case.reaches("last")
    assert case.run.steps["last"].input == {"got": {"left": "l", "right": "r"}}


def test_a_step_that_was_passed_by_somebody_else_fails_the_run() -> None:
    case = Case()
    case.reaches("first")
    assert case.reaches("last") == ["RunFailed"]
    assert case.run.failure is not None
    assert (case.run.failure.code, case.run.failure.blame) == ("OutOfStep", "engine")


def test_what_could_not_be_chosen_is_not_gone_on_with() -> None:
    text = {**GRAPH, "steps": [
        {"id": "first", "type": "TASK", "action": "a", "next": "which"},
        {"id": "which", "type": "CHOICE",
         "choices": [{"when": {"path": "$.previous", "equals": 1}, "next": "last"}]},
        {"id": "last", "type": "TASK", "action": "b"},
    ]}  # fmt: skip
    case = Case(text)
    case.reaches("first")
    assert case.answers("first", 2) == ["StepCompleted", "StepFailed", "RunFailed"]
    assert steering.after(case.flow, case.run, "first") is None
    assert case.reaches("last") == []


def test_a_failed_step_goes_on_without_being_reached_again() -> None:
    case = Case()
    case.reaches("first")
    case.answers("first", None, Failure("No", retryable=False))
    assert case.run.status is Status.FAILED
    assert case.reaches("first") == []
    again = case.note(deciding.retry(case.flow, case.run, 0))
    assert again == ["RunRetried", "StepStarted", "AttemptStarted"]
    assert case.run.steps["first"].job == "job of first"


def test_a_run_that_broke_before_it_began_is_begun_by_a_retry() -> None:
    flow = Flow(read_object(GRAPH))
    events: list[Event] = deciding.trigger(flow, "r", None, 0, executor=ZEEBE)
    events += deciding.broken(flow, fold(events), Failure("DeploymentRefused", blame="engine"), 0)
    events += deciding.retry(flow, fold(events), 0)
    assert isinstance(events[-1], e.RunRetried) and fold(events).status is Status.PENDING
    events += deciding.start(flow, fold(events), 0, place="4")
    assert fold(events).status is Status.RUNNING
