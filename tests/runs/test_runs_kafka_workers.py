"""A run whose job waits at Kafka says that nobody works for its action, as far as Kafka knows."""

from uuid import uuid4

import pytest
import trio
from confluent_kafka import Consumer
from tests.gateway.places import place, storage
from tests.kafka_fixture import Kafka
from tests.patience import seen
from tests.runs.kafka_world import open_world

from gossamer_gateway.runs.jobs.asked import Asked
from gossamer_gateway.runs.jobs.notices import notices
from gossamer_gateway.runs.kafka import workers as workers_module
from gossamer_gateway.runs.kafka.cluster import Cluster
from gossamer_gateway.runs.kafka.topics import JOBS, make_topics, topics
from gossamer_gateway.runs.kafka.workers import GROUP, Workers
from gossamer_gateway.runs.model.definition import Definition, Step
from gossamer_gateway.storage import Storage
from gossamer_node.local_engines.processes import free_ports

__all__ = ["place", "storage"]

pytestmark = pytest.mark.kafka


@pytest.fixture
def asks_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "KNOWN_S", 0.0)


@pytest.mark.usefixtures("asks_anew")
async def test_an_action_has_a_worker_while_somebody_is_in_its_group(kafka: Kafka) -> None:
    mine, other = (f"action-{uuid4().hex[:8]}" for _ in range(2))
    workers = Workers(kafka.cluster)
    await make_topics(kafka.cluster, topics())

    async def known() -> bool | None:  # a new broker is still making what it keeps groups in
        return await workers.idle([mine, other]) == {mine, other} or None

    await seen(known)
    consumer = Consumer(
        {**kafka.cluster.settings, "group.id": GROUP + mine, "session.timeout.ms": 6_000}
    )
    try:
        consumer.subscribe([JOBS])

        async def joined() -> bool | None:
            await trio.to_thread.run_sync(consumer.poll, 0.1)
            return await workers.idle([mine, other]) == {other} or None

        await seen(joined)
    finally:
        await trio.to_thread.run_sync(consumer.close)

    async def gone() -> bool | None:
        return mine in await workers.idle([mine]) or None

    await seen(gone)


async def test_of_a_kafka_that_is_away_nothing_is_known() -> None:
    (port,) = free_ports(1)
    assert await Workers(Cluster(f"127.0.0.1:{port}")).idle(["a"]) == set()


async def test_what_kafka_said_is_kept_for_a_while(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages ask again and again; Kafka is not asked as often."""
    monkeypatch.setattr(workers_module, "KNOWN_S", 3_600.0)
    action = f"action-{uuid4().hex[:8]}"

    async def known() -> Workers | None:
        workers = Workers(kafka.cluster)
        return workers if await workers.idle([action]) else None

    workers = await seen(known)
    (port,) = free_ports(1)
    workers._cluster = Cluster(f"127.0.0.1:{port}")
    assert await workers.idle([action]) == {action}


async def test_a_run_tells_that_nobody_works_for_its_step(kafka: Kafka, storage: Storage) -> None:
    action = f"action-{uuid4().hex[:8]}"
    definition = Definition("lonely", "a", {"a": Step("a", action=action)})
    async with open_world(kafka.cluster, storage) as world:
        await world.engine.define(definition)
        run = await world.engine.trigger("lonely", 1)
        idle = world.kafka.workers.idle
        # A Kafka that is slow to say so is one of which nothing is known.
        told = await seen(
            lambda: notices(lambda _: False, Asked(storage), idle, run, definition, [])
        )
        assert list(told) == ["a"] and f"workflow-worker.{action}" in told["a"]
        assert await notices(lambda _: False, Asked(storage), None, run, definition, []) == {}
