"""Jobs from the topic `workflow-jobs`, answers to `workflow-results`.

Each action has a consumer group of its own (`workflow-worker.<action>`), so workers of one action
share its jobs and every action gets all of its own; jobs of others are passed over by a header.
A thread per action polls, and goes on polling while handlers are busy (its partitions are paused
then): a handler may take hours and the partition stays. An offset is committed when the answers
of all jobs before it were acknowledged by Kafka. So nothing is lost; what comes twice is known by
its key (`memory.py`).

The assignment strategy is `range`, which the default clients of all languages know: workers
written in several may share an action.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, Callable

from gossamer_worker.desk import Desk
from gossamer_worker.memory import Offsets
from gossamer_worker.messages import Job, Outcome, Unreadable, read_message, result, too_large
from gossamer_worker.voice import Voice, wait_s

try:
    from confluent_kafka import (
        Consumer,
        KafkaError,
        KafkaException,
        Message,
        Producer,
        TopicPartition,
    )
except ImportError as error:
    raise ImportError(
        "jobs from Kafka need its client: pip install 'gossamer-worker[kafka]'"
    ) from error

log = logging.getLogger("gossamer_worker")

JOBS = "workflow-jobs"
RESULTS = "workflow-results"
DEAD_LETTERS = "workflow-jobs-dead-letters"

MESSAGE_BYTES_MAX = 4 * 1_048_576
"""Of what is sent: a result of the greatest size, and the rest of its message."""

LETTERS_MAX = 100
"""Dead letters on their way, of one action: junk is read no faster than its letters are kept."""

POLL_S = 0.1
COMMIT_S = 0.2
"""How often what is finished is committed. After a kill, what was finished since comes again."""

REFUSALS = {
    KafkaError._AUTHENTICATION: "it does not let this worker in",
    KafkaError._SSL: "TLS with it fails",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "it does not let this worker do its work",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "it does not let this worker do its work",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "it does not let this worker do its work",
}
"""What somebody has to mend: other credentials, another authority, another right."""

RIGHTS = "rights"
"""The kind of trouble that is not over because Kafka answers."""

Headers = list[tuple[str, Any]]


class KafkaJobs:
    """What a worker has to do with Kafka."""

    def __init__(
        self,
        servers: str,
        actions: list[str],
        worker: str,
        desk: Desk,
        options: Mapping[str, Any],
        broken: Callable[[BaseException], None],
    ) -> None:
        self._desk = desk
        self._worker = worker
        self._actions = actions
        self._broken = broken
        self._place = f"Kafka at {servers}"
        self._voice = Voice(self._place)
        self._stopping = threading.Event()
        self._closing = threading.Event()
        # librdkafka says the same trouble many times a second; `Voice` says it once.
        quiet = logging.getLogger("gossamer_worker.librdkafka")
        if quiet.level == logging.NOTSET:
            quiet.setLevel(logging.CRITICAL)
        self._common: dict[str, Any] = {
            "bootstrap.servers": servers,
            "client.id": worker,
            "error_cb": self._trouble,
            "logger": quiet,
            "reconnect.backoff.max.ms": 2_000,
            **options,
        }
        self._sender = Sender(self._common, self._voice)
        self._ready: set[str] = set()
        self._readers = [
            threading.Thread(target=self._guard, args=(one,), name=f"gossamer-{one}", daemon=True)
            for one in actions
        ]

    def start(self) -> None:
        """Begins to take jobs."""
        self._sender.start()
        for reader in self._readers:
            reader.start()

    def stop(self) -> None:
        """Takes no more; what is at work goes on."""
        self._stopping.set()

    def close(self) -> None:
        """Commits what is finished and leaves the groups: the rest is given to others."""
        self._closing.set()
        for reader in self._readers:
            reader.join(10)
        self._sender.close()

    def _trouble(self, error: KafkaError) -> None:
        self._voice.away(*trouble_of(error))

    def _guard(self, action: str) -> None:
        try:
            self._sender.wait_topics(self._stopping)
            if not self._stopping.is_set():
                Reader(self, action).run()
        except BaseException as error:
            self._broken(error)

    def is_ready(self, action: str) -> None:
        """A group has given this worker its share."""
        before = len(self._ready)
        self._ready.add(action)
        if before < len(self._actions) == len(self._ready):
            log.info("ready: %s from %s", ", ".join(self._actions), self._place)


class Reader:
    """The jobs of one action. All but `_finished` is its thread's."""

    def __init__(self, jobs: KafkaJobs, action: str) -> None:
        self._jobs = jobs
        self._action = action
        self._lock = threading.Lock()
        self._offsets: dict[int, Offsets] = {}
        self._committed: dict[int, int] = {}
        self._letters = 0
        self._is_paused = False
        self._consumer = Consumer(
            {
                **jobs._common,
                "group.id": f"workflow-worker.{action}",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "partition.assignment.strategy": "range",
                # A worker that was killed is noticed after this; heartbeats have their own thread.
                "session.timeout.ms": 10_000,
                "queued.max.messages.kbytes": 16_384,
                "on_commit": self._uncommitted,
            }
        )

    def run(self) -> None:
        """Until the worker closes."""
        self._consumer.subscribe([JOBS], on_assign=self._assigned, on_revoke=self._revoked,
                                 on_lost=self._lost)  # fmt: skip
        commit_s = time.monotonic()
        try:
            while not self._jobs._closing.is_set():
                is_full = self._is_full(0)
                if is_full and not self._is_paused:
                    # Soon there will be room, mostly; a pause throws away what was fetched.
                    is_full = self._is_full(1.0)
                self._pause(is_full)
                message = self._consumer.poll(POLL_S / 10 if is_full else POLL_S)
                if message is not None:
                    self._handle(message)
                if time.monotonic() - commit_s >= COMMIT_S:
                    commit_s = time.monotonic()
                    self._commit(asynchronous=True)
                if is_full:
                    self._is_full(POLL_S)
        finally:
            self._commit(asynchronous=False)
            self._consumer.close()

    def _is_full(self, timeout_s: float) -> bool:
        """Whether nothing more is taken now, even after waiting so long."""
        if self._jobs._stopping.is_set() or self._letters >= LETTERS_MAX:
            self._jobs._closing.wait(timeout_s)
            return True
        return not self._jobs._desk.wait_room(timeout_s)

    def _handle(self, message: Message[bytes, bytes]) -> None:
        error = message.error()
        if error is not None:
            if error.fatal():
                raise KafkaException(error)
            self._jobs._voice.away(*trouble_of(error))
            return
        partition, offset = message.partition(), message.offset()
        assert partition is not None and offset is not None, "it is no error"
        with self._lock:
            offsets = self._offsets.setdefault(partition, Offsets())
        try:
            job = read_message(self._action, _header(message, "action"), message.value())
        except Unreadable as unreadable:
            with self._lock:
                offsets.begin(offset)
                self._letters += 1
            self._put_aside(message, str(unreadable), lambda: self._kept(offsets, offset))
            return
        if job is None:
            with self._lock:
                offsets.skip(offset)
            return
        with self._lock:
            offsets.begin(offset)
        self._jobs._desk.take(job, lambda outcome: self._say(job, outcome, offsets, offset))

    def _say(self, job: Job, outcome: Outcome, offsets: Offsets, offset: int) -> None:
        def arrived() -> None:
            self._finished(offsets, offset)
            self._jobs._desk.sent()

        value = result(job, outcome, self._jobs._worker).encode()
        smaller = result(job, too_large(len(value)), self._jobs._worker).encode()
        self._jobs._sender.send(RESULTS, job.run.encode(), value, [], arrived, smaller)

    def _put_aside(
        self, message: Message[bytes, bytes], reason: str, arrived: Callable[[], None]
    ) -> None:
        log.warning(
            "a job that cannot be read (%s) is put aside in %s: partition %s, offset %s",
            reason, DEAD_LETTERS, message.partition(), message.offset(),
        )  # fmt: skip
        headers: Headers = [
            *(message.headers() or []),
            ("reason", reason.encode()),
            ("topic", JOBS.encode()),
            ("partition", str(message.partition()).encode()),
            ("offset", str(message.offset()).encode()),
        ]
        value = message.value()
        self._jobs._sender.send(DEAD_LETTERS, message.key(), value, headers, arrived, None)

    def _kept(self, offsets: Offsets, offset: int) -> None:
        with self._lock:
            self._letters -= 1
            offsets.finish(offset)

    def _finished(self, offsets: Offsets, offset: int) -> None:
        with self._lock:
            offsets.finish(offset)

    def _pause(self, wanted: bool) -> None:
        if wanted != self._is_paused:
            self._is_paused = wanted
            change = self._consumer.pause if wanted else self._consumer.resume
            change(self._consumer.assignment())

    def _commit(self, *, asynchronous: bool) -> None:
        with self._lock:
            new = {
                partition: offsets.position
                for partition, offsets in self._offsets.items()
                if offsets.position > self._committed.get(partition, 0)
            }
        if not new:
            return
        places = [TopicPartition(JOBS, partition, offset) for partition, offset in new.items()]
        try:
            if asynchronous:
                self._consumer.commit(offsets=places, asynchronous=True)
            else:
                self._consumer.commit(offsets=places, asynchronous=False)
        except KafkaException:
            return  # the group has changed, or Kafka is away: what was not committed comes again
        self._committed.update(new)

    def _uncommitted(self, error: KafkaError | None, places: list[TopicPartition]) -> None:
        for one in places:
            if error is not None or one.error is not None:
                self._committed.pop(one.partition, None)  # it is tried again

    def _assigned(self, _consumer: object, places: list[TopicPartition]) -> None:
        with self._lock:
            for one in places:
                self._offsets[one.partition] = Offsets()
                self._committed.pop(one.partition, None)
        if self._is_paused:
            self._is_paused = False  # new partitions are not
        self._jobs._voice.back()
        self._jobs.is_ready(self._action)

    def _revoked(self, _consumer: object, places: list[TopicPartition]) -> None:
        self._commit(asynchronous=False)
        self._lost(_consumer, places)

    def _lost(self, _consumer: object, places: list[TopicPartition]) -> None:
        with self._lock:
            for one in places:
                self._offsets.pop(one.partition, None)
                self._committed.pop(one.partition, None)


class Sender:
    """Sends for all threads, and sends again until Kafka has acknowledged.

    `_refused` counts what was not taken at once: while there is some, all is not well.
    """

    def __init__(self, common: Mapping[str, Any], voice: Voice) -> None:
        self._voice = voice
        self._refused = 0
        self._counting = threading.Lock()
        self._again: deque[tuple[float, Callable[[], None]]] = deque()
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="gossamer-sender", daemon=True)
        self._producer = Producer(
            {
                **common,
                # A result that comes twice changes nothing, and an idempotent producer may end for
                # good, over a right that it lacks or what a broker has lost.
                "enable.idempotence": False,
                "acks": "all",
                "linger.ms": 1,
                "message.max.bytes": MESSAGE_BYTES_MAX,
            }
        )

    def start(self) -> None:
        """Begins to hear what became of what was sent."""
        self._thread.start()

    def close(self) -> None:
        """After a last try."""
        self._is_closed.set()
        self._thread.join(10)
        self._producer.flush(5)

    def wait_topics(self, stopping: threading.Event) -> None:
        """Until Kafka is there and has the topics."""
        tries = 0
        while not stopping.is_set():
            try:
                there = self._producer.list_topics(timeout=2).topics
            except KafkaException:
                self._voice.away("it cannot be reached")  # `error_cb` knows more of it
            else:
                missing = [one for one in (JOBS, RESULTS) if one not in there]
                if not missing:
                    self._voice.back()
                    return
                self._voice.away(f"it has no topic {missing[0]}, or none for this worker")
            tries += 1
            stopping.wait(wait_s(tries))

    def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        arrived: Callable[[], None],
        smaller: bytes | None,
        tries: int = 0,
    ) -> None:
        """Sends, and calls `arrived` once it is kept; `smaller` instead of what is too large."""

        def again(trouble: str, kind: str = "") -> None:
            self._voice.away(trouble, kind)
            if tries == 0:
                self._count(1)
            due_s = time.monotonic() + wait_s(tries + 1)
            self._again.append(
                (due_s, lambda: self.send(topic, key, value, headers, arrived, smaller, tries + 1))
            )

        def delivered(error: KafkaError | None, _message: object) -> None:
            if error is None:
                if tries > 0 and not self._count(-1):
                    self._voice.back()
                arrived()
            elif error.code() == KafkaError.MSG_SIZE_TOO_LARGE and smaller is not None:
                self.send(topic, key, smaller, headers, arrived, None, tries)
            else:
                again(f"{topic} takes nothing: {error.str()}", trouble_of(error)[1])

        try:
            self._producer.produce(topic, value, key, headers=headers, on_delivery=delivered)
        except BufferError:
            again("too much waits to be sent")
        except KafkaException as error:
            delivered(error.args[0], None)

    def _count(self, by: int) -> int:
        with self._counting:
            self._refused += by
            return self._refused

    def _serve(self) -> None:
        tries = 0
        while not self._is_closed.is_set():
            self._producer.poll(POLL_S)
            for _ in range(len(self._again)):
                due_s, send = self._again.popleft()
                if due_s <= time.monotonic():
                    send()
                else:
                    self._again.append((due_s, send))
            if self._voice.is_away:
                tries += 1
                try:
                    self._producer.list_topics(timeout=1)
                except KafkaException:
                    self._is_closed.wait(wait_s(tries) / 5)
                else:
                    tries = 0
                    if not self._refused:
                        self._voice.back(unless=RIGHTS)


def trouble_of(error: KafkaError) -> tuple[str, str]:
    """What an error means, in words for whoever runs the worker, and its kind for `Voice`."""
    what = REFUSALS.get(error.code())
    if what is not None:
        is_right = error.code() not in {KafkaError._AUTHENTICATION, KafkaError._SSL}
        return f"{what} ({error.str()})", RIGHTS if is_right else error.name()
    if error.code() in {KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._RESOLVE}:
        return f"it cannot be reached ({error.str()})", ""
    return error.str(), ""


def _header(message: Message[bytes, bytes], name: str) -> str | None:
    headers: Headers = list(message.headers() or [])  # type: ignore[arg-type]
    for key, value in headers:
        if key == name:
            return value.decode("utf-8", "replace") if isinstance(value, bytes) else None
    return None
