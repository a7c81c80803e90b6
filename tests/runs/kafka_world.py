"""What the tests of Kafka share: topics of a test's own, and readers of a whole topic."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import trio
from confluent_kafka import Consumer, TopicPartition
from tests.patience import PATIENCE_S

from gossamer_gateway.runs.engine import Engine
from gossamer_gateway.runs.kafka import bus
from gossamer_gateway.runs.kafka.bus import Message, Received, Receiver, Sender, open_receiver
from gossamer_gateway.runs.kafka.cluster import Cluster
from gossamer_gateway.runs.kafka.opening import Kafka as KafkaParts
from gossamer_gateway.runs.kafka.opening import open_kafka
from gossamer_gateway.runs.kafka.topics import JOBS, RESULTS, Topic, make_topics, topics
from gossamer_gateway.runs.model.definition import Definition, Retry, Step
from gossamer_gateway.runs.model.events import Event
from gossamer_gateway.runs.model.run import Run
from gossamer_gateway.storage import Storage


async def fresh_topic(cluster: Cluster, partitions: int = 3) -> str:
    """A topic that nobody has used."""
    name = f"test-{uuid4().hex[:12]}"
    # Kept for ever: a broker looks every few minutes, and events of tests are of 1970.
    await make_topics(cluster, [Topic(name, partitions, -1)])
    return name


def read_all(address: str, topic: str, count: int) -> list[tuple[bytes | None, bytes | None]]:
    """The first so many messages: key and value, in order within each partition."""
    reader = Consumer({"bootstrap.servers": address, "group.id": "test", "log_level": 0})
    partitions = reader.list_topics(topic, timeout=PATIENCE_S).topics[topic].partitions
    reader.assign([TopicPartition(topic, one, 0) for one in partitions])
    found: list[tuple[bytes | None, bytes | None]] = []
    while len(found) < count:
        one = reader.poll(PATIENCE_S)
        assert one is not None, f"{len(found)} of {count} came"
        if one.error() is None:
            found.append((one.key(), one.value()))
    reader.close()
    return found


def read_topic_whole(
    address: str, topic: str
) -> list[tuple[bytes | None, bytes | None, dict[str, bytes | None]]]:
    """All that is in a topic now: key, value and headers, in order within each partition."""
    reader = Consumer({"bootstrap.servers": address, "group.id": "test", "log_level": 0})
    whole = [
        TopicPartition(topic, one, 0)
        for one in reader.list_topics(topic, timeout=PATIENCE_S).topics[topic].partitions
    ]
    left = {
        one.partition: reader.get_watermark_offsets(one, timeout=PATIENCE_S)[1] for one in whole
    }
    left = {partition: end for partition, end in left.items() if end}
    reader.assign(whole)
    found = []
    while left:
        one = reader.poll(PATIENCE_S)
        assert one is not None and one.error() is None
        partition, offset = one.partition(), one.offset()
        assert partition is not None and offset is not None
        if offset + 1 >= left.get(partition, 0):
            left.pop(partition, None)
        found.append((one.key(), one.value(), dict(bus.headers_of(one.headers()))))
    reader.close()
    return found


def read_topic(address: str, topic: str) -> list[bytes]:
    """The values of all that is in a topic now."""
    return [value for _, value, _ in read_topic_whole(address, topic) if value is not None]


def by_key(found: Sequence[tuple[bytes | None, bytes | None]]) -> dict[bytes, list[bytes]]:
    """Values of each key, in order."""
    values: dict[bytes, list[bytes]] = {}
    for key, value in found:
        assert key is not None and value is not None
        values.setdefault(key, []).append(value)
    return values


ACTIONS = ("kafka-one", "kafka-two", "kafka-three")


def definition(id: str = "kafka-test") -> Definition:
    """Three steps, one after the other."""
    steps = {}
    for place, action in enumerate(ACTIONS):
        following = ACTIONS[place + 1] if place + 1 < len(ACTIONS) else None
        steps[action] = Step(action, action=action, next=following, retry=Retry(100, 10))
    return Definition(id, ACTIONS[0], steps)


@dataclass
class World:
    """An engine whose jobs go to Kafka and whose results come from there."""

    cluster: Cluster
    storage: Storage
    engine: Engine
    kafka: KafkaParts
    ended: dict[str, Run] = field(default_factory=dict)

    def happened(self, run: Run, _: Sequence[Event]) -> None:
        if run.status.has_ended:
            self.ended[run.id] = run


@asynccontextmanager
async def open_world(cluster: Cluster, storage: Storage) -> AsyncIterator[World]:
    """Runs until the block is left."""
    engine = Engine(storage, offered=lambda _: False, outbox=True)
    async with (
        open_kafka(engine, cluster, lambda _: False, topics(3_600_000), shared=storage.shared) as (
            parts,
            _,
        ),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(engine.keep_time)
        world = World(cluster, storage, engine, parts)
        engine.listen(world.happened)
        yield world
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def working(
    cluster: Cluster, sender: Sender, times: int = 1
) -> AsyncIterator[list[Received]]:
    """A worker of all actions, which adds its action to what it gets. Gives its jobs.

    Args:
        times: how often it says each result.
    """
    seen: list[Received] = []

    def begin(consumer: Consumer) -> None:
        consumer.subscribe([JOBS])

    async def work(receiver: Receiver) -> None:
        while True:
            batch = await receiver.next_batch()
            results = []
            for one in batch:
                # By the header alone: on the session's topic are others' jobs, and their junk.
                if (dict(one.headers).get("action") or b"").decode() not in ACTIONS:
                    continue
                seen.append(one)
                job = json.loads(one.value or b"")
                output = [*(job["payload"] or []), job["action"]]
                said = {name: job[name] for name in ("run", "step", "attempt")}
                value = {"form": 1, **said, "status": "completed", "output": output, "worker": "w"}
                results.append(Message(RESULTS, one.key, json.dumps(value).encode()))
            await sender.send(results * times)
            receiver.done(batch)

    settings = {"enable.auto.commit": True, "enable.auto.offset.store": False}
    async with (
        open_receiver(cluster, "test-worker", begin, **settings) as receiver,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(work, receiver)
        yield seen
        nursery.cancel_scope.cancel()
