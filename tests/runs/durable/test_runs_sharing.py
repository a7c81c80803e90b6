"""Gateways of one PostgreSQL share the shards out, and disagree about them without harm."""

from random import Random
from typing import cast

import pytest
import trio
from tests.patience import patience, seen, until
from tests.postgres_fixture import Postgres
from tests.runs.durable.flows import BUSY, at_second, lines, work

from gossamer_gateway import tables
from gossamer_gateway.runs import leasing, sharing
from gossamer_gateway.runs.checking import check
from gossamer_gateway.runs.engine import Engine
from gossamer_gateway.runs.log import Entry
from gossamer_gateway.runs.model.run import Status
from gossamer_gateway.runs.outbox import Outbox
from gossamer_gateway.runs.sharing import LEASE_MS, RENEW_MS, Lease, plan
from gossamer_gateway.runs.store import SHARDS, shard_of
from gossamer_gateway.storage import Command, Rows, SqlitePlace, Storage, open_storage


def test_shards_are_shared_out_whoever_comes_and_goes() -> None:
    """Gateways renew in any order, some die; soon each living one has its share, and no two one."""
    seed = Random().getrandbits(32)
    random = Random(seed)
    leases = {shard: Lease(shard, None, 0, 0) for shard in range(SHARDS)}
    heard: dict[str, int] = {}
    gateways: list[str] = []
    now_ms = 0
    for _ in range(60):
        if len(gateways) < 5 and random.random() < 0.5:
            gateways.append(f"g{random.getrandbits(40)}")
        elif gateways and random.random() < 0.5:
            gateways.remove(random.choice(gateways))  # without a word
        for _ in range(2 * LEASE_MS // RENEW_MS + 2):
            now_ms += RENEW_MS // 2
            for me in random.sample(gateways, len(gateways)):
                now_ms += random.randrange(50)
                heard[me] = now_ms + LEASE_MS
                living = [one for one, until_ms in heard.items() if until_ms > now_ms]
                for changed in plan(me, now_ms, list(leases.values()), living):
                    before = leases[changed.shard]
                    taken = changed.owner not in (before.owner, None)
                    assert before.owner in (me, None) or before.until_ms <= now_ms, seed
                    assert changed.epoch == before.epoch + taken, seed
                    leases[changed.shard] = changed
        for me in gateways:
            mine = [one for one in leases.values() if one.owner == me and one.until_ms > now_ms]
            assert len(mine) in (SHARDS // len(gateways), SHARDS // len(gateways) + 1), seed


def test_a_clock_that_is_set_back_leaves_no_shard_with_who_is_dead() -> None:
    hour_ms = 3_600_000
    leases = [Lease(shard, "dead", 3, hour_ms + LEASE_MS) for shard in range(SHARDS)]
    taken = plan("me", hour_ms, leases, ["dead", "me"])
    assert taken == []
    taken = plan("me", 10_000, leases, ["me"])
    assert [one.owner for one in taken] == SHARDS * ["me"]
    assert {one.until_ms for one in taken} == {10_000 + LEASE_MS}
    assert {one.epoch for one in taken} == {4}
    # A step of some milliseconds is no such jump.
    assert plan("me", hour_ms - 5, leases, ["dead", "me"]) == []


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases that move within the patience of a test."""
    for module in (sharing, leasing):
        monkeypatch.setattr(module, "LEASE_MS", 300)
    monkeypatch.setattr(leasing, "RENEW_MS", 50)


async def test_gateways_share_take_over_and_give_back(postgres: Postgres, short: None) -> None:
    place = postgres.place()
    async with (
        open_storage(place, tables.FORM) as here,
        open_storage(place, tables.FORM) as there,
        trio.open_nursery() as nursery,
    ):
        one, two = Engine(here), Engine(there)
        assert one.shards == frozenset()
        first, second = trio.CancelScope(), trio.CancelScope()

        async def serve(engine: Engine, scope: trio.CancelScope) -> None:
            with scope:
                await engine.keep_time()

        nursery.start_soon(serve, one, first)
        await until(lambda: len(one.shards) == SHARDS)
        nursery.start_soon(serve, two, second)
        await until(lambda: len(one.shards) == len(two.shards) == SHARDS // 2)
        assert not set(one.shards) & set(two.shards)
        first.cancel()
        await until(lambda: len(two.shards) == SHARDS)
        assert one.shards == frozenset()
        nursery.cancel_scope.cancel()


async def test_a_gateway_that_stops_leaves_nothing_that_others_wait_for(postgres: Postgres) -> None:
    async with open_storage(postgres.place(), tables.FORM) as storage:
        engine = Engine(storage)

        def held(rows: Rows, _: int) -> tuple[int, int]:
            (shards,) = rows.execute("SELECT COUNT(owner) FROM workflow_shards").fetchone()
            (gateways,) = rows.execute("SELECT COUNT(*) FROM workflow_gateways").fetchone()
            return shards, gateways

        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.keep_time)
            await until(lambda: len(engine.shards) == SHARDS)
            assert await storage.submit(held) == (SHARDS, 1)
            nursery.cancel_scope.cancel()
        assert await storage.submit(held) == (0, 0)


async def test_a_lease_counts_from_before_its_row_was_written(autojump_clock: object) -> None:
    """Others count from the row: who believed longer than that would see to what is theirs."""

    class Slow:
        shared = True

        async def submit_guarded(self, _: object) -> frozenset[int]:
            await trio.sleep(5)
            return frozenset({1, 2})

    taken: list[None] = []
    leases = leasing.Leases(Slow(), "me", lambda: taken.append(None))  # type: ignore[arg-type]
    assert leases.shards == frozenset()
    assert await leases.renew() == RENEW_MS / 1_000
    assert leases.shards == {1, 2} and len(taken) == 1
    await trio.sleep(LEASE_MS / 1_000 - 5 - 0.001)
    assert leases.shards == {1, 2}
    await trio.sleep(0.002)
    assert leases.shards == frozenset()
    await leases.renew()
    assert leases.shards == {1, 2} and len(taken) == 2
    await leases.renew()
    assert len(taken) == 2


async def test_a_gateway_that_died_before_the_clock_was_set_back_counts_no_more(
    postgres: Postgres, short: None
) -> None:
    async with open_storage(postgres.place(), tables.FORM) as storage:

        def leave(rows: Rows, now_ms: int) -> None:
            until_ms = now_ms + 3_600_000
            rows.execute("INSERT INTO workflow_gateways VALUES ('dead', ?)", (until_ms,))
            rows.executemany(
                "INSERT INTO workflow_shards VALUES (?, 'dead', 1, ?)",
                [(shard, until_ms) for shard in range(SHARDS)],
            )

        await storage.submit(leave)
        engine = Engine(storage)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.keep_time)
            await until(lambda: len(engine.shards) == SHARDS)
            nursery.cancel_scope.cancel()


async def test_what_is_due_is_seen_to_whoever_triggered_it(postgres: Postgres, short: None) -> None:
    place = postgres.place()
    async with (
        open_storage(place, tables.FORM) as here,
        open_storage(place, tables.FORM) as there,
        trio.open_nursery() as nursery,
    ):
        engines = Engine(here), Engine(there)
        for engine in engines:
            nursery.start_soon(engine.keep_time)
        await engines[0].define(BUSY)
        ids = [(await engines[n % 2].trigger("busy", {"n": n})).id for n in range(20)]

        async def are_over() -> bool:
            for engine in engines:
                await work(engine, at_second)
            return all([(await engines[0].run(id)).status is Status.COMPLETED for id in ids])

        await seen(are_over)
        assert await check(here) == []
        nursery.cancel_scope.cancel()


async def test_two_that_believe_in_the_same_lease_do_no_harm(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both see to all that is due, all the time, on states that are old as often as not."""
    monkeypatch.setattr(leasing.Leases, "shards", range(SHARDS))
    place = postgres.place()
    async with (
        open_storage(place, tables.FORM) as here,
        open_storage(place, tables.FORM) as there,
        trio.open_nursery() as nursery,
    ):
        engines = Engine(here, outbox=True), Engine(there, outbox=True)
        published: dict[str, list[int]] = {}

        async def publish(engine: Engine) -> None:
            assert engine.outbox is not None
            while True:
                entries = await engine.outbox.next()
                for one in entries:
                    published.setdefault(one.run, []).append(one.seq)
                engine.outbox.done(entries)
                await engine.outbox.remove()

        for engine in engines:
            nursery.start_soon(engine.keep_time)
            nursery.start_soon(publish, engine)
        await engines[0].define(BUSY)
        ids = [(await engines[0].trigger("busy", {"n": n})).id for n in range(30)]

        async def are_over() -> bool:
            async with trio.open_nursery() as working:
                for engine in engines:
                    working.start_soon(work, engine, at_second)
            return all([(await engines[1].run(id)).status is Status.COMPLETED for id in ids])

        with patience():
            await seen(are_over)
        assert await check(here) == []

        async def are_published() -> bool:
            return not await here.submit(
                lambda rows, _: rows.execute("SELECT 1 FROM workflow_outbox LIMIT 1").fetchall()
            )

        await seen(are_published)
        for id in ids:
            run = await engines[0].run(id)
            assert (run.steps["first"].attempt, run.steps["right"].attempt) == (2, 2)
            assert set(published[id]) == set(range(1, run.seq + 1))
        nursery.cancel_scope.cancel()


async def test_the_outbox_hands_over_each_event_in_order(storage: Storage) -> None:
    engine = Engine(storage, outbox=True)
    assert engine.outbox is not None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(engine.keep_time)
        await until(lambda: len(engine.shards) == SHARDS)
        ids = await lines(engine, 5)
        refused = await engine.outbox.next(7)
        engine.outbox.undone()
        await work(engine)
        found: list[Entry] = []
        with patience():
            while len(found) < 5 * 12:
                entries = await engine.outbox.next(7)
                found += entries
                engine.outbox.done(entries)
                await engine.outbox.remove()
        assert [one for one in found if one.run in ids][: len(refused)] == refused
        for id in ids:
            seqs = [one.seq for one in found if one.run == id]
            assert seqs == list(range(1, 13))
        assert await check(storage) == []
        left = await storage.submit(
            lambda rows, _: rows.execute("SELECT * FROM workflow_outbox").fetchall()
        )
        assert left == []
        (late,) = await lines(engine, 1)
        (first, *_) = await engine.outbox.next()
        assert (first.run, first.seq) == (late, 1)
        nursery.cancel_scope.cancel()


async def test_what_is_committed_here_for_another_s_shards_is_left_to_it(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = range(SHARDS // 2)
    monkeypatch.setattr(leasing.Leases, "shards", mine)
    async with open_storage(postgres.place(), tables.FORM) as storage:
        engine = Engine(storage, outbox=True)
        assert engine.outbox is not None
        found: set[str] = set()
        ids: list[str] = []
        with patience():
            for count in (20, 40):  # from rows at first, then from memory
                ids += await lines(engine, count)
                wanted = {id for id in ids if shard_of(id) in mine}
                while not wanted <= found:
                    entries = await engine.outbox.next()
                    found |= {one.run for one in entries}
                    engine.outbox.done(entries)
                    await engine.outbox.remove()
        assert found == wanted


async def test_what_others_commit_is_published_under_load_as_well(postgres: Postgres) -> None:
    """Memory never runs empty here, and what another gateway commits is in the rows alone."""
    place = postgres.place()
    async with (
        open_storage(place, tables.FORM) as here,
        open_storage(place, tables.FORM) as there,
        trio.open_nursery() as nursery,
    ):
        one, other = Engine(here, outbox=True), Engine(there, outbox=True)
        assert one.outbox is not None
        nursery.start_soon(one.keep_time)
        await until(lambda: len(one.shards) == SHARDS)
        await lines(one, 1)
        one.outbox.done(await one.outbox.next())
        await lines(one, 5)
        (id,) = await lines(other, 1)
        found: list[Entry] = []
        with patience():
            while len([each for each in found if each.run == id]) < 4:
                await lines(one, 1)
                entries = await one.outbox.next(4)  # as many as were added
                found += entries
                one.outbox.done(entries)
        for run in {each.run for each in found}:
            seqs = [each.seq for each in found if each.run == run]
            assert seqs == list(range(1, len(seqs) + 1))
        nursery.cancel_scope.cancel()


async def test_what_memory_drops_while_rows_are_read_is_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing else would tell of it: no other gateway is there, and none looks at times."""
    monkeypatch.setattr("gossamer_gateway.runs.outbox.HANDED_MAX", 6)
    read, go_on = trio.Event(), trio.Event()

    class Slow:
        """Rows that are long on their way."""

        shared = False

        async def submit(self, command: Command[object]) -> object:
            found = await storage.submit(command)
            read.set()
            await go_on.wait()
            return found

    async with open_storage(SqlitePlace(None), tables.FORM) as storage:
        engine = Engine(storage, outbox=True)
        outbox = engine.outbox = Outbox(
            cast("Storage", Slow()), engine.news, lambda: range(SHARDS), 1
        )
        ids = await lines(engine, 1)
        found: list[Entry] = []

        async def publish() -> None:
            while len(found) < 12:
                entries = await outbox.next()
                found.extend(entries)
                outbox.done(entries)

        with patience():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(publish)
                await read.wait()
                ids += await lines(engine, 2)
                go_on.set()
        assert [(one.run, one.seq) for one in found] == [(id, n) for id in ids for n in range(1, 5)]


async def test_memory_may_overflow_while_a_batch_is_under_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As when Kafka is away: the batch waits for it, and meanwhile runs go on."""
    monkeypatch.setattr("gossamer_gateway.runs.outbox.HANDED_MAX", 10)
    async with open_storage(SqlitePlace(None), tables.FORM) as storage:
        engine = Engine(storage, outbox=True)
        outbox = engine.outbox
        assert outbox is not None
        ids = await lines(engine, 1)
        found = await outbox.next()
        outbox.done(found)
        await outbox.remove()
        ids += await lines(engine, 2)
        under_way = await outbox.next(2)
        ids += await lines(engine, 1)  # that is too much, and all that waits is dropped
        outbox.done(under_way)
        found += under_way
        with patience():
            while len(found) < 16:
                entries = await outbox.next(2)
                found += entries
                outbox.done(entries)
                await outbox.remove()
        assert [(one.run, one.seq) for one in found] == [(id, n) for id in ids for n in range(1, 5)]
        left = await storage.submit(
            lambda rows, _: rows.execute("SELECT * FROM workflow_outbox").fetchall()
        )
        assert left == []
