"""The yardstick: the same steps through confluent-kafka and psycopg, and nothing else.

One thread produces jobs, polls their results, writes them, commits, and produces the next jobs: as
a sensible person would, who takes what came in one poll into one transaction; or with a commit for
each step. A run has a row, changed once at its end, and each step one more. There is no history of
events, no retry, no timeout, and no second worker's answer is refused: it is a limit, not a peer.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from uuid import uuid4

import psycopg
from benchmarks.workflows.engine_load import ACTIONS, INPUT
from benchmarks.workflows.measured import STEPS, Measured, Meter
from confluent_kafka import Consumer, Producer

from gossamer_gateway.storage import PostgresPlace

JOBS, RESULTS = "bench-jobs", "bench-results"
BATCH_MAX = 500
"""As the engine's."""

SCHEMA = """
CREATE TABLE runs (id TEXT PRIMARY KEY, status TEXT NOT NULL);
CREATE TABLE steps (run TEXT NOT NULL, step BIGINT NOT NULL, output TEXT NOT NULL,
    PRIMARY KEY (run, step))
"""


def measure(
    place: PostgresPlace, address: str, others: Mapping[str, int], runs: int, under_way: int,
    *, batched: bool,
) -> Measured:  # fmt: skip
    """Has so many runs go through. The topics are there, and a worker is at work."""
    with _open(place, address, batched) as loop:
        loop.go(300, under_way)
        meter = Meter(others, under_way)
        return meter.measured(*loop.go(runs, under_way))


class _Loop:
    def __init__(
        self, connection: psycopg.Connection[tuple[str, int]], consumer: Consumer,
        producer: Producer, batched: bool,
    ) -> None:  # fmt: skip
        self._connection = connection
        self._consumer = consumer
        self._producer = producer
        self._batched = batched

    def go(self, runs: int, under_way: int) -> tuple[dict[str, float], dict[str, float]]:
        """Gives when each run began and ended."""
        began: dict[str, float] = {}
        ended: dict[str, float] = {}
        while len(ended) < runs:
            free = min(under_way - len(began) + len(ended), runs - len(began))
            if free:
                self._trigger([str(uuid4()) for _ in range(free)], began)
            first = self._consumer.poll(0.1)
            if first is None:
                continue
            came = []
            for one in (first, *self._consumer.consume(BATCH_MAX - 1, 0)):
                value = one.value()
                assert one.error() is None and value is not None, one.error()
                came.append(json.loads(value))
            for some in [came] if self._batched else [[one] for one in came]:
                self._take(some, ended)
        return began, ended

    def _trigger(self, ids: Sequence[str], began: dict[str, float]) -> None:
        began.update(dict.fromkeys(ids, time.perf_counter()))
        for some in [ids] if self._batched else [[id] for id in ids]:
            self._write("INSERT INTO runs VALUES (%s, 'Running')", [(id,) for id in some])
            for id in some:
                self._produce(id, 1, INPUT)
        self._producer.poll(0)

    def _take(self, came: Sequence[Mapping[str, str]], ended: dict[str, float]) -> None:
        with self._connection.transaction():
            self._write(
                "INSERT INTO steps VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                [(one["run"], int(one["step"]), json.dumps(one["output"])) for one in came],
            )
            over = [one["run"] for one in came if int(one["step"]) == STEPS]
            if over:
                self._write(
                    "UPDATE runs SET status = 'Completed' WHERE id = %s", [(id,) for id in over]
                )
        ended.update(dict.fromkeys(over, time.perf_counter()))
        for one in came:
            if int(one["step"]) < STEPS:
                self._produce(one["run"], int(one["step"]) + 1, one["output"])
        self._producer.poll(0)

    def _write(self, statement: str, rows: Sequence[tuple[str | int, ...]]) -> None:
        with self._connection.cursor() as cursor:
            if len(rows) == 1:
                cursor.execute(statement.encode(), rows[0])
            else:
                cursor.executemany(statement.encode(), rows)

    def _produce(self, run: str, step: int, payload: object) -> None:
        job = {"run": run, "step": str(step), "attempt": 1, "action": ACTIONS[step - 1],
               "payload": payload}  # fmt: skip
        self._producer.produce(JOBS, json.dumps(job).encode(), run.encode())


@contextmanager
def _open(place: PostgresPlace, address: str, batched: bool) -> Iterator[_Loop]:
    consumer = Consumer(
        {"bootstrap.servers": address, "group.id": "bench.results",
         "auto.offset.reset": "earliest"}
    )  # fmt: skip
    producer = Producer({"bootstrap.servers": address, "linger.ms": 1, "enable.idempotence": True})
    with psycopg.connect(place.conninfo, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {place.schema}".encode())
        connection.execute(f"SET search_path TO {place.schema}".encode())
        connection.execute(SCHEMA.encode())
        consumer.subscribe([RESULTS])
        yield _Loop(connection, consumer, producer, batched)
        producer.flush(5)
        consumer.close()
