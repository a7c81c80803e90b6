"""The broker from Maven Central: it takes messages, and has them after kill -9."""

from uuid import uuid4

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from tests.kafka_fixture import Kafka
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.kafka


def test_what_was_acknowledged_is_there_after_kill_minus_nine(kafka: Kafka) -> None:
    topic = f"kept-{uuid4().hex}"
    admin = AdminClient({"bootstrap.servers": kafka.address})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(PATIENCE_S)
    producer = Producer({"bootstrap.servers": kafka.address, "acks": "all"})
    acknowledged: list[object] = []
    for number in range(100):
        producer.produce(
            topic, str(number).encode(), on_delivery=lambda error, _: acknowledged.append(error)
        )
    assert producer.flush(PATIENCE_S) == 0
    assert acknowledged == [None] * 100
    kafka.kill()
    kafka.start()
    consumer = Consumer(
        {
            "bootstrap.servers": kafka.address,
            "group.id": topic,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([topic])
    found: list[bytes | None] = []
    while len(found) < 100:
        found += [one.value() for one in consumer.consume(100, 1.0) if one.error() is None]
    consumer.close()
    assert found == [str(number).encode() for number in range(100)]
