"""The JSON Schemas of definitions and events say yes to what is right."""

import json
import random
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from tests.runs.runs_world import definition_of
from tests.runs.test_runs_events import ALL_EVENTS
from tests.runs.test_runs_reading import PARALLEL, SEED_GRAPH, SEED_LIST, WRONG

from gossamer_gateway.runs import reference
from gossamer_gateway.runs.model import events as e
from gossamer_gateway.runs.model.reading import as_written

DEFINITIONS = Draft202012Validator(reference.definitions_schema())
EVENTS = Draft202012Validator(reference.events_schema())


def test_the_schemas_are_some() -> None:
    for schema in (reference.definitions_schema(), reference.events_schema()):
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("written", [json.loads(SEED_LIST), SEED_GRAPH, PARALLEL])
def test_right_definitions_conform(written: Any) -> None:
    DEFINITIONS.validate(written)


def test_definitions_at_random_conform() -> None:
    for seed in range(20):
        DEFINITIONS.validate(as_written(definition_of(random.Random(seed))))


@pytest.mark.parametrize(
    ("value", "words"),
    [(value, words) for value, field, words in WRONG if "from " in words or "items" in words],
)
def test_what_is_wrong_by_itself_does_not_conform(value: Any, words: str) -> None:
    assert not DEFINITIONS.is_valid(value)


@pytest.mark.parametrize("event", ALL_EVENTS, ids=lambda one: type(one).__name__)
def test_events_conform(event: e.AnyEvent) -> None:
    written = json.loads(e.encode(event))
    EVENTS.validate(written)
    assert not EVENTS.is_valid(written | {"kind": "run.exploded"})
    assert not EVENTS.is_valid(written | {"seq": "1"})


def test_each_field_of_each_event_is_explained() -> None:
    page = reference.pages("m")[reference.EVENTS_PAGE]
    assert "|  |" not in page
