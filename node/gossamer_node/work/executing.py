"""Runs jobs on this node's workers.

A worker is whatever turns a job into an outcome: a WASM service on the host, or a plain callable.
The table of workers answers two questions: what this node serves on an engine, and who runs a job.
Each service has its own bound of jobs at once; what waits for it keeps its slot, so the node never
takes more than it can hold. A service with a range of instances follows the mesh's demand in it.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol

import msgpack
import trio

from gossamer_mesh.leases.demand import Instances
from gossamer_mesh.leases.messages import TOPICS_MAX, TopicTerms
from gossamer_node import logs
from gossamer_node.errors import InputError
from gossamer_node.jobs import BpmnError, Completed, Failed, Job, Outcome
from gossamer_node.service.spec import ServiceSpec, Topic
from gossamer_node.wasm import JobContext
from gossamer_node.work.signals import Signal

log = logs.get("executing")


TERMS_BYTES_MAX = 2 * 2**20
"""What a node says of its topics, in every heartbeat: half of a message, as the leases that it
holds must find room beside it."""


HELD_MARGIN_MS = 30_000
"""Beyond its service's time limit, until a job without an outcome goes to another node: for what
the limit does not count, as a first compilation. The limit itself ends all but a stuck host."""


WARM_S = 60
"""How long after its last job a service counts as warm: its code and memory are in the caches, and
connections to what it calls are open."""


class Worker(Protocol):
    """Runs one job at a time or many; never raises but for cancellation."""

    async def run(self, job: Job, *, deadline_ms: int, context: JobContext) -> Outcome:
        """The job's outcome, within `deadline_ms` from now."""


class Executor:
    """The services of this node and their workers.

    Args:
        workers: each service with its worker. No two serve one topic of one engine
            (`service.load.refuse_conflicts` has seen to it).

    Raises: InputError for more topics, or variables of them, than a member can announce.
    """

    def __init__(self, workers: Iterable[tuple[ServiceSpec, Worker]]) -> None:
        self._workers = [
            (
                spec,
                worker,
                trio.CapacityLimiter(spec.instances.min if spec.instances else spec.concurrency),
            )
            for spec, worker in workers
        ]
        self._instances = {
            spec.name: Instances(spec.instances.min, spec.instances.max, 0)
            for spec, _, _ in self._workers
            if spec.instances
        }
        self._worked_s: dict[str, float] = {}
        _refuse_too_much([(spec, topic) for spec, _, _ in self._workers for topic in spec.topics])
        self.outcomes = {"completed": 0, "bpmn_error": 0, "failed": 0}

    def services(self) -> list[ServiceSpec]:
        """The services, as configured."""
        return [spec for spec, _, _ in self._workers]

    def topics(self, engine: str, slots: int) -> list[TopicTerms]:
        """What this node works on at an engine, as the mesh's claimers are told.

        Args:
            slots: jobs that may be here at once, and may all be of one service.
        """
        return [
            _terms(spec, topic, self._is_warm(spec), self._held_ms_max(spec, slots))
            for spec, _, _ in self._workers
            for topic in spec.topics
            if _serves(topic, engine)
        ]

    def _held_ms_max(self, spec: ServiceSpec, slots: int) -> int:
        """How long a job may be here: its own time and that of those before it in its service."""
        turns = -(-slots // max(1, self.instances(spec)))
        return turns * spec.limits.time_ms_max + HELD_MARGIN_MS

    def instances(self, spec: ServiceSpec) -> int:
        """How many of a service's jobs run here at once, at most, now."""
        ranged = self._instances.get(spec.name)
        return ranged.count if ranged else spec.concurrency

    def slots(self, most: int) -> int:
        """Jobs that this node takes at once now, over all services.

        Args:
            most: as configured; all of them, where no service has a range.
        """
        if not self._instances:
            return most
        return min(most, sum(self.instances(spec) for spec in self.services()))

    def follow(self, signals: Mapping[str, Signal], now_ms: int) -> bool:
        """Moves the instances of services that have a range.

        Args:
            signals: demand and capacity, by engine.
            now_ms: any clock that does not go back.

        Returns: whether any have moved.
        """
        moved = False
        for spec, _, limiter in self._workers:
            ranged = self._instances.get(spec.name)
            theirs = [
                one
                for name, one in signals.items()
                if any(_serves(topic, name) for topic in spec.topics)
            ]
            demand, capacity = (
                sum(one.demand for one in theirs),
                sum(one.capacity for one in theirs),
            )
            if ranged and theirs and ranged.note(demand, capacity, now_ms):
                limiter.total_tokens = ranged.count
                log.info("instances", service=spec.name, count=ranged.count)
                moved = True
        return moved

    def _is_warm(self, spec: ServiceSpec) -> bool:
        worked_s = self._worked_s.get(spec.name)
        return worked_s is not None and trio.current_time() < worked_s + WARM_S

    async def run(self, job: Job, context: JobContext) -> Outcome:
        """Runs a job on the service that claims its topic."""
        for spec, worker, limiter in self._workers:
            if any(_serves(one, job.ref.engine, job.ref.topic) for one in spec.topics):
                async with limiter:
                    outcome = await worker.run(
                        job, deadline_ms=spec.limits.time_ms_max, context=context
                    )
                self._worked_s[spec.name] = trio.current_time()
                break
        else:
            outcome = Failed(f"no service on this node works on {job.ref.topic}")
        self.outcomes[kind_of(outcome)] += 1
        return outcome


def kind_of(outcome: Outcome) -> str:
    """An outcome's name in the worker ABI, which status and logs use, too."""
    match outcome:
        case Completed():
            return "completed"
        case BpmnError():
            return "bpmn_error"
        case Failed():
            return "failed"


def _terms(spec: ServiceSpec, topic: Topic, warm: bool = False, held_ms_max: int = 0) -> TopicTerms:
    return TopicTerms(
        topic.name,
        topic.lock_ms,
        None if topic.variables is None else sorted(topic.variables),
        spec.on_holder_lost,
        spec.retries,
        spec.backoff_ms,
        held_ms_max,
        warm=warm,
    )


def _refuse_too_much(served: list[tuple[ServiceSpec, Topic]]) -> None:
    """Raises: InputError for what a heartbeat could not say, when nobody looks any more."""
    if len(served) > TOPICS_MAX:
        raise InputError(
            f"the services name {len(served)} topics; a node takes at most {TOPICS_MAX}, so spread "
            "them over several nodes."
        )
    for spec, topic in served:
        count = len(topic.variables or ())
        if count > TOPICS_MAX:
            raise InputError(
                f"the topic {topic.name} of {spec.name} names {count} variables; at most "
                f"{TOPICS_MAX} can be, so leave `variables` out and take them all."
            )
    size_bytes = len(msgpack.packb([_terms(spec, topic).to_plain() for spec, topic in served]))
    if size_bytes > TERMS_BYTES_MAX:
        raise InputError(
            f"the services' topics and variables take {size_bytes:,} bytes to announce; a node "
            f"has {TERMS_BYTES_MAX:,}, so spread them over several nodes."
        )


def _serves(topic: Topic, engine: str, name: str | None = None) -> bool:
    return name in (None, topic.name) and (topic.engines is None or engine in topic.engines)
