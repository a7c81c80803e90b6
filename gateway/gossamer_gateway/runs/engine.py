"""Runs at work: every word from outside becomes events of a run, on disk before it is answered.

Words that come while others are being committed go together into the next transaction (`groups`);
one is under way at a time, so a gateway is never in its own way. A run's state is kept in memory
(`memory`, and `cache` where gateways share one) and used if its number is still the row's; what is
kept may be lost or old at any time, and costs a fold then, no more.

Who follows (`listen`) is told of events after they are on disk, in the order of each run; `log` has
them in one order, from any point. `keep_time` sees to what happens by itself; a storage that is
away holds it up, and never ends it.
"""

import logging
import random
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from copy import copy
from functools import partial
from hashlib import sha256
from typing import Any
from uuid import uuid4

import msgspec
import trio

from gossamer_gateway.errors import Overloaded, StorageFailed
from gossamer_gateway.runs import groups, offers, store
from gossamer_gateway.runs.cache import Cache, Known
from gossamer_gateway.runs.groups import (
    Answered,
    Change,
    Decide,
    Errand,
    Flows,
    Outcome,
    Rules,
    Trigger,
    UnknownRun,
    UnknownWorkflow,
    Word,
)
from gossamer_gateway.runs.ids import new_id
from gossamer_gateway.runs.leasing import Leases
from gossamer_gateway.runs.log import Entry, RowsLog, renumber
from gossamer_gateway.runs.memory import Memory
from gossamer_gateway.runs.model import deciding
from gossamer_gateway.runs.model.deciding import Answer, Verdict
from gossamer_gateway.runs.model.definition import Definition
from gossamer_gateway.runs.model.events import AnyEvent, Event
from gossamer_gateway.runs.model.run import Run
from gossamer_gateway.runs.news import LOOK_S, News, QueueNews
from gossamer_gateway.runs.outbox import Outbox
from gossamer_gateway.runs.store import Job
from gossamer_gateway.storage import Command, Rows, Storage

__all__ = [
    "Answer", "Decide", "Engine", "Job", "Listener", "UnknownRun", "UnknownWorkflow", "Verdict",
]  # fmt: skip

GROUP_MAX = 128
"""Words of one transaction: enough to share a flush, few enough to bound the wait for it."""

GATHER_PASSES = 2
"""Rounds of the loop before a group leaves. Who was answered by the last one often has his next
word at once, as has whom he wakes: so they leave together, and not in turn."""

WAITING_MAX = 10_000
"""Words that wait for theirs."""

BARE_MAX = 1_000
"""Sets of queues of which it is remembered that they had no free job."""

DUE_MAX = 16
"""Runs of each shard that are seen to in one go."""

CLOCK_S = 10.0
"""Between two looks at what is due. What is waited for is told in time since 1970, and the time
that is waited is another: it stands still while a machine sleeps, and no clock is set there."""

AWAY_S, AWAY_S_MAX = 0.5, 10.0
"""The pause when the storage is away, doubled each time up to the second."""

TOLD_S = 60.0
"""Between two lines in the log that say so."""

_log = logging.getLogger(__name__)

Listener = Callable[[Run, Sequence[Event]], None]
"""Told of a run's new state and the events that led there. Never waits, never raises."""


class Engine:
    """All runs of this gateway's storage.

    Args:
        chance: draws the jitter of delays.
        executor: whose runs new ones are: `own` or `zeebe`.
        offered: tells of an action whether its attempts are jobs here; others are sent elsewhere.
        outbox: whether events are published: each has a row until `Engine.outbox` says it was.
        cache: where gateways share states.

    Attributes:
        id: this gateway's, new at each start.
        log: all events, to be followed.
        outbox: events to publish; None where none are.
        news: rung at each commit.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        chance: Callable[[], float] = random.random,
        executor: str = deciding.OWN,
        offered: store.Offered = lambda _: True,
        outbox: bool = False,
        cache: Cache | None = None,
    ) -> None:
        self.id = str(uuid4())
        number = secrets.randbits(62)
        self.news = News()
        self.log = RowsLog(storage, self.news)
        self.outbox = Outbox(storage, self.news, lambda: self.shards, number) if outbox else None
        self._leases = Leases(storage, self.id, self._shards_taken) if storage.shared else None
        self._freed = QueueNews()
        self._bare: dict[tuple[str, ...], int] = {}  # queues without a free job, at which ring
        self._storage = storage
        self._writer = number if storage.shared else None
        self._rules = Rules(chance, executor, offered, outbox, number)
        self._flows = Flows()
        self._memory = Memory()
        self._cache = cache
        self._listeners: list[Listener] = []
        self._waiting: deque[Word] = deque()
        self._is_flying = False
        self._next_due_ms: int | None = None
        self._sooner = trio.Event()
        self._told_s = -float("inf")

    @property
    def shards(self) -> Collection[int]:
        """Those that this gateway sees to: whose clocks it keeps, whose events it publishes."""
        return range(store.SHARDS) if self._leases is None else self._leases.shards

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

        Raises: UnknownWorkflow; BadRequest for an input or a key that cannot be kept.
        """
        run: Run = await self._say(Trigger(new_id(), workflow, version, given, key))
        return run

    async def answer(self, run: str, said: Answer) -> Verdict:
        """Takes what a worker answered; tells what became of it, once that is on disk."""
        if not _may_be(run):
            return Verdict.UNKNOWN
        verdict: Verdict = await self._say(Answered(run, said))
        return verdict

    async def answer_all(self, said: Sequence[tuple[str, Answer]]) -> list[Verdict]:
        """Takes many answers, each with its run, and tells what became of each."""
        words = [Answered(run, one) if _may_be(run) else None for run, one in said]
        await self._say_all([one for one in words if one is not None])
        return [Verdict.UNKNOWN if one is None else _result(one) for one in words]

    async def cancel(self, run: str, *, reason: str = "", who: str = "") -> Run:
        """Raises: UnknownRun."""
        state, _ = await self.change(
            run, lambda flow, run, now: deciding.cancel(flow, run, now, reason=reason, who=who)
        )
        return state

    async def retry(self, run: str, *, who: str = "") -> Run:
        """Raises: UnknownRun; RunFull."""
        state, _ = await self.change(
            run, lambda flow, run, now: deciding.retry(flow, run, now, who=who)
        )
        return state

    async def change(self, id: str, decide: Decide) -> tuple[Run, list[Event]]:
        """Changes a run as `decide` says. Gives its state, and the events that led there.

        Raises: UnknownRun, and what `decide` does.
        """
        if not _may_be(id):
            raise UnknownRun(f"there is no run {id!r}")
        result: tuple[Run, list[Event]] = await self._say(Change(id, decide))
        return result

    def known(self, id: str) -> Run | None:
        """The state of a run as far as memory has it; it may be an old one."""
        found = self._memory.get(id)
        return None if found is None else found[0]

    async def run(self, id: str) -> Run:
        """The state of a run.

        Raises: UnknownRun; Damaged.
        """
        known = (await self._known([id])).get(id)

        def command(rows: Rows, _: int) -> Known | None:
            seq = store.read_seqs(rows, [id]).get(id)
            return known if known is not None and known[0].seq == seq else store.read_run(rows, id)

        found = await self._storage.submit(command) if _may_be(id) else None
        if found is None:
            raise UnknownRun(f"there is no run {id!r}")
        self._memory.put(*found)
        return found[0]

    async def history(self, id: str, after: int = 0, limit: int = 1_000) -> list[AnyEvent]:
        """Events of a run with numbers above `after`."""
        if not _may_be(id):
            return []
        return await self._storage.submit(
            lambda rows, _now: store.read_events(rows, id, after, limit)
        )

    async def fetch(
        self, queues: Sequence[str], worker: str, *, jobs_max: int, lock_ms: int
    ) -> list[Job]:
        """Locks jobs of these queues for a worker; gives at once what there is."""
        word = Errand(
            partial(offers.fetch, queues=queues, worker=worker, jobs_max=jobs_max,
                    lock_ms=lock_ms, writer=self._writer)
        )  # fmt: skip
        await self._say_all([word])
        jobs: list[Job] = _result(word)
        if not jobs and len(self._bare) < BARE_MAX:
            self._bare[tuple(queues)] = word.rung
        return jobs

    async def extend(
        self, run: str, step: str, attempt: int, worker: str, lock_ms: int
    ) -> int | None:
        """Locks a job for so long from now. Gives until when; None: it is this worker's no more."""
        until_ms: int | None = await self._do(
            partial(offers.extend, run=run, step=step, attempt=attempt, worker=worker,
                    lock_ms=lock_ms)
        )  # fmt: skip
        return until_ms

    async def release(self, run: str, step: str, attempt: int, worker: str) -> bool:
        """Frees a job that a worker took. False: it is this worker's no more."""
        queue: str | None = await self._do(
            partial(offers.release, run=run, step=step, attempt=attempt, worker=worker)
        )
        if queue is not None:
            self._freed.ring({queue})
        return queue is not None

    async def wait_free(self, queues: Sequence[str], deadline: float) -> bool:
        """Waits until one of these queues has a free job; whoever fetches first has it.

        Args:
            deadline: by trio's clock. False: it has come.
        """
        bare = self._bare.pop(tuple(queues), None)
        while True:
            with self._freed.waiting(queues) as freed:
                left_s = deadline - trio.current_time()
                if bare is not None and left_s > 0:
                    if self._freed.rung_since(queues, bare):
                        return True
                    left_s = min(left_s, LOOK_S)  # a lock may run out, and rings for nobody
                    bare = None
                else:
                    free_ms, now_ms = await self._storage.submit(
                        lambda rows, now_ms: (
                            offers.next_free_ms(rows, queues, self._writer),
                            now_ms,
                        )
                    )
                    if free_ms is not None and free_ms <= now_ms:
                        return True
                    if left_s <= 0:
                        return False
                    if free_ms is not None:
                        left_s = min(left_s, (free_ms - now_ms) / 1_000)
                    if self._storage.shared:
                        left_s = min(left_s, LOOK_S)
                with trio.move_on_after(left_s):
                    await freed.wait()
                    return True  # it was committed here: nobody needs to look

    async def keep_time(self) -> None:
        """Sees to what is due in this gateway's shards, and keeps these, until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                if self._leases is not None:
                    nursery.start_soon(self._again, self._keep_leases)
                    nursery.start_soon(self._again, self._renumber)
                if self._cache is not None:
                    nursery.start_soon(self._cache.run)
                nursery.start_soon(self._again, self._keep_time)
        finally:
            if self._leases is not None:
                await self._leases.give_back()

    async def _again(self, act: Callable[[], Awaitable[None]]) -> None:
        """Does something again and again; a storage that is away holds it up."""
        pause_s = AWAY_S
        while True:
            try:
                await act()
                pause_s = AWAY_S
            except (StorageFailed, Overloaded) as error:
                if trio.current_time() - self._told_s > TOLD_S:
                    self._told_s = trio.current_time()
                    _log.warning("Workflows wait for their storage: %s", error)
                await trio.sleep(pause_s)
                pause_s = min(2 * pause_s, AWAY_S_MAX)

    async def _keep_leases(self) -> None:
        assert self._leases is not None, "it is asked for where there are some"
        await trio.sleep(await self._leases.renew())

    async def _renumber(self) -> None:
        while await self._storage.submit(renumber):
            pass
        await trio.sleep_forever()

    def _shards_taken(self) -> None:
        self._sooner.set()
        if self.outbox is not None:
            self.outbox.look_again()

    async def _keep_time(self) -> None:
        """Sees to what is due once, and waits for the next."""
        shards = list(self.shards)
        self._sooner, self._next_due_ms = trio.Event(), None
        found, next_ms, now_ms = await self._storage.submit(
            lambda rows, now: (
                store.due_runs(rows, shards, now, DUE_MAX),
                store.next_due_ms(rows, shards),
                now,
            )
        )
        words = [Change(id, self._due) for id in found]
        await self._say_all(words)
        for word in words:
            if isinstance(word.error, StorageFailed | Overloaded):
                raise word.error
            if word.error is not None:
                _log.error("Run %s cannot go on: %s", word.run, word.error, exc_info=word.error)
                await trio.sleep(AWAY_S)  # it is seen to again, and has the others wait
        if found:
            return
        if self._next_due_ms is not None and (next_ms is None or self._next_due_ms < next_ms):
            next_ms = self._next_due_ms
        self._next_due_ms = next_ms
        wait_s = LOOK_S if self._storage.shared else CLOCK_S
        if next_ms is not None:
            wait_s = min(wait_s, max(0, next_ms - now_ms) / 1_000)
        with trio.move_on_after(wait_s):
            await self._sooner.wait()

    def _due(self, flow: Any, run: Run, now_ms: int) -> list[Event]:
        return deciding.due(flow, run, now_ms, self._rules.chance)

    async def _do(self, command: Command[Any]) -> Any:
        return await self._say(Errand(command))

    async def _say(self, word: Word) -> Any:
        await self._say_all([word])
        return _result(word)

    async def _say_all(self, words: Sequence[Word]) -> None:
        """Waits until these are settled. They take effect although who waits is cancelled."""
        if len(self._waiting) + len(words) > WAITING_MAX:
            raise Overloaded(f"{WAITING_MAX} requests wait for the storage; try again in a moment")
        if not words:
            return
        settled = words[-1].settled = trio.Event()  # they are settled in turn
        self._waiting.extend(words)
        if not self._is_flying:
            self._is_flying = True
            # No task of the caller's: who is cancelled leaves the others' words under way.
            trio.lowlevel.spawn_system_task(self._fly)
        await settled.wait()

    async def _fly(self) -> None:
        try:
            while self._waiting:
                for _ in range(GATHER_PASSES):
                    await trio.lowlevel.cancel_shielded_checkpoint()
                count = min(GROUP_MAX, len(self._waiting))
                words = [self._waiting.popleft() for _ in range(count)]
                await self._commit(words)
        finally:
            self._is_flying = False

    async def _commit(self, words: Sequence[Word]) -> None:
        known = await self._known([one.run for one in words if isinstance(one, Change | Answered)])
        try:
            outcome = await self._storage.submit_guarded(
                lambda rows, now_ms: groups.work(
                    rows, now_ms, words, known, self._flows, self._rules
                )
            )
        except Exception as error:
            for word in words:  # each its own: every caller who raises one adds to it
                word.error = copy(error)
        else:
            self._happened(outcome)
            for place, word in enumerate(words):
                word.result = outcome.results.get(place)
                word.error = outcome.errors.get(place)
        for word in words:
            word.rung = self._freed.number
            if word.settled is not None:
                word.settled.set()

    async def _known(self, ids: Sequence[str]) -> dict[str, Known]:
        """What is known of runs; any state may be old."""
        known = {id: found for id in ids if (found := self._memory.get(id)) is not None}
        if self._cache is not None:
            # Also for those in memory: another gateway may have gone on with them.
            for id, found in (await self._cache.get(list(dict.fromkeys(ids)))).items():
                if id not in known or known[id][0].seq < found[0].seq:
                    known[id] = found
        return known

    def _happened(self, outcome: Outcome) -> None:
        self._flows.keep(outcome.flows)
        for run, size in outcome.runs.values():
            self._memory.put(run, size)
            due_ms = run.due_ms
            if due_ms is not None and (self._next_due_ms is None or due_ms < self._next_due_ms):
                self._next_due_ms = due_ms
                self._sooner.set()
        for run, events in outcome.happened:
            for listener in self._listeners:
                listener(run, events)
        if self._cache is not None:
            self._cache.put(outcome.runs[each.run.id] for each in outcome.written)
        if self.outbox is not None:
            for each in outcome.written:
                self.outbox.add(
                    [
                        Entry(one.run, one.seq, data, one)
                        for one, data in zip(each.events, each.data, strict=True)
                    ]
                )
        self._freed.ring(outcome.queues)
        if outcome.written:
            self.news.ring()


def _may_be(run: str) -> bool:
    """Whether a text may be the id of a run: what no column holds is none."""
    return run.isprintable()


def _result(word: Word) -> Any:
    if word.error is not None:
        raise word.error
    return word.result
