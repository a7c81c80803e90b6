"""What one service asks of another, and what it hears when there is no outcome.

An outcome is any of the three that a job has (`jobs`). Nothing here knows how a call travels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from gossamer_node.jobs import Outcome
from gossamer_node.variables import Variables

ANY_VERSION = "*"


@dataclass(frozen=True, slots=True)
class Call:
    """A worker's call of another service.

    Attributes:
        service: its exact name.
        number: of the worker's calls in this job, from 1; the same call of a job that is run again
            has the same number, if the worker does the same again.
        version: a range of versions.
        timeout_ms: until the worker gives up.
    """

    service: str
    number: int
    variables: Variables
    version: str = ANY_VERSION
    timeout_ms: int = 10_000


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A call that has no outcome.

    Attributes:
        why: `unavailable`: another try may succeed; `late`: its time was over, and what was called
            is stopped; `too much`: a bound of calls was met, and will be again.
        sentence: for a person.
    """

    why: Literal["unavailable", "late", "too much"]
    sentence: str


Told = Callable[[Outcome | Unanswered], None]
"""Takes a call's end, once, on any thread; must not wait."""
