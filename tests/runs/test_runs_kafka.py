"""Runs whose jobs and results go over a real Kafka: each step once in effect, and all told."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
import trio
from tests.gateway.places import place, storage
from tests.kafka_fixture import Kafka
from tests.patience import patience, seen, until
from tests.postgres_fixture import Postgres
from tests.runs.kafka_world import (
    ACTIONS,
    World,
    definition,
    open_world,
    read_topic,
    read_topic_whole,
    working,
)

from gossamer_gateway import tables
from gossamer_gateway.runs import leasing, sharing
from gossamer_gateway.runs.engine import Answer, Engine, Verdict
from gossamer_gateway.runs.kafka.bus import Message, open_sender
from gossamer_gateway.runs.kafka.replay import Replay
from gossamer_gateway.runs.kafka.results import Results
from gossamer_gateway.runs.kafka.topics import (
    EVENTS,
    JOBS,
    RESULTS,
    RESULTS_DEAD,
    make_topics,
    topics,
)
from gossamer_gateway.runs.model.definition import Definition, Step
from gossamer_gateway.runs.model.run import Status
from gossamer_gateway.storage import Storage, open_storage

__all__ = ["place", "storage"]

pytestmark = pytest.mark.kafka


async def trigger_many(world: World, count: int) -> set[str]:
    await world.engine.define(definition())
    return {(await world.engine.trigger("kafka-test", [])).id for _ in range(count)}


async def outbox_rows(world: World) -> int:
    (count,) = await world.storage.submit(
        lambda rows, _: rows.execute("SELECT COUNT(*) FROM workflow_outbox").fetchone()
    )
    return int(count)


async def emptied(world: World) -> None:
    """Returns when all that happened is published."""

    async def is_so() -> bool:
        return not await outbox_rows(world)

    await seen(is_so)


async def test_runs_end_and_the_topic_alone_has_them(kafka: Kafka, storage: Storage) -> None:
    async with (
        open_world(kafka.cluster, storage) as world,
        open_sender(kafka.cluster, "worker") as sender,
        working(kafka.cluster, sender, times=2) as jobs,
    ):
        # What others left on the session's topics is no matter of these runs.
        junk = Message(JOBS, b"junk", b"{junk", (("action", b"somebody-else"),))
        assert await sender.send([junk]) == [None]
        runs = await trigger_many(world, 20)
        await until(lambda: world.ended.keys() >= runs)
        await emptied(world)
        replay = Replay()
        for one in read_topic(kafka.address, EVENTS):
            replay.take(one)
        told = {run.id: run for run in replay.runs()}
        for id in runs:
            assert world.ended[id].status is Status.COMPLETED
            assert world.ended[id].output == list(ACTIONS)
            # A result that came twice is in no history, and the topic's is the whole one.
            assert told[id] == await world.engine.run(id)
        assert [one for one in replay.gaps() if one.run in runs] == []
    mine = [one for one in jobs if one.key is not None and one.key.decode() in runs]
    assert len(mine) == 60
    job = json.loads(mine[0].value or b"")
    assert job == {
        "form": 1, "run": job["run"], "workflow": "kafka-test", "step": "kafka-one",
        "attempt": 1, "action": "kafka-one", "payload": [], "dueMs": job["dueMs"],
        "key": f"{job['run']}:kafka-one",
    }  # fmt: skip
    assert dict(mine[0].headers) == {
        "form": b"1", "action": b"kafka-one", "run": job["run"].encode(), "step": b"kafka-one",
        "attempt": b"1", "idempotency-key": job["key"].encode(),
    }  # fmt: skip


JUNK: dict[str, tuple[bytes | None, str]] = {
    "text": (b"no json at all", "no JSON"),
    "empty": (None, "no JSON"),
    "list": (b"[]", "object"),
    "no attempt": (b'{"run": "r", "step": "s", "status": "completed"}', "attempt"),
    "odd status": (b'{"run": "r", "step": "s", "attempt": 1, "status": "maybe"}', "status"),
    "nobody's": (b'{"run": "r", "step": "s", "attempt": 1, "status": "completed"}', "no run r"),
    "half a pair": (
        b'{"run": "\\ud800", "step": "s", "attempt": 1, "status": "completed"}', "surrogate"
    ),
    "a zero": (b'{"run": "\\u0000", "step": "s", "attempt": 1, "status": "completed"}', ""),
}  # fmt: skip


async def test_junk_becomes_dead_letters_and_the_rest_goes_on(
    kafka: Kafka, storage: Storage
) -> None:
    key = uuid4().hex.encode()

    async def letters() -> list[tuple[bytes | None, dict[str, bytes | None]]] | None:
        """This test's, once all are there; the topics are the session's."""
        found = await trio.to_thread.run_sync(read_topic_whole, kafka.address, RESULTS_DEAD)
        mine = [(value, headers) for whose, value, headers in found if whose == key]
        return mine if len(mine) >= 2 * len(JUNK) else None

    async with (
        open_world(kafka.cluster, storage) as world,
        open_sender(kafka.cluster, "worker") as sender,
        working(kafka.cluster, sender),
    ):
        junk = [Message(RESULTS, key, value) for value, _ in JUNK.values()]
        await sender.send(junk)
        runs = await trigger_many(world, 3)
        await sender.send(junk)
        await until(lambda: world.ended.keys() >= runs)
        dead = await seen(letters, pause_s=0.1)
        assert world.kafka.results.counts["dead"] >= 2 * len(JUNK)
    assert [value for value, _ in dead] == 2 * [value for value, _ in JUNK.values()]
    for (_, headers), (_, reason) in zip(dead, 2 * list(JUNK.values()), strict=True):
        assert reason in (headers["reason"] or b"").decode()
        assert headers["topic"] == RESULTS.encode()
        assert int(headers["offset"] or b"") >= 0


async def test_a_result_is_behind_the_group_once_it_is_on_disk(
    kafka: Kafka, storage: Storage
) -> None:
    """A gateway that stops while its storage has it wait leaves what it took to the next one."""
    stuck = trio.Event()
    said: list[int] = []

    class Stuck(Engine):
        async def answer_all(self, told: Sequence[tuple[str, Answer]]) -> list[Verdict]:
            if any(one == run.id for one, _ in told):
                stuck.set()
                await trio.sleep_forever()
            return await super().answer_all(told)

    class Noting(Engine):
        async def answer_all(self, told: Sequence[tuple[str, Answer]]) -> list[Verdict]:
            said.extend(one.attempt for id, one in told if id == run.id)
            return await super().answer_all(told)

    engine = Engine(storage)
    await engine.define(Definition("alone", "a", {"a": Step("a", action="a")}))
    run = await engine.trigger("alone", 1)

    def result(attempt: int) -> Message:
        told = {"run": run.id, "step": "a", "attempt": attempt, "status": "completed"}
        return Message(RESULTS, run.id.encode(), json.dumps(told).encode())

    @asynccontextmanager
    async def taking(engine: Engine) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Results(engine, kafka.cluster, sender).run)
            yield
            nursery.cancel_scope.cancel()

    async with open_sender(kafka.cluster, "worker") as sender:
        await make_topics(kafka.cluster, topics())
        assert await sender.send([result(1)]) == [None]
        with patience():
            async with taking(Stuck(storage)):
                await stuck.wait()
        assert (await engine.run(run.id)).status is Status.RUNNING
        async with taking(Noting(storage)):
            await until(lambda: 1 in said)
            # What comes next is taken once that one is done with.
            await sender.send([result(8)])
            await until(lambda: 8 in said)
        assert (await engine.run(run.id)).status is Status.COMPLETED
        said.clear()
        await sender.send([result(9)])
        async with taking(Noting(storage)):
            await until(lambda: 9 in said)
    assert 1 not in said, "what was on disk came again"


async def test_a_broker_that_is_killed_costs_no_step(kafka: Kafka, storage: Storage) -> None:
    async with (
        open_world(kafka.cluster, storage) as world,
        open_sender(kafka.cluster, "worker") as sender,
        working(kafka.cluster, sender) as jobs,
    ):
        runs = await trigger_many(world, 200)
        await until(lambda: len(jobs) >= 150)
        await trio.to_thread.run_sync(kafka.kill)
        runs |= await trigger_many(world, 50)
        await trio.to_thread.run_sync(kafka.start)
        await until(lambda: world.ended.keys() >= runs)
        await emptied(world)
        replay = Replay()
        for one in read_topic(kafka.address, EVENTS):
            replay.take(one)
        told = {run.id: run for run in replay.runs()}
        for id in runs:
            run = await world.engine.run(id)
            assert (run.status, run.output) == (Status.COMPLETED, list(ACTIONS))
            assert told[id] == run
        assert [one for one in replay.gaps() if one.run in runs] == []


async def test_two_gateways_publish_in_order_and_one_takes_over(
    kafka: Kafka, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (sharing, leasing):
        monkeypatch.setattr(module, "LEASE_MS", 600)
    monkeypatch.setattr(leasing, "RENEW_MS", 100)
    postgres_place = postgres.place()
    leaving = trio.CancelScope()
    worlds: list[World] = []

    async def leave_early(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with leaving:
            async with (
                open_storage(postgres_place, tables.FORM) as rows,
                open_world(kafka.cluster, rows) as world,
            ):
                worlds.append(world)
                task_status.started()
                await trio.sleep_forever()

    async with (
        open_storage(postgres_place, tables.FORM) as rows,
        open_world(kafka.cluster, rows) as world,
        open_sender(kafka.cluster, "worker") as sender,
        working(kafka.cluster, sender) as jobs,
        trio.open_nursery() as nursery,
    ):
        worlds.append(world)
        await nursery.start(leave_early)
        await world.engine.define(definition())
        runs = set()
        for number in range(120):
            engine = worlds[number % 2].engine
            runs.add((await engine.trigger("kafka-test", [])).id)
        await until(lambda: len(jobs) >= 100)
        leaving.cancel()
        await until(lambda: (worlds[0].ended.keys() | worlds[1].ended.keys()) >= runs)
        await emptied(world)
        order: dict[str, list[int]] = {}
        for key, _, headers in read_topic_whole(kafka.address, EVENTS):
            run, seq = (key or b"").decode(), int(headers["seq"] or b"")
            if run in runs and seq not in order.setdefault(run, []):
                order[run].append(seq)
        for id in runs:
            run_state = await world.engine.run(id)
            assert (run_state.status, run_state.output) == (Status.COMPLETED, list(ACTIONS))
            assert order[id] == list(range(1, run_state.seq + 1))
