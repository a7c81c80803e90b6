"""Two thousand runs while each part is killed in turn: none is lost, no step is effective twice.

Two gateways share a PostgreSQL, a Redis and a Kafka; workers of the Python SDK take their jobs from
Kafka. While runs come in, a gateway, a worker and the broker are killed with kill -9 and started
again, PostgreSQL is stopped at once and started again, and Redis loses all it has. Clients do what
they should: a trigger that was not answered is sent again, with the same idempotency key.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from tests.kafka_fixture import Kafka
from tests.patience import seen, until
from tests.postgres_fixture import Postgres
from tests.redis_fixture import Redis
from tests.runs.kafka_world import read_topic

from gossamer_gateway import tables
from gossamer_gateway.runs.checking import check
from gossamer_gateway.runs.engine import Engine
from gossamer_gateway.runs.kafka.replay import Replay
from gossamer_gateway.runs.kafka.topics import EVENTS
from gossamer_gateway.runs.model import events as e
from gossamer_gateway.runs.model.run import Status, fold
from gossamer_gateway.storage import PostgresPlace, open_storage
from gossamer_node.local_engines.processes import free_ports

pytestmark = [pytest.mark.kafka, pytest.mark.processes]

RUNS = 2_000
STEPS = ("chaos-reserve", "chaos-charge", "chaos-send")
DEFINITION = {
    "id": "chaos",
    "steps": [
        # A worker that was killed has a job that nobody answers; its attempt fails by then.
        {"action": action, "timeoutMs": 8_000,
         "retry": {"maxAttempts": 20, "initialDelayMs": 100, "maxDelayMs": 1_000}}
        for action in STEPS
    ],
}  # fmt: skip

AT_ONCE = 24
"""Clients that trigger."""

PATIENCE_S = 240.0

WORKER = """
import os, sys
from gossamer_worker import Worker

ledger = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)

def work(payload, context):
    # One write of a line is whole, whoever else writes.
    os.write(ledger, f"{context.key} {context.attempt}\\n".encode())
    return [*payload, context.action]

worker = Worker(concurrency=4)
for action in sys.argv[2:]:
    worker.register(action, work)
worker.start()
"""

GOSSAMER = Path(sys.executable).with_name("gossamer")
SDK = Path(__file__).parents[2] / "sdk-wasm" / "python"


class Process:
    """A program that may be killed and started again."""

    def __init__(self, log: Path, *command: str, **environment: str) -> None:
        self._log = log
        self._command = command
        self._environment = os.environ | environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, env=self._environment
            )

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait()

    def __repr__(self) -> str:
        return f"{self._command}: {self._log.read_text()[-2_000:]}"


class World:
    """All parts, running."""

    def __init__(self, gateways: dict[str, Process], workers: list[Process], ledger: Path) -> None:
        self.gateways = gateways
        self.workers = workers
        self.ledger = ledger
        self.runs: dict[int, str] = {}
        """By the number of their trigger."""
        self._numbers = iter(range(RUNS))

    async def trigger_all(self) -> None:
        async with httpx.AsyncClient(timeout=10) as client, trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(self._trigger, client)

    async def _trigger(self, client: httpx.AsyncClient) -> None:
        for number in self._numbers:

            async def tried(number: int = number) -> str | None:
                url = random.choice(list(self.gateways))
                try:
                    told = await client.post(
                        f"{url}/workflow/chaos/trigger",
                        json={"input": []},
                        headers={"idempotency-key": f"n{number}"},
                    )
                except httpx.TransportError:
                    return None  # killed, or not up yet
                assert told.status_code in (200, 503), told.text
                return told.text if told.status_code == 200 else None

            self.runs[number] = await seen(tried, PATIENCE_S, pause_s=0.1)

    async def ready(self, url: str) -> None:
        async with httpx.AsyncClient() as client:

            async def up() -> bool:
                assert self.gateways[url].runs, self.gateways[url]
                try:
                    return (await client.get(f"{url}/v1/health")).status_code == 200
                except httpx.TransportError:
                    return False

            await seen(up, pause_s=0.05)


@contextmanager
def gateways_and_workers(
    folder: Path, place: PostgresPlace, redis: Redis, kafka: Kafka
) -> Iterator[World]:
    with ExitStack() as stack:
        gateways = {}
        for name in ("chaos-a", "chaos-b"):
            http, grpc = free_ports(2)
            config = folder / f"{name}.yaml"
            config.write_text(
                json.dumps(
                    {
                        "name": name,
                        "data_dir": str(folder / name),
                        "http": f"127.0.0.1:{http}",
                        "grpc": f"127.0.0.1:{grpc}",
                        "storage": {"postgres": {"env": "CHAOS_POSTGRES"}, "schema": place.schema},
                        "workflows": {
                            "kafka": {"servers": [kafka.address]},
                            "redis": {"env": "CHAOS_REDIS"},
                        },
                    }
                )
            )
            gateways[f"http://127.0.0.1:{http}"] = Process(
                folder / f"{name}.log",
                str(GOSSAMER), "gateway", "--config", str(config),
                CHAOS_POSTGRES=place.conninfo, CHAOS_REDIS=redis.url,
            )  # fmt: skip
        ledger, program = folder / "ledger", folder / "worker.py"
        ledger.touch()
        program.write_text(WORKER)
        workers = [
            Process(
                folder / f"worker-{number}.log",
                sys.executable, str(program), str(ledger), *STEPS,
                PYTHONPATH=str(SDK), GOSSAMER_KAFKA=kafka.address,
            )
            for number in range(2)
        ]  # fmt: skip
        for one in (*gateways.values(), *workers):
            stack.callback(one.stop)
            one.start()
        yield World(gateways, workers, ledger)


@asynccontextmanager
async def under_way(world: World, share: float) -> AsyncIterator[None]:
    """Waits for so many triggers; what the block does falls among those that follow."""
    await until(lambda: len(world.runs) >= share * RUNS, PATIENCE_S)
    yield


async def break_all(world: World, postgres: Postgres, redis: Redis, kafka: Kafka) -> None:
    """Kills each part once, while the others work."""
    first, second = world.gateways
    async with under_way(world, 0.1):
        world.gateways[first].stop()
        world.gateways[first].start()
    async with under_way(world, 0.25):
        world.workers[0].stop()
        world.workers[0].start()
    async with under_way(world, 0.4):
        await trio.to_thread.run_sync(kafka.kill)
        await trio.to_thread.run_sync(kafka.start)
    async with under_way(world, 0.55):
        await trio.to_thread.run_sync(postgres.crash)
        await trio.to_thread.run_sync(postgres.start)
    async with under_way(world, 0.7):
        await trio.to_thread.run_sync(redis.flush)
    async with under_way(world, 0.8):
        world.gateways[second].stop()
        world.workers[1].stop()
        world.gateways[second].start()
        world.workers[1].start()
    async with under_way(world, 0.9):
        redis.kill()
        await trio.to_thread.run_sync(redis.start)


async def test_no_run_is_lost_and_no_step_counts_twice(
    kafka: Kafka, postgres: Postgres, redis: Redis
) -> None:
    place = postgres.place()
    with (
        tempfile.TemporaryDirectory() as folder,
        gateways_and_workers(Path(folder), place, redis, kafka) as world,
    ):
        for url in world.gateways:
            await world.ready(url)
        async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
            told = await client.post(f"{next(iter(world.gateways))}/workflow/", json=DEFINITION)
            assert told.status_code == 201, told.text
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.trigger_all)
            nursery.start_soon(break_all, world, postgres, redis, kafka)
        assert len(set(world.runs.values())) == RUNS
        async with open_storage(place, tables.FORM) as storage:
            engine = Engine(storage, offered=lambda _: False)

            async def all_ended() -> bool:
                return (await ended(storage)) >= RUNS

            await seen(all_ended, PATIENCE_S, pause_s=0.2)
            for run in world.runs.values():
                history = await engine.history(run)
                judge(history)
            assert await check(storage, lambda _: False) == []
            worked = Counter(line.split()[0] for line in world.ledger.read_text().splitlines())
            wanted = {f"{run}:{step}" for run in world.runs.values() for step in STEPS}
            assert worked.keys() >= wanted
            await replayed(kafka, engine, set(world.runs.values()))


async def ended(storage: Any) -> int:
    (count,) = await storage.submit(
        lambda rows, _: rows.execute(
            "SELECT COUNT(*) FROM workflow_runs WHERE ended_ms IS NOT NULL"
        ).fetchone()
    )
    return int(count)


def judge(history: list[e.AnyEvent]) -> None:
    """A run came to its end, each of its steps was effective once, and all of that is told."""
    assert [one.seq for one in history] == list(range(1, len(history) + 1))
    run = fold(history)
    assert run.status is Status.COMPLETED, history
    assert run.output == list(STEPS), history
    completed = Counter(one.step for one in history if isinstance(one, e.StepCompleted))
    assert completed == dict.fromkeys(STEPS, 1), history


async def replayed(kafka: Kafka, engine: Engine, runs: set[str]) -> None:
    """The topic alone has the same runs. What is not yet published is waited for."""

    async def whole() -> bool:
        replay = Replay()
        for one in await trio.to_thread.run_sync(lambda: list(read_topic(kafka.address, EVENTS))):
            replay.take(one)
        assert not [one for one in replay.gaps() if one.run in runs and one.problem]
        told = {run.id: run for run in replay.runs() if run.id in runs}
        if any(not one.status.has_ended for one in told.values()) or len(told) < len(runs):
            return False
        for id in random.sample(sorted(runs), 50):
            assert told[id] == await engine.run(id)
        return True

    await seen(whole, PATIENCE_S, pause_s=1)
