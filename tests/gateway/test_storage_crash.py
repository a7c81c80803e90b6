"""Databases that are killed, stand still or go away in the middle: what was answered is kept, once,
and what comes afterwards goes on by itself.
"""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import trio
from tests.patience import PATIENCE_S, patience, seen
from tests.postgres_fixture import Postgres

from gossamer_gateway.errors import InputError, StorageFailed
from gossamer_gateway.storage import (
    Form,
    Rows,
    SqlitePlace,
    Storage,
    open_storage,
    session,
)

FORM = Form(
    "The file", "--file", 7, 1, "CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER)"
)


def count_up(rows: Rows, _now_ms: int) -> int:
    (value,) = rows.execute(
        "INSERT INTO counter VALUES ('n', 1) ON CONFLICT (name) DO UPDATE SET "
        "value = counter.value + 1 RETURNING value"
    ).fetchone()
    return int(value)


@pytest.fixture
def server(postgres: Postgres) -> Iterator[Postgres]:
    """The session's server; it runs again when the test is done with it."""
    yield postgres
    postgres.stop()
    postgres.start()


CRASHES = 3


@pytest.fixture
def who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A storage that waits for its server as long as that needs to recover on a busy disk: what is
    tested is what was lost or doubled, not who gave up first."""
    monkeypatch.setattr("gossamer_gateway.storage.postgres.AWAY_S", PATIENCE_S)
    monkeypatch.setattr(session, "DOUBT_S", PATIENCE_S)


@pytest.mark.usefixtures("who_waits")
async def test_a_server_that_crashes_again_and_again_loses_and_doubles_nothing(
    server: Postgres,
) -> None:
    answered: list[int] = []
    news = trio.Semaphore(0)

    async def client(storage: Storage) -> None:
        while True:
            answered.append(await storage.submit(count_up))
            news.release()

    place = server.place()
    async with open_storage(place, FORM) as one, open_storage(place, FORM) as two:
        async with trio.open_nursery() as clients:
            for position in range(20):
                clients.start_soon(client, (one, two)[position % 2])
            for _ in range(CRASHES):
                for _ in range(200):
                    await news.acquire()
                await trio.to_thread.run_sync(server.crash)
                await trio.to_thread.run_sync(server.start)
            for _ in range(100):
                await news.acquire()
            clients.cancel_scope.cancel()
        # Those that were cancelled leave theirs under way: 20 at most.
        last = await one.submit(count_up)
    assert len(answered) == len(set(answered)) and set(answered) <= set(range(1, last))
    assert last - len(answered) <= 21


@pytest.mark.usefixtures("who_waits")
async def test_a_commit_in_doubt_is_asked_for(server: Postgres) -> None:
    """It waits for a second server that isn't there: on disk, but not told."""
    place = server.place()
    answers: list[int] = []

    async def write(storage: Storage) -> None:
        answers.append(await storage.submit(count_up))

    async def waits() -> bool | None:
        def ask() -> bool:
            with psycopg.connect(place.conninfo) as connection:
                return bool(
                    connection.execute(
                        "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
                    ).fetchall()
                )

        return await trio.to_thread.run_sync(ask) or None

    async with open_storage(place, FORM) as storage:
        await write(storage)
        await trio.to_thread.run_sync(server.stop)
        await trio.to_thread.run_sync(server.start, "synchronous_standby_names=nobody")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write, storage)
            await seen(waits)
            await trio.to_thread.run_sync(server.crash)
            await trio.to_thread.run_sync(server.start)
        await write(storage)
    assert answers == [1, 2, 3]


@pytest.mark.usefixtures("who_waits")
async def test_what_is_lost_before_its_commit_runs_again(server: Postgres) -> None:
    reached, go_on = threading.Event(), threading.Event()
    runs: list[int] = []

    def command(rows: Rows, now_ms: int) -> int:
        runs.append(count_up(rows, now_ms))
        reached.set()
        go_on.wait()
        return runs[-1]

    answers: list[int] = []

    async def submit(storage: Storage) -> None:
        answers.append(await storage.submit(command))

    async with open_storage(server.place(), FORM) as storage, trio.open_nursery() as nursery:
        nursery.start_soon(submit, storage)
        await trio.to_thread.run_sync(reached.wait)
        await trio.to_thread.run_sync(server.crash)
        await trio.to_thread.run_sync(server.start)
        go_on.set()
    assert (runs, answers) == ([1, 1], [1])


@contextmanager
def nobody_waits_long() -> Iterator[None]:
    """Not even for a server on a busy machine, so within this block it is away."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gossamer_gateway.storage.postgres.AWAY_S", 0.5)
        for name in ("REPLY_S", "DOUBT_S"):
            patch.setattr(session, name, 0.2)
        yield


@pytest.mark.usefixtures("who_waits")
async def test_a_server_that_is_away_is_said_and_found_again(server: Postgres) -> None:
    async with open_storage(server.place(), FORM) as storage:
        assert await storage.submit(count_up) == 1
        await trio.to_thread.run_sync(server.stop)
        with nobody_waits_long(), patience():
            for _ in range(2):
                with pytest.raises(StorageFailed, match="PostgreSQL is away"):
                    await storage.submit(count_up)
        await trio.to_thread.run_sync(server.start)
        assert await storage.submit(count_up) == 2


@pytest.mark.usefixtures("who_waits")
async def test_a_server_that_stands_still_is_given_up(server: Postgres) -> None:
    async with open_storage(server.place(), FORM) as storage:
        assert await storage.submit(count_up) == 1
        server.pause()
        try:
            away = pytest.raises(StorageFailed, match="PostgreSQL is away")
            with nobody_waits_long(), patience(), away:
                await storage.submit(count_up)
        finally:
            server.go_on()
        with patience():
            assert await storage.submit(count_up) == 2


async def test_a_gateway_stops_though_its_server_is_away(
    server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gossamer_gateway.storage.postgres.AWAY_S", 1_000 * PATIENCE_S)
    refused: list[StorageFailed] = []

    async def submit(storage: Storage) -> None:
        try:
            await storage.submit(count_up)
        except StorageFailed as error:
            refused.append(error)

    with patience():
        async with trio.open_nursery() as nursery, open_storage(server.place(), FORM) as storage:
            await trio.to_thread.run_sync(server.stop)
            nursery.start_soon(submit, storage)
            await trio.testing.wait_all_tasks_blocked()
    assert len(refused) == 1


CHILD = """
import sys
from pathlib import Path
import trio
from tests.gateway.test_storage_crash import FORM, count_up
from gossamer_gateway.storage import SqlitePlace, open_storage

async def client(storage):
    while True:
        print(await storage.submit(count_up), flush=True)

async def main():
    async with open_storage(SqlitePlace(Path(sys.argv[1])), FORM) as storage:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(client, storage)

trio.run(main)
"""


def answered_before_a_kill(path: Path) -> list[int]:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, text=True,
        cwd=Path(__file__).parents[2],
    ) as child:  # fmt: skip
        assert child.stdout is not None
        answers = [int(child.stdout.readline()) for _ in range(300)]
        child.kill()
        return [*answers, *map(int, child.stdout.read().split("\n")[:-1])]


@pytest.mark.processes
async def test_a_file_keeps_what_was_answered_before_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "rows.sqlite"
    answered: list[int] = []
    for _ in range(CRASHES):
        answered += answered_before_a_kill(path)
        async with open_storage(SqlitePlace(path), FORM) as storage:
            last = await storage.submit(count_up)
        assert len(answered) == len(set(answered)) and max(answered) < last
        answered.append(last)


async def test_a_file_has_one_gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gossamer_gateway.storage.file.LOCKED_WAIT_S", 0.01)
    place = SqlitePlace(tmp_path / "rows.sqlite")
    async with open_storage(place, FORM):
        with pytest.raises(InputError, match="another process has it open"):
            await open_storage(place, FORM).__aenter__()
