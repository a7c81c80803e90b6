"""Makes the calls that runs ask for: a worker of the queues `provider:NAME`, in each gateway.

Each configured provider has a lane: it takes as many jobs as it has calls free, keeps each locked
while it calls, and answers what came. A gateway that dies leaves its jobs to the others once their
locks have run out, with the same idempotency key. A provider that is not configured has its jobs
answered so, at once, instead of being waited for until their time is over.

A call has what is left of its attempt's time (which the core takes from the step's deadline). An
open circuit (`circuit`, one for each provider and region) answers in the provider's stead.

Stopping: no job is taken any more; calls at work have `STOP_S` to end, and what is left then is cut
off and its job given back.
"""

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import trio

from gossamer_gateway.errors import GatewayError, Overloaded, StorageFailed
from gossamer_gateway.runs import store
from gossamer_gateway.runs.engine import Answer, Engine, UnknownRun
from gossamer_gateway.runs.model import events as e
from gossamer_gateway.runs.model.definition import Definition, Place
from gossamer_gateway.runs.model.events import Event, Failure
from gossamer_gateway.runs.model.run import Run, StepStatus
from gossamer_gateway.runs.providers.classifying import failed, trips, was_asked
from gossamer_gateway.runs.providers.config import ProviderConfig
from gossamer_gateway.runs.providers.factory import kind_of
from gossamer_gateway.runs.providers.health import ProviderHealth, Tallies
from gossamer_gateway.runs.providers.port import Invocation, Outcome, Provider
from gossamer_gateway.runs.store import Job
from gossamer_gateway.storage import Rows, Storage
from gossamer_node import logs

log = logs.get("providers")

PREFIX = "provider:"

LOCK_MS = 30_000
"""Of a job at work; renewed at a third of it."""

LEFT_MS = 100
"""Of an attempt's time, but half of it at most, kept for telling its end: who tells knows more than
that time is over."""

FAIR_MS = 1_000
"""Who had less time and was too slow is not unwell for that."""

TAKEN_MAX = 64
"""Jobs taken in one go."""

LOOK_S = 5.0
"""A lane without jobs hears of those that begin here, and looks so often for others: of gateways
that died, or are at their bounds."""

PAUSE_S = 1.0
"""After a storage that was away."""

STOP_S = 10.0

NAMES_MAX = 200
"""Names of providers in workflows beyond those of the configuration; the oldest are forgotten."""

DEFINITIONS_MAX = 1_000


@dataclass
class Lane:
    """Calls at one provider.

    Attributes:
        config, provider: None where it is not configured.
        queues: names under which workflows know it, as queues.
        at_work: calls now.
        changed: set when a call ended, or there may be a job.
    """

    name: str
    config: ProviderConfig | None = None
    provider: Provider | None = None
    queues: OrderedDict[str, None] = field(default_factory=OrderedDict)
    at_work: int = 0
    changed: trio.Event = field(default_factory=trio.Event)

    @property
    def concurrency(self) -> int:
        return self.config.concurrency if self.config is not None else TAKEN_MAX

    def hear(self, name: str) -> None:
        """Workflows know it by this name, and there may be a job."""
        self.queues[PREFIX + name] = None
        if len(self.queues) > NAMES_MAX:
            self.queues.popitem(last=False)
        self.change()

    def change(self) -> None:
        self.changed.set()
        self.changed = trio.Event()


class Invoker:
    """All calls of this gateway.

    Args:
        providers: by the name that the configuration has for them.
    """

    def __init__(
        self,
        engine: Engine,
        storage: Storage,
        providers: Mapping[str, tuple[ProviderConfig, Provider]],
    ) -> None:
        self.tallies = Tallies()
        self._engine = engine
        self._storage = storage
        self._worker = f"gateway-{engine.id}"
        self._lanes: dict[str, Lane] = {}
        self._strangers = Lane("")
        for name, (config, provider) in providers.items():
            lane = self._lanes[name.casefold()] = Lane(name, config, provider)
            for one in (name, name.upper(), name.lower(), name.capitalize()):
                lane.hear(one)
        for one in ("AWS", "GCP", "AZURE", "Azure"):
            self._hear(one)
        self._definitions: OrderedDict[tuple[str, int], Definition] = OrderedDict()
        self._stopping = trio.Event()
        engine.listen(self._happened)

    async def run(self) -> None:
        """Calls until it was stopped and all calls have ended."""
        async with trio.open_nursery() as calls, trio.open_nursery() as lanes:
            for lane in (*self._lanes.values(), self._strangers):
                lanes.start_soon(self._serve, lane, calls)
            await self._stopping.wait()
            lanes.cancel_scope.cancel()
            calls.cancel_scope.deadline = trio.current_time() + STOP_S

    def stop(self) -> None:
        """Takes no job any more."""
        self._stopping.set()

    def health(self) -> list[ProviderHealth]:
        """How the providers are: those that are configured, and those that were asked for."""
        now_ms = _clock_ms()
        found: dict[str, ProviderHealth] = {}
        for lane in self._lanes.values():
            assert lane.config is not None, "it is not one of strangers"
            found[lane.name] = ProviderHealth(
                lane.name, kind_of(lane.config), True, lane.concurrency, lane.at_work, []
            )
        for (name, region), tally in self.tallies.all():
            shown = found.setdefault(name, ProviderHealth(name, None, False, 0, 0, []))
            shown.regions.append(tally.shown(region, now_ms))
        return list(found.values())

    # --- which queues

    def _happened(self, _run: Run, events: Sequence[Event]) -> None:
        for one in events:
            if isinstance(one, e.AttemptStarted) and one.provider is not None:
                self._hear(one.provider)

    def _hear(self, name: str) -> None:
        self._lanes.get(name.casefold(), self._strangers).hear(name)

    async def _look(self) -> None:
        """Learns of names whose jobs were there before this gateway, or are of others."""

        def command(rows: Rows, _now_ms: int) -> list[str]:
            found = rows.execute(
                "SELECT DISTINCT queue FROM workflow_jobs WHERE queue >= ? AND queue < ? LIMIT ?",
                (PREFIX, PREFIX[:-1] + ";", NAMES_MAX),
            )
            return [queue for (queue,) in found]

        for queue in await self._storage.submit(command):
            self._hear(queue.removeprefix(PREFIX))

    # --- taking jobs

    async def _serve(self, lane: Lane, calls: trio.Nursery) -> None:
        while True:
            try:
                if lane is self._strangers:
                    await self._look()
                await self._take(lane, calls)
            except (StorageFailed, Overloaded) as error:
                log.warning("jobs cannot be taken", provider=lane.name, why=str(error))
                await trio.sleep(PAUSE_S)

    async def _take(self, lane: Lane, calls: trio.Nursery) -> None:
        changed = lane.changed
        free = lane.concurrency - lane.at_work
        if free <= 0:
            await changed.wait()
            return
        # What is locked must be worked: a fetch is not cut off.
        with trio.CancelScope(shield=True):
            jobs = await self._engine.fetch(
                list(lane.queues), self._worker, jobs_max=min(free, TAKEN_MAX), lock_ms=LOCK_MS
            )
            taken_s = trio.current_time()
            for job in jobs:
                lane.at_work += 1
                calls.start_soon(self._work, lane, job, taken_s)
        if not jobs:
            with trio.move_on_after(LOOK_S):
                await changed.wait()

    # --- working one

    async def _work(self, lane: Lane, job: Job, taken_s: float) -> None:
        ended = False
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep, job, nursery.cancel_scope)
                said = await self._call(lane, job, taken_s)
                if said is not None:
                    await self._answer(job, said)
                ended = True
                nursery.cancel_scope.cancel()
        except Exception as error:
            # It stays locked: what fails at once would come back at once.
            log.error("a job failed by a mistake", job=job.key, kind=type(error).__name__)
            ended = True
        finally:
            lane.at_work -= 1
            lane.change()
            if not ended:
                await self._give_back(job)

    async def _call(self, lane: Lane, job: Job, taken_s: float) -> Answer | None:
        """What to answer; None: it is a job no more."""
        place = await self._place(job)
        if place is None:
            return None
        if lane.provider is None:
            found: Outcome | Failure = self._not_configured(place)
        else:
            # The storage's clock says when the attempt's time is over.
            now_ms = job.locked_ms - LOCK_MS + (trio.current_time() - taken_s) * 1_000
            left_ms = round(job.due_ms - now_ms)
            left_ms -= min(LEFT_MS, left_ms // 2)
            if left_ms <= 0:
                return None
            found = await self._invoke(
                lane, lane.provider, Invocation(place, job.payload, job.key, left_ms)
            )
        if isinstance(found, Failure):
            return Answer(job.step, job.attempt, failure=found)
        return Answer(job.step, job.attempt, output=found.output)

    async def _invoke(
        self, lane: Lane, provider: Provider, invocation: Invocation
    ) -> Outcome | Failure:
        region = provider.region(invocation.place)
        tally = self.tallies.of(lane.name, region)
        began_ms = _clock_ms()
        ticket = tally.circuit.ask(began_ms)
        if ticket is None:
            tally.refused += 1
            return _refused(lane.name, region, tally.circuit.wait_ms(began_ms))
        tally.at_work += 1
        ended = False
        try:
            found = await provider.invoke(invocation)
            ended = True
        finally:
            tally.at_work -= 1
            if not ended:
                tally.circuit.forget(ticket)
        now_ms = _clock_ms()
        failure = found if isinstance(found, Failure) else None
        tally.note(failure, (now_ms - began_ms) / 1_000, round(time.time() * 1_000))
        was = tally.circuit.state
        if failure is not None and not _counts(failure, invocation):
            tally.circuit.forget(ticket)
        else:
            tally.circuit.tell(ticket, now_ms, good=failure is None or not trips(failure))
        if tally.circuit.state is not was:
            state = tally.circuit.state.value
            log.warning("circuit", provider=lane.name, region=region, state=state)
        return found

    def _not_configured(self, place: Place) -> Failure:
        known = ", ".join(lane.name for lane in self._lanes.values())
        there = f"; there is {known}" if known else ""
        found = failed(
            "NotConfigured",
            f"{place.provider[:100]} is not configured: {place.function_id[:200]} cannot be called "
            "until workflows.providers in the gateway's configuration has a provider of this "
            f"name{there}",
        )
        # One line for all: names come from outside.
        known_names = {name for (name, _), _ in self.tallies.all()}
        name = place.provider[:100]
        if name in known_names or len(known_names) < NAMES_MAX:
            self.tallies.of(name, "").note_failure(found, round(time.time() * 1_000))
        return found

    async def _place(self, job: Job) -> Place | None:
        try:
            run = await self._engine.run(job.run)
        except UnknownRun:
            return None
        state = run.steps.get(job.step)
        if state is None or state.attempt != job.attempt or state.status is not StepStatus.RUNNING:
            return None
        key = (run.workflow, run.version)
        if key not in self._definitions:
            found = await self._storage.submit(lambda rows, _: store.read_definition(rows, *key))
            assert found is not None, "a run's definition is kept"
            self._definitions[key] = found
            if len(self._definitions) > DEFINITIONS_MAX:
                self._definitions.popitem(last=False)
        return self._definitions[key].steps[job.step].places[state.place]

    async def _answer(self, job: Job, said: Answer) -> None:
        while True:
            try:
                await self._engine.answer(job.run, said)
                return
            except (StorageFailed, Overloaded) as error:
                # What was done in a cloud is worth some patience; the job is still ours.
                log.warning("an answer waits for the storage", job=job.key, why=str(error))
                await trio.sleep(PAUSE_S)
            except GatewayError as error:
                log.error("an answer was refused", job=job.key, why=str(error))
                return

    async def _keep(self, job: Job, work: trio.CancelScope) -> None:
        """Keeps a job locked; once it is ours no more, as its run was ended, stops working it."""
        while True:
            await trio.sleep(LOCK_MS / 3_000)
            try:
                until = await self._engine.extend(
                    job.run, job.step, job.attempt, self._worker, LOCK_MS
                )
            except (StorageFailed, Overloaded):
                continue
            if not until:
                work.cancel()
                return

    async def _give_back(self, job: Job) -> None:
        with trio.CancelScope(shield=True), trio.move_on_after(PAUSE_S):
            try:
                await self._engine.release(job.run, job.step, job.attempt, self._worker)
            except GatewayError as error:
                log.warning("a job stays locked", job=job.key, why=str(error))


def _counts(failure: Failure, invocation: Invocation) -> bool:
    """Whether a failure says how the provider is: who was not asked, or had no time, is neither
    well nor unwell."""
    is_hurried = failure.code == "Timeout" and invocation.deadline_ms < FAIR_MS
    return was_asked(failure) and not is_hurried


def _refused(name: str, region: str, wait_ms: int) -> Failure:
    where = f"{name} in {region}" if region else name
    return failed(
        "CircuitOpen",
        f"{where} failed too often of late and is left alone for another {wait_ms / 1_000:.1f} s",
        retry_after_ms=wait_ms,
    )


def _clock_ms() -> int:
    return round(trio.current_time() * 1_000)
