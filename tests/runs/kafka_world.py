"""What the tests of Kafka share: topics of a test's own, and readers of a whole topic."""

from collections.abc import Sequence
from uuid import uuid4

from confluent_kafka import Consumer, TopicPartition

from gossamer_gateway.runs.kafka.topics import Topic, make_topics


async def fresh_topic(address: str, partitions: int = 3) -> str:
    """A topic that nobody has used."""
    name = f"test-{uuid4().hex[:12]}"
    await make_topics(address, [Topic(name, partitions, 3_600_000)])
    return name


def read_all(address: str, topic: str, count: int) -> list[tuple[bytes | None, bytes | None]]:
    """The first so many messages: key and value, in order within each partition."""
    reader = Consumer({"bootstrap.servers": address, "group.id": "test", "log_level": 0})
    partitions = reader.list_topics(topic, timeout=20).topics[topic].partitions
    reader.assign([TopicPartition(topic, one, 0) for one in partitions])
    found: list[tuple[bytes | None, bytes | None]] = []
    while len(found) < count:
        one = reader.poll(20)
        assert one is not None, f"{len(found)} of {count} came"
        if one.error() is None:
            found.append((one.key(), one.value()))
    reader.close()
    return found


def by_key(found: Sequence[tuple[bytes | None, bytes | None]]) -> dict[bytes, list[bytes]]:
    """Values of each key, in order."""
    values: dict[bytes, list[bytes]] = {}
    for key, value in found:
        assert key is not None and value is not None
        values.setdefault(key, []).append(value)
    return values
