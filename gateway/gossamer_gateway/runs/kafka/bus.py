"""Kafka under trio: messages go out and come in, and nobody here waits for a broker in vain.

librdkafka has threads of its own and calls back from `poll`, so each client gets one thread that
polls; what it learns goes to trio's loop by `run_sync_soon`, many words in one hop. What waits is
bounded: a sender takes no more than librdkafka's queue, a receiver hands over one batch at a time
and stops fetching while that is at work. A cluster that is away is said once, and waited for; so is
its coming back. Nothing that a broker does raises out of here.
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

from gossamer_gateway.runs.kafka.topics import MESSAGE_BYTES_MAX, reason_of
from gossamer_node import logs

log = logs.get("kafka")

BATCH_MAX = 500
"""Messages that a receiver hands over at once."""

_POLL_S = 0.1
"""A thread sees within it that it is to end."""

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

_AWAY = frozenset({KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE, KafkaError._AUTHENTICATION})

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

    def __init__(self, address: str, who: str) -> None:
        self._address = address
        self._who = who
        self._reason = ""
        self._away = False

    def error(self, error: KafkaError) -> None:
        """librdkafka's `error_cb`: the connection's troubles, most of which mend themselves."""
        if error.code() in _AWAY:
            self._reason = reason_of(error)

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
    """Messages under way together. `outcomes`: of each None, or why it isn't there."""

    def __init__(self, count: int) -> None:
        self.outcomes: list[KafkaError | None] = [None] * count
        self.waiting = count
        self.done = trio.Event()


class Sender:
    """A producer. Order within a key is kept, and nothing is doubled by its own repetitions."""

    def __init__(self, address: str, who: str) -> None:
        self._settings = {
            "bootstrap.servers": address,
            "client.id": who,
            "log_level": 0,
            "enable.idempotence": True,
            "linger.ms": 1,
            "partitioner": "murmur2_random",  # as Java's: a key is in one partition, whoever wrote
            "message.max.bytes": MESSAGE_BYTES_MAX,
            "message.timeout.ms": 0,  # it waits for a broker as long as it takes
            "reconnect.backoff.max.ms": 1_000,
            "topic.metadata.refresh.interval.ms": 10_000,
        }
        self._presence = _Presence(address, who)
        self._producer = self._open()
        self._token = trio.lowlevel.current_trio_token()
        self._old: deque[Producer] = deque()
        self._told: deque[tuple[Producer, _Batch, int, KafkaError | None]] = deque()
        self._heard = trio.Event()
        self._stop = threading.Event()

    async def send(self, messages: Sequence[Message]) -> list[str | None]:
        """Returns when each is acknowledged by all copies, however long that takes.

        Gives for each None, or why it will never be taken. One that is cancelled leaves its
        messages under way.
        """
        outcomes: list[str | None] = [None] * len(messages)
        left = list(range(len(messages)))
        while left:
            batch = _Batch(len(left))
            for index, which in enumerate(left):
                await self._produce(messages[which], batch, index)
            await batch.done.wait()
            again = []
            for which, error in zip(left, batch.outcomes, strict=True):
                if error is None:
                    continue
                if error.code() in _REFUSED:
                    outcomes[which] = reason_of(error)
                else:
                    again.append(which)
                    reason = reason_of(error)
            if again:
                log.warning("Kafka refused messages; they are sent again", count=len(again),
                            topic=messages[again[0]].topic, reason=reason)  # fmt: skip
                await trio.sleep(_AGAIN_S)
            left = again
        return outcomes

    async def _produce(self, message: Message, batch: _Batch, index: int) -> None:
        while True:
            heard, producer = self._heard, self._producer
            try:
                producer.produce(
                    message.topic,
                    message.value,
                    message.key,
                    on_delivery=partial(self._delivered, producer, batch, index),
                    timestamp=message.at_ms,
                    headers=list(message.headers),
                )
            except BufferError:  # its queue is full: there is room when something is acknowledged
                await heard.wait()
            except KafkaException as error:
                self._settle(producer, batch, index, error.args[0])
                return
            else:
                return

    def _delivered(
        self, producer: Producer, batch: _Batch, index: int, error: KafkaError | None, _: Any
    ) -> None:
        self._told.append((producer, batch, index, error))

    def _hear(self) -> None:
        while self._told:
            self._settle(*self._told.popleft())
        self._heard.set()
        self._heard = trio.Event()

    def _settle(
        self, producer: Producer, batch: _Batch, index: int, error: KafkaError | None
    ) -> None:
        batch.outcomes[index] = error
        batch.waiting -= 1
        if batch.waiting == 0:
            batch.done.set()
        fatal = error is not None and (error.fatal() or error.code() == KafkaError._FATAL)
        if fatal and producer is self._producer:
            assert error is not None
            self._renew(reason_of(error))

    def _renew(self, reason: str) -> None:
        """A fatal error ends a producer, as when a broker lost what it had acknowledged."""
        log.error("the producer is broken and made anew", reason=reason)
        self._old.append(self._producer)
        self._producer = self._open()

    def _open(self) -> Producer:
        return Producer({**self._settings, "error_cb": self._presence.error})

    def run(self) -> None:
        """The thread's: polls until `stop`."""
        while not self._stop.is_set():
            while self._old:
                old = self._old.popleft()
                old.purge()  # and so its messages come back, to be sent again
                old.flush(_POLL_S)
            self._presence.look(self._producer)
            self._producer.poll(_POLL_S)
            if self._told:
                self._token.run_sync_soon(self._hear, idempotent=True)
        self._producer.purge()
        self._producer.flush(0)

    def stop(self) -> None:
        """Has the thread end. What is under way may arrive or not; nobody is told."""
        self._stop.set()


@asynccontextmanager
async def open_sender(address: str, who: str) -> AsyncIterator[Sender]:
    """A producer for the length of a block. `who`: its name to the broker, and in the log."""
    sender = Sender(address, who)
    async with _threaded(sender.run, sender.stop):
        yield sender


class Receiver:
    """A consumer, batch by batch."""

    def __init__(
        self, address: str, who: str, begin: Callable[[Consumer], None], **settings: Any
    ) -> None:
        self._settings = {
            "bootstrap.servers": address,
            "client.id": who,
            "group.id": who,
            "log_level": 0,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 250,
            "fetch.message.max.bytes": MESSAGE_BYTES_MAX,
            "queued.max.messages.kbytes": 32 << 10,
            "reconnect.backoff.max.ms": 1_000,
            "topic.metadata.refresh.interval.ms": 10_000,
            **settings,
        }
        self._presence = _Presence(address, who)
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
        while self._done:
            for (topic, partition), offset in self._done.popleft().items():
                try:
                    self._consumer.store_offsets(offsets=[TopicPartition(topic, partition, offset)])
                except KafkaException as error:
                    # Another gateway has the partition by now, and gets them again.
                    log.debug("an offset is not kept", reason=reason_of(error.args[0]))

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
    address: str, who: str, begin: Callable[[Consumer], None], **settings: Any
) -> AsyncIterator[Receiver]:
    """A consumer for the length of a block.

    Args:
        begin: subscribes it, or assigns partitions to it.
        settings: librdkafka's, beside those here.
    """
    receiver = Receiver(address, who, begin, **settings)
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
