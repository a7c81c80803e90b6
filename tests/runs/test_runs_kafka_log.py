"""The topic of events as a log: the suite of all logs, and what Kafka adds to it."""

from collections.abc import AsyncIterator, Sequence

import pytest
import trio
from tests.kafka_fixture import Kafka
from tests.runs.durable.log_suite import *  # noqa: F403 - the tests
from tests.runs.durable.log_suite import Made, events, names
from tests.runs.kafka_world import fresh_topic

from gossamer_gateway.runs.kafka import log as kafka_log
from gossamer_gateway.runs.kafka.bus import Message, Sender, open_sender
from gossamer_gateway.runs.kafka.log import KafkaLog, open_kafka_log
from gossamer_gateway.runs.kafka.words import event_message
from gossamer_gateway.runs.model.events import Event

pytestmark = pytest.mark.kafka


def messages(topic: str, happened: Sequence[Event]) -> list[Message]:
    made = map(event_message, happened)
    return [Message(topic, one.key, one.value, one.headers, one.at_ms) for one in made]


@pytest.fixture
async def topic(kafka: Kafka) -> str:
    return await fresh_topic(kafka.cluster)


@pytest.fixture
async def sender(kafka: Kafka) -> AsyncIterator[Sender]:
    async with open_sender(kafka.cluster, "writer") as opened:
        yield opened


@pytest.fixture
async def log(kafka: Kafka, topic: str) -> AsyncIterator[KafkaLog]:
    async with open_kafka_log(kafka.cluster, topic) as opened:
        await opened.end()
        yield opened


@pytest.fixture
async def made(log: KafkaLog, sender: Sender, topic: str) -> Made:
    async def write(happened: Sequence[Event]) -> None:
        assert set(await sender.send(messages(topic, happened))) == {None}
        await log.end()

    return Made(log, write)


async def read_up(log: KafkaLog, cursor: str, limit: int = 7) -> tuple[list[tuple[str, int]], str]:
    """All that is behind a cursor now."""
    goal, found = await log.end(), []
    while not log.reached(cursor, goal):
        entries, cursor = await log.read(cursor, limit, 10)
        found += names(entries)
    return found, cursor


async def test_what_memory_has_dropped_is_read_from_the_broker(
    made: Made, log: KafkaLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_log, "KEPT_MAX", 20)
    begin = await log.end()
    for run in range(6):
        await made.write(events(f"run-{run}", 1, 10))
    assert len(log._kept) <= 20
    for cursor in (begin, await log.start()):
        found, end = await read_up(log, cursor)
        assert sorted(found) == sorted((f"run-{n}", seq) for n in range(6) for seq in range(1, 11))
        for n in range(6):
            assert [seq for run, seq in found if run == f"run-{n}"] == list(range(1, 11))
        assert log.reached(end, await log.end())


async def test_a_log_that_opens_later_has_what_was_before(
    kafka: Kafka, topic: str, made: Made, log: KafkaLog
) -> None:
    await made.write(events("early", 1, 10))
    middle = (await log.read(await log.start(), 4))[1]
    async with open_kafka_log(kafka.cluster, topic) as other:
        assert (await read_up(other, await other.start()))[0] == [
            ("early", n) for n in range(1, 11)
        ]
        assert (await read_up(other, middle))[0] == [("early", n) for n in range(5, 11)]


async def test_what_is_no_event_is_passed_over(
    made: Made, log: KafkaLog, sender: Sender, topic: str
) -> None:
    begin = await log.end()
    await sender.send([Message(topic, b"x", b"junk"), Message(topic, None, None)])
    await made.write(events("real", 1, 2))
    assert (await read_up(log, begin))[0] == [("real", 1), ("real", 2)]


async def test_who_follows_goes_on_after_the_broker_was_killed(
    kafka: Kafka, made: Made, log: KafkaLog
) -> None:
    cursor = await log.end()
    await made.write(events("run", 1, 3))
    await trio.to_thread.run_sync(kafka.kill)
    entries, cursor = await log.read(cursor, 10)
    assert len(entries) == 3
    await trio.to_thread.run_sync(kafka.start)
    await made.write(events("run", 4, 3))
    assert (await read_up(log, cursor))[0] == [("run", 4), ("run", 5), ("run", 6)]
