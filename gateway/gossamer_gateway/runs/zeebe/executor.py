"""Runs on Zeebe: instances are started, jobs activated, and completed when their steps are.

What happens to a run is heard from the engine after it is on disk, and what is to be done at Zeebe
because of it is a *task* in memory, done by one of some workers, again and again until Zeebe has
answered. Tasks may get lost (a gateway dies; too many wait): then the lock of the job runs out, it
comes again, and the run's state says what to do with it. A run that is pending for long is started
again, and what was owed when a gateway began is looked for once.

A run has one instance: the first of which its events tell. A start that is made twice, because its
answer was lost, gives two; a job of the other one says so, and that instance is cancelled.

A job's lock is short at first. Each time it runs out while the step is at work the job is locked
anew, for as long as the step has been at work: so a long step costs few calls, and after a crash
nobody waits longer for it than it has taken already. While a run is failed its jobs stay where they
are, locked alike, and a retry goes on with them. (An incident would be the engine's own word for
that, but 8.6 tells nobody the key by which one is resolved.)

Zeebe has one type of jobs for each action. A job that is of none of our runs belongs to somebody
else's process: it is handed back as it was, and said once. The other way round, a worker of
somebody else's that takes a job of ours passes its step: then the run fails (`OutOfStep`), or its
instance is gone before it (`InstanceGone`). A retry begins a new instance, in which jobs of steps
that are done are completed as they come. A prefix of the types keeps both apart.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from json import JSONDecodeError, loads
from typing import TypeVar

import trio

from gossamer_gateway.errors import Overloaded, StorageFailed
from gossamer_gateway.runs import forgetting, store
from gossamer_gateway.runs.engine import Engine, UnknownRun
from gossamer_gateway.runs.model import deciding
from gossamer_gateway.runs.model import events as e
from gossamer_gateway.runs.model.definition import Definition
from gossamer_gateway.runs.model.events import Event, Failure
from gossamer_gateway.runs.model.flow import Flow
from gossamer_gateway.runs.model.run import Run, Status, StepStatus, evolve
from gossamer_gateway.runs.zeebe import open_runs, steering
from gossamer_gateway.runs.zeebe.client import DeploymentRefused, Effect, Zeebe
from gossamer_gateway.runs.zeebe.compiling import compile_definition
from gossamer_gateway.runs.zeebe.intake import Intake
from gossamer_gateway.runs.zeebe.quiet import Quiet
from gossamer_gateway.storage import Rows, Storage
from gossamer_node import logs
from gossamer_node.engines.zeebe.gateway_pb2 import ActivatedJob

log = logs.get("workflows")

LOCK_MS = 30_000
"""Of a job that was just activated: within it its step is on disk, thousands of times over."""

LOCK_MS_MAX = 300_000

PARKED_MS_MAX = 60_000
"""For how long at most a job is locked whose run has failed and whose step has not begun: nothing
but the end of its lock brings it back to a gateway that did not see it."""

PARKED_MAX = 1_000

TASKS_MAX = 20_000
"""Tasks that wait for their turn."""

WORKERS = 64

BEGUN_S = 1.0
"""How long who started a run waits to be told its first step."""

LOOK_S = 5.0
"""How often open runs and types of jobs are looked for."""

PENDING_MS = 5_000
"""A run that is pending for so long is started again."""

QUIET_MS = 10_000
"""A run of which nothing is heard for so long is asked after."""

RETENTION_MS = 30 * 24 * 3_600_000

FOREIGN_MS, FOREIGN_MS_MAX = 1, 5_000
"""For how long a job that is somebody else's stays locked: the first time, and the more often it
comes here at most."""

FOREIGN_JOBS_MAX = 10_000
FOREIGN_SAID_MAX = 1_000

FLOWS_MAX = 1_000

Task = Callable[[], Awaitable[None]]

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Executor:
    """What Zeebe is to runs of this gateway.

    Args:
        zeebe: where.
        lock_ms: of a job that was just activated.
        pending_ms: see `PENDING_MS`.
        retention_ms: for how long a failed run is kept, and its instance with it.
        quiet_ms: see `QUIET_MS`.
        job_prefix: before the types of jobs.
    """

    def __init__(
        self,
        engine: Engine,
        storage: Storage,
        zeebe: Zeebe,
        *,
        lock_ms: int = LOCK_MS,
        pending_ms: int = PENDING_MS,
        retention_ms: int = RETENTION_MS,
        quiet_ms: int = QUIET_MS,
        job_prefix: str = "",
    ) -> None:
        self._engine = engine
        self._storage = storage
        self._zeebe = zeebe
        self._lock_ms = lock_ms
        self._pending_ms = pending_ms
        self._retention_ms = retention_ms
        self._job_prefix = job_prefix
        self._quiet = Quiet(quiet_ms / 1_000)
        self._quiet_after = (0, "")
        self._flows: OrderedDict[tuple[str, int], Flow] = OrderedDict()
        self._deployed: OrderedDict[tuple[str, int], int] = OrderedDict()
        self._deploying = trio.Lock()
        self._parked: OrderedDict[str, dict[int, ActivatedJob]] = OrderedDict()
        self._foreign: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._foreign_jobs: OrderedDict[int, int] = OrderedDict()
        self._starting: set[str] = set()
        self._beginning: dict[str, trio.Event] = {}
        self._versions: set[tuple[str, int]] = set()
        self._news = trio.Event()
        self._intake = Intake(
            zeebe, self._take_safely, lambda job: _run_of(job) is not None, lock_ms=lock_ms
        )
        self._tasks, self._to_do = trio.open_memory_channel[Task](TASKS_MAX)
        self._has_lost = False
        engine.listen(self._happened)

    async def check(self, definition: Definition) -> None:
        """Deploys a definition that is to be kept, if Zeebe answers now.

        Raises: DeploymentRefused.
        """
        compiled = compile_definition(Flow(definition), self._job_prefix)
        await self._zeebe.deploy(compiled.resource, compiled.xml, patiently=False)

    async def stop(self) -> None:
        """Takes no more jobs."""
        await self._intake.stop()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Does it all, until cancelled."""
        async with trio.open_nursery() as nursery:
            for _ in range(WORKERS):
                nursery.start_soon(self._work)
            await nursery.start(self._intake.run)
            nursery.start_soon(self._sweep)
            task_status.started()
            await self._keep_types()

    async def begun(self, run: Run) -> Run:
        """A run once its first step has begun, if that is within `BEGUN_S`, or as it is then."""
        heard = self._beginning.setdefault(run.id, trio.Event())
        run = await self._engine.run(run.id)
        if not _has_begun(run):
            with trio.move_on_after(BEGUN_S):
                await heard.wait()
            run = await self._engine.run(run.id)
        self._beginning.pop(run.id, None)
        return run

    # What is heard.

    def _happened(self, run: Run, events: Sequence[Event]) -> None:
        """See `engine.Listener`."""
        if run.executor != deciding.ZEEBE:
            return
        if run.id in self._beginning and _has_begun(run):
            self._beginning.pop(run.id).set()
        for event in events:
            if isinstance(event, e.StepCompleted):
                if run.steps[event.step].job is not None:
                    self._put(partial(self._complete, run, event.step))
            elif isinstance(event, e.RunTriggered):
                self._expect(run)
                self._put(partial(self._start, run.id))
            elif isinstance(event, e.RunCancelled):
                if run.place is not None:
                    self._put(partial(self._cancel, int(run.place)))
            elif isinstance(event, e.RunFailed):
                if event.failure.blame == "engine" and run.place is not None:
                    self._put(partial(self._cancel, int(run.place)))  # a retry begins another
            elif isinstance(event, e.RunRetried):
                self._expect(run)
                self._retried(run)

    def _expect(self, run: Run) -> None:
        """Jobs of a run may come."""
        if (run.workflow, run.version) not in self._versions:
            self._news.set()

    def _retried(self, run: Run) -> None:
        jobs = self._parked.pop(run.id, {}).values()
        if run.status is Status.PENDING:
            self._put(partial(self._start, run.id))
            return
        self._put(partial(self._owed, run.id))
        for job in jobs:
            self._put(partial(self._take, job))

    def _put(self, task: Task) -> None:
        try:
            self._tasks.send_nowait(task)
        except trio.WouldBlock:
            self._has_lost = True  # and whatever it was, it is found again

    async def _work(self) -> None:
        async for task in self._to_do:
            await self._safely(task)

    async def _safely(self, task: Task) -> None:
        """Does a task; one that the storage refuses is found again when that is back."""
        try:
            await task()
        except (StorageFailed, Overloaded) as error:
            self._has_lost = True
            log.warning("a run was not gone on with, and will be", error=str(error))

    # Runs.

    async def _start(self, id: str) -> None:
        """Makes the instance of a run that is pending."""
        if id not in self._starting:
            self._starting.add(id)
            try:
                await self._begin(id)
            finally:
                self._starting.discard(id)

    async def _begin(self, id: str) -> None:
        seen = await self._look(id)
        if seen is None:
            return
        flow, run = seen
        if run.status is not Status.PENDING:
            return
        planned = run
        for event in deciding.start(flow, run, run.triggered_ms):
            planned = evolve(planned, event)
        first = steering.first(flow, planned)
        if first is None:  # a choice at the beginning: there is nothing to start
            await self._engine.change(id, deciding.start)
            return
        variables = {steering.RUN: id, **first.variables}
        try:
            instance = await self._create(flow, variables)
        except DeploymentRefused as error:
            failure = Failure("DeploymentRefused", str(error), "engine", retryable=False)
            await self._engine.change(
                id, lambda flow, run, now: deciding.broken(flow, run, failure, now)
            )
            return
        place = str(instance)
        run, _ = await self._engine.change(
            id, lambda flow, run, now: deciding.start(flow, run, now, place=place)
        )
        if run.place != place or run.status is Status.CANCELLED:
            await self._zeebe.cancel(instance)

    async def _create(self, flow: Flow, variables: dict[str, str]) -> int:
        """Raises: DeploymentRefused."""
        name = flow.definition.id, flow.definition.version
        while True:
            key = self._deployed.get(name)
            if key is None:
                async with self._deploying:
                    key = self._deployed.get(name)
                    if key is None:
                        compiled = compile_definition(flow, self._job_prefix)
                        key = await self._zeebe.deploy(compiled.resource, compiled.xml)
                        assert key is not None, "it was asked for patiently"
                        _keep(self._deployed, name, key, FLOWS_MAX)
            instance = await self._zeebe.create(key, variables)
            if instance is not None:
                return instance
            if self._deployed.get(name) == key:  # an engine that lost its data
                del self._deployed[name]

    async def _forget(self, id: str) -> None:
        """A run that failed long ago goes, and before it its instance, whose jobs nobody would
        know any more."""
        seen = await self._look(id)
        if seen is not None and seen[1].status is Status.FAILED:
            if seen[1].place is not None:
                await self._zeebe.cancel(int(seen[1].place))
            await self._storage.submit(lambda rows, _now: forgetting.forget(rows, [id]))

    async def _cancel(self, instance: int) -> None:
        await self._zeebe.cancel(instance)

    async def _complete(self, run: Run, step: str) -> None:
        """Completes the job of a step that is done, where it is decided what follows."""
        flow = self._flows.get((run.workflow, run.version))
        if flow is None:
            seen = await self._look(run.id)
            if seen is None:
                return
            flow, run = seen
        onward = steering.after(flow, run, step)
        job = run.steps[step].job
        if onward is not None and job is not None:
            await self._settle(run, step, int(job), onward.variables)

    async def _settle(self, run: Run, step: str, job: int, variables: dict[str, str]) -> None:
        effect = await self._zeebe.complete(job, variables)
        if effect is Effect.STUCK:
            log.warning(
                "somebody failed a job of a run at Zeebe; the run goes on when the incident is "
                "resolved there",
                engine=self._zeebe.name, run=run.id, step=step, job=job,
            )  # fmt: skip
        elif effect is Effect.GONE and run.status is Status.RUNNING:
            assert run.place is not None, "it has jobs"
            if not await self._zeebe.has(int(run.place)):
                await self._gone(run.id, run.place)

    async def _gone(self, id: str, place: str) -> None:
        """Somebody ended a run's instance; what is there of the run ends as well."""
        said = f"{self._zeebe.name} has no instance {place} any more; somebody ended it there"
        failure = Failure("InstanceGone", said, "engine", retryable=False)

        def decide(flow: Flow, run: Run, now_ms: int) -> list[Event]:
            # One that is done meanwhile has no instance either.
            return deciding.broken(flow, run, failure, now_ms) if run.place == place else []

        await self._engine.change(id, decide)

    async def _owed(self, id: str) -> None:
        """Completes again what may not have been: jobs of steps behind which nothing began."""
        seen = await self._look(id)
        if seen is None:
            return
        flow, run = seen
        if run.status is not Status.RUNNING:
            return
        for step, state in run.steps.items():
            if state.status is StepStatus.COMPLETED and state.job is not None:
                onward = steering.after(flow, run, step)
                if onward is None or _have_begun(run, onward.tasks):
                    continue
                await self._zeebe.complete(int(state.job), onward.variables)

    async def _look(self, id: str) -> tuple[Flow, Run] | None:
        flows: list[Flow] = []

        def decide(flow: Flow, run: Run, now_ms: int) -> list[Event]:
            flows.append(flow)
            return []

        try:
            run, _ = await self._engine.change(id, decide)
        except UnknownRun:
            return None
        self._know(flows[-1])
        return flows[-1], run

    def _know(self, flow: Flow) -> None:
        _keep(self._flows, (flow.definition.id, flow.definition.version), flow, FLOWS_MAX)

    # Jobs.

    async def _keep_types(self) -> None:
        """Knows which types of jobs there may be."""
        known: dict[tuple[str, int], frozenset[str]] = {}

        async def look() -> None:
            versions = await self._storage.submit(lambda rows, _now: open_runs.versions(rows))
            for one in set(known) - set(versions):
                del known[one]
            for one in versions:
                if one not in known:
                    known[one] = await self._types_of(*one)
            self._versions = set(known)
            self._intake.want(frozenset().union(*known.values()))

        while True:
            self._news = trio.Event()
            await self._safely(look)
            with trio.move_on_after(LOOK_S):
                await self._news.wait()

    async def _take_safely(self, job: ActivatedJob) -> None:
        await self._safely(partial(self._take, job))

    async def _take(self, job: ActivatedJob) -> None:
        """A job was activated: the step that it stands for is reached, or was, or is done."""
        id, step, instance = _run_of(job), _step_of(job), str(job.processInstanceKey)
        if id is None:
            await self._hand_back(job)
            return
        found: list[tuple[Flow, int]] = []
        is_new = False

        def decide(flow: Flow, run: Run, now_ms: int) -> list[Event]:
            nonlocal is_new
            is_new = False
            found.append((flow, now_ms))
            if run.executor != deciding.ZEEBE or step not in flow.definition.steps:
                return []
            events: list[Event] = []
            if run.status is Status.PENDING:
                # Its gateway has started it, and not lived to write that down.
                events = deciding.start(flow, run, now_ms, place=instance)
                for one in events:
                    run = evolve(run, one)
            if run.place != instance:
                return events
            begun = deciding.reached(flow, run, step, now_ms, job=str(job.key))
            is_new = bool(begun)
            return events + begun

        try:
            run, _ = await self._engine.change(id, decide)
        except UnknownRun:
            await self._hand_back(job)
            return
        flow, now_ms = found[-1]
        self._know(flow)
        if run.executor != deciding.ZEEBE or step not in flow.definition.steps:
            await self._hand_back(job)
        elif run.place != instance or run.status is Status.CANCELLED:
            await self._zeebe.cancel(job.processInstanceKey)
        elif not is_new:
            await self._meet(flow, run, step, job, now_ms)

    async def _meet(self, flow: Flow, run: Run, step: str, job: ActivatedJob, now_ms: int) -> None:
        """A job has come again."""
        state = run.steps.get(step)
        if state is not None and state.status is StepStatus.COMPLETED:
            onward = steering.after(flow, run, step)
            if onward is not None:
                await self._settle(run, step, job.key, onward.variables)
                return
        since_ms = run.triggered_ms
        longest_ms = LOCK_MS_MAX
        if run.ended_ms is not None:
            since_ms = run.ended_ms
            if state is None:
                longest_ms = PARKED_MS_MAX
                self._park(run.id, job)
        elif state is not None:
            since_ms = state.begun_ms
        for_ms = min(max(now_ms - since_ms, self._lock_ms), longest_ms)
        await self._zeebe.lock(job.key, for_ms)

    def _park(self, run: str, job: ActivatedJob) -> None:
        """Keeps a job at hand for the moment at which its failed run is retried."""
        self._parked.setdefault(run, {})[job.key] = job
        self._parked.move_to_end(run)
        if len(self._parked) > PARKED_MAX:
            self._parked.popitem(last=False)

    async def _hand_back(self, job: ActivatedJob) -> None:
        known = job.type, job.bpmnProcessId
        if known not in self._foreign:
            log.warning(
                "Zeebe has jobs of a type that is an action here, and they are of no run of ours; "
                "they are handed back. If both shall live on this engine, rename the action or set "
                "`workflows.job_prefix`",
                engine=self._zeebe.name, type=job.type, process=job.bpmnProcessId,
            )  # fmt: skip
            _keep(self._foreign, known, None, FOREIGN_SAID_MAX)
        self._intake.share(job.type)
        times = self._foreign_jobs.get(job.key, 0)
        _keep(self._foreign_jobs, job.key, times + 1, FOREIGN_JOBS_MAX)
        await self._zeebe.lock(job.key, min(FOREIGN_MS * 4**times, FOREIGN_MS_MAX))

    async def _types_of(self, workflow: str, version: int) -> frozenset[str]:
        flow = self._flows.get((workflow, version))
        if flow is None:
            definition = await self._storage.submit(
                lambda rows, _now: store.read_definition(rows, workflow, version)
            )
            if definition is None:
                return frozenset()
            flow = Flow(definition)
            self._know(flow)
        return compile_definition(flow, self._job_prefix).types

    # What was missed.

    async def _sweep(self) -> None:
        """Finds what is pending for long, and at the beginning what is owed."""
        self._has_lost = True
        while True:
            await self._safely(self._find)
            await trio.sleep(LOOK_S)

    async def _find(self) -> None:
        if self._has_lost:
            self._has_lost = False
            after = (0, "")
            while page := await self._storage.submit(partial(_running, after=after)):
                for _, id in page:
                    await self._owed(id)
                after = page[-1]
        for id in await self._storage.submit(
            lambda rows, now_ms: open_runs.old(rows, now_ms - self._retention_ms)
        ):
            await self._forget(id)
        shards = list(self._engine.shards)
        for id in await self._storage.submit(
            lambda rows, now_ms: open_runs.pending(rows, now_ms - self._pending_ms, shards)
        ):
            if id not in self._starting:
                self._put(partial(self._start, id))
        if not self._zeebe.is_away:
            await self._ask_after(shards)

    async def _ask_after(self, shards: Sequence[int]) -> None:
        """Finds out about runs of which nothing is heard."""
        page = await self._storage.submit(
            lambda rows, _now: open_runs.quiet(rows, self._quiet_after, shards)
        )
        self._quiet_after = page[-1][:2] if len(page) == open_runs.PAGE else (0, "")
        found = ((id, seq) for _, id, seq in page)
        for id in self._quiet.look(found, trio.current_time()):
            seen = await self._look(id)
            if seen is None:
                continue
            run = seen[1]
            if run.status is not Status.RUNNING or run.due_ms is not None or run.place is None:
                continue
            if not await self._zeebe.has(int(run.place)):
                await self._gone(id, run.place)
                continue
            log.warning(
                "nothing is heard of a run from Zeebe; does a worker of somebody else's take its "
                "jobs there, or has it an incident?",
                engine=self._zeebe.name, run=id, instance=run.place,
            )  # fmt: skip


def _has_begun(run: Run) -> bool:
    return bool(run.steps) or run.status.has_ended


def _have_begun(run: Run, tasks: tuple[str, ...]) -> bool:
    return bool(tasks) and all(one in run.steps for one in tasks)


def _run_of(job: ActivatedJob) -> str | None:
    """The run that a job's instance is of; None: it is not of our making."""
    try:
        variables = loads(job.variables or "{}")
    except (JSONDecodeError, RecursionError):
        return None
    run = variables.get(steering.RUN) if isinstance(variables, dict) else None
    return run if isinstance(run, str) and _step_of(job) else None


def _step_of(job: ActivatedJob) -> str:
    try:
        headers = loads(job.customHeaders or "{}")
    except (JSONDecodeError, RecursionError):
        return ""
    step = headers.get("step") if isinstance(headers, dict) else None
    return step if isinstance(step, str) else ""


def _running(rows: Rows, now_ms: int, *, after: tuple[int, str]) -> list[tuple[int, str]]:
    return open_runs.running(rows, after)


def _keep(where: OrderedDict[_Key, _Value], key: _Key, value: _Value, most: int) -> None:
    where[key] = value
    where.move_to_end(key)
    if len(where) > most:
        where.popitem(last=False)
