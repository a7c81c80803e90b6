"""Definitions as people and programs write them: what they become, and how bad ones are refused."""

import json
from typing import Any

import msgspec
import pytest

from gossamer_gateway.runs.model.definition import Definition, Place, Retry
from gossamer_gateway.runs.model.problems import PROBLEMS_MAX, DefinitionRefused
from gossamer_gateway.runs.model.reading import as_written, read_definition, read_object

SEED_LIST = """
{
  "id": "my-first-workflow",
  "steps": [
    {
      "action": "step1",
      "stepIndex": 0
    },
    {
      "action": "step2",
      "stepIndex": 1
    }
  ]
}
"""

SEED_GRAPH = {
    "id": "my-flow",
    "startAt": "step1",
    "steps": [{"id": "step1", "type": "TASK", "provider": "AWS", "functionId": "my-func"}],
}


def one(**fields: Any) -> dict[str, Any]:
    """A workflow of one step with these fields."""
    return {"id": "w", "steps": [{"action": "a"} | fields]}


def graph(*steps: dict[str, Any], start: str = "a") -> dict[str, Any]:
    return {"id": "w", "startAt": start, "steps": list(steps)}


def told(value: Any) -> list[tuple[str, str]]:
    """Field and message of all problems of a definition; none for a good one."""
    try:
        read_object(value)
    except DefinitionRefused as refused:
        return [(problem.field, problem.message) for problem in refused.problems]
    return []


def step_of(value: Any) -> Any:
    return next(iter(read_object(value).steps.values()))


# What is right


def test_the_list_of_the_first_seed() -> None:
    made = read_definition(SEED_LIST)
    assert (made.id, made.start_at, list(made.steps)) == (
        "my-first-workflow", "step1", ["step1", "step2"],
    )  # fmt: skip
    assert [(one.action, one.next) for one in made.steps.values()] == [
        ("step1", "step2"),
        ("step2", None),
    ]


def test_the_graph_of_the_second_seed() -> None:
    step = step_of(SEED_GRAPH)
    assert (step.places, step.action, step.next) == ((Place("AWS", "my-func"),), None, None)


def test_the_order_is_that_of_the_indices() -> None:
    made = read_object(
        {"id": "w", "steps": [{"action": "b", "stepIndex": 7}, {"action": "a", "stepIndex": 2}]}
    )
    assert (made.start_at, list(made.steps), made.steps["a"].next) == ("a", ["a", "b"], "b")


def test_an_action_that_comes_again_is_numbered() -> None:
    steps = [{"action": "a"}, {"action": "a"}, {"id": "a#2", "action": "b"}, {"action": "a"}]
    made = read_object({"id": "w", "steps": steps})
    assert list(made.steps) == ["a", "a#3", "a#2", "a#4"]
    assert [one.action for one in made.steps.values()] == ["a", "a", "b", "a"]


def test_null_ends_a_list_early_and_is_elsewhere_as_if_left_out() -> None:
    made = read_object(
        {
            "id": "w",
            "name": None,
            "steps": [
                {"id": "c", "type": "CHOICE", "default": "y",
                 "choices": [{"when": {"path": "$.input", "equals": 1}, "next": "x"}]},
                {"action": "x", "next": None, "timeoutMs": None, "retry": None, "input": None},
                {"action": "y"},
            ],
        }
    )  # fmt: skip
    assert (made.steps["x"].next, made.steps["x"].input) == (None, None)
    assert made.steps["x"].timeout_ms == 300_000


@pytest.mark.parametrize(
    ("fallback", "places"),
    [
        ("GCP", [Place("GCP", "f")]),
        ({"provider": "GCP"}, [Place("GCP", "f")]),
        ({"provider": "GCP", "functionId": "g", "region": "eu"}, [Place("GCP", "g", "eu")]),
        (["GCP", "Azure"], [Place("GCP", "f"), Place("Azure", "f")]),
        (["GCP", {"provider": "AWS", "region": "eu-west-1"}],
         [Place("GCP", "f"), Place("AWS", "f", "eu-west-1")]),
        (None, []),
    ],
)  # fmt: skip
def test_a_fallback_is_a_name_a_place_or_a_list(fallback: Any, places: list[Place]) -> None:
    step = step_of(graph({"id": "a", "provider": "AWS", "functionId": "f", "fallbackProvider":
                          fallback}))  # fmt: skip
    assert step.places == (Place("AWS", "f"), *places)


def test_a_retry_policy() -> None:
    written = {"maxAttempts": 5, "initialDelayMs": 0, "multiplier": 1, "maxDelayMs": 9,
               "jitter": 1, "on": ["A"], "notOn": ["B", "C"]}  # fmt: skip
    assert step_of(one(retry=written)).retry == Retry(5, 0, 1.0, 9, 1.0, ("A",), ("B", "C"))


PARALLEL = graph(
    {"id": "a", "type": "PARALLEL", "branches": ["p", "c"], "next": "j"},
    {"id": "p", "type": "PARALLEL", "branches": ["x", "y"], "next": "k"},
    {"id": "x", "action": "x", "next": "k"},
    {"id": "y", "action": "y", "next": "k", "output": {"y": "$.result"}},
    {"id": "k", "type": "JOIN", "next": "j"},
    {"id": "c", "type": "CHOICE", "default": "d",
     "choices": [{"when": {"path": "$.input.n", "greaterThan": 3}, "next": "j"},
                 {"when": {"any": [{"path": "$.previous", "in": [1, "x"]}]}, "next": "e"}]},
    {"id": "d", "action": "d", "next": "m"},
    {"id": "e", "action": "e", "next": "m"},
    {"id": "m", "action": "m", "next": "j", "input": "$.previous"},
    {"id": "j", "type": "JOIN", "next": "z"},
    {"id": "z", "action": "z", "input": ["$.steps.x", "$.steps.k.y", "$.steps.j.c"],
     "retry": {"maxAttempts": 1}, "deadlineMs": 5},
)  # fmt: skip


@pytest.mark.parametrize("written", [SEED_GRAPH, json.loads(SEED_LIST), PARALLEL, one(input=None)])
def test_what_was_read_can_be_written_and_read_again(written: Any) -> None:
    made = read_object(written)
    assert read_object(as_written(made)) == made
    assert read_definition(json.dumps(as_written(made), indent=1)) == made
    assert msgspec.json.decode(msgspec.json.encode(made), type=Definition) == made


def test_a_version_is_read_over() -> None:
    assert read_object(one() | {"version": 7}).version == 1


def test_yaml_reads_as_json_does() -> None:
    text = """
    # a comment
    id: w
    startAt: a
    steps:
      - id: a
        action: no          # a text here, as in YAML 1.2
        retry: {on: [Throttled], jitter: 0.5, maxAttempts: 3}
        input: {yes: yes, n: 010, f: 1.5e3, t: true, z: ~, q: "true", s: 2020-01-01}
        output: |
          two
          lines
    """
    step = read_definition(text).steps["a"]
    assert step.input == {
        "yes": "yes", "n": 10, "f": 1500.0, "t": True, "z": None, "q": "true", "s": "2020-01-01",
    }  # fmt: skip
    assert (step.action, step.output, step.retry.on) == ("no", "two\nlines\n", ("Throttled",))


@pytest.mark.parametrize("start", ["", "\ufeff", "\n\t "])
def test_json_is_known_by_its_first_character(start: str) -> None:
    assert read_definition((start + json.dumps(one())).encode()).id == "w"


def test_json_may_have_tabs_escapes_and_any_letters() -> None:
    text = (
        '{"id":\t"w",\r\n"name": "\\u00fc\\ud83d\\ude00ß \\"q\\" \\\\", "steps":[{"action":"a"}]}'
    )
    assert read_definition(text).name == 'ü😀ß "q" \\'


# What is wrong, one thing at a time: the field, and words of the message

WRONG: list[tuple[Any, str, str]] = [
    ([], "", "no object"),
    (None, "", "no object"),
    ("x", "", "no object"),
    ({}, "", "`id` is missing"),
    ({"id": "w"}, "", "`steps` is missing"),
    ({"id": "w", "steps": {}}, "steps", "no list"),
    ({"id": "w", "steps": []}, "steps", "0 items"),
    ({"id": "w", "steps": [{"action": "a"}] * 1_001}, "steps", "1001 items"),
    ({"id": "w", "steps": [1]}, "steps[0]", "no object"),
    ({"id": "", "steps": [{"action": "a"}]}, "id", "won't do"),
    ({"id": 7, "steps": [{"action": "a"}]}, "id", "no text"),
    ({"id": "a b", "steps": [{"action": "a"}]}, "id", "letters"),
    ({"id": "a:b", "steps": [{"action": "a"}]}, "id", "letters"),
    ({"id": "x" * 101, "steps": [{"action": "a"}]}, "id", "at most 100"),
    (one() | {"name": "a\nb"}, "name", "won't do"),
    (one() | {"step": []}, "step", "did you mean steps?"),
    (one() | {"version": "1"}, "version", "whole number"),
    (one(typ="TASK"), "steps[0].typ", "did you mean type?"),
    (one(type="task"), "steps[0].type", "did you mean TASK?"),
    (one(type=1), "steps[0].type", "won't do"),
    (one(action="provider:AWS"), "steps[0].action", "letters"),
    (one(action=None), "steps[0]", "needs an `action`"),
    (one(provider="AWS", functionId="f"), "steps[0].provider", "not both"),
    (one(functionId="f"), "steps[0].functionId", "goes with a `provider`"),
    (one(region="eu"), "steps[0].region", "goes with a `provider`"),
    (one(fallbackProvider="GCP"), "steps[0].fallbackProvider", "goes with a `provider`"),
    (graph({"id": "a", "provider": "AWS"}), "steps[0]", "`functionId` is missing"),
    (graph({"id": "a", "provider": "AWS", "functionId": ""}), "steps[0].functionId", "won't do"),
    (graph({"id": "a", "provider": "AWS", "functionId": "f", "fallbackProvider": "AWS"}),
     "steps[0].fallbackProvider", "comes before"),
    (graph({"id": "a", "provider": "AWS", "functionId": "f", "fallbackProvider": ["GCP", "GCP"]}),
     "steps[0].fallbackProvider[1]", "comes before"),
    (graph({"id": "a", "provider": "AWS", "functionId": "f", "fallbackProvider": 3}),
     "steps[0].fallbackProvider", "won't do"),
    (graph({"id": "a", "provider": "AWS", "functionId": "f", "fallbackProvider": []}),
     "steps[0].fallbackProvider", "0 items"),
    (graph({"id": "a", "provider": "AWS", "functionId": "f",
            "fallbackProvider": [f"P{n}" for n in range(10)]}),
     "steps[0].fallbackProvider", "10 items"),
    (graph({"id": "a", "provider": "AWS", "functionId": "f", "fallbackProvider": [["GCP"]]}),
     "steps[0].fallbackProvider[0]", "won't do"),
    (graph({"id": "a", "provider": "AWS", "functionId": "f", "fallbackProvider": {"region": "e"}}),
     "steps[0].fallbackProvider", "`provider` is missing"),
    (one(retry=3), "steps[0].retry", "no object"),
    (one(retry={"maxAttempts": 0}), "steps[0].retry.maxAttempts", "from 1 to 100"),
    (one(retry={"maxAttempts": 101}), "steps[0].retry.maxAttempts", "from 1 to 100"),
    (one(retry={"maxAttempts": 3.0}), "steps[0].retry.maxAttempts", "whole number"),
    (one(retry={"maxAttempts": True}), "steps[0].retry.maxAttempts", "whole number"),
    (one(retry={"maxAttempts": "3"}), "steps[0].retry.maxAttempts", "whole number"),
    (one(retry={"jitter": 1.1}), "steps[0].retry.jitter", "from 0 to 1"),
    (one(retry={"jitter": -0.1}), "steps[0].retry.jitter", "from 0 to 1"),
    (one(retry={"jitter": True}), "steps[0].retry.jitter", "from 0 to 1"),
    (one(retry={"multiplier": 0.5}), "steps[0].retry.multiplier", "from 1 to 100"),
    (one(retry={"multiplier": 101}), "steps[0].retry.multiplier", "from 1 to 100"),
    (one(retry={"initialDelayMs": -1}), "steps[0].retry.initialDelayMs", "from 0"),
    (one(retry={"initialDelayMs": 90_000}), "steps[0].retry.initialDelayMs", "maxDelayMs (60000)"),
    (one(retry={"maxDelayMs": 10**12}), "steps[0].retry.maxDelayMs", "from 0"),
    (one(retry={"on": "A"}), "steps[0].retry.on", "no list"),
    (one(retry={"on": [1]}), "steps[0].retry.on[0]", "no text"),
    (one(retry={"notOn": ["A"] * 51}), "steps[0].retry.notOn", "51 items"),
    (one(retry={"attempts": 3}), "steps[0].retry.attempts", "did you mean maxAttempts?"),
    (one(timeoutMs=0), "steps[0].timeoutMs", "from 1"),
    (one(timeoutMs=10**10), "steps[0].timeoutMs", "from 1"),
    (one(deadlineMs=0), "steps[0].deadlineMs", "from 1"),
    (one(stepIndex=-1), "steps[0].stepIndex", "from 0"),
    ({"id": "w", "steps": [{"action": "a", "stepIndex": 0}, {"action": "b"}]},
     "steps[1]", "give it to all or to none"),
    ({"id": "w", "steps": [{"action": "a", "stepIndex": 0}, {"action": "b", "stepIndex": 0}]},
     "steps[1].stepIndex", "steps[0] has stepIndex 0"),
    ({"id": "w", "steps": [{"id": "a", "action": "x"}, {"id": "a", "action": "y"}]},
     "steps[1].id", "steps[0] is called 'a'"),
    (graph({"provider": "AWS", "functionId": "f"}), "steps[0]", "`id` is missing"),
    (one(choices=[]), "steps[0].choices", "0 items"),
    (one(branches=["a"]), "steps[0].branches", "a TASK has no `branches`"),
    (one(default="a"), "steps[0].default", "a TASK has no `default`"),
    (one(input={"x": ["$.inputs"]}), "steps[0].input.x[0]", "did you mean input?"),
    (one(input="$.result"), "steps[0].input", "not known here"),
    (one(input="$.a..b"), "steps[0].input", "no path"),
    (one(input="$.input[1"), "steps[0].input", "no path"),
    (one(input="$.input[-1]"), "steps[0].input", "no path"),
    (one(input="$.input." + "x" * 1_000), "steps[0].input", "no path"),
    (one(input="$.steps"), "steps[0].input", "name a step"),
    (one(input="$.steps[0]"), "steps[0].input", "name a step"),
    (one(input="$.steps.b"), "steps[0].input", "there is no step 'b'"),
    (one(input="$.steps.a"), "steps[0].input", "may not have run"),
    (one(output="$.steps.a"), "steps[0].output", "may not have run"),
    (one(input=float("nan")), "steps[0].input", "no finite"),
    (one(input=2**64), "steps[0].input", "64 bits"),
    (one(input="\ud800"), "steps[0].input", "surrogate"),
    (one(input={1: 2}), "steps[0].input", "cannot be a name"),
    (one(input=(1, 2)), "steps[0].input", "no JSON"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "field", "words"), WRONG)
def test_what_is_wrong_is_told_with_its_field(value: Any, field: str, words: str) -> None:
    found = told(value)
    assert [one for one in found if one[0] == field and words in one[1]], found


def way(when: Any) -> dict[str, Any]:
    return graph(
        {"id": "a", "type": "CHOICE", "choices": [{"when": when, "next": "b"}]},
        {"id": "b", "action": "b"},
    )


WHEN = "steps[0].choices[0].when"
CONDITIONS: list[tuple[Any, str, str]] = [
    (float("nan"), WHEN, "no finite"),
    (3, WHEN, "no condition"),
    ({}, f"{WHEN}.path", "write a path"),
    ({"path": "$.input"}, WHEN, "compares nothing"),
    ({"path": "input", "equals": 1}, f"{WHEN}.path", "no path"),
    ({"path": 3, "equals": 1}, f"{WHEN}.path", "write a path"),
    ({"path": "$.inputs", "equals": 1}, f"{WHEN}.path", "did you mean input?"),
    ({"path": "$.steps.b", "exists": True}, f"{WHEN}.path", "may not have run"),
    ({"path": "$.input", "equal": 1}, f"{WHEN}.equal", "did you mean equals?"),
    ({"path": "$.input", "lessThan": [1]}, f"{WHEN}.lessThan", "no order"),
    ({"path": "$.input", "greaterThan": True}, f"{WHEN}.greaterThan", "no order"),
    ({"path": "$.input", "in": 3}, f"{WHEN}.in", "list of 1"),
    ({"path": "$.input", "in": []}, f"{WHEN}.in", "list of 1"),
    ({"path": "$.input", "exists": 1}, f"{WHEN}.exists", "true or false"),
    ({"path": "$.input", "exists": False, "equals": 1}, f"{WHEN}.exists", "alone"),
    ({"all": []}, f"{WHEN}.all", "1 to 100"),
    ({"any": {}}, f"{WHEN}.any", "1 to 100"),
    ({"all": [1]}, f"{WHEN}.all[0]", "no condition"),
    ({"not": []}, f"{WHEN}.not", "no condition"),
    ({"not": {"path": "$.input"}}, f"{WHEN}.not", "compares nothing"),
    ({"all": [{"path": "$.input", "equals": 1}], "path": "$.input"}, WHEN, "stands alone"),
]


@pytest.mark.parametrize(("when", "field", "words"), CONDITIONS)
def test_a_wrong_condition_is_told_with_its_field(when: Any, field: str, words: str) -> None:
    found = told(way(when))
    assert [one for one in found if one[0] == field and words in one[1]], found


@pytest.mark.parametrize(
    "when",
    [
        {"path": "$.input", "equals": None},
        {"path": "$.input.a[0]", "notEquals": {"x": [1]}},
        {"path": '$.input["a b"]', "lessThan": "x", "greaterThanOrEqual": "a"},
        {"path": "$.previous", "exists": False},
        {"path": "$.previous", "exists": True, "in": [1, "a", None]},
        {"not": {"all": [{"any": [{"path": "$.input", "greaterThan": 1.5}]}]}},
    ],
)
def test_a_right_condition_is_taken(when: Any) -> None:
    assert told(way(when)) == []


def test_everything_is_told_at_once_in_the_order_of_lines() -> None:
    text = """\
id: "x y"
startAt: a
steps:
  - {id: a, action: A, next: bb, retry: {jitter: 2, maxAttemps: 3}}
  - id: b
    type: task
    input: {x: "$.steps.c.y", z: $.foo}
  - {id: c, action: C, next: d}
  - {id: d, action: D, next: c}
  - {id: c, action: C}
  - [a]
more: 1
"""
    with pytest.raises(DefinitionRefused) as caught:
        read_definition(text)
    found = [(one.line, one.column, one.field) for one in caught.value.problems]
    assert found == [
        (1, 5, "id"),
        (4, 30, "steps[0].next"),
        (4, 50, "steps[0].retry.jitter"),
        (4, 53, "steps[0].retry.maxAttemps"),
        (6, 11, "steps[1].type"),
        (10, 10, "steps[4].id"),
        (11, 5, "steps[5]"),
        (12, 1, "more"),
    ]
    assert str(caught.value).startswith("line 1, column 5: id: 'x y' won't do")
    assert str(caught.value).endswith("(and 7 more)")
    assert caught.value.exit_status == 2


def test_lines_and_columns_of_json() -> None:
    text = (
        '{ "id": "w",\n'
        '  "steps": [\n'
        '    {"action": "a", "retry": {"on": ["x", 7]}},\n'
        '    {"action": "b", "tiemoutMs": 1,\n'
        '     "inputs": {"{": "}", "\\"": [1, [2, {}]]}, "timeoutMs": -1}\n'
        "  ]\n"
        "}"
    )
    with pytest.raises(DefinitionRefused) as caught:
        read_definition(text)
    assert [(one.line, one.column, one.field) for one in caught.value.problems] == [
        (3, 43, "steps[0].retry.on[1]"),
        (4, 21, "steps[1].tiemoutMs"),
        (5, 6, "steps[1].inputs"),
        (5, 61, "steps[1].timeoutMs"),
    ]


def test_a_workflow_within_a_body_is_told_with_its_path_and_lines() -> None:
    body = b'{"input": {"id": 1},\n "workflow": {"id": "w",\n  "steps": [{"action": 7}]}}'
    with pytest.raises(DefinitionRefused) as caught:
        read_object(json.loads(body)["workflow"], "workflow", body)
    (problem,) = caught.value.problems
    assert (problem.line, problem.column, problem.field) == (3, 24, "workflow.steps[0].action")
    assert told({"id": "w", "steps": [{"action": 7}]})[0][0] == "steps[0].action"


def test_of_many_problems_the_first_are_told_and_the_rest_counted() -> None:
    steps = [{"action": "a", "nxt": "q", "next": f"s{n}"} for n in range(1_000)]
    with pytest.raises(DefinitionRefused) as caught:
        read_object({"id": "w", "steps": steps})
    assert len(caught.value.problems) == PROBLEMS_MAX
    assert caught.value.left_out == 2_000 - PROBLEMS_MAX


def test_a_large_definition_is_refused_whatever_it_came_as() -> None:
    big = one(input="x" * 600_000)
    with pytest.raises(DefinitionRefused, match="at most 524288 bytes"):
        read_object(big)
    with pytest.raises(DefinitionRefused, match="at most 524288 bytes"):
        read_definition(json.dumps(big))


@pytest.mark.parametrize("next_", [7, "a b", ["b"]])
def test_a_next_that_cannot_be_read_is_told_once_and_not_followed(next_: Any) -> None:
    found = told(graph({"id": "a", "action": "a", "next": next_}, {"id": "b", "action": "b"}))
    assert [field for field, _ in found] == ["steps[0].next"]  # and not that b is out of reach


def test_what_a_message_repeats_is_short_and_harmless() -> None:
    for _, message in told(one(id="\x1b[31m" + "x" * 10_000, nme="y" * 10_000, type=["z"] * 9_999)):
        assert len(message) < 500 and message.isprintable()
