"""The `${…}` language answers as Camunda 7.24 did, and hostile text is refused in bounded time."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_gateway.embedded import expressions, values
from gossamer_gateway.embedded.expressions import Value, compile_expression
from gossamer_gateway.errors import ExpressionRefused, StepFailed

MEASURED: dict[str, Any] = json.loads(
    Path(__file__).with_name("expressions_camunda7.json").read_text()
)


class Variables:
    """A scope over plain values."""

    business_key = "bk2"
    instance_id = "i1"

    def __init__(self, **named: Value) -> None:
        self._named = named

    def lookup(self, name: str) -> Value:
        return self._named[name]


SCOPE = Variables(
    **{
        name: values.to_value(values.read_variable(name, wire))
        for name, wire in MEASURED["variables"].items()
    }
)

REFUSED_HERE = {
    "arithmetic": ["+", "*", "-", "%", "mod", "div"],
    "calls": [".size()", ".prop(", ".length()"],
    "other members of execution": ["execution.id"],
}
"""What Camunda runs and this engine refuses when the process is deployed."""

MORE_HERE = {"${j.a == 1}": "true"}
"""Camunda's Json variables need calls to be looked into; here they are plain."""


def answer(text: str, scope: expressions.Scope = SCOPE) -> str:
    try:
        return str(compile_expression(text).is_true(scope)).lower()
    except ExpressionRefused:
        return "refused"
    except StepFailed:
        return "error"


def expected(text: str, measured: str) -> str:
    """Camunda's answer, or ours where this engine differs on purpose."""
    if text in MORE_HERE:
        return MORE_HERE[text]
    stripped = text.strip()
    if not stripped.startswith(("${", "#{")) or stripped.count("${") > 1:
        return "refused"  # Camunda takes it for a text, which fails whenever it is reached
    signed = stripped.replace("== -", "")
    if "'" not in stripped and any(f" {mark} " in signed for mark in REFUSED_HERE["arithmetic"]):
        return "refused"
    if "{-n" in stripped:
        return "refused"
    others = [*REFUSED_HERE["calls"], *REFUSED_HERE["other members of execution"]]
    return "refused" if any(part in stripped for part in others) else measured


@pytest.mark.parametrize(("text", "measured"), MEASURED["cases"])
def test_answers_as_camunda_7(text: str, measured: str) -> None:
    assert answer(text) == expected(text, measured)


def test_most_cases_are_the_same_as_camunda_7() -> None:
    different = [text for text, measured in MEASURED["cases"] if answer(text) != measured]
    assert len(different) < len(MEASURED["cases"]) / 6


numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)


@given(numbers, numbers)
def test_numbers_compare_as_numbers(left: float, right: float) -> None:
    scope = Variables(a=left, b=right)
    for operator, holds in {
        "<": left < right,
        "<=": left <= right,
        ">": left > right,
        ">=": left >= right,
        "==": left == right,
        "!=": left != right,
    }.items():
        assert compile_expression(f"${{a {operator} b}}").is_true(scope) is holds


@given(st.text(), st.text())
def test_texts_compare_as_texts(left: str, right: str) -> None:
    scope = Variables(a=left, b=right)
    less = compile_expression("${a < b}").is_true(scope)
    more = compile_expression("${a > b}").is_true(scope)
    same = compile_expression("${a == b}").is_true(scope)
    assert [less, more, same].count(True) == 1
    assert same is (left == right)


logic = st.recursive(
    st.sampled_from(["t", "f", "true", "false"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from([" and ", " or "]), inner).map(
            lambda parts: f"({''.join(parts)})"
        ),
        inner.map(lambda part: f"(not {part})"),
    ),
    max_leaves=12,
)


@given(logic)
def test_logic_is_the_logic_of_python(text: str) -> None:
    # The two languages share this part of their syntax, so Python is the reference.
    wanted = eval(text, {"t": True, "f": False, "true": True, "false": False})
    assert compile_expression(f"${{{text}}}").is_true(Variables(t=True, f=False)) is wanted


@given(st.text(max_size=60) | st.text("${}()[]!.,?:<>=&|'\"\\-01anotempy ", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    assert answer(f"${{{text}}}") in ("true", "false", "refused", "error")


@given(
    st.sampled_from(["==", "<", ">="]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
    st.none() | st.booleans() | st.integers() | st.text(),
)
def test_any_values_compare_or_fail_the_step(operator: str, left: Value, right: Value) -> None:
    outcome = answer(f"${{a {operator} b}}", Variables(a=left, b=right))
    assert outcome in ("true", "false", "error")


@pytest.mark.parametrize(
    "text",
    [
        "${" + "(" * 5_000 + "t" + ")" * 5_000 + "}",
        "${" + "(" * 300 + "t" + ")" * 300 + "}",
        "${" + "!" * 900 + "t}",
        "${" + "empty " * 299 + "t}",
        "${" + "t?t:" * 90 + "t}",
        "${" + "o[" * 99 + "1" + "]" * 99 + "}",
        "${" + "t == " * 400 + "t}",
        "${" + "9" * 1_900 + " == 1}",
    ],
)
def test_deep_or_long_text_is_refused(text: str) -> None:
    assert answer(text) == "refused"


@pytest.mark.parametrize("operator", ["==", "&&", "||", "."])
def test_the_longest_chain_stays_far_from_the_recursion_limit(operator: str) -> None:
    names = (expressions.TOKENS_MAX + 1) // 2
    compiled = compile_expression("${" + operator.join(["o"] * names) + "}")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(500)
    try:
        compiled.evaluate(Variables(o=None))
    finally:
        sys.setrecursionlimit(limit)


@pytest.mark.parametrize(
    "text",
    [
        "${__import__('os')}",
        "${execution.engineServices}",
        "${execution.getVariable(name)}",
        "${''.class.forName('x')}",
        "${o.getClass()}",
        "${a = 1}",
        "${a; b}",
    ],
)
def test_nothing_can_be_called_or_assigned(text: str) -> None:
    assert answer(text) == "refused"


def test_members_are_data_never_attributes() -> None:
    scope = Variables(o={"k": 1}, s="text")
    assert compile_expression("${o.__class__ == null}").is_true(scope)
    assert answer("${s.__class__ == null}", scope) == "error"


def test_a_refusal_says_what_stands_where() -> None:
    with pytest.raises(ExpressionRefused, match="'b' stands at position 4"):
        compile_expression("${a b}")
    with pytest.raises(ExpressionRefused, match="arithmetic"):
        compile_expression("${a + 1 > 2}")
    with pytest.raises(StepFailed, match="Cannot resolve identifier 'missing'"):
        compile_expression("${missing}").is_true(SCOPE)
