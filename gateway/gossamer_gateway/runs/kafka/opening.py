"""Kafka beside a gateway's engine: what runs where `workflows.kafka` is set.

Its topics are made first; until a broker is there nothing is published or taken, and the gateway
serves all the same: what happens to runs meanwhile waits in the outbox.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from gossamer_gateway.runs.engine import Engine
from gossamer_gateway.runs.kafka.bus import open_sender
from gossamer_gateway.runs.kafka.log import KafkaLog, open_kafka_log
from gossamer_gateway.runs.kafka.publisher import Publisher
from gossamer_gateway.runs.kafka.results import Results
from gossamer_gateway.runs.kafka.topics import make_topics, topics
from gossamer_gateway.v1.metrics import Family


@dataclass(frozen=True, slots=True)
class Kafka:
    """A gateway's part of it."""

    publisher: Publisher
    results: Results

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
    address: str,
    offered: Callable[[str], bool],
    *,
    shared: bool,
    retention_ms: int,
) -> AsyncIterator[tuple[Kafka, KafkaLog]]:
    """Publishes, takes results and follows the events until the block is left.

    Args:
        engine: has an outbox.
        address: `HOST:PORT,HOST:PORT`.
        offered: as the engine has it.
        shared: whether other gateways have this storage too.
        retention_ms: of events, where the topic is made here.
    """
    assert engine.outbox is not None, "what is published goes through it"
    async with (
        open_sender(address, f"gossamer-{engine.id}") as sender,
        open_kafka_log(address) as log,
    ):
        publisher = Publisher(engine, engine.outbox, sender, offered, shared=shared)
        results = Results(engine, address, sender)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_work, address, retention_ms, publisher, results)
            yield Kafka(publisher, results), log
            nursery.cancel_scope.cancel()


async def _work(address: str, retention_ms: int, publisher: Publisher, results: Results) -> None:
    await make_topics(address, topics(retention_ms))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(publisher.run)
        nursery.start_soon(results.run)
