"""Definitions as BPMN, and where a run that was decided goes on: without an engine."""

import re
from collections.abc import Mapping
from itertools import combinations, pairwise
from typing import Any, NamedTuple
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
from gossamer_gateway.runs.zeebe.quiet import Quiet

BPMN = "{http://www.omg.org/spec/BPMN/20100524/MODEL}"
DI = "{http://www.omg.org/spec/BPMN/20100524/DI}"
DD = "{http://www.omg.org/spec/DD/20100524/DI}"

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


class Box(NamedTuple):
    """Of a shape, or of a piece of a line."""

    left: int
    top: int
    right: int
    bottom: int

    def meets(self, other: "Box") -> bool:
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )


def box(bounds: Mapping[str, str]) -> Box:
    x, y = int(bounds["x"]), int(bounds["y"])
    return Box(x, y, x + int(bounds["width"]), y + int(bounds["height"]))


@pytest.mark.parametrize("seed", SEEDS)
def test_all_is_drawn_and_nothing_over_another(seed: int) -> None:
    process = parsed(random_flow(seed))
    shapes = {one.attrib["bpmnElement"]: one for one in process.iter(f"{DI}BPMNShape")}
    edges = {one.attrib["bpmnElement"]: one for one in process.iter(f"{DI}BPMNEdge")}
    boxes = {id: box(one[0].attrib) for id, one in shapes.items()}
    for one, other in combinations(boxes.values(), 2):
        assert not one.meets(other)
    words = []
    for flow in process[0].iter(f"{BPMN}sequenceFlow"):
        drawn = edges[flow.attrib["id"]]
        points = [
            (int(one.attrib["x"]), int(one.attrib["y"])) for one in drawn.iter(f"{DD}waypoint")
        ]
        ends = boxes[flow.attrib["sourceRef"]], boxes[flow.attrib["targetRef"]]
        assert points[0][0] == ends[0].right and points[-1][0] == ends[1].left
        for (x, y), (to_x, to_y) in pairwise(points):
            assert x == to_x or y == to_y
            # A line has no width, so a shape that it only touches is not met.
            line = Box(min(x, to_x), min(y, to_y), max(x, to_x), max(y, to_y))
            line = Box(line.left - 1, line.top - 1, line.right + 1, line.bottom + 1)
            for id, shape in boxes.items():
                is_end = id in (flow.attrib["sourceRef"], flow.attrib["targetRef"])
                assert is_end or not line.meets(shape), (flow.attrib, id)
        if "name" in flow.attrib:
            words.append(box(drawn.find(f"{DI}BPMNLabel")[0].attrib))  # type: ignore[index]
    for id in (one.attrib["id"] for one in process[0] if one.tag != f"{BPMN}sequenceFlow"):
        assert id in shapes
    for one, other in combinations([*words, *boxes.values()], 2):
        assert not one.meets(other)


def test_equal_definitions_give_equal_bytes_whatever_their_version() -> None:
    one, other = (RandomFlow(3, "random", ["a", "b"]).text for _ in range(2))
    later = read_object(other)
    later = type(later)(later.id, later.start_at, later.steps, 7, later.name)
    assert compile_definition(Flow(read_object(one))).xml == compile_definition(Flow(later)).xml


def test_names_are_safe_and_stay_apart() -> None:
    names = ("a", "a#2", "a.2", "a-2", "a_2", "a_x23_2", "a_x5f_x23_2", "a#x", "ä")
    ids = [process_id(one) for one in names]
    assert len(set(ids)) == len(ids)
    # What bpmn-js takes: it draws nothing that has another id, and no way to it or from it.
    assert all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", one) for one in ids)


def test_types_of_jobs_are_actions_behind_a_prefix_if_there_is_one() -> None:
    text = {"id": "w", "startAt": "a", "steps": [
        {"id": "a", "action": "act", "next": "b"},
        {"id": "b", "provider": "AWS", "functionId": "f"},
    ]}  # fmt: skip
    flow = Flow(read_object(text))
    assert compile_definition(flow).types == {"act", "gossamer:provider:AWS"}
    compiled = compile_definition(flow, "ours:")
    assert compiled.types == {"ours:act", "ours:gossamer:provider:AWS"}
    assert b'<zeebe:taskDefinition type="ours:act"/>' in compiled.xml


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

    def reaches(self, step: str, job: str = "") -> list[str]:
        job = job or f"job of {step}"
        return self.note(deciding.reached(self.flow, self.run, step, 0, job=job))

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


def test_a_run_that_failed_for_its_engine_begins_there_anew() -> None:
    """What is done is passed over, what was at work goes on, and choices are not made again."""
    case = Case()
    case.reaches("first")
    case.answers("first", 2)
    case.reaches("left")
    case.reaches("right")
    case.answers("left", "l")
    gone = Failure("InstanceGone", blame="engine", retryable=False)
    case.note(deciding.broken(case.flow, case.run, gone, 0))
    assert case.note(deciding.retry(case.flow, case.run, 0)) == ["RunRetried"]
    assert (case.run.status, case.run.place) == (Status.PENDING, None)
    assert case.note(deciding.start(case.flow, case.run, 0, place="5")) == ["RunStarted"]
    assert steering.first(case.flow, case.run) == ({}, ("first",))
    assert case.reaches("first") == case.reaches("left") == []
    assert case.reaches("right", "another job") == ["StepStarted", "AttemptStarted"]
    assert case.run.steps["right"].job == "another job" and case.run.steps["right"].attempt == 2
    assert case.answers("right", "r") == ["StepCompleted", "BranchJoined", "JoinCompleted"]
    case.reaches("last")
    case.answers("last", "end")
    assert (case.run.status, case.run.place) == (Status.COMPLETED, "5")


def test_quiet_runs_are_asked_after_ever_more_seldom() -> None:
    quiet = Quiet(10)
    assert quiet.look([("a", 1), ("b", 1)], 0) == []
    assert quiet.look([("a", 1), ("b", 2)], 10) == ["a"]
    assert quiet.look([("a", 1), ("b", 2)], 20) == ["b"]
    asked = [at_s for at_s in range(21, 2_000) if "a" in quiet.look([("a", 1)], at_s)]
    assert asked == [30, 70, 150, 310, 630, 950, 1_270, 1_590, 1_910]


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
