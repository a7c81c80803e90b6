"""Kafka under trio: messages go out and come in, and nobody here waits for a broker in vain.

librdkafka has threads of its own and calls back from `poll`. A sender is polled in trio's loop; a
receiver gets one thread that polls, and what came goes to the loop by `run_sync_soon`, a batch in
one hop. What waits is bounded: a sender takes no more than librdkafka's queue, a receiver hands
over one batch at a time and stops fetching while that is at work. A cluster that is away is said
once, and waited for; so is its coming back. Nothing that a broker does raises out of here.
"""

import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import trio
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from gossamer_gateway.runs.kafka.cluster import Cluster
from gossamer_gateway.runs.kafka.topics import MESSAGE_BYTES_MAX, NOT_LET_IN, reason_of
from gossamer_node import logs

log = logs.get("kafka")

BATCH_MAX = 500
"""Messages that a receiver hands over at once."""

_POLL_S = 0.1
"""A thread sees within it that it is to end."""

_HEAR_S, _HEAR_S_MAX = 0.001, 0.02
"""Between two looks what of a batch is acknowledged, half as much more each time."""

_ASK_EVERY_S = 1.0
_AGAIN_S = 1.0

_HOLD_S = 1.0
"""After it, a batch that nobody takes makes the thread poll without fetching, lest its group take
it for dead (`max.poll.interval.ms`)."""

_REFUSED = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.INVALID_MSG,
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.INVALID_RECORD,
        KafkaError.RECORD_LIST_TOO_LARGE,
    }
)
"""Whose fault is the message's own: it would be refused for ever. All else is tried again."""

_AWAY = frozenset({KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE, *NOT_LET_IN})

Headers = tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent. `at_ms`: its time, in ms since 1970; 0: now."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    at_ms: int = 0


@dataclass(frozen=True, slots=True)
class Received:
    """What came, and from where."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    at_ms: int


class _Presence:
    """Says once that a cluster is away, and once that it is back. Used by one thread.

    What librdkafka says of connections is a reason to look, and no more: it comes late, and again.
    """

    def __init__(self, address: str, who: str, doubt: Callable[[], None] = lambda: None) -> None:
        self._address = address
        self._who = who
        self._doubt = doubt
        self._reason = ""
        self._away = False

    @property
    def is_doubted(self) -> bool:
        """Whether there is something to look for."""
        return bool(self._reason)

    def error(self, error: KafkaError) -> None:
        """librdkafka's `error_cb`: the connection's troubles, most of which mend themselves."""
        if error.code() in NOT_LET_IN or (error.code() in _AWAY and not self._reason):
            self._reason = reason_of(error)
            self._doubt()

    def look(self, client: Any) -> None:
        """Asks for the cluster where there is a doubt. Waits, where it isn't there."""
        if not self._reason:
            return
        try:
            client.list_topics(timeout=_ASK_EVERY_S)
        except KafkaException:
            if not self._away:
                log.warning(
                    "Kafka is away", servers=self._address, who=self._who, reason=self._reason
                )
            self._away = True
            return
        if self._away:
            log.info("Kafka is back", servers=self._address, who=self._who)
        self._away, self._reason = False, ""


class _Batch:
    """Messages under way together. `refused`: what failed of them, by their place."""

    def __init__(self) -> None:
        self.refused: dict[int, KafkaError] = {}
        self.done = trio.Event()


class Sender:
    """A producer. Order within a key is kept, and nothing is doubled by its own repetitions.

    It is polled in the loop, not in a thread: each message that is acknowledged wants Python's lock
    for a moment, and a thread would wait for that some milliseconds at each while the loop works.
    Only what failed is told one by one; a batch has arrived when the producer holds nothing more.
    """

    def __init__(self, cluster: Cluster, who: str) -> None:
        self._settings = {
            **cluster.settings,
            "client.id": who,
            "enable.idempotence": True,
            "delivery.report.only.error": True,
            "linger.ms": 1,
            "partitioner": "murmur2_random",  # as Java's: a key is in one partition, whoever wrote
            "message.max.bytes": MESSAGE_BYTES_MAX,
            "message.timeout.ms": 0,  # it waits for a broker as long as it takes
            "reconnect.backoff.max.ms": 1_000,
            "topic.metadata.refresh.interval.ms": 10_000,
        }
        self._doubted = trio.Event()
        self._presence = _Presence(cluster.address, who, self._doubt)
        self._producer = self._open()
        self._old: list[Producer] = []
        self._under_way: list[_Batch] = []
        self._heard = trio.Event()
        self._kicked = trio.Event()

    async def send(self, messages: Sequence[Message]) -> list[str | None]:
        """Returns when each is acknowledged by all copies, however long that takes.

        Gives for each None, or why it will never be taken. One that is cancelled leaves its
        messages under way.
        """
        outcomes: list[str | None] = [None] * len(messages)
        left: Sequence[int] = range(len(messages))
        while left:
            batch = _Batch()
            for which in left:
                await self._produce(messages[which], batch, which)
            self._under_way.append(batch)
            self._kicked.set()
            await batch.done.wait()
            left = sorted(
                which for which, error in batch.refused.items() if error.code() not in _REFUSED
            )
            for which in batch.refused.keys() - set(left):
                outcomes[which] = reason_of(batch.refused[which])
            if left:
                log.warning("Kafka refused messages; they are sent again", count=len(left),
                            topic=messages[left[0]].topic,
                            reason=reason_of(batch.refused[left[0]]))  # fmt: skip
                await trio.sleep(_AGAIN_S)
        return outcomes

    async def _produce(self, message: Message, batch: _Batch, which: int) -> None:
        while True:
            heard, producer = self._heard, self._producer
            try:
                producer.produce(
                    message.topic,
                    message.value,
                    message.key,
                    on_delivery=partial(self._failed, producer, batch, which),
                    timestamp=message.at_ms,
                    headers=list(message.headers),
                )
            except BufferError:  # its queue is full: there is room when something is acknowledged
                self._kicked.set()
                await heard.wait()
            except KafkaException as error:
                batch.refused[which] = error.args[0]
                self._look(producer, error.args[0])
                return
            else:
                return

    def _failed(
        self, producer: Producer, batch: _Batch, which: int, error: KafkaError | None, _: Any
    ) -> None:
        if error is not None:
            batch.refused[which] = error
            self._look(producer, error)

    def _look(self, producer: Producer, error: KafkaError) -> None:
        """A fatal error ends a producer, as when a broker lost what it had acknowledged."""
        if producer is self._producer and (error.fatal() or error.code() == KafkaError._FATAL):
            self._renew(reason_of(error))

    def _renew(self, reason: str) -> None:
        log.error("the producer is broken and made anew", reason=reason)
        self._old.append(self._producer)
        self._producer = self._open()
        self._kicked.set()

    def _open(self) -> Producer:
        return Producer({**self._settings, "error_cb": self._presence.error})

    def _doubt(self) -> None:
        self._doubted.set()

    async def run(self) -> None:
        """Hears what became of messages, until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch)
                pause_s = _HEAR_S
                while True:
                    self._kicked = trio.Event()
                    is_idle = self._hear()
                    with trio.move_on_after(_POLL_S if is_idle else pause_s):
                        await self._kicked.wait()
                    pause_s = _HEAR_S if is_idle else min(1.5 * pause_s, _HEAR_S_MAX)
        finally:
            for one in (*self._old, self._producer):
                one.purge()

    async def _watch(self) -> None:
        """Looks whether the cluster is there, while that is in doubt."""
        thread = trio.CapacityLimiter(1)  # those who wait for disks shall not wait for it
        while True:
            await self._doubted.wait()
            await trio.to_thread.run_sync(
                self._presence.look, self._producer, limiter=thread, abandon_on_cancel=True
            )
            if not self._presence.is_doubted:
                self._doubted = trio.Event()
            await trio.sleep(_POLL_S)

    def _hear(self) -> bool:
        """Whether nothing is under way."""
        for old in self._old:
            old.purge()  # and so its messages come back, to be sent again
            old.poll(0)
        self._old = [old for old in self._old if len(old)]
        served = self._producer.poll(0)
        is_empty = not (len(self._producer) or self._old)
        if is_empty:
            batches, self._under_way = self._under_way, []
            for one in batches:
                one.done.set()
        if served or is_empty:
            self._heard.set()
            self._heard = trio.Event()
        return is_empty


@asynccontextmanager
async def open_sender(cluster: Cluster, who: str) -> AsyncIterator[Sender]:
    """A producer for the length of a block. `who`: its name to the broker, and in the log."""
    sender = Sender(cluster, who)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sender.run)
        yield sender
        nursery.cancel_scope.cancel()


class Receiver:
    """A consumer, batch by batch."""

    def __init__(
        self, cluster: Cluster, who: str, begin: Callable[[Consumer], None], **settings: Any
    ) -> None:
        self._settings = {
            **cluster.settings,
            "client.id": who,
            "group.id": who,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 250,
            "fetch.message.max.bytes": MESSAGE_BYTES_MAX,
            "queued.max.messages.kbytes": 32 << 10,
            "reconnect.backoff.max.ms": 1_000,
            "topic.metadata.refresh.interval.ms": 10_000,
            **settings,
        }
        self._presence = _Presence(cluster.address, who)
        self._begin = begin
        self._consumer = self._open()
        self._token = trio.lowlevel.current_trio_token()
        self._stop = threading.Event()
        self._free = threading.Semaphore(1)
        self._batch: list[Received] | None = None
        self._there = trio.Event()
        self._said = ""
        self._done: deque[dict[tuple[str, int], int]] = deque()

    async def next_batch(self) -> list[Received]:
        """What came next; at least one message."""
        while self._batch is None:
            await self._there.wait()
        batch, self._batch = self._batch, None
        self._there = trio.Event()
        self._free.release()
        return batch

    def done(self, batch: Sequence[Received]) -> None:
        """These have taken effect: a group goes on behind them, after a crash as well."""
        self._done.append({(one.topic, one.partition): one.offset + 1 for one in batch})

    def _open(self) -> Consumer:
        consumer = Consumer({**self._settings, "error_cb": self._presence.error})
        self._begin(consumer)
        return consumer

    def run(self) -> None:
        """The thread's: polls until `stop`."""
        while not self._stop.is_set():
            try:
                self._presence.look(self._consumer)
                self._keep_done()
                batch = self._fetch()
                if batch:
                    self._hand_over(batch)
            except KafkaException as error:
                # What was fetched and not handed over comes again: a new one begins where the last
                # has noted `done`, and the position of this one is behind it.
                self._trouble(error.args[0])
                self._consumer.close()
                self._consumer = self._open()
                self._stop.wait(_AGAIN_S)
        self._keep_done()
        self._consumer.close()

    def stop(self) -> None:
        """Has the thread end: it keeps what is done, and leaves its group."""
        self._stop.set()

    def _fetch(self) -> list[Received]:
        # `consume` alone waits until its batch is full, or its time is over.
        first = self._consumer.poll(_POLL_S)
        if first is None:
            return []
        found = []
        for one in (first, *self._consumer.consume(BATCH_MAX - 1, 0)):
            error = one.error()
            if error is not None:
                self._trouble(error)
                continue
            topic, partition, offset = one.topic(), one.partition(), one.offset()
            assert topic is not None and partition is not None and offset is not None
            found.append(
                Received(
                    topic, partition, offset, one.key(), one.value(), headers_of(one.headers()),
                    one.timestamp()[1],
                )
            )  # fmt: skip
        return found

    def _keep_done(self) -> None:
        # In this thread alone: a consumer takes one call at a time, and others would wait for it.
        ends: dict[tuple[str, int], int] = {}
        while self._done:
            ends |= self._done.popleft()
        if not ends:
            return
        try:
            self._consumer.store_offsets(
                offsets=[TopicPartition(*at, end) for at, end in ends.items()]
            )
        except KafkaException as error:
            # Another gateway has these partitions by now, and gets them again.
            log.debug("offsets are not kept", reason=reason_of(error.args[0]))

    def _hand_over(self, batch: list[Received]) -> None:
        if not self._free.acquire(timeout=_HOLD_S):
            held = list(batch)
            while not self._stop.is_set() and not self._free.acquire(timeout=_POLL_S):
                self._consumer.pause(self._consumer.assignment())
                self._keep_done()
                held += self._fetch()  # of a partition that was given to it just now
            self._consumer.resume(self._consumer.assignment())
            batch = held
        if not self._stop.is_set():
            self._token.run_sync_soon(self._take, batch)

    def _take(self, batch: list[Received]) -> None:
        self._batch = batch
        self._there.set()

    def _trouble(self, error: KafkaError) -> None:
        # What is away is said by the presence.
        if error.code() in (KafkaError._PARTITION_EOF, KafkaError._TRANSPORT, *_AWAY):
            return
        said = reason_of(error)
        if said != self._said:  # once, and not at every poll
            self._said = said
            log.warning("Kafka gives no messages", reason=said)


def headers_of(found: Any) -> Headers:
    # Told as a dict or a list; from a broker they come as a list.
    return tuple((name, value) for name, value in found or ())


@asynccontextmanager
async def open_receiver(
    cluster: Cluster, who: str, begin: Callable[[Consumer], None], **settings: Any
) -> AsyncIterator[Receiver]:
    """A consumer for the length of a block.

    Args:
        begin: subscribes it, or assigns partitions to it.
        settings: librdkafka's, beside those here.
    """
    receiver = Receiver(cluster, who, begin, **settings)
    async with _threaded(receiver.run, receiver.stop):
        yield receiver


@asynccontextmanager
async def _threaded(run: Callable[[], None], stop: Callable[[], None]) -> AsyncIterator[None]:
    """A thread beside a block; it has ended when the block has."""
    async with trio.open_nursery() as nursery:
        # Of its own limiter: those who wait for disks shall not wait for it.
        nursery.start_soon(partial(trio.to_thread.run_sync, run, limiter=trio.CapacityLimiter(1)))
        try:
            yield
        finally:
            stop()
