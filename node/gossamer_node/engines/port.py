"""The port: what Gossamer asks of an engine, and nothing more.

Rules for every adapter, asserted by `tests/conformance`:

1. `activate` is a long poll of at most `WAIT_MS_MAX` and is never cancelled half way: on both
   Camundas a poll that is cut off leaves the next job locked for nobody. An adapter shields the
   request; a caller that is cancelled waits for the rest of the poll and releases what it brought.
2. Complete, fail and throw answer with a `Settlement`. They raise `EngineUnavailable` when nobody
   knows whether the engine acted; the same call is then safe to repeat.
3. Reading state back is optional (`capabilities`). What an engine can't read is `Unsupported`
   or `None` for unknown, never zero and never empty.
4. No adapter raises anything but `gossamer_node.errors.EngineError` and `trio.Cancelled`.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol, runtime_checkable

from gossamer_node.jobs import BpmnError, Completed, Failed, Job, JobRef
from gossamer_node.variables import Variables

WAIT_MS_MAX = 10_000
"""Longest long poll. A stop of the node waits for it, so it bounds the shutdown, too."""

STREAM_MS_MAX = 10_000
"""Longest stream; the next one takes over. As with a poll, what an engine pushes to an asker that
is gone stays locked for nobody, and an engine may not notice for a quarter of an hour."""

LOCK_MS_DEFAULT = 30_000
"""How long a job stays locked if every node dies at once: the time until it is worked again."""


LOCKED_MAX = 5_000
"""Most jobs that `locked_by` names. More than one mesh has slots; the rest is seen another time."""


@dataclass(frozen=True, slots=True)
class TopicRequest:
    """One topic of an activation.

    Attributes:
        name: the topic (Camunda 8: job type).
        lock_ms: how long the engine keeps the job for us.
        variables: names to fetch; None fetches all.
    """

    name: str
    lock_ms: int = LOCK_MS_DEFAULT
    variables: tuple[str, ...] | None = None


class Capability(Enum):
    """What an engine may offer beside working jobs."""

    DEPLOY = auto()
    START = auto()
    START_AND_WAIT = auto()
    READ_VARIABLES = auto()
    LIST_INSTANCES = auto()
    LIST_LOCKED = auto()
    """Telling which jobs a worker id has locked."""


class Effect(Enum):
    """What became of an outcome at the engine."""

    APPLIED = auto()
    """The engine took it as it was said."""
    APPLIED_AS_FAILURE = auto()
    """A completion whose *next* step failed: the engine keeps the job, one retry fewer."""
    GONE = auto()
    """The job no longer exists: it was settled before (perhaps by an unanswered attempt of ours),
    or its instance was cancelled."""
    NOT_OURS = auto()
    """Another worker holds the job's lock; what we say of it no longer counts."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """An engine's answer to an outcome; `message` is the engine's own sentence, or empty."""

    effect: Effect
    message: str = ""


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What answers at the engine's URL: product (`camunda7`, `camunda8`, `gossamer`) and version,
    and a fingerprint that tells this engine from another under the same name."""

    product: str
    version: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class ProcessInstance:
    """An instance as the engine reports it.

    Attributes:
        state: `active`, `completed`, `incident`, `cancelled`.
        end_element_ids: end events that were reached, None where the engine can't tell.
    """

    key: str
    process_id: str
    business_key: str | None
    state: str
    end_element_ids: tuple[str, ...] | None = None


class Engine(Protocol):
    """One configured engine. All methods are safe to call from several tasks at once."""

    name: str
    kind: str
    capabilities: frozenset[Capability]
    topics_per_activation_max: int | None
    """How many topics one `activate` takes: 1 for Camunda 8, None for no limit."""

    @property
    def transport(self) -> str:
        """Over what it is asked now: `REST` or `gRPC`."""

    async def probe(self) -> EngineInfo:
        """Ask who is there. Raises EngineUnavailable or EngineRefused (credentials)."""

    async def activate(
        self, topics: Sequence[TopicRequest], *, jobs_max: int, wait_ms: int, worker_id: str
    ) -> list[Job]:
        """Lock up to `jobs_max` jobs of these topics, waiting up to `wait_ms` (0: answer at once).

        Raises: EngineUnavailable, with nothing known to be locked; EngineRefused.
        """

    async def extend(self, job: JobRef, lock_ms: int) -> Settlement:
        """Keep the job for `lock_ms` from now on."""

    async def release(self, job: JobRef) -> Settlement:
        """Give the job back at once, unworked, with its retries untouched."""

    async def locked_by(self, worker_id: str) -> list[JobRef] | None:
        """Jobs that are locked for a worker id now, by key, at most `LOCKED_MAX` of them; None
        where the engine can't tell. Enough of each to release it: no types of variables.

        Raises: EngineUnavailable; EngineRefused (credentials).
        """

    async def complete(self, job: JobRef, outcome: Completed) -> Settlement:
        """Report success and write the outcome's variables."""

    async def fail(self, job: JobRef, outcome: Failed) -> Settlement:
        """Report a failure. `outcome.retries` must be a number here: 0 makes an incident."""

    async def throw_error(self, job: JobRef, outcome: BpmnError) -> Settlement:
        """Throw a BPMN error at the job's task."""

    async def deploy(self, resources: Mapping[str, bytes]) -> list[str]:
        """Deploy files by name. Returns the ids of the processes in them.

        Raises: EngineRefused with the engine's sentence when one does not parse.
        """

    async def start(
        self, process_id: str, *, variables: Variables, business_key: str | None = None
    ) -> str:
        """Start an instance of the newest version. Returns its key."""

    async def start_and_wait(
        self, process_id: str, *, variables: Variables, wait_ms: int
    ) -> Variables | None:
        """Start an instance and wait for its end. Returns its variables, None if it still runs."""

    async def read_variables(self, instance_key: str) -> Variables:
        """The variables of an instance, running or ended."""

    async def list_instances(self, process_id: str) -> list[ProcessInstance]:
        """Every instance of a process that the engine still knows of, ended ones included."""

    async def aclose(self) -> None:
        """Close connections. Outstanding polls end first."""


class JobStream(Protocol):
    """Jobs of one topic that the engine pushes, each locked as by `activate`."""

    async def receive(self) -> list[Job]:
        """Waits for a job. Returns it with those that are here already, each once.

        Raises: EngineError: the stream has ended.
        """

    async def cease(self) -> list[Job]:
        """Asks for no more. Returns the jobs that were on their way; the stream is at its end.

        Raises: EngineError. Cancellation waits for the answer.
        """


@runtime_checkable
class StreamingEngine(Protocol):
    """An engine that can push, beside being polled. It may push more than anybody can take, and
    nothing that was there before, so it is for times in which a poll would wait."""

    def stream(
        self, topic: TopicRequest, *, worker_id: str
    ) -> AbstractAsyncContextManager[JobStream]:
        """Opens a stream; it ends with the block. Jobs that are on their way then are lost until
        their lock ends: `cease` first, within `STREAM_MS_MAX`. Soon after that the engine ends it.

        Raises: EngineError, on entering and from within.
        """
