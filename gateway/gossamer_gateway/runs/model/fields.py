"""The fields of a workflow as its author writes them: one table reads, refuses and explains. Pure.

Each row has a name, what may stand there, and what it means; from it come the reading with its
problems, the JSON Schema and the reference page. A problem never stops the reading of the rest. A
field that is `null` counts as left out, except where null means something (`input`, `output`, and
`next`, where it is the end).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gossamer_gateway.runs.model.conditions import COMPARISONS, TOGETHER
from gossamer_gateway.runs.model.definition import (
    ATTEMPTS_MAX,
    DEADLINE_MS_MAX,
    DELAY_MS_MAX,
    MULTIPLIER_MAX,
    PLACES_MAX,
    STEPS_MAX,
    TIMEOUT_MS_DEFAULT,
    TIMEOUT_MS_MAX,
    Retry,
    StepType,
)
from gossamer_gateway.runs.model.mapping import parts
from gossamer_gateway.runs.model.problems import Problems, shown
from gossamer_gateway.runs.model.values import Path

Schema = dict[str, Any]


class _Wrong:
    """Stands for a value that was refused."""


WRONG: Any = _Wrong()


class Read(dict[str, Any]):
    """The fields of an object that are there and right; `wrong`: those that were refused."""

    def __init__(self) -> None:
        super().__init__()
        self.wrong: set[str] = set()

    def lacks(self, name: str) -> bool:
        """Whether a field was left out: neither right nor wrong."""
        return name not in self and name not in self.wrong


class Kind:
    """What may stand at a field."""

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        """The value, or WRONG; then a problem tells why."""
        raise NotImplementedError

    def words(self) -> str:
        """What to write: `a whole number from 1 to 100`."""
        raise NotImplementedError

    def schema(self) -> Schema:
        """As JSON Schema."""
        raise NotImplementedError


@dataclass(frozen=True)
class Whole(Kind):
    """A whole number."""

    lowest: int
    highest: int

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if type(value) is int and self.lowest <= value <= self.highest:
            return value
        problems.add(path, f"{shown(value)} won't do; write {self.words()}")
        return WRONG

    def words(self) -> str:
        return f"a whole number from {self.lowest} to {self.highest}"

    def schema(self) -> Schema:
        return {"type": "integer", "minimum": self.lowest, "maximum": self.highest}


@dataclass(frozen=True)
class Number(Kind):
    """Any number, given as a float."""

    lowest: float
    highest: float

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if type(value) in (int, float) and self.lowest <= value <= self.highest:
            return float(value)
        problems.add(path, f"{shown(value)} won't do; write {self.words()}")
        return WRONG

    def words(self) -> str:
        return f"a number from {self.lowest:g} to {self.highest:g}"

    def schema(self) -> Schema:
        return {"type": "number", "minimum": self.lowest, "maximum": self.highest}


@dataclass(frozen=True)
class Text(Kind):
    """A text of printable characters; `pattern` is one of the whole, which `words_` says."""

    words_: str
    characters_max: int = 200
    pattern: str | None = None

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if type(value) is not str:
            problems.add(path, f"{shown(value)} is no text; write {self.words()}")
            return WRONG
        fits = self.pattern is None or re.fullmatch(self.pattern, value) is not None
        if not value or len(value) > self.characters_max or not value.isprintable() or not fits:
            problems.add(path, f"{shown(value)} won't do; write {self.words()}")
            return WRONG
        return value

    def words(self) -> str:
        return f"{self.words_}, at most {self.characters_max} characters"

    def schema(self) -> Schema:
        made: Schema = {"type": "string", "minLength": 1, "maxLength": self.characters_max}
        return made if self.pattern is None else made | {"pattern": f"^(?:{self.pattern})$"}


@dataclass(frozen=True)
class Word(Kind):
    """One of a few words."""

    known: tuple[str, ...]

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if type(value) is str and value in self.known:
            return value
        guess = problems.guess(value.upper(), self.known) if type(value) is str else ""
        problems.add(path, f"{shown(value)} won't do; write {self.words()}{guess}")
        return WRONG

    def words(self) -> str:
        return " or ".join(f"`{one}`" for one in self.known)

    def schema(self) -> Schema:
        return {"enum": list(self.known)}


@dataclass(frozen=True)
class Many(Kind):
    """A list; what in it is wrong stays in it as WRONG, so that positions are kept."""

    of: Kind
    noun: str
    items_min: int
    items_max: int

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if type(value) is not list:
            problems.add(path, f"{shown(value)} is no list; write {self.words()}")
            return WRONG
        if not self.items_min <= len(value) <= self.items_max:
            problems.add(path, f"this has {len(value)} items; write {self.words()}")
            return WRONG
        return [self.of.read(one, (*path, at), problems) for at, one in enumerate(value)]

    def words(self) -> str:
        return f"a list of {self.items_min} to {self.items_max} {self.noun}"

    def schema(self) -> Schema:
        bounds = {"minItems": self.items_min, "maxItems": self.items_max}
        return {"type": "array", "items": self.of.schema(), **bounds}


@dataclass(frozen=True)
class Template(Kind):
    """Any JSON, in which texts that begin with `$.` are paths. Their roots are judged later."""

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        return value

    def words(self) -> str:
        return "any JSON, with paths as `$.previous.amount`"

    def schema(self) -> Schema:
        return {}


@dataclass(frozen=True)
class Condition(Kind):
    """A condition of a choice; see `conditions`."""

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        before = problems.count
        self._judge(value, path, problems)
        return value if problems.count == before else WRONG

    def _judge(self, value: Any, path: Path, problems: Problems) -> None:
        if type(value) is not dict:
            problems.add(path, f"{shown(value)} is no condition; write {self.words()}")
            return
        together = [name for name in TOGETHER if name in value]
        if together:
            name = together[0]
            if len(value) > 1:
                problems.add(path, f"`{name}` stands alone in its object; put the rest into it")
            inner = value[name]
            if name == "not":
                self._judge(inner, (*path, name), problems)
            elif type(inner) is not list or not 1 <= len(inner) <= 100:
                problems.add((*path, name), "write a list of 1 to 100 conditions")
            else:
                for at, one in enumerate(inner):
                    self._judge(one, (*path, name, at), problems)
            return
        for name in value:
            if name not in ("path", "exists", *COMPARISONS):
                guess = problems.guess(name, ("path", "exists", *COMPARISONS, *TOGETHER))
                said = f"a condition has no `{name}`{guess or f'; write {self.words()}'}"
                problems.add((*path, name), said, name=True)
        self._judge_comparison(value, path, problems)

    def _judge_comparison(self, value: dict[str, Any], path: Path, problems: Problems) -> None:
        if type(value.get("path")) is not str:
            problems.add((*path, "path"), "write a path, as `$.previous.amount`")
        else:
            try:
                parts(value["path"])
            except ValueError as error:
                problems.add((*path, "path"), str(error))
        if len(value) < 2:
            problems.add(path, f"this compares nothing; write one of {', '.join(COMPARISONS)}")
        for name, other in value.items():
            at = (*path, name)
            if name == "exists":
                if type(other) is not bool:
                    problems.add(at, f"{shown(other)} won't do; write true or false")
                elif not other and len(value) > 2:
                    problems.add(at, "what is not there compares with nothing; `exists` alone")
            elif name == "in":
                if type(other) is not list or not 1 <= len(other) <= 1_000:
                    problems.add(at, "write a list of 1 to 1000 values")
            elif name in ORDERED and type(other) not in (int, float, str):
                problems.add(at, f"{shown(other)} has no order; write a number or a text")

    def words(self) -> str:
        return 'a condition, as `{"path": "$.previous.amount", "greaterThan": 100}`'

    def schema(self) -> Schema:
        return {"$ref": "#/$defs/Condition"}


ORDERED = ("lessThan", "lessThanOrEqual", "greaterThan", "greaterThanOrEqual")


@dataclass(frozen=True)
class Row:
    """One field.

    Attributes:
        default: in words, for people; None: it must be there.
        null: whether null is a value of its own, and not as if the field were left out.
    """

    name: str
    kind: Kind
    meaning: str
    default: str | None = "none"
    null: bool = False

    def schema(self) -> Schema:
        """As JSON Schema."""
        made = self.kind.schema()
        if self.null and "type" in made:
            made["type"] = [made["type"], "null"]
        return made | {"description": self.meaning}


@dataclass(frozen=True)
class Record(Kind):
    """An object with known fields, given as `Read`."""

    title: str
    rows: tuple[Row, ...]

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if type(value) is not dict:
            problems.add(path, f"{shown(value)} is no object; write {self.words()}")
            return WRONG
        made = Read()
        for row in self.rows:
            if row.name not in value:
                if row.default is None:
                    problems.add(path, f"`{row.name}` is missing; write {row.kind.words()}")
                continue
            given = value[row.name]
            if given is None and (row.null or row.default is not None):
                if row.null:
                    made[row.name] = None
                continue
            read = row.kind.read(given, (*path, row.name), problems)
            if read is WRONG:
                made.wrong.add(row.name)
            else:
                made[row.name] = read
        known = [row.name for row in self.rows]
        for name in value:
            if name not in known and problems.is_full:
                problems.add((*path, name), "")
            elif name not in known:
                guess = problems.guess(name, known)
                told = guess or f"; the fields are {', '.join(known)}"
                problems.add((*path, name), f"{self.title} has no such field{told}", name=True)
        return made

    def words(self) -> str:
        return f"an object with {', '.join(f'`{row.name}`' for row in self.rows)}"

    def schema(self) -> Schema:
        return {
            "type": "object",
            "properties": {row.name: row.schema() for row in self.rows},
            "required": [row.name for row in self.rows if row.default is None],
            "additionalProperties": False,
        }


@dataclass(frozen=True)
class Either(Kind):
    """One of several kinds, told apart by what JSON calls them (`str`, `dict`, `list`)."""

    kinds: Sequence[tuple[type, Kind]]

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        for kind, one in self.kinds:
            if type(value) is kind:
                return one.read(value, path, problems)
        problems.add(path, f"{shown(value)} won't do; write {self.words()}")
        return WRONG

    def words(self) -> str:
        return ", or ".join(one.words() for _, one in self.kinds)

    def schema(self) -> Schema:
        return {"anyOf": [one.schema() for _, one in self.kinds]}


ID_PATTERN = r"[A-Za-z0-9_][A-Za-z0-9_.#-]*"
ID_CHARACTERS_MAX = 100

_ID = Text("a name of letters, digits, `_`, `.`, `#` and `-`", ID_CHARACTERS_MAX, ID_PATTERN)
RESERVED = ("engine-rest", "events", "jobs", "run", "runs")
"""What stands beside ids in the paths of the API: no workflow has such a name."""

_WORKFLOW = Text(
    f"a name of letters, digits, `_`, `.`, `#` and `-`, other than {', '.join(RESERVED)}",
    ID_CHARACTERS_MAX,
    rf"(?!(?:{'|'.join(RESERVED)})$){ID_PATTERN}",
)
_STEP = Text("the id of a step", ID_CHARACTERS_MAX, ID_PATTERN)
_CODE = Text("a code of errors, as `Throttled`", 200)
_PROVIDER = Text("a provider, as `AWS`", ID_CHARACTERS_MAX, ID_PATTERN)
_FUNCTION = Text("what the provider calls the function", 2_000)
_REGION = Text("a region of the provider", 100, r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_TYPES = tuple(one.value for one in StepType)

RETRY = Record(
    "a retry policy",
    (
        Row(
            "maxAttempts", Whole(1, ATTEMPTS_MAX),
            "Attempts with the first one, at each provider anew.", f"`{Retry().max_attempts}`",
        ),
        Row(
            "initialDelayMs", Whole(0, DELAY_MS_MAX),
            "Milliseconds before the second attempt.", f"`{Retry().initial_delay_ms}`",
        ),
        Row(
            "multiplier", Number(1, MULTIPLIER_MAX),
            "The delay grows by it with each attempt.", f"`{Retry().multiplier:g}`",
        ),
        Row(
            "maxDelayMs", Whole(0, DELAY_MS_MAX),
            "The longest delay.", f"`{Retry().max_delay_ms}`",
        ),
        Row(
            "jitter", Number(0, 1),
            "The part of the delay that is drawn at random, so that those that failed together do "
            "not come back together.", f"`{Retry().jitter:g}`",
        ),
        Row(
            "on", Many(_CODE, "codes", 0, 50),
            "Codes of errors that are tried again.",
            "all but those that say that they must not be",
        ),
        Row("notOn", Many(_CODE, "codes", 0, 50), "Codes that are not, whatever `on` says."),
    ),
)  # fmt: skip

PLACE = Record(
    "a place of a function",
    (
        Row("provider", _PROVIDER, "The cloud.", None),
        Row("functionId", _FUNCTION, "The function there.", "the step's `functionId`"),
        Row("region", _REGION, "The region there.", "the provider's own"),
    ),
)

BRANCH = Record(
    "a way out of a choice",
    (
        Row("when", Condition(), "The way is taken if this holds.", None),
        Row("next", _STEP, "The step that it leads to.", None),
    ),
)

_FALLBACK = Either(((str, _PROVIDER), (dict, PLACE)))

STEP = Record(
    "a step",
    (
        Row("id", _ID, "Its name in the workflow.", "the `action`, numbered if it comes again"),
        Row("type", Word(_TYPES), "What it is.", "`TASK`"),
        Row("stepIndex", Whole(0, 1_000_000), "Its place in the order: all steps have one, or none "
            "has.", "the order of the list"),
        Row("action", _ID, "Of a task: its jobs go to the workers of this action."),
        Row("provider", _PROVIDER, "Of a task: the cloud that has its function."),
        Row("functionId", _FUNCTION, "Of a task with a provider: the function there."),
        Row("region", _REGION, "The region there.", "the provider's own"),
        Row(
            "fallbackProvider",
            Either(((str, _PROVIDER), (dict, PLACE), (list, Many(_FALLBACK, "places", 1,
                                                                 PLACES_MAX - 1)))),
            "Where the function is called when the provider fails: its name, a place, or a list of "
            "them in order.",
        ),
        Row("input", Template(), "Of a task: what it gets.", "what came along", null=True),
        Row("output", Template(), "Of a task: what it gives; `$.result` is what was answered.",
            "what was answered", null=True),
        Row("retry", RETRY, "Of a task: how often it is tried, and when.", "see below"),
        Row("timeoutMs", Whole(1, TIMEOUT_MS_MAX),
            "Of a task: milliseconds for one attempt, from when its job may be taken.",
            f"`{TIMEOUT_MS_DEFAULT}`"),
        Row("deadlineMs", Whole(1, DEADLINE_MS_MAX),
            "Of a task: milliseconds for all attempts together."),
        Row("next", _STEP, "The step that follows; of a parallel: its join. `null`: the run ends "
            "here.", "with `startAt`: the end; without: of tasks and joins the next in the list",
            null=True),
        Row("choices", Many(BRANCH, "ways", 1, 100), "Of a choice: its ways, the first that holds "
            "is taken."),
        Row("default", _STEP, "Of a choice: where none of them holds.", "the run fails"),
        Row("branches", Many(_STEP, "ids", 1, 100), "Of a parallel: the first step of each of its "
            "branches."),
    ),
)  # fmt: skip

DEFINITION = Record(
    "a workflow",
    (
        Row("id", _WORKFLOW, "Its name.", None),
        Row("steps", Many(STEP, "steps", 1, STEPS_MAX), "What is done.", None),
        Row("startAt", _STEP, "The first step.", "the first of the list, and each task is followed "
            "by the next in the list"),
        Row("name", Text("a text", 200), "For people."),
        Row("version", Whole(0, 2**31 - 1), "What a definition that was read from here has. It is "
            "counted here and means nothing when it is written."),
    ),
)  # fmt: skip

_TASK_ONLY = (
    "action", "provider", "functionId", "region", "fallbackProvider", "input", "output", "retry",
    "timeoutMs", "deadlineMs",
)  # fmt: skip
_ALL = ("id", "type", "stepIndex")

FIELDS_OF: dict[StepType, tuple[str, ...]] = {
    StepType.TASK: (*_ALL, *_TASK_ONLY, "next"),
    StepType.CHOICE: (*_ALL, "choices", "default"),
    StepType.PARALLEL: (*_ALL, "branches", "next"),
    StepType.JOIN: (*_ALL, "next"),
}
"""Which fields a step of each type may have."""

CONDITION_SCHEMA: Schema = {
    "anyOf": [
        {
            "type": "object",
            "properties": {name: {"type": "array", "minItems": 1, "maxItems": 100,
                                  "items": {"$ref": "#/$defs/Condition"}}},
            "required": [name],
            "additionalProperties": False,
        }
        for name in ("all", "any")
    ]
    + [
        {
            "type": "object",
            "properties": {"not": {"$ref": "#/$defs/Condition"}},
            "required": ["not"],
            "additionalProperties": False,
        },
        {
            "type": "object",
            "properties": {
                "path": {"type": "string", "pattern": r"^\$\."},
                "exists": {"type": "boolean"},
                "in": {"type": "array", "minItems": 1, "maxItems": 1_000},
                **{name: {"type": ["number", "string"]} for name in ORDERED},
                "equals": {},
                "notEquals": {},
            },
            "required": ["path"],
            "minProperties": 2,
            "additionalProperties": False,
        },
    ]
}  # fmt: skip
"""Of `Condition`; it refers to itself."""
