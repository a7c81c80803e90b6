"""The pages about workflows that are made from the model: of definitions and of events.

The gateway's `reference` writes them, and a test holds that none of them falls behind.
"""

import inspect
import json
import re
from pathlib import Path
from typing import Any

import msgspec

from gossamer_gateway.runs.model import deciding, fields, texts
from gossamer_gateway.runs.model import events as e
from gossamer_gateway.runs.model.conditions import COMPARISONS
from gossamer_gateway.runs.model.deciding import Answer
from gossamer_gateway.runs.model.definition import STEPS_MAX
from gossamer_gateway.runs.model.fields import (
    BRANCH,
    DEFINITION,
    FIELDS_OF,
    PLACE,
    RETRY,
    STEP,
    Record,
    Row,
)
from gossamer_gateway.runs.model.flow import Flow
from gossamer_gateway.runs.model.problems import PROBLEMS_MAX
from gossamer_gateway.runs.model.reading import read_definition
from gossamer_gateway.runs.model.run import HEARD_MAX, evolve
from gossamer_gateway.runs.model.values import DEPTH_MAX, VALUE_BYTES_MAX

DEFINITIONS_PAGE = Path("docs/reference/workflow-definitions.md")
DEFINITIONS_SCHEMA = Path("docs/reference/workflow-definitions.schema.json")
EVENTS_PAGE = Path("docs/reference/workflow-events.md")
EVENTS_SCHEMA = Path("docs/reference/workflow-events.schema.json")

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_LIST = """\
id: order
steps:
  - action: reserve
  - action: charge
    retry: {maxAttempts: 5, notOn: [CardDeclined]}
  - action: ship
    input: {order: $.input, receipt: $.steps.charge.receipt}
"""

_GRAPH = """\
id: payment
startAt: score
steps:
  - id: score
    action: score
    next: risky
  - id: risky
    type: CHOICE
    choices:
      - when: {path: $.previous.risk, greaterThan: 0.8}
        next: review
    default: charge
  - id: review
    action: review
    timeoutMs: 86400000
    next: charge
  - id: charge
    type: TASK
    provider: AWS
    functionId: charge-card
    region: eu-central-1
    fallbackProvider: [GCP, {provider: Azure, functionId: charge}]
    next: tell
  - id: tell
    type: PARALLEL
    branches: [mail, book]
    next: told
  - {id: mail, action: mail, next: told}
  - {id: book, action: book, next: told}
  - {id: told, type: JOIN}
"""


_CONDITION = """\
{"all": [{"path": "$.previous.amount", "greaterThan": 100, "lessThan": 500},
         {"not": {"path": "$.input.country", "in": ["DE", "FR"]}}]}"""


def pages(made_by: str) -> dict[Path, str]:
    """The text of each made file, by its path in a checkout. `made_by`: the module to run."""
    made = f"<!-- Made by `python -m {made_by}` from gossamer_gateway.runs.model. -->\n\n"
    return {
        DEFINITIONS_PAGE: made + _definitions(),
        DEFINITIONS_SCHEMA: _json(definitions_schema()) + "\n",
        EVENTS_PAGE: made + _events(),
        EVENTS_SCHEMA: _json(events_schema()) + "\n",
    }


def definitions_schema() -> dict[str, Any]:
    """JSON Schema of what an author writes; how steps hang together is more than it can say."""
    return {
        "$schema": DIALECT,
        "title": "A workflow of Gossamer",
        **DEFINITION.schema(),
        "$defs": {"Condition": fields.CONDITION_SCHEMA},
    }


def events_schema() -> dict[str, Any]:
    """JSON Schema of an event."""
    (event,), parts = msgspec.json.schema_components([e.AnyEvent])
    for part in parts.values():
        text, _ = _told(part["description"])
        part["description"] = text
    return {"$schema": DIALECT, "title": "An event of a run", **event, "$defs": parts}


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


# Definitions


def _definitions() -> str:
    for text in (_LIST, _GRAPH):
        read_definition(text)  # an example that is none would be a poor one
    kinds = "\n".join(
        f"| `{kind.value}` | {', '.join(f'`{name}`' for name in names if name not in _COMMON)} |"
        for kind, names in FIELDS_OF.items()
    )
    comparisons = ", ".join(f"`{name}`" for name in ("exists", *COMPARISONS))
    return f"""\
# Definitions of workflows

A workflow is written as JSON, or as YAML with what JSON has as well: no anchors, no tags, and of
plain words only `true`, `false` and `null` mean something. A text that begins with `{{` is JSON.
What workflows do is told in [workflows](../explanation/workflows.md). Editors that know JSON
Schema find one in [workflow-definitions.schema.json](workflow-definitions.schema.json); it cannot
say how steps hang together.

Without `startAt` the steps are a list, done one after the other:

```yaml
{_LIST}```

With `startAt` they are a graph. Each step names the `next` one; the run ends after one that names
none.

```yaml
{_GRAPH}```

A definition that is refused names up to {PROBLEMS_MAX} problems at once, each with line, column,
field and what to write instead. A field that is `null` counts as left out, except `input` and
`output`, where it is a value, and `next`, where it is the end.

## The workflow

{_table(DEFINITION)}

## A step: `steps[]`

{_table(STEP)}

Beside `id`, `type` and `stepIndex`, a step has the fields of its type, and no others:

| Type | Fields |
|---|---|
{kinds}

A task has an `action`, which is the name of the queue that its workers take jobs of, or a
`provider` with a `functionId`.

## A retry policy: `steps[].retry`

The delay before attempt *n* + 1 is `initialDelayMs` · `multiplier`<sup>*n* - 1</sup>, at most
`maxDelayMs`, less a part drawn at random of up to `jitter` of it.

{_table(RETRY)}

## A place: `steps[].fallbackProvider`

{_table(PLACE)}

## A way of a choice: `steps[].choices[]`

{_table(BRANCH)}

A condition compares what is at a path with a value, and `all`, `any` and `not` put conditions
together:

```json
{_CONDITION}
```

The comparisons are {comparisons}. Several in one object all have to hold. Texts are compared with
texts and numbers with numbers; between others only `equals`, `notEquals` and `in` can hold. Where
a path leads nowhere, `"exists": false` holds and nothing else, `notEquals` neither.

## Templates: `input` and `output`

A template is any JSON. A text in it that begins with `$.` is a path and stands for the value
there; one that begins with `$$.` is that text with one `$` less. Names of other characters than
letters, digits, `_` and `-` are written in quotes, and positions in brackets:
`$.steps["com.acme.charge"].receipts[0].id`. At its root are

| Root | What it is |
|---|---|
| `$.input` | what the run was triggered with |
| `$.previous` | what came along: the run's input at first, then what the step before gave |
| `$.steps.ID` | what a step gave; only of one that has run for certain, on whichever way |
| `$.result` | in `output` only: what was answered |

A path that leads nowhere fails the step, so that a typing mistake shows in the first run.

## How steps hang together

- There are no cycles, and each step can be reached from the first.
- A parallel names its join as its `next`, and a join joins one parallel. In a branch the last step
  names the join as its `next`.
- Branches have no step in common. A way leads into a branch only from its parallel, and out of it
  only to its join. Parallels within branches have joins within the same branch.
- A join gives an object of what its branches gave, by the id of each branch's first step.

## Bounds

| What | At most |
|---|---|
| A definition | {texts.TEXT_BYTES_MAX} bytes |
| Steps | {STEPS_MAX} |
| The nesting of a definition and of values | {DEPTH_MAX} levels |
| An input, a payload, an output, as JSON | {VALUE_BYTES_MAX} bytes |
| Whole numbers in them | 64 bits |
"""


_COMMON = ("id", "type", "stepIndex")


def _table(record: Record) -> str:
    rows = ["| Field | Write | Default | Meaning |", "|---|---|---|---|"]
    for row in record.rows:
        default = "**required**" if row.default is None else row.default
        cells = (f"`{row.name}`", _words(row), default, row.meaning)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def _words(row: Row) -> str:
    return "see below" if isinstance(row.kind, Record) else row.kind.words()


# Events


def _events() -> str:
    (event,), parts = msgspec.json.schema_components([e.AnyEvent])
    kinds = {ref.rsplit("/", 1)[1]: kind for kind, ref in event["discriminator"]["mapping"].items()}
    sections = []
    for name, kind in kinds.items():
        text, attributes = _told(inspect.getdoc(getattr(e, name)) or "")
        rows = _rows(parts[name], attributes, leave_out=("kind", "run", "seq", "atMs"))
        sections.append(f"## `{kind}`\n\n{text}\n\n{rows}".rstrip())
    text, attributes = _told(inspect.getdoc(e.Failure) or "")
    failure = f"## A failure\n\n{text}\n\n{_rows(parts['Failure'], attributes)}"
    return f"""\
# Events of runs

Everything that happens to a run is an event, written once and never changed; the run's state is
what they make together. The same JSON is stored, published to Kafka (topic `workflow-events`, key:
the run's id) and sent to browsers. [workflow-events.schema.json](workflow-events.schema.json) is
its JSON Schema.

Each event has

| Field | Type | Meaning |
|---|---|---|
| `kind` | text | What happened; one of the kinds below. |
| `run` | text | Whose it is. |
| `seq` | whole number | Its number in the run: from 1, without a gap. |
| `atMs` | whole number | When, in milliseconds since 1970. |

`run` and `seq` name an event for ever: who follows events drops those that it has seen. Within a
run they come in the order of `seq`; between runs there is no order. A reader ignores fields and
kinds that it does not know. A field that has its default is left out.

A run has at most {e.EVENTS_MAX} events. One that comes there fails, with the code `TooManyEvents`.

## An example

```yaml
{_LIST}```

A run of it in which nobody answered the first attempt at `charge` in time, and its answer came
late:

```json
{_example()}
```

{failure}

At most: {e.CODE_CHARACTERS_MAX} characters of `code`, {e.MESSAGE_CHARACTERS_MAX} of `message`,
{e.DETAILS_CHARACTERS_MAX} of `details`. Codes that come from here:

| Code | What happened |
|---|---|
| `Timeout` | Nobody answered an attempt within `timeoutMs`. |
| `DeadlineExceeded` | The step's `deadlineMs` leaves no time for another attempt. |
| `MappingFailed` | A path of a template leads nowhere. |
| `NoChoice` | No condition of a choice holds, and it has no default. |
| `TooLarge` | A payload, an output or a join's value has more than {VALUE_BYTES_MAX} bytes. |
| `BadValue` | It is no JSON, nests deeper than {DEPTH_MAX} levels, or has a boundless number. |
| `TooManyEvents` | The run is full. |

{(chr(10) * 2).join(sections)}

## Folding

A run is pending after `run.triggered`, running after `run.started`, and over after
`run.completed`, `run.failed` or `run.cancelled`. After its end come only `attempt.late`, at most
{deciding.LATE_MAX} in a run, and `run.retried`, after which a failed run goes on: running, or
pending where it had not started, or its failure's `blame` was `engine`. A step begins
with `step.started`; the attempt at work is the last one of `attempt.started`, until
`attempt.failed` or `step.completed` of the same number. Answers to the last {HEARD_MAX} attempts
of a step are told apart from repetitions; older ones count as repeated.
"""


def _rows(part: dict[str, Any], attributes: dict[str, str], leave_out: tuple[str, ...] = ()) -> str:
    rows = ["| Field | Type | Default | Meaning |", "|---|---|---|---|"]
    for name, kind in part["properties"].items():
        if name in leave_out:
            continue
        default = "**required**" if name in part["required"] else f"`{json.dumps(kind['default'])}`"
        meaning = attributes.get(name) or _MEANINGS.get(name, "")
        rows.append(f"| `{name}` | {_type(kind)} | {default} | {meaning} |")
    return "\n".join(rows) if len(rows) > 2 else ""


_MEANINGS = {
    "step": "The step's id.",
    "attempt": "The number of the attempt in the step.",
    "failure": "Why.",
    "input": "What it gets.",
    "output": "What it gave.",
    "value": "What came along.",
    "workflow": "The id of its definition.",
    "version": "The version of its definition.",
    "provider": "The cloud, of a function.",
    "functionId": "The function there.",
    "region": "The region there.",
    "branch": "The id of the branch's first step.",
    "branches": "The ids of the branches' first steps.",
    "next": "The id of the step that follows.",
    "steps": "The ids of the steps that begin anew.",
    "delayMs": "Milliseconds until then.",
    "reason": "What they said.",
    "who": "Who it was.",
    "left": "Where the attempts failed.",
    "taken": "Where the next one is.",
    "key": "What the caller named.",
    "place": "What it is called there, or the position of the place.",
    "status": "`completed` or `failed`.",
    "executor": "`own` or `zeebe`.",
    "dueMs": "When, in milliseconds since 1970.",
}
"""Of fields about which the docstrings say nothing else."""

_TYPES = {"string": "text", "integer": "whole number", "boolean": "true or false", "null": "null"}


def _type(kind: dict[str, Any]) -> str:
    if "$ref" in kind:
        return "[a failure](#a-failure)"
    if "anyOf" in kind:
        return " or ".join(_type(one) for one in kind["anyOf"])
    if kind.get("type") == "array":
        return f"list of {_type(kind['items'])}"
    return _TYPES[kind["type"]] if "type" in kind else "any JSON"


def _told(docstring: str) -> tuple[str, dict[str, str]]:
    """What a docstring says, and what it says of each field, by the field's name in JSON."""
    text, _, block = inspect.cleandoc(docstring).partition("\n\nAttributes:\n")
    attributes: dict[str, str] = {}
    name = ""
    for line in block.splitlines():
        found = re.fullmatch(r"    (\w+): (.*)", line)
        if found:
            name = re.sub(r"_(\w)", lambda part: part[1].upper(), found[1])
            attributes[name] = found[2][0].upper() + found[2][1:]
        elif line.strip():
            attributes[name] += f" {line.strip()}"
    return " ".join(text.split()), attributes


def _example() -> str:
    """The events of a run, as they really come."""
    flow = Flow(read_definition(_LIST))
    events = deciding.trigger(flow, "5b0c", {"item": "lamp"}, 1_000_000, key="order-17")
    run = evolve(None, events[0])

    def take(more: list[e.Event]) -> None:
        nonlocal run
        for one in more:
            run = evolve(run, one)
            events.append(one)

    def answer(step: str, attempt: int, output: Any, at_ms: int) -> None:
        said = Answer(step, attempt, output)
        take(deciding.answer(flow, run, said, at_ms, lambda: 0.5))

    take(deciding.start(flow, run, 1_000_000))
    answer("reserve", 1, {"shelf": 7}, 1_000_040)
    take(deciding.due(flow, run, run.due_ms or 0, lambda: 0.5))
    take(deciding.due(flow, run, run.due_ms or 0, lambda: 0.5))
    answer("charge", 1, {"receipt": "r-1"}, 1_301_000)
    answer("charge", 2, {"receipt": "r-1"}, 1_301_200)
    answer("ship", 1, "sent", 1_301_300)
    return "\n".join(e.encode(one).decode() for one in events)
