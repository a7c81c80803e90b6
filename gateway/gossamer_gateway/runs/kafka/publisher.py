"""Brings events to `workflow-events` and jobs to `workflow-jobs`, in the order of each run.

The outbox gives what is to be published: from memory right after a commit, from its rows where
memory may lack something. A batch is sent, both topics have acknowledged all of it, and its rows
are removed some time later, with those of others. One batch is under way at a time, so nothing
overtakes in it. What is sent twice (a crash before rows were removed, a shard that changed hands)
is harmless: (run, seq) names an event, and (run, step, attempt) a job.

Where gateways share a storage, one of them may hear in memory of an event whose predecessor another
one has committed, and that is in the rows alone. So an event whose predecessor was not sent from
here waits, once, until the rows are read, in which nothing of a run is left out; the other runs go
on meanwhile.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

import msgspec
import trio

from gossamer_gateway.errors import GatewayError, Overloaded, StorageFailed
from gossamer_gateway.runs.engine import Engine, UnknownRun
from gossamer_gateway.runs.kafka.bus import Message, Sender
from gossamer_gateway.runs.kafka.words import event_message, job_message
from gossamer_gateway.runs.log import Entry
from gossamer_gateway.runs.model import events as e
from gossamer_gateway.runs.model.events import Event
from gossamer_gateway.runs.model.run import StepStatus
from gossamer_gateway.runs.outbox import Outbox
from gossamer_gateway.runs.store import Damaged, Job
from gossamer_node import logs

log = logs.get("kafka")

BATCH_MAX = 500
"""Events that are under way together."""

REMOVE_S = 1.0
"""For which rows of what was sent gather, to be removed together."""

CLOSE_S = 1.0
"""For removing the last ones, when the gateway stops."""

SENT_MAX = 50_000
"""Runs of which is known how far they were sent."""

AGAIN_S = 1.0

T = TypeVar("T")


class Publisher:
    """Publishes the events of this gateway's shards.

    Args:
        offered: whether jobs of an action stay here, for workers who fetch them.
        shared: whether other gateways commit for these shards as well.

    Attributes:
        published: events that Kafka has acknowledged.
    """

    def __init__(
        self,
        engine: Engine,
        outbox: Outbox,
        sender: Sender,
        offered: Callable[[str], bool],
        *,
        shared: bool,
    ) -> None:
        self._engine = engine
        self._outbox = outbox
        self._sender = sender
        self._offered = offered
        self._shared = shared
        self._sent: OrderedDict[str, int] = OrderedDict()
        self._asked: set[tuple[str, int]] = set()
        self.published = 0

    async def run(self) -> None:
        """Publishes until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._remove)
            while True:
                batch = await patiently(partial(self._outbox.next, BATCH_MAX))
                if self._shared and (ahead := self._ahead(batch)):
                    batch = [one for one in batch if one.run not in ahead]
                    self._outbox.undone()
                await self._publish(self._new_of(batch))
                self._outbox.done(batch)

    def _ahead(self, batch: Sequence[Entry]) -> set[str]:
        """Runs of which an event came whose predecessor didn't, for the first time."""
        sent: dict[str, int] = {}
        ahead = set()
        for one in batch:
            known = sent.get(one.run, self._sent.get(one.run, 0))
            if one.seq > known + 1:
                if (one.run, one.seq) in self._asked:
                    self._asked.discard((one.run, one.seq))
                else:
                    self._asked.add((one.run, one.seq))
                    ahead.add(one.run)
            sent[one.run] = max(one.seq, known)
        return ahead

    def _new_of(self, batch: Sequence[Entry]) -> list[Entry]:
        """Without what Kafka has acknowledged before, and is only handed over once more."""
        new = []
        for one in batch:
            if one.seq > self._sent.get(one.run, 0):
                new.append(one)
                self._sent[one.run] = one.seq
                self._sent.move_to_end(one.run)
        while len(self._sent) > SENT_MAX:
            self._sent.popitem(last=False)
        return new

    async def _publish(self, batch: Sequence[Entry]) -> None:
        events = [(one, event) for one in batch if (event := _event_of(one)) is not None]
        messages = []
        for one, event in events:
            # First of all what somebody waits for.
            if isinstance(event, e.AttemptStarted) and (job := await self._job(one.seq, event)):
                messages.append(job)
        messages += [event_message(event, one.data) for one, event in events]
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

    async def _job(self, seq: int, event: e.AttemptStarted) -> Message | None:
        """The job that an attempt asks for; None where it is not for Kafka, or over already."""
        action = event.action
        if action is None or self._offered(action):
            return None
        run = self._engine.known(event.run)
        if run is None or run.seq < seq:
            try:
                run = await patiently(partial(self._engine.run, event.run))
            except (UnknownRun, Damaged) as error:
                log.error("a job is left out", run=event.run, reason=str(error))
                return None
        state = run.steps.get(event.step)
        if state is None or state.status is not StepStatus.RUNNING:
            return None
        if state.attempt != event.attempt:
            return None
        return job_message(
            Job(
                run.id, run.workflow, event.step, event.attempt, action, state.input,
                event.due_ms, event.due_ms,
            )
        )  # fmt: skip

    async def _remove(self) -> None:
        """Removes the rows of what was sent."""
        try:
            while True:
                await self._outbox.wait_done()
                await trio.sleep(REMOVE_S)
                try:
                    await self._outbox.remove()
                except GatewayError as error:
                    log.warning("rows of the outbox are still there", reason=str(error))
                    await trio.sleep(AGAIN_S)
        finally:
            with trio.move_on_after(CLOSE_S) as closing, suppress(GatewayError):
                closing.shield = True
                await self._outbox.remove()


def _event_of(one: Entry) -> Event | None:
    """None: its row was damaged. What comes after it must go on."""
    try:
        return one.event
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        log.error("an event is left out", run=one.run, seq=one.seq, reason=str(error))
        return None


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Asks the storage until it answers; says once that it doesn't, and once that it does again.

    Raises: whatever is no matter of waiting.
    """
    said = False
    while True:
        try:
            answer = await ask()
        except (StorageFailed, Overloaded) as error:
            if not said:
                log.warning("the rows can't be had; trying again", reason=str(error))
            said = True
            await trio.sleep(AGAIN_S)
            continue
        if said:
            log.info("the rows can be had again")
        return answer
