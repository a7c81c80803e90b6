"""What `/v1` answers beside the mesh (`watching.shapes`): engines and what runs on them.

The OpenAPI document is made of these classes. None is *unknown*: nobody could be asked, or the
engine cannot tell. It is never shown as zero.
"""

from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

T = TypeVar("T")

State = Literal["active", "suspended", "completed", "cancelled", "unknown"]

SeenBy = Literal["engine", "exporter", "gateway"]
"""Who said so: the engine itself, what its exporter sent to the gateway's sink, or what went
through this gateway alone, which may not be all."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Items in a fixed order, and `after` of the next page; null: there is none."""

    items: list[T]
    next: str | None


@dataclass(frozen=True, slots=True)
class Health:
    """Whether this gateway serves, and what it can reach.

    Attributes:
        status: `serving`; `degraded`: some engine does not answer. Clients of the others notice
            nothing.
        gateway: this gateway's node id.
        members: of the mesh that are there, as this gateway sees them.
        engines: whether each answers; null: it was not asked yet.
        waiting: clients that wait for jobs.
        watchers: who follows the events.
    """

    status: Literal["serving", "degraded"]
    gateway: str
    name: str
    version: str
    up_ms: int
    members: int
    engines: dict[str, bool | None]
    waiting: int
    watchers: int


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine behind this gateway.

    Attributes:
        kind: its dialect.
        answers: whether its last call had an answer; null: none was made yet.
        silent_since_ms: since when it gives none; null: it answers.
        product, version: what it says of itself.
        waiting: clients of this gateway that wait for its jobs.
        polls_open: of claimers of the mesh, as their nodes said.
        nodes: ids of nodes that reach it.
        claimers: ids of nodes that claim for it, by group.
    """

    name: str
    kind: Literal["camunda7", "camunda8"]
    answers: bool | None
    silent_since_ms: int | None
    product: str | None
    version: str | None
    waiting: int
    polls_open: int
    nodes: list[str] = field(default_factory=list)
    claimers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProcessOnEngine:
    """A process on one engine, in all its versions together."""

    engine: str
    version: int | None
    live: int | None
    started: int | None
    finished: int | None
    incidents: int | None
    seen_by: SeenBy


@dataclass(frozen=True, slots=True)
class Process:
    """A process, wherever it is deployed."""

    process: str
    name: str | None
    engines: list[ProcessOnEngine]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far processes are on each engine.

    Attributes:
        unknown: engines of which nothing is known, with why, in a sentence.
    """

    processes: list[Process]
    unknown: dict[str, str]


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance of a process."""

    id: str
    engine: str
    process: str
    version: int | None
    business_key: str | None
    state: State
    started_ms: int | None
    ended_ms: int | None
    incidents: int | None


@dataclass(frozen=True, slots=True)
class Incident:
    """What keeps an instance from going on, until somebody sees to it.

    Attributes:
        element: of the process's diagram.
    """

    id: str
    engine: str
    process: str | None
    instance: str | None
    element: str | None
    kind: str
    message: str | None
    at_ms: int | None


@dataclass(frozen=True, slots=True)
class Job:
    """A job that waits for a worker, or that one has.

    Attributes:
        topic: Camunda 7's topic, Camunda 8's job type.
        worker: who has it, as far as the engine or its exporter says; null: nobody.
        locked_until_ms: the end of the worker's lock.
        retries: null before the first failure, in Camunda 7.
    """

    id: str
    engine: str
    topic: str
    process: str | None
    instance: str | None
    element: str | None
    worker: str | None
    locked_until_ms: int | None
    retries: int | None
    message: str | None


@dataclass(frozen=True, slots=True)
class Listed(Generic[T]):
    """What engines answered, and the engines that did not.

    Attributes:
        unknown: engines that could not be asked, with why, in a sentence: the list lacks theirs.
        more: whether an engine has more than it was asked for.
    """

    items: list[T]
    unknown: dict[str, str]
    more: bool


@dataclass(frozen=True, slots=True)
class Tokens:
    """Where instances are in a process: by element of its diagram."""

    element: str
    instances: int
    incidents: int


@dataclass(frozen=True, slots=True)
class Diagram:
    """The newest version of a process on an engine, and where its instances are.

    Attributes:
        xml: BPMN 2.0.
        tokens: null: unknown.
    """

    process: str
    engine: str
    version: int | None
    xml: str
    tokens: list[Tokens] | None


@dataclass(frozen=True, slots=True)
class Resolved:
    """An incident was told to be tried again."""

    id: str
    engine: str


@dataclass(frozen=True, slots=True)
class Problem:
    """What went wrong (RFC 9457), as `application/problem+json`."""

    title: str
    status: int
    detail: str
