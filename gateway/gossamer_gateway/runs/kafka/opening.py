"""Kafka beside a gateway's engine: what runs where `workflows.kafka` is set.

Its topics are made first; until a broker is there nothing is published or taken, and the gateway
serves all the same: what happens to runs meanwhile waits in the outbox.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from gossamer_gateway.runs.engine import Engine
from gossamer_gateway.runs.kafka.bus import open_sender
from gossamer_gateway.runs.kafka.cluster import Cluster
from gossamer_gateway.runs.kafka.log import KafkaLog, open_kafka_log
from gossamer_gateway.runs.kafka.publisher import Publisher
from gossamer_gateway.runs.kafka.results import Results
from gossamer_gateway.runs.kafka.topics import Topic, make_topics
from gossamer_gateway.runs.kafka.workers import Workers
from gossamer_gateway.v1.metrics import Family


@dataclass(frozen=True, slots=True)
class Kafka:
    """A gateway's part of it."""

    publisher: Publisher
    results: Results
    workers: Workers

    def families(self) -> Iterable[Family]:
        """Counts for Prometheus."""
        yield Family(
            "workflow_kafka_events_published_total",
            "counter",
            "Events that this gateway published to Kafka.",
            (({}, self.publisher.published),),
        )
        yield Family(
            "workflow_kafka_results_total",
            "counter",
            "Results that this gateway took from Kafka, by what became of them.",
            tuple(
                ({"verdict": name}, count) for name, count in sorted(self.results.counts.items())
            ),
        )


@asynccontextmanager
async def open_kafka(
    engine: Engine,
    cluster: Cluster,
    offered: Callable[[str], bool],
    wanted: Sequence[Topic],
    *,
    shared: bool,
) -> AsyncIterator[tuple[Kafka, KafkaLog]]:
    """Publishes, takes results and follows the events until the block is left.

    Args:
        engine: has an outbox.
        offered: as the engine has it.
        wanted: topics that are made where they are missing.
        shared: whether other gateways have this storage too.

    Raises: InputError, when no client can be made of the cluster's settings.
    """
    cluster.check()
    assert engine.outbox is not None, "what is published goes through it"
    async with (
        open_sender(cluster, f"gossamer-{engine.id}") as sender,
        open_kafka_log(cluster) as log,
    ):
        publisher = Publisher(engine, engine.outbox, sender, offered, shared=shared)
        results = Results(engine, cluster, sender)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_work, cluster, wanted, publisher, results)
            yield Kafka(publisher, results, Workers(cluster)), log
            nursery.cancel_scope.cancel()


async def _work(
    cluster: Cluster, wanted: Sequence[Topic], publisher: Publisher, results: Results
) -> None:
    await make_topics(cluster, wanted)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(publisher.run)
        nursery.start_soon(results.run)
