"""Events as lines for people: each kind has its own, and none breaks a terminal."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from gossamer_gateway.runs import telling
from gossamer_gateway.runs.model import events as e

FAILURE = e.Failure("Broken", "no\nluck")

EVENTS: list[tuple[Callable[..., e.Event], tuple[Any, ...], str]] = [
    (e.RunTriggered, ("w", 1, "x" * 200), "triggered with"),
    (e.RunStarted, (), "started"),
    (e.StepStarted, ("s", 1), "began with 1"),
    (e.AttemptStarted, ("s", 2, 9, "a"), "attempt 2 for a worker of a"),
    (e.AttemptStarted, ("s", 2, 9, None, "AWS", "f", "eu"), "attempt 2 at AWS/eu, f"),
    (e.AttemptFailed, ("s", 1, FAILURE), "attempt 1 failed: Broken: no luck"),
    (e.AttemptLate, ("s", 1, "completed"), "attempt 1 was answered too late: completed"),
    (e.RetryScheduled, ("s", 2, 9, 500), "attempt 2 follows in 500 ms"),
    (e.FailedOver, ("s", 1, "AWS", "GCP"), "goes on at GCP instead of AWS"),
    (e.StepCompleted, ("s", 1, None), "done: null"),
    (e.StepFailed, ("s", FAILURE), "failed: Broken: no luck"),
    (e.ChoiceTaken, ("s", "t"), "goes on with t"),
    (e.ParallelStarted, ("s", ("a", "b")), "goes on with a, b together"),
    (e.BranchJoined, ("s", "a"), "a has come"),
    (e.JoinCompleted, ("s",), "all have come"),
    (e.RunCompleted, (1,), "completed: 1"),
    (e.RunFailed, (FAILURE,), "failed: Broken: no luck"),
    (e.RunCancelled, (), "cancelled: no reason given"),
    (e.RunRetried, (("a",),), "goes on with a"),
]


@pytest.mark.parametrize(("kind", "values", "said"), EVENTS)
def test_each_event_is_a_line(
    kind: Callable[..., e.Event], values: tuple[Any, ...], said: str
) -> None:
    event = json.loads(e.encode(kind("r", 1, 1_700_000_000_123, *values)))
    told = telling.line(event)
    assert told.startswith("22:13:20.123  ") and said in told and "\n" not in told
    assert len(told) < 160


def test_every_kind_of_event_is_told() -> None:
    kinds = {json.loads(e.encode(kind("r", 1, 1, *values)))["kind"] for kind, values, _ in EVENTS}
    assert kinds == {one.__struct_config__.tag for one in e.AnyEvent.__args__}
