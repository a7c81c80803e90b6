"""The engine among its real parts: PostgreSQL, Redis and Kafka; and Zeebe.

Beside PostgreSQL, Redis and Kafka stands the yardstick of the same parts, by hand (`by_kafka`), in
the same run. Each has its worker in a process of its own, and that is the same program.
"""

import tempfile
from collections.abc import Mapping, MutableMapping
from functools import partial
from pathlib import Path

import trio
from benchmarks.workflows import by_kafka, engine_load, kafka_worker
from benchmarks.workflows.measured import Measured, Yardsticks
from tests.postgres_fixture import open_postgres
from tests.redis_fixture import Redis, open_redis

from gossamer_gateway import tables
from gossamer_gateway.runs.cache import RedisCache
from gossamer_gateway.runs.engine import Engine
from gossamer_gateway.runs.kafka.cluster import Cluster
from gossamer_gateway.runs.kafka.opening import open_kafka
from gossamer_gateway.runs.kafka.topics import JOBS, PARTITIONS, RESULTS, Topic, make_topics, topics
from gossamer_gateway.runs.model.deciding import ZEEBE
from gossamer_gateway.runs.stack.broker import start_kafka
from gossamer_gateway.runs.zeebe.client import Zeebe
from gossamer_gateway.runs.zeebe.executor import Executor
from gossamer_gateway.storage import Place, PostgresPlace, SqlitePlace, open_storage
from gossamer_gateway.upstreams.upstream import Upstream
from gossamer_node.engines.config import EngineConfig
from gossamer_node.local_engines import printed, start_zeebe

HOUR_MS = 3_600_000
ALL = "PostgreSQL + Redis + Kafka"
RAW = "confluent-kafka + psycopg"


def yardsticks(found: Mapping[str, Measured]) -> Yardsticks:
    """What others' processor time is compared with, the first of each is *the* yardstick."""
    by_size: dict[int | None, list[Measured]] = {}
    for name, one in found.items():
        if name.startswith(RAW):
            by_size.setdefault(one.under_way, []).append(one)
    return by_size


async def measure_kafka(
    found: MutableMapping[str, Measured], runs: int, sizes: tuple[int, ...]
) -> None:
    """The engine and the yardstick, in turn. Nothing where a part is not installed."""
    with open_postgres() as database, open_redis() as redis:
        if database is None or redis is None:
            return
        async with start_kafka(progress=printed()) as kafka:
            address = kafka.address
            names = (by_kafka.JOBS, by_kafka.RESULTS, by_kafka.EVENTS)
            work = [Topic(one, PARTITIONS, HOUR_MS) for one in names]
            await make_topics(Cluster(address), [*topics(), *work])
            parts = {"PostgreSQL": database.pid, "Kafka": kafka.process.guard_pid}
            for under_way in sizes:
                found[f"{ALL}, {under_way} under way"] = await _engine(
                    database.place(), address, redis, parts, runs, under_way
                )
                async with kafka_worker.started(address, by_kafka.JOBS, by_kafka.RESULTS) as worker:
                    for way in by_kafka.Way:
                        measure = partial(
                            by_kafka.measure, database.place(), address,
                            {"worker": worker, **parts}, runs, under_way, way,
                        )  # fmt: skip
                        name = f"{RAW}, {way.value}, {under_way} under way"
                        found[name] = await trio.to_thread.run_sync(measure)


async def _engine(
    place: PostgresPlace, address: str, redis: Redis, parts: Mapping[str, int], runs: int,
    under_way: int,
) -> Measured:  # fmt: skip
    async with open_storage(place, tables.FORM) as storage:
        engine = Engine(storage, offered=lambda _: False, outbox=True, cache=RedisCache(redis.url))
        async with (
            open_kafka(
                engine, Cluster(address), lambda _: False, topics(HOUR_MS), shared=storage.shared
            ),
            kafka_worker.started(address, JOBS, RESULTS) as worker,
        ):
            await engine_load.measure([engine], 300, under_way, workers=0)
            others = {"worker": worker, **parts, "Redis": redis.pid}
            return await engine_load.measure([engine], runs, under_way, others, workers=0)


async def measure_zeebe(
    found: MutableMapping[str, Measured], runs: int, sizes: tuple[int, ...]
) -> None:
    """Runs that a Zeebe executes; their rows are in a SQLite file."""
    async with start_zeebe(progress=printed()) as zeebe:
        for under_way in sizes:
            with tempfile.TemporaryDirectory() as folder:
                config = EngineConfig("eight", "camunda8", zeebe.url, grpc=zeebe.grpc_address)
                found[f"Zeebe, rows in SQLite, {under_way} under way"] = await _on_zeebe(
                    SqlitePlace(Path(folder, "rows.sqlite")), config,
                    {"Zeebe": zeebe.process.guard_pid}, runs, under_way,
                )  # fmt: skip


async def _on_zeebe(
    place: Place, config: EngineConfig, others: Mapping[str, int], runs: int, under_way: int
) -> Measured:
    upstream = Upstream(config)
    try:
        async with open_storage(place, tables.FORM) as storage, trio.open_nursery() as nursery:
            engine = Engine(storage, executor=ZEEBE)
            executor = Executor(engine, storage, Zeebe(upstream))
            await nursery.start(executor.run)
            await executor.check(engine_load.LINE)
            await engine_load.measure([engine], 50, under_way)
            measured = await engine_load.measure([engine], runs, under_way, others)
            await executor.stop()
            nursery.cancel_scope.cancel()
        return measured
    finally:
        await upstream.aclose()
