"""What a page makes of events is what the gateway makes of them: histories made at random, folded
by both, compared after each event."""

import json
import os
import random
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.runs.live_world import ORDER

from gossamer_gateway.runs.model import deciding
from gossamer_gateway.runs.model import events as e
from gossamer_gateway.runs.model.deciding import Answer
from gossamer_gateway.runs.model.definition import Branch, Definition, Step, StepType
from gossamer_gateway.runs.model.events import Event, Failure
from gossamer_gateway.runs.model.flow import Flow
from gossamer_gateway.runs.model.run import Run, evolve

HISTORIES = 200
WORDS_MAX = 60

CHOOSE = Definition(
    "choose",
    "which",
    {
        "which": Step(
            "which",
            StepType.CHOICE,
            choices=(Branch({"path": "$.input.a", "equals": 1}, "one"),),
            default="two",
        ),
        "one": Step("one", action="one", input={"a": "$.input.b"}, next="two"),
        "two": Step("two", action="two"),
    },
)

FAILURES = (
    Failure("Down", "away", "provider"),
    Failure("Mistake", "<b>no</b>", retryable=False, details="line 1\nline 2"),
    Failure("Again"),
)
GONE = Failure("InstanceGone", "somebody ended it", "engine", retryable=False)
GIVEN: tuple[Any, ...] = (None, {"a": 1}, {"a": 1, "b": [1, {"ü": "\u2028"}]}, "text", 0, False, [])


def history(seed: int) -> list[Event]:
    """A run to which anything may happen."""
    chance = random.Random(seed)
    flow = Flow(chance.choice((ORDER, ORDER, CHOOSE)))
    now_ms = 1_000_000
    key = chance.choice((None, "key"))
    events = deciding.trigger(flow, f"run-{seed}", chance.choice(GIVEN), now_ms, key=key)
    run = evolve(None, events[0])
    for _ in range(chance.randrange(WORDS_MAX)):
        now_ms += chance.choice((0, 1, 200, 70_000))
        said = chance.random()
        steps = [*run.steps] or ["none"]
        step = chance.choice(steps)
        state = run.steps.get(step)
        attempt = max(1, (state.attempt if state else 1) - (chance.random() < 0.2))
        failure = chance.choice(FAILURES) if chance.random() < 0.4 else None
        more: Iterable[Event]
        if run.started_ms is None and said < 0.9:
            more = deciding.start(flow, run, now_ms)
        elif said < 0.7:
            answer = Answer(step, attempt, chance.choice(GIVEN), failure)
            more = deciding.answer(flow, run, answer, now_ms, chance.random)
        elif said < 0.95:
            more = deciding.due(flow, run, now_ms, chance.random)
        elif said < 0.96:
            more = deciding.cancel(flow, run, now_ms, reason="enough", who="me")
        elif said < 0.97:
            more = deciding.broken(flow, run, GONE, now_ms)
        else:
            more = deciding.retry(flow, run, now_ms, who="me")
        for one in more:
            run = evolve(run, one)
            events.append(one)
    return events


def whole(value: Any) -> Any:
    """A state as the page has it: in camel case, and with all that is a default."""
    if isinstance(value, msgspec.Struct):
        names = zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True)
        return {encoded: whole(getattr(value, name)) for name, encoded in names}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {name: whole(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [whole(one) for one in value]
    return value


def test_the_pages_fold_is_the_gateways(tmp_path: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("NOT RUN: there is no node on this machine; Debian has a package.")
    vectors = []
    kinds = set()
    for seed in range(HISTORIES):
        run: Run | None = None
        events, states = history(seed), []
        for one in events:
            run = evolve(run, one)
            states.append(whole(run))
            kinds.add(type(one))
        told = [json.loads(e.encode(one)) for one in events]
        vectors.append({"seed": seed, "events": told, "states": states})
    assert kinds == set(e.AnyEvent.__args__), "histories have every kind"
    place = tmp_path / "vectors.json"
    place.write_text(json.dumps(vectors))
    done = subprocess.run(
        ["node", "--test", str(Path(__file__).with_name("live_projection.test.mjs"))],
        env={**os.environ, "VECTORS": str(place)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
