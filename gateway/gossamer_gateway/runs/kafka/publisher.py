"""Brings events to `workflow-events` and jobs to `workflow-jobs`, in the order of each run.

A commit leaves a row in the outbox for each of its events, so what is to be published outlives any
crash. The way it usually goes is shorter: right after a commit `happened` hears of the events and
they are sent from memory; both topics have acknowledged them, and their rows are removed. Rows
are read where memory is no help: at the start, for events that another gateway wrote, and when more
happened than is kept in memory.

One batch is under way at a time, so nothing overtakes: an event is taken from memory only if the
one before it in its run is known to have been sent; otherwise the rows are read first, in which
nothing of a run is missing. What is sent twice (a crash before rows were removed, a change of
gateways) is harmless: (run, seq) names an event, and (run, step, attempt) a job.
"""

import itertools
import math
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

import trio

from gossamer_gateway.errors import GatewayError
from gossamer_gateway.runs.kafka.bus import Message, Sender
from gossamer_gateway.runs.kafka.words import event_message, job_message
from gossamer_gateway.runs.model import events as e
from gossamer_gateway.runs.model.events import AnyEvent, Event
from gossamer_gateway.runs.model.run import Run, StepStatus
from gossamer_gateway.runs.store import Job
from gossamer_node import logs

log = logs.get("kafka")

BATCH_MAX = 1_000
"""Events that are under way together."""

BATCH_BYTES_MAX = 8 << 20

WAITING_MAX = 20_000
"""Events in memory that wait to be sent; of more, the rows are read."""

WAITING_BYTES_MAX = 64 << 20

SENT_MAX = 100_000
"""Runs of which is known how far they were sent."""

LOOK_EVERY_S = 0.25
"""How often the rows are looked at for what other gateways wrote."""

AGAIN_S = 1.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry:
    """One event to be published. `job`: of an attempt that goes to workers over Kafka."""

    run: str
    seq: int
    event: Message
    job: Message | None = None

    @property
    def size(self) -> int:
        """About how many bytes it is."""
        return len(self.event.value or b"") + (len(self.job.value or b"") if self.job else 0)


class Outbox(Protocol):
    """The rows of what is to be published. What waits here may fail as the storage does.

    Attributes:
        shared: whether other gateways write to it as well.
    """

    @property
    def shared(self) -> bool: ...

    def is_ours(self, run: str) -> bool:
        """Whether this gateway publishes a run's events, by its shard."""

    async def unpublished(self, limit: int) -> list[tuple[AnyEvent, Job | None]]:
        """The oldest that this gateway is to publish, in order, nothing of a run left out.

        With an attempt that is at work comes its job.
        """

    async def published(self, names: Sequence[tuple[str, int]]) -> None:
        """These (run, seq) are with Kafka: their rows may go."""


class Publisher:
    """All events of this gateway's shards.

    Args:
        offered: whether jobs of a queue stay here, for workers who fetch them.
    """

    def __init__(self, outbox: Outbox, sender: Sender, offered: Callable[[str], bool]) -> None:
        self._outbox = outbox
        self._sender = sender
        self._offered = offered
        self._waiting: deque[Entry] = deque()
        self._waiting_bytes = 0
        self._rows_first = True
        self._woken = trio.Event()
        self._sent: OrderedDict[str, int] = OrderedDict()
        self._rows: dict[tuple[str, int], None] = {}  # of events that were sent
        self._row = trio.Event()
        self._no_rows = trio.Event()
        self.published = 0
        """Events that Kafka has acknowledged."""

    def happened(self, run: Run, events: Sequence[Event]) -> None:
        """A listener of the engine's: these are on disk."""
        if self._rows_first or not self._outbox.is_ours(run.id):
            return
        for one in events:
            entry = self._entry(one, _job(run, one))
            self._waiting.append(entry)
            self._waiting_bytes += entry.size
        if len(self._waiting) > WAITING_MAX or self._waiting_bytes > WAITING_BYTES_MAX:
            self._forget()
        self._woken.set()

    async def run(self) -> None:
        """Publishes until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._remove_rows)
            while True:
                self._woken = trio.Event()
                looked_s = trio.current_time()
                if self._rows_first or self._outbox.shared:
                    await self._publish_rows()
                while not self._rows_first:
                    if batch := self._next_batch():
                        await self._send(batch)
                    if self._outbox.shared and trio.current_time() > looked_s + LOOK_EVERY_S:
                        break
                    if not self._waiting and not self._rows_first:
                        with trio.move_on_at(
                            looked_s + LOOK_EVERY_S if self._outbox.shared else math.inf
                        ):
                            await self._woken.wait()
                        self._woken = trio.Event()

    def _entry(self, event: Event, job: Job | None) -> Entry:
        goes = job is not None and not self._offered(job.queue)
        return Entry(event.run, event.seq, event_message(event),
                     job_message(job) if job is not None and goes else None)  # fmt: skip

    def _forget(self) -> None:
        """Memory is of no help any more; the rows have all of it."""
        self._waiting.clear()
        self._waiting_bytes = 0
        self._rows_first = True

    def _next_batch(self) -> list[Entry]:
        """The next from memory, as far as nothing is missing before them."""
        batch: list[Entry] = []
        size = 0
        while self._waiting and len(batch) < BATCH_MAX and size < BATCH_BYTES_MAX:
            entry = self._waiting.popleft()
            self._waiting_bytes -= entry.size
            known = self._sent.get(entry.run, 0)
            if entry.seq > known + 1:
                self._forget()
                break
            if entry.seq == known + 1:
                self._note(entry)
                batch.append(entry)
                size += entry.size
        return batch

    async def _publish_rows(self) -> None:
        """Sends what the rows hold, until all is sent."""
        while True:
            # From here on memory gets what the reading below doesn't see.
            self._rows_first = False
            found = await patiently(lambda: self._outbox.unpublished(BATCH_MAX))
            fresh = [
                self._entry(event, job)
                for event, job in found
                if (event.run, event.seq) not in self._rows
            ]
            for entry in fresh:
                self._note(entry)
            await self._send(fresh)
            if len(found) < BATCH_MAX:
                return
            while self._rows:  # or the same would be read again
                await self._no_rows.wait()

    async def _send(self, batch: Sequence[Entry]) -> None:
        messages = [one.event for one in batch]
        messages += [one.job for one in batch if one.job is not None]
        for message, refused in zip(messages, await self._sender.send(messages), strict=True):
            if refused is not None:
                # It would be refused for ever, and what comes after it must go on. Who reads the
                # topic sees a gap; an attempt whose job is lost ends by its time.
                log.error(
                    "a message is left out",
                    topic=message.topic,
                    run=(message.key or b"").decode(),
                    bytes=len(message.value or b""),
                    reason=refused,
                )
        self.published += len(batch)
        for one in batch:
            self._rows[one.run, one.seq] = None
        self._row.set()

    async def _remove_rows(self) -> None:
        """Removes the rows of what was sent, while the next is on its way."""
        while True:
            await self._row.wait()
            self._row = trio.Event()
            while self._rows:
                names = list(itertools.islice(self._rows, BATCH_MAX))
                await patiently(partial(self._outbox.published, names))
                for name in names:
                    del self._rows[name]
            self._no_rows.set()
            self._no_rows = trio.Event()

    def _note(self, entry: Entry) -> None:
        self._sent[entry.run] = max(entry.seq, self._sent.get(entry.run, 0))
        self._sent.move_to_end(entry.run)
        if len(self._sent) > SENT_MAX:
            self._sent.popitem(last=False)


def _job(run: Run, event: Event) -> Job | None:
    """The job that an event asks for; None where the run has gone on since."""
    if not isinstance(event, e.AttemptStarted) or event.action is None:
        return None
    state = run.steps.get(event.step)
    if state is None or state.status is not StepStatus.RUNNING or state.attempt != event.attempt:
        return None
    return Job(run.id, run.workflow, event.step, event.attempt, event.action, state.input,
               event.due_ms, event.due_ms)  # fmt: skip


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Asks the storage until it answers; says once that it doesn't, and once that it does again."""
    said = False
    while True:
        try:
            answer = await ask()
        except GatewayError as error:
            if not said:
                log.warning("the rows can't be had; trying again", reason=str(error))
            said = True
            await trio.sleep(AGAIN_S)
            continue
        if said:
            log.info("the rows can be had again")
        return answer
