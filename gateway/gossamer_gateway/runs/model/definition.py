"""A workflow as its author wrote it: steps, and which follows which. Checked by `reading`.

A step is one of four. A *task* is work: of whoever works jobs of its `action`, or of a function at
a cloud's `provider`. A *choice* goes on with the first of its branches whose condition holds. A
*parallel* goes on with all of its branches, which a *join* brings together again. There are no
cycles, so a step happens once in a run.

What a step gets is its `input`: a template (see `mapping`), or where it has none the value that
came along: the run's input at the start, then what the step before gave. A join gives an object of
its branches' values, by the step that each began with.
"""

from enum import Enum
from typing import Any

from msgspec import UNSET, Struct, UnsetType, field

TIMEOUT_MS_DEFAULT = 300_000
"""For one attempt, from when its job may be taken: what nobody works fails by then and says so."""

TIMEOUT_MS_MAX = 7 * 24 * 3_600_000

DEADLINE_MS_MAX = 30 * 24 * 3_600_000
DELAY_MS_MAX = 24 * 3_600_000

STEPS_MAX = 1_000
ATTEMPTS_MAX = 100
"""At one place of a step."""

PLACES_MAX = 10
MULTIPLIER_MAX = 100


class StepType(Enum):
    """What a step is."""

    TASK = "TASK"
    CHOICE = "CHOICE"
    PARALLEL = "PARALLEL"
    JOIN = "JOIN"


class Retry(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """How often an attempt is made, and when the next one is.

    The delay before attempt n + 1 is `initial_delay_ms * multiplier ** (n - 1)`, at most
    `max_delay_ms`, less a part drawn at random of up to `jitter` of it: those that failed together
    do not come back together.

    Attributes:
        max_attempts: with the first; at each provider anew.
        jitter: 0 to 1.
        on: codes of errors that are tried again; none: all but those that say they must not be.
        not_on: codes that are not, whatever `on` says.
    """

    max_attempts: int = 3
    initial_delay_ms: int = 500
    multiplier: float = 2.0
    max_delay_ms: int = 60_000
    jitter: float = 0.5
    on: tuple[str, ...] = ()
    not_on: tuple[str, ...] = ()


class Place(Struct, frozen=True, rename="camel"):
    """Where a task's function is: at a provider, as `AWS`, in a region of it or its default."""

    provider: str
    function_id: str
    region: str | None = None


class Branch(Struct, frozen=True, rename="camel"):
    """A way out of a choice. `when` is a condition (see `conditions`)."""

    when: dict[str, Any]
    next: str


class Step(Struct, frozen=True, rename="camel", omit_defaults=True):
    """One step.

    Attributes:
        action: whose jobs a task's workers take; None for a task at `places`.
        places: where a task's function is, the first choice first; empty for an `action`.
        input: template of what it gets; UNSET: what came along.
        output: template of what it gives, in which `$.result` is what was answered; UNSET: that.
        deadline_ms: for all attempts together; None: none.
        next: the step that follows; None: the way ends here. Of a parallel: its join.
        choices: of a choice, in order. `default`: where none of them holds; None: the run fails.
        branches: of a parallel: the first step of each.
    """

    id: str
    type: StepType = StepType.TASK
    action: str | None = None
    places: tuple[Place, ...] = ()
    input: Any | UnsetType = UNSET
    output: Any | UnsetType = UNSET
    retry: Retry = field(default_factory=Retry)
    timeout_ms: int = TIMEOUT_MS_DEFAULT
    deadline_ms: int | None = None
    next: str | None = None
    choices: tuple[Branch, ...] = ()
    default: str | None = None
    branches: tuple[str, ...] = ()


class Definition(Struct, frozen=True, rename="camel", omit_defaults=True):
    """A workflow, checked. `steps` by id, in the author's order; `version` counts from 1."""

    id: str
    start_at: str
    steps: dict[str, Step]
    version: int = 1
    name: str | None = None
