"""Runs at work: every word from outside becomes events of a run, on disk before it is answered.

One function changes a run: it reads the run's state, asks `model.deciding`, and writes the events,
all in one command of the storage; so two that come at once take turns, on one gateway or several. A
state that was read before is kept (`_known`), and used again if its number is still the row's.

Who follows (`listen`) is told of events after they are on disk, in the order of each run.
"""

import random
from collections import OrderedDict
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any
from uuid import uuid4

import msgspec
import trio

from gossamer_gateway.errors import RequestError
from gossamer_gateway.runs import store
from gossamer_gateway.runs.model import deciding
from gossamer_gateway.runs.model.deciding import Answer
from gossamer_gateway.runs.model.definition import Definition
from gossamer_gateway.runs.model.events import AnyEvent, Event
from gossamer_gateway.runs.model.flow import Flow
from gossamer_gateway.runs.model.run import Run, evolve
from gossamer_gateway.runs.store import Job
from gossamer_gateway.storage import Rows, Storage

KNOWN_MAX = 10_000
"""States of runs in memory."""

FLOWS_MAX = 1_000
"""Definitions in memory."""

DUE_MAX = 100
"""Runs that are seen to in one go."""


class UnknownWorkflow(RequestError):
    """No such workflow is defined."""


class UnknownRun(RequestError):
    """There is no such run."""


Decide = Callable[[Flow, Run, int], list[Event]]
"""Takes a run and the time; gives what happens, maybe nothing."""

Listener = Callable[[Run, Sequence[Event]], None]
"""Told of a run's new state and the events that led there. Never waits, never raises."""


class Engine:
    """All runs of this gateway's storage."""

    def __init__(
        self,
        storage: Storage,
        *,
        chance: Callable[[], float] = random.random,
        executor: str = "own",
    ) -> None:
        self._storage = storage
        self._chance = chance
        self._executor = executor
        self._flows: OrderedDict[tuple[str, int], Flow] = OrderedDict()
        self._known: OrderedDict[str, Run] = OrderedDict()
        self._listeners: list[Listener] = []
        self._sooner = trio.Event()
        self._freed = trio.Event()

    def listen(self, listener: Listener) -> None:
        """Has somebody told of every change made here."""
        self._listeners.append(listener)

    async def define(self, definition: Definition) -> Definition:
        """Keeps a definition, as a new version unless it is the newest already."""

        def command(rows: Rows, now_ms: int) -> Definition:
            data = msgspec.json.encode(msgspec.structs.replace(definition, version=0))
            digest = sha256(data).hexdigest()
            newest = rows.execute(
                "SELECT version, digest FROM workflow_definitions WHERE id = ?"
                " ORDER BY version DESC LIMIT 1",
                (definition.id,),
            ).fetchone()
            version = newest[0] if newest else 0
            if newest and newest[1] == digest:
                return msgspec.structs.replace(definition, version=version)
            made = msgspec.structs.replace(definition, version=version + 1)
            rows.execute(
                "INSERT INTO workflow_definitions (id, version, at_ms, digest, data)"
                " VALUES (?, ?, ?, ?, ?)",
                (made.id, made.version, now_ms, digest, msgspec.json.encode(made)),
            )
            return made

        return await self._storage.submit(command)

    async def trigger(
        self, workflow: str, given: Any, *, key: str | None = None, version: int | None = None
    ) -> Run:
        """Starts a run; one with the same key of the same workflow is not started again.

        Raises: UnknownWorkflow.
        """
        id = str(uuid4())

        def command(rows: Rows, now_ms: int) -> tuple[Run, list[Event]]:
            if key is not None:
                known = rows.execute(
                    "SELECT id FROM workflow_runs WHERE workflow = ? AND idempotency_key = ?",
                    (workflow, key),
                ).fetchone()
                if known:
                    run = store.read_run(rows, known[0])
                    assert run is not None, "its row and its events are written together"
                    return run, []
            definition = store.read_definition(rows, workflow, version)
            if definition is None:
                raise UnknownWorkflow(f"there is no workflow {workflow}; define it first")
            flow = self._flow(rows, definition.id, definition.version)
            events = deciding.trigger(flow, id, given, now_ms, key=key, executor=self._executor)
            run = evolve(None, events[0])
            if self._executor == deciding.OWN:
                more = deciding.start(flow, run, now_ms)
                for one in more:
                    run = evolve(run, one)
                events += more
            store.write(rows, run, events)
            return run, events

        run, events = await self._storage.submit(command)
        self._happened(run, events)
        return run

    async def answer(self, run: str, said: Answer) -> list[Event]:
        """Takes what a worker answered; gives what came of it, nothing for a repetition.

        Raises: UnknownRun.
        """
        _, events = await self.change(
            run, lambda flow, run, now_ms: deciding.answer(flow, run, said, now_ms, self._chance)
        )
        return events

    async def cancel(self, run: str, *, reason: str = "", who: str = "") -> Run:
        """Raises: UnknownRun."""
        state, _ = await self.change(
            run, lambda flow, run, now: deciding.cancel(flow, run, now, reason=reason, who=who)
        )
        return state

    async def retry(self, run: str, *, who: str = "") -> Run:
        """Raises: UnknownRun."""
        state, _ = await self.change(
            run, lambda flow, run, now: deciding.retry(flow, run, now, who=who)
        )
        return state

    async def change(self, id: str, decide: Decide) -> tuple[Run, list[Event]]:
        """Changes a run as `decide` says. Gives its state, and the events that led there.

        Raises: UnknownRun.
        """
        known = self._known.get(id)

        def command(rows: Rows, now_ms: int) -> tuple[Run, list[Event]]:
            seq = store.read_seq(rows, id)
            run = known if known is not None and known.seq == seq else store.read_run(rows, id)
            if run is None:
                raise UnknownRun(f"there is no run {id}")
            events = decide(self._flow(rows, run.workflow, run.version), run, now_ms)
            if events:
                for one in events:
                    run = evolve(run, one)
                store.write(rows, run, events)
            return run, events

        run, events = await self._storage.submit(command)
        self._happened(run, events)
        return run, events

    async def run(self, id: str) -> Run:
        """The state of a run.

        Raises: UnknownRun.
        """
        found, _ = await self.change(id, lambda *_: [])
        return found

    async def history(self, id: str, after: int = 0, limit: int = 1_000) -> list[AnyEvent]:
        """Events of a run with numbers above `after`."""
        return await self._storage.submit(
            lambda rows, _now: store.read_events(rows, id, after, limit)
        )

    async def fetch(
        self, queues: Sequence[str], worker: str, *, jobs_max: int, lock_ms: int
    ) -> list[Job]:
        """Locks jobs of these queues for a worker; gives at once what there is."""

        def command(rows: Rows, now_ms: int) -> list[Job]:
            marks = ", ".join("?" * len(queues))
            found = rows.execute(
                "SELECT run, step, attempt, queue, due_ms FROM workflow_jobs"  # noqa: S608
                f" WHERE queue IN ({marks}) AND free_ms <= ? ORDER BY free_ms LIMIT ?",
                (*queues, now_ms, jobs_max),
            ).fetchall()
            jobs = []
            for id, step, attempt, queue, due_ms in found:
                rows.execute(
                    "UPDATE workflow_jobs SET free_ms = ?, worker = ? WHERE run = ? AND step = ?",
                    (now_ms + lock_ms, worker, id, step),
                )
                known = self._known.get(id)
                run = known if known is not None and step in known.steps else None
                run = run or store.read_run(rows, id)
                assert run is not None, "a job's run is there"
                payload = run.steps[step].input
                jobs.append(
                    Job(id, run.workflow, step, attempt, queue, payload, due_ms, now_ms + lock_ms)
                )
            return jobs

        return await self._storage.submit(command)

    async def extend(self, run: str, step: str, attempt: int, worker: str, lock_ms: int) -> bool:
        """A job is its worker's for so long from now. False: it is not his."""

        def command(rows: Rows, now_ms: int) -> bool:
            changed = rows.execute(
                "UPDATE workflow_jobs SET free_ms = ? WHERE run = ? AND step = ? AND attempt = ?"
                " AND worker = ?",
                (now_ms + lock_ms, run, step, attempt, worker),
            ).rowcount
            return changed > 0

        return await self._storage.submit(command)

    async def release(self, run: str, step: str, attempt: int, worker: str) -> bool:
        """A job is free again. Gives whether it was this worker's."""

        def command(rows: Rows, now_ms: int) -> bool:
            changed = rows.execute(
                "UPDATE workflow_jobs SET free_ms = ?, worker = NULL WHERE run = ? AND step = ?"
                " AND attempt = ? AND worker = ?",
                (now_ms, run, step, attempt, worker),
            ).rowcount
            return changed > 0

        released = await self._storage.submit(command)
        self._freed.set()
        self._freed = trio.Event()
        return released

    async def wait_free(self, queues: Sequence[str], deadline: float) -> None:
        """Returns when jobs of these queues may be free, or at the deadline of trio's clock."""
        freed = self._freed
        marks = ", ".join("?" * len(queues))

        def command(rows: Rows, now_ms: int) -> int | None:
            (first,) = rows.execute(
                f"SELECT MIN(free_ms) FROM workflow_jobs WHERE queue IN ({marks})",  # noqa: S608
                tuple(queues),
            ).fetchone()
            return None if first is None else max(0, first - now_ms)

        in_ms = await self._storage.submit(command)
        if in_ms is not None:
            deadline = min(deadline, trio.current_time() + in_ms / 1_000)
        with trio.move_on_at(deadline):
            await freed.wait()

    async def keep_time(self) -> None:
        """Sees to what is due, until cancelled."""
        shards = range(store.SHARDS)
        while True:
            self._sooner = trio.Event()
            found, next_ms, now_ms = await self._storage.submit(
                lambda rows, now: (
                    store.due_runs(rows, shards, now, DUE_MAX),
                    store.next_due_ms(rows, shards),
                    now,
                )
            )
            for id in found:
                await self.change(
                    id, lambda flow, run, now: deciding.due(flow, run, now, self._chance)
                )
            if not found:
                wait_s = 3600.0 if next_ms is None else max(0, next_ms - now_ms) / 1000
                with trio.move_on_after(wait_s):
                    await self._sooner.wait()

    def _happened(self, run: Run, events: Sequence[Event]) -> None:
        known = self._known.get(run.id)
        if known is None or known.seq < run.seq:
            self._known[run.id] = run
            self._known.move_to_end(run.id)
            if len(self._known) > KNOWN_MAX:
                self._known.popitem(last=False)
        if events:
            self._freed.set()
            self._freed = trio.Event()
            self._sooner.set()
            for listener in self._listeners:
                listener(run, events)

    def _flow(self, rows: Rows, id: str, version: int) -> Flow:
        # A version never changes, so what is kept of it is right, whoever kept it.
        flow = self._flows.get((id, version))
        if flow is None:
            definition = store.read_definition(rows, id, version)
            assert definition is not None, "a run's definition is kept"
            flow = self._flows[id, version] = Flow(definition)
            if len(self._flows) > FLOWS_MAX:
                self._flows.popitem(last=False)
        return flow
