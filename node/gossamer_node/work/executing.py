"""Runs jobs on this node's workers.

A worker is whatever turns a job into an outcome: a WASM service on the host, or a plain callable.
The table of workers answers two questions: what this node serves on an engine, and who runs a job.
Each service has its own bound of jobs at once (`places`); what waits for it keeps its slot, so the
node never takes more than it can hold. A service with a range of instances follows the mesh's
demand in it.
"""

from collections.abc import Callable, Iterable, Mapping
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
from gossamer_node.work.context import LeaseContext
from gossamer_node.work.places import Place, Places
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


DRAIN_S = 0.1
"""How long a service that was taken out, and has no job, is still found by one: a job that was
accepted before begins in the loop's next turns."""


class TooMuch(InputError):
    """More topics, or variables of them, than a member can announce."""


class Worker(Protocol):
    """Runs one job at a time or many; never raises but for cancellation."""

    async def run(self, job: Job, *, deadline_ms: int, context: JobContext) -> Outcome:
        """The job's outcome, within `deadline_ms` from now."""


class Served:
    """A service and its worker, from when it is put into the executor until it has drained.

    Attributes:
        after: the version before, whose jobs end before this one's begin; None where versions may
            work side by side.
        running: its jobs that are here, waiting ones included.
    """

    def __init__(self, spec: ServiceSpec, worker: Worker, after: "Served | None") -> None:
        self.spec = spec
        self.worker = worker
        self.after = after
        self.running = 0
        self.places = Places(spec.instances.min if spec.instances else spec.concurrency)
        self.terms_bytes = terms_bytes(spec)
        self._idle = trio.Event()

    def begin(self) -> None:
        self.running += 1

    def end(self) -> None:
        self.running -= 1
        if not self.running:
            self._idle.set()
            self._idle = trio.Event()

    async def wait_idle(self) -> None:
        """Returns when no job of it is here."""
        while self.running:
            await self._idle.wait()


class Executor:
    """The services of this node and their workers; they may come and go while jobs run.

    A service that is taken out, or whose next version takes over, drains: it is announced no more,
    its jobs end where they run, and a job that was granted to it just before still finds it.

    Args:
        workers: each service with its worker. No two serve one topic of one engine
            (`service.load.refuse_conflicts` has seen to it).
        topics_max: how many topics all services together may have.

    Attributes:
        beside: a service that is not at work here, but may be called; by default, none.

    Raises: InputError for more topics, or variables of them, than a member can announce.
    """

    def __init__(
        self,
        workers: Iterable[tuple[ServiceSpec, Worker]] = (),
        *,
        topics_max: int = TOPICS_MAX,
    ) -> None:
        self.topics_max = topics_max
        self._served: dict[str, Served] = {}
        self._by_topic: dict[str, list[Served]] = {}
        self._draining: list[Served] = []
        self._instances: dict[str, Instances] = {}
        self._worked_s: dict[str, float] = {}
        self._topics_count = self._terms_bytes = 0
        self._waiting: dict[str, str] = {}
        self.beside: Callable[[str], Served | None] = lambda _name: None
        self.outcomes = {"completed": 0, "bpmn_error": 0, "failed": 0}
        for spec, worker in workers:
            self.put(spec, worker)

    def put(self, spec: ServiceSpec, worker: Worker) -> Served | None:
        """Takes a service in. One of its name that is here drains from now on, and is returned.

        Raises: TooMuch, nothing changed, for more topics, or variables of them, than a member
            can announce.
        """
        before = self._served.get(spec.name)
        # Jobs of one key never run at the same time, whatever the version.
        after = before if spec.dense is not None and spec.dense.key is not None else None
        served = Served(spec, worker, after)
        if (why := self.too_much(spec)) is not None:
            raise why
        if before is not None:
            self.remove(spec.name)
        self._served[spec.name] = served
        for topic in spec.topics:
            self._by_topic.setdefault(topic.name, []).append(served)
        self._topics_count += len(spec.topics)
        self._terms_bytes += served.terms_bytes
        if spec.instances:
            self._instances[spec.name] = Instances(spec.instances.min, spec.instances.max, 0)
        return before

    def remove(self, name: str) -> Served | None:
        """Takes a service out: from now on it drains. Returns it; None when there is none.

        Let `drained` follow, or what drains is kept for ever.
        """
        served = self._served.pop(name, None)
        if served is None:
            return None
        self._topics_count -= len(served.spec.topics)
        self._terms_bytes -= served.terms_bytes
        for topic in served.spec.topics:
            others = [one for one in self._by_topic[topic.name] if one is not served]
            if others:
                self._by_topic[topic.name] = others
            else:
                del self._by_topic[topic.name]
        self._instances.pop(name, None)
        self._draining.append(served)
        return served

    def hold(self, waiting: Mapping[str, str]) -> bool:
        """From now on these services, and no others, take no more jobs; what runs goes on.

        Args:
            waiting: why each of them waits, by its name.

        Returns: whether they are others than before.
        """
        changed = waiting.keys() != self._waiting.keys()
        self._waiting = dict(waiting)
        return changed

    def waiting(self) -> Mapping[str, str]:
        """Why services take no jobs that are otherwise at work, by name."""
        return self._waiting

    async def drained(self, served: Served) -> None:
        """Returns when the last job of a service that was taken out has ended."""
        while True:
            await served.wait_idle()
            # What was granted before it was taken out is on its way from the holder to here.
            await trio.sleep(DRAIN_S)
            if not served.running:
                break
        if served in self._draining:
            self._draining.remove(served)

    def rival(self, spec: ServiceSpec) -> tuple[ServiceSpec, str] | None:
        """A service of another name that works on a topic of this one, and that topic."""
        for topic in spec.topics:
            for other in self._by_topic.get(topic.name, ()):
                if other.spec.name != spec.name and any(
                    one.name == topic.name
                    and (not one.engines or not topic.engines or {*one.engines} & {*topic.engines})
                    for one in other.spec.topics
                ):
                    return other.spec, topic.name
        return None

    def services(self) -> list[ServiceSpec]:
        """The services that work, without those that drain."""
        return [one.spec for one in self._served.values()]

    def keyed(self) -> list[str]:
        """Names of the services with a key, those that drain as well: their jobs have turns."""
        specs = [one.spec for one in (*self._served.values(), *self._draining)]
        return sorted({one.name for one in specs if one.dense is not None and one.dense.key})

    def draining(self) -> list[Served]:
        """The services that were taken out, until `drained`."""
        return list(self._draining)

    def topics(self, engine: str, slots: int) -> list[TopicTerms]:
        """What this node works on at an engine, as the mesh's claimers are told.

        Args:
            slots: jobs that may be here at once, and may all be of one service.
        """
        return [
            _terms(one.spec, topic, self._is_warm(one.spec), self._held_ms_max(one.spec, slots))
            for one in self._served.values()
            if one.spec.name not in self._waiting
            for topic in one.spec.topics
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
        working = [one for one in self.services() if one.name not in self._waiting]
        return min(most, sum(self.instances(spec) for spec in working))

    def follow(self, signals: Mapping[str, Signal], now_ms: int) -> bool:
        """Moves the instances of services that have a range.

        Args:
            signals: demand and capacity, by engine.
            now_ms: any clock that does not go back.

        Returns: whether any have moved.
        """
        moved = False
        for name, ranged in self._instances.items():
            served = self._served[name]
            theirs = [
                one
                for engine, one in signals.items()
                if any(_serves(topic, engine) for topic in served.spec.topics)
            ]
            demand, capacity = (
                sum(one.demand for one in theirs),
                sum(one.capacity for one in theirs),
            )
            if theirs and ranged.note(demand, capacity, now_ms):
                served.places.set_total(ranged.count)
                log.info("instances", service=served.spec.name, count=ranged.count)
                moved = True
        return moved

    def _is_warm(self, spec: ServiceSpec) -> bool:
        worked_s = self._worked_s.get(spec.name)
        return worked_s is not None and trio.current_time() < worked_s + WARM_S

    async def run(self, job: Job, context: JobContext) -> Outcome:
        """Runs a job on the service that claims its topic."""
        served = self._find(job.ref.engine, job.ref.topic)
        if served is None:
            outcome: Outcome = Failed(f"no service on this node works on {job.ref.topic}")
        else:
            place, time_ms = served.places.line_up(), served.spec.limits.time_ms_max
            outcome = await self._work(served, place, job, context, time_ms)
        self.outcomes[kind_of(outcome)] += 1
        return outcome

    def callee(self, name: str) -> Served | None:
        """The service of a name that others may call here, whether engines hear of it or not."""
        return self._served.get(name) or self.beside(name)

    async def call(
        self, served: Served, place: Place, job: Job, context: LeaseContext, remaining_ms: int
    ) -> Outcome:
        """Runs a job that another service asks for.

        Args:
            place: of the service; has lined up among its other jobs, and is left at the end.
            remaining_ms: until nobody wants its outcome any more.
        """
        time_ms = min(remaining_ms, served.spec.limits.time_ms_max)
        return await self._work(served, place, job, context, time_ms)

    async def _work(
        self, served: Served, place: Place, job: Job, context: JobContext, deadline_ms: int
    ) -> Outcome:
        served.begin()
        try:
            if served.after is not None:
                await served.after.wait_idle()
                served.after = None
            await place.enter()
            if isinstance(context, LeaseContext):
                context.place = place
            return await served.worker.run(job, deadline_ms=deadline_ms, context=context)
        finally:
            place.leave()
            served.end()
            self._worked_s[served.spec.name] = trio.current_time()

    def _find(self, engine: str, topic: str) -> Served | None:
        found: list[Served] = [*self._by_topic.get(topic, ()), *reversed(self._draining)]
        for one in found:
            if any(_serves(each, engine, topic) for each in one.spec.topics):
                return one
        return None

    def has_room(self) -> bool:
        """Whether one more topic can be announced."""
        return self._topics_count < self.topics_max

    def too_much(self, spec: ServiceSpec, without: Iterable[str] = ()) -> TooMuch | None:
        """What a heartbeat could not say if a service came, when nobody looks any more.

        Args:
            without: names of services that would go; the one of this name goes anyway.

        Returns: what `put` would raise. Raises: InputError, when it is this service's own fault.
        """
        for topic in spec.topics:
            variables = len(topic.variables or ())
            if variables > TOPICS_MAX:
                raise InputError(
                    f"the topic {topic.name} of {spec.name} names {variables} variables; at most "
                    f"{TOPICS_MAX} can be, so leave `variables` out and take them all."
                )
        going = [self._served[one] for one in {*without, spec.name} if one in self._served]
        count = self._topics_count + len(spec.topics)
        count -= sum(len(one.spec.topics) for one in going)
        size_bytes = self._terms_bytes + terms_bytes(spec)
        size_bytes -= sum(one.terms_bytes for one in going)
        if count > self.topics_max:
            return TooMuch(
                f"the services name {count} topics; this node takes at most {self.topics_max} "
                "(`topics_max`), so spread them over several nodes."
            )
        if size_bytes > TERMS_BYTES_MAX:
            return TooMuch(
                f"the services' topics and variables take {size_bytes:,} bytes to announce; a node "
                f"has {TERMS_BYTES_MAX:,}, so spread them over several nodes."
            )
        return None


def terms_bytes(spec: ServiceSpec) -> int:
    """What a service's topics take in a heartbeat."""
    return len(msgpack.packb([_terms(spec, topic).to_plain() for topic in spec.topics]))


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


def _serves(topic: Topic, engine: str, name: str | None = None) -> bool:
    return name in (None, topic.name) and (topic.engines is None or engine in topic.engines)
