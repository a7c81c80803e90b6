"""Runs and their events as lines for people. Pure."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

Event = Mapping[str, Any]

VALUE_CHARACTERS_MAX = 80
"""Of a value on a line."""

ENDS = ("run.completed", "run.failed", "run.cancelled")
"""Kinds of events after which nothing happens by itself."""


def line(event: Event) -> str:
    """An event on a line."""
    at_ms = event["atMs"]
    say = _SAYINGS.get(event["kind"])
    said = event["kind"] if say is None else say(event)
    at = datetime.fromtimestamp(at_ms // 1_000, UTC)
    # The end of a run names the step that failed, which has said so itself.
    where = "-" if event["kind"].startswith("run.") else event.get("step") or "-"
    return f"{at:%H:%M:%S}.{at_ms % 1_000:03d}  {where:<16}  {said}".rstrip()


def value(value: Any) -> str:
    """A value, cut to what fits on a line."""
    text = json.dumps(value, ensure_ascii=False)
    fits = len(text) <= VALUE_CHARACTERS_MAX
    return text if fits else f"{text[: VALUE_CHARACTERS_MAX - 1]}…"


def run(shown: Mapping[str, Any]) -> str:
    """A run, as `/workflow/run/{runId}` has it."""
    lines = [
        f"run {shown['runId']} of {shown['workflowId']} (version {shown['version']}): "
        f"{shown['status']}",
        f"  triggered {shown['startTime']}"
        + (f", ended {shown['endTime']}" if shown["endTime"] else ""),
        f"  input  {value(shown['input'])}",
    ]
    if shown["status"] == "Completed":
        lines.append(f"  output {value(shown['finalOutput'])}")
    if shown["error"]:
        lines.append(f"  error  {failure(shown['error'])}")
    lines += [_step(one) for one in shown["stepResults"]]
    return "\n".join(lines)


def _step(one: Mapping[str, Any]) -> str:
    attempts = one["attempts"]
    parts = [f"  {one['stepIndex'] + 1:>3}  {one['stepId']:<16}  {one['status']:<9}"]
    if attempts > 1:
        parts.append(f"{attempts} attempts")
    if one["provider"]:
        parts.append(f"at {one['provider']}")
    if one["status"] == "Completed":
        parts.append(value(one["output"]))
    elif one["error"]:
        parts.append(failure(one["error"]))
    if one["worker"]:
        parts.append(f"with worker {one['worker']}")
    if one["notice"]:
        parts.append(one["notice"])
    return "  ".join(parts).rstrip()


def failure(one: Mapping[str, Any]) -> str:
    """`CODE: MESSAGE`."""
    message = " ".join(one.get("message", "").split())
    return f"{one['code']}: {message[: VALUE_CHARACTERS_MAX * 3]}" if message else str(one["code"])


def _started(event: Event) -> str:
    where = f"for a worker of {event.get('action')}"
    if event.get("provider"):
        region = f"/{event['region']}" if event.get("region") else ""
        where = f"at {event['provider']}{region}, {event.get('functionId')}"
    return f"attempt {event['attempt']} {where}"


_SAYINGS: Mapping[str, Callable[[Event], str]] = {
    "run.triggered": lambda one: f"triggered with {value(one.get('input'))}",
    "run.started": lambda one: "started",
    "step.started": lambda one: f"began with {value(one.get('input'))}",
    "attempt.started": _started,
    "attempt.failed": lambda one: f"attempt {one['attempt']} failed: {failure(one['failure'])}",
    "attempt.late": lambda one: f"attempt {one['attempt']} was answered too late: {one['status']}",
    "retry.scheduled": lambda one: f"attempt {one['attempt']} follows in {one['delayMs']} ms",
    "step.failover": lambda one: f"goes on at {one['taken']} instead of {one['left']}",
    "step.completed": lambda one: f"done: {value(one.get('output'))}",
    "step.failed": lambda one: f"failed: {failure(one['failure'])}",
    "choice.taken": lambda one: f"goes on with {one['next']}",
    "parallel.started": lambda one: f"goes on with {', '.join(one['branches'])} together",
    "branch.joined": lambda one: f"{one['branch']} has come",
    "join.completed": lambda one: "all have come",
    "run.completed": lambda one: f"completed: {value(one.get('output'))}",
    "run.failed": lambda one: f"failed: {failure(one['failure'])}",
    "run.cancelled": lambda one: f"cancelled: {one.get('reason') or 'no reason given'}",
    "run.retried": lambda one: f"goes on with {', '.join(one['steps'])}",
}
"""What is said of each kind of event; of others, their name."""
