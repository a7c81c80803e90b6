"""What workers are answered over HTTP. The OpenAPI document is made of these."""

from typing import Any

from msgspec import Struct


class JobShown(Struct, frozen=True, rename="camel"):
    """An attempt that a worker is to make.

    Attributes:
        payload: what the step gets.
        key: the same for all attempts of a step: a worker that remembers it does things once.
        due_ms: when the attempt counts as failed, in ms since 1970.
        locked_ms: until when it is this worker's alone.
    """

    run: str
    workflow: str
    step: str
    attempt: int
    action: str
    payload: Any
    key: str
    due_ms: int
    locked_ms: int


class Jobs(Struct, frozen=True, rename="camel"):
    """Jobs that were locked for a worker."""

    jobs: list[JobShown]


class Judged(Struct, frozen=True, rename="camel"):
    """What became of a result: `taken`, `repeated`, `late` or `unknown`."""

    run: str
    step: str
    attempt: int
    verdict: str


class Verdicts(Struct, frozen=True, rename="camel"):
    """What became of results, in their order."""

    results: list[Judged]


class Lock(Struct, frozen=True, rename="camel"):
    """A job whose lock was to be extended. `locked_ms` null: it is not this worker's any more."""

    run: str
    step: str
    attempt: int
    locked_ms: int | None


class Locks(Struct, frozen=True, rename="camel"):
    """Jobs whose locks were to be extended, in their order."""

    jobs: list[Lock]
