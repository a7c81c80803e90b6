"""Conditions of choices: JSON, so that no language has to be learned or escaped. Pure.

`{"path": "$.previous.amount", "greaterThan": 100}` compares what is at a path with a value;
`{"all": […]}`, `{"any": […]}` and `{"not": …}` put conditions together. Texts compare with texts,
numbers with numbers; between others only `equals` and `notEquals` mean something. A path that leads
nowhere makes `exists` false and every other comparison false as well, `notEquals` too.
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any

from gossamer_gateway.runs.model.mapping import MappingFailed, find


def _same(left: Any, right: Any) -> bool:
    # True is 1 to Python, and to nobody else.
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(left[name], right[name]) for name in left)
    return bool(left == right)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _ordered(compare: Callable[[Any, Any], bool], left: Any, right: Any) -> bool:
    if isinstance(left, str) and isinstance(right, str):
        return compare(left, right)
    return _is_number(left) and _is_number(right) and compare(left, right)


COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "equals": _same,
    "notEquals": lambda left, right: not _same(left, right),
    "lessThan": lambda left, right: _ordered(operator.lt, left, right),
    "lessThanOrEqual": lambda left, right: _ordered(operator.le, left, right),
    "greaterThan": lambda left, right: _ordered(operator.gt, left, right),
    "greaterThanOrEqual": lambda left, right: _ordered(operator.ge, left, right),
    "in": lambda left, right: any(_same(left, one) for one in right),
}
TOGETHER = ("all", "any", "not")


def holds(condition: Mapping[str, Any], scope: Any) -> bool:
    """Whether a condition, checked by `reading`, holds."""
    if "all" in condition:
        return all(holds(one, scope) for one in condition["all"])
    if "any" in condition:
        return any(holds(one, scope) for one in condition["any"])
    if "not" in condition:
        return not holds(condition["not"], scope)
    try:
        value = find(condition["path"], scope)
    except MappingFailed:
        return condition.get("exists") is False
    if condition.get("exists") is False:
        return False
    return all(
        compare(value, condition[name])
        for name, compare in COMPARISONS.items()
        if name in condition
    )
