"""States in memory and in a real Redis: used when they are right, never missed when not there."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import msgspec
import pytest
import trio
from redis import Redis as Client
from tests.patience import patience, seen, until
from tests.redis_fixture import Redis
from tests.runs.durable.flows import LINE, lines, work

from gossamer_gateway import tables
from gossamer_gateway.errors import InputError
from gossamer_gateway.runs import cache as cache_module
from gossamer_gateway.runs import store
from gossamer_gateway.runs.cache import RedisCache
from gossamer_gateway.runs.checking import check
from gossamer_gateway.runs.engine import Answer, Engine, Verdict
from gossamer_gateway.runs.memory import Memory
from gossamer_gateway.runs.model.run import Run, Status
from gossamer_gateway.storage import Rows, SqlitePlace, Storage, open_storage


def state(id: str, seq: int = 1) -> Run:
    return Run(id, "w", 1, Status.RUNNING, seq, 5, input={"n": [1, None, "ä"]})


def test_memory_is_bounded_by_count_and_by_bytes() -> None:
    memory = Memory(runs_max=3, bytes_max=100)
    for name in "abcd":
        memory.put(state(name), 10)
    assert memory.get("a") is None and memory.get("b") is not None
    memory.put(state("e"), 75)
    assert (len(memory), memory.bytes) == (3, 95)
    assert memory.get("c") is None and memory.get("b") is not None
    memory.put(state("b", 3), 20)
    assert memory.bytes == 95 and memory.get("d") is None
    memory.put(state("b", 2), 7)
    assert memory.get("b") == (state("b", 3), 20)
    memory.put(state("huge"), 101)
    assert (len(memory), memory.bytes) == (0, 0)


@pytest.fixture
def server(redis: Redis) -> Iterator[Redis]:
    """The session's server, empty; it runs again when the test is done with it."""
    redis.flush()
    yield redis
    redis.kill()
    redis.start()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy is no Redis that is away."""
    for name in ("WAIT_S", "REPLY_S"):
        monkeypatch.setattr(cache_module, name, 30.0)


@asynccontextmanager
async def two_gateways(server: Redis, path: Path) -> AsyncIterator[tuple[Engine, Engine]]:
    """They share rows and states, though one file: each has nothing but those in common."""
    async with open_storage(SqlitePlace(path), tables.FORM) as storage:
        engines = [Engine(storage, cache=RedisCache(server.url)) for _ in range(2)]
        async with trio.open_nursery() as nursery:
            for engine in engines:
                nursery.start_soon(engine.keep_time)
            yield engines[0], engines[1]
            assert await check(storage) == []
            nursery.cancel_scope.cancel()


@pytest.fixture
def folds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Runs that were folded from their events."""
    folded: list[str] = []
    read = store.read_run

    def counted(rows: Rows, id: str) -> tuple[Run, int] | None:
        folded.append(id)
        return read(rows, id)

    monkeypatch.setattr(store, "read_run", counted)
    return folded


async def test_what_one_gateway_knows_the_other_need_not_fold(
    server: Redis, tmp_path: Path, folds: list[str], patient: None
) -> None:
    async with two_gateways(server, tmp_path / "x") as (here, there):
        (id,) = await lines(here, 1)
        cache = RedisCache(server.url)
        for turn, step in enumerate(("one", "two", "three")):
            seq = (await here.run(id)).seq

            async def is_kept(seq: int = seq) -> bool:
                found = (await cache.get([id])).get(id)
                return found is not None and found[0].seq == seq

            await seen(is_kept)
            engine = (there, here)[turn % 2]
            assert await engine.answer(id, Answer(step, 1, {"by": turn})) is Verdict.TAKEN
            seq = (await engine.run(id)).seq
            await seen(lambda: is_kept(seq))  # noqa: B023 - it is called before it changes
        assert folds == []
        assert (await there.run(id)).status is Status.COMPLETED


async def test_a_redis_that_is_flushed_costs_folds_and_comes_back(
    server: Redis, tmp_path: Path, folds: list[str], patient: None
) -> None:
    async with two_gateways(server, tmp_path / "x") as (here, there):
        (id,) = await lines(here, 1)
        with Client.from_url(server.url) as client:
            await until(lambda: client.dbsize() == 1)
            client.flushall()
            assert await there.answer(id, Answer("one", 1)) is Verdict.TAKEN
            assert folds == [id]
            await until(lambda: client.dbsize() == 1)


async def test_junk_is_passed_over(
    server: Redis, tmp_path: Path, caplog: pytest.LogCaptureFixture, patient: None
) -> None:
    seed = Random().getrandbits(32)
    random = Random(seed)
    async with two_gateways(server, tmp_path / "x") as (here, there):
        ids = await lines(here, 12)
        with Client.from_url(server.url) as client:
            await until(lambda: client.dbsize() == 12)
            keys = [f"gossamer:run:{id}" for id in ids]
            other = client.get(keys[0])
            good = client.get(keys[1])
            assert isinstance(other, bytes) and isinstance(good, bytes)
            client.set(keys[1], other)  # another run's
            client.set(keys[2], b"")
            client.set(keys[3], random.randbytes(500))
            client.delete(keys[4])
            client.lpush(keys[4], "a list")
            client.set(keys[5], good[:-1])
            client.set(keys[6], msgspec.json.encode(state(ids[6], 4)))
            client.set(keys[7], random.randbytes(2_000_000))
            for key in keys[8:]:
                value = bytearray(client.get(key) or b"")
                value[random.randrange(len(value))] ^= 1 << random.randrange(8)
                client.set(key, bytes(value))
        while await work(there):
            pass
        for n, id in enumerate(ids):
            run = await there.run(id)
            assert run.status is Status.COMPLETED and run.input == {"n": n}, seed
    assert caplog.records == []


async def test_states_of_another_version_are_folded_anew(
    server: Redis, tmp_path: Path, folds: list[str], patient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was stopped for a newer one leaves its states for an hour."""
    async with two_gateways(server, tmp_path / "x") as (here, there):
        (id,) = await lines(here, 1)
        with Client.from_url(server.url) as client:
            await until(lambda: client.dbsize() == 1)
        monkeypatch.setattr(cache_module, "_FORM", b"of a newer version")
        assert await there.answer(id, Answer("one", 1)) is Verdict.TAKEN
        assert folds == [id]


async def test_a_redis_that_goes_away_and_comes_back(
    server: Redis, tmp_path: Path, caplog: pytest.LogCaptureFixture, patient: None
) -> None:
    caplog.set_level("INFO")
    async with two_gateways(server, tmp_path / "x") as (here, there):
        await lines(here, 5)
        server.kill()
        with patience():
            while await work(there):
                pass
            ids = await lines(here, 5)
            while await work(there):
                pass
        assert (await here.run(ids[0])).status is Status.COMPLETED
        server.start()

        async def is_used_again() -> bool:
            await lines(here, 1)
            await work(there)
            with Client.from_url(server.url) as client:
                return bool(client.dbsize())

        await seen(is_used_again)
    said = [one.message for one in caplog.records if "Redis" in one.message]
    assert len([one for one in said if "away" in one]) <= 2  # each gateway says it once
    assert any("back" in one for one in said)


async def test_a_redis_that_stands_still_holds_nobody_up(
    server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = RedisCache(server.url)
    with monkeypatch.context() as changed:
        changed.setattr(cache_module, "REPLY_S", 3_600.0)
        waiting = RedisCache(server.url)
    server.pause()
    try:
        # Its connection would wait for an hour, and nobody waits for that.
        with patience(10):
            assert await waiting.get(["a"]) == {}
            assert await waiting.get(["a"]) == {}

        async def is_left_alone() -> bool:
            return await cache.get(["a"]) == {} and cache.is_away

        await seen(is_left_alone)
    finally:
        server.go_on()
    await until(lambda: not cache.is_away)


@pytest.mark.parametrize("url", ["", "nonsense", "http://x", "redis://x:port"])
def test_an_url_of_nothing_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="no url of a Redis"):
        RedisCache(url)


async def test_rows_say_what_is_new_whatever_is_in_memory(storage: Storage) -> None:
    """A cache that lies about everything but the numbers' order is never believed."""

    class Liar:
        async def get(self, runs: list[str]) -> dict[str, tuple[Run, int]]:
            return {id: (state(id, 10**6), 1) for id in runs}

        def put(self, states: object) -> None:
            pass

        async def run(self) -> None:
            await trio.sleep_forever()

    engine = Engine(storage, cache=Liar())  # type: ignore[arg-type]
    await engine.define(LINE)
    id = (await engine.trigger("line", 1)).id
    assert await engine.answer(id, Answer("one", 1)) is Verdict.TAKEN
    assert (await engine.run(id)).workflow == "line"
    assert await check(storage) == []
