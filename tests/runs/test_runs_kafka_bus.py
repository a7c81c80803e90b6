"""Kafka under trio: order by key, refusals, and a broker that goes and comes back."""

import logging

import pytest
import trio
import trio.testing
from confluent_kafka import Consumer, KafkaError, KafkaException
from tests.kafka_fixture import Kafka
from tests.patience import patience
from tests.runs.kafka_world import by_key, fresh_topic, read_all

from gossamer_gateway.runs.kafka.bus import (
    Message,
    Received,
    Receiver,
    open_receiver,
    open_sender,
)
from gossamer_gateway.runs.kafka.cluster import Cluster
from gossamer_gateway.runs.kafka.topics import MESSAGE_BYTES_MAX

pytestmark = pytest.mark.kafka


def numbered(topic: str, keys: int, count: int) -> list[Message]:
    return [
        Message(topic, b"key-%d" % (number % keys), b"%d" % number, (("n", b"%d" % number),))
        for number in range(count)
    ]


def in_order(keys: int, count: int) -> dict[bytes, list[bytes]]:
    return {b"key-%d" % key: [b"%d" % n for n in range(key, count, keys)] for key in range(keys)}


async def test_what_is_sent_arrives_once_and_in_order_by_key(kafka: Kafka) -> None:
    topic = await fresh_topic(kafka.cluster)
    async with open_sender(kafka.cluster, "test") as sender:
        assert await sender.send(numbered(topic, 7, 700)) == [None] * 700
    found = read_all(kafka.address, topic, 700)
    assert by_key(found) == in_order(7, 700)


async def test_a_message_that_is_too_large_is_refused_and_its_neighbours_go(kafka: Kafka) -> None:
    topic = await fresh_topic(kafka.cluster, 1)
    huge = Message(topic, b"k", bytes(MESSAGE_BYTES_MAX + 1))
    async with open_sender(kafka.cluster, "test") as sender:
        first, second, third = await sender.send(
            [Message(topic, b"k", b"1"), huge, Message(topic, b"k", b"2")]
        )
    assert (first, third) == (None, None)
    assert second is not None and "MSG_SIZE_TOO_LARGE" in second
    assert read_all(kafka.address, topic, 2) == [(b"k", b"1"), (b"k", b"2")]


async def test_a_broken_producer_is_made_anew_and_nothing_is_lost(kafka: Kafka) -> None:
    topic = await fresh_topic(kafka.cluster)
    async with open_sender(kafka.cluster, "test") as sender, trio.open_nursery() as nursery:
        nursery.start_soon(sender.send, numbered(topic, 3, 30))
        await trio.testing.wait_all_tasks_blocked()
        sender._renew("for this test")
    assert set(by_key(read_all(kafka.address, topic, 30))) == set(in_order(3, 30))


async def test_a_receiver_gives_all_and_keeps_what_is_done(kafka: Kafka) -> None:
    topic = await fresh_topic(kafka.cluster)
    settings = {"enable.auto.commit": True, "enable.auto.offset.store": False}

    def begin(consumer: Consumer) -> None:
        consumer.subscribe([topic])

    async with open_sender(kafka.cluster, "test") as sender:
        await sender.send(numbered(topic, 5, 50))
        found: list[bytes] = []
        async with open_receiver(kafka.cluster, topic, begin, **settings) as receiver:
            while len(found) < 50:
                batch = await receiver.next_batch()
                found += [one.value for one in batch if one.value is not None]
                assert all(one.headers == (("n", one.value),) for one in batch)
                receiver.done(batch)
        assert sorted(found) == sorted(b"%d" % n for n in range(50))
        await sender.send([Message(topic, b"key-0", b"more")])
        async with open_receiver(kafka.cluster, topic, begin, **settings) as receiver:
            (more,) = await receiver.next_batch()
            assert more.value == b"more"


async def test_trouble_in_handing_over_costs_no_message(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = await fresh_topic(kafka.cluster)
    hand_over = Receiver._hand_over
    troubles = 2

    def troubled(receiver: Receiver, batch: list[Received]) -> None:
        nonlocal troubles
        if troubles:
            troubles -= 1
            raise KafkaException(KafkaError(KafkaError._STATE))
        hand_over(receiver, batch)

    monkeypatch.setattr(Receiver, "_hand_over", troubled)
    settings = {"enable.auto.commit": True, "enable.auto.offset.store": False}
    found: list[bytes] = []
    async with (
        open_sender(kafka.cluster, "test") as sender,
        open_receiver(
            kafka.cluster, topic, lambda consumer: consumer.subscribe([topic]), **settings
        ) as receiver,
    ):
        await sender.send(numbered(topic, 5, 50))
        with patience():
            while len(set(found)) < 50:
                batch = await receiver.next_batch()
                found += [one.value for one in batch if one.value is not None]
                receiver.done(batch)
    assert troubles == 0


async def test_a_broker_that_is_killed_is_said_once_and_loses_nothing(
    kafka: Kafka, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gossamer.kafka")
    topic = await fresh_topic(kafka.cluster)

    def begin(consumer: Consumer) -> None:
        consumer.subscribe([topic])

    got: list[bytes | None] = []
    async with (
        open_sender(kafka.cluster, "sender") as sender,
        open_receiver(kafka.cluster, topic, begin) as receiver,
    ):
        await sender.send(numbered(topic, 1, 1))
        got += [one.value for one in await receiver.next_batch()]
        await trio.to_thread.run_sync(kafka.kill)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender.send, numbered(topic, 3, 300)[1:])
            nursery.start_soon(trio.to_thread.run_sync, kafka.start)
        while len(set(got)) < 300:
            got += [one.value for one in await receiver.next_batch()]
    # None is lost; a consumer that begins anew may hand some over twice.
    assert set(filter(None, got)) == {b"%d" % n for n in range(300)}
    said = [one.getMessage() for one in caplog.records if one.name == "gossamer.kafka"]
    assert 1 <= said.count("Kafka is away") <= 2  # each client once


async def test_a_broker_that_was_never_there_is_waited_for_and_left(kafka: Kafka) -> None:
    async with open_sender(Cluster("127.0.0.1:9"), "test") as sender:
        with trio.move_on_after(1) as waiting:
            await sender.send([Message("nothing", b"k", b"v")])
    assert waiting.cancelled_caught
