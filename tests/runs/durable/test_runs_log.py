"""The log over rows: what every log keeps to, and in whatever order PostgreSQL commits."""

from collections.abc import AsyncIterator, Sequence
from itertools import cycle

import psycopg
import pytest
from tests.patience import patience
from tests.postgres_fixture import Postgres
from tests.runs.durable.log_suite import *  # noqa: F403 - the suite
from tests.runs.durable.log_suite import Made, events, names

from gossamer_gateway import tables
from gossamer_gateway.runs.log import RowsLog, renumber
from gossamer_gateway.runs.model import events as e
from gossamer_gateway.runs.model.events import Event
from gossamer_gateway.runs.news import News
from gossamer_gateway.storage import Command, Place, PostgresPlace, Rows, SqlitePlace, open_storage

INSERT = "INSERT INTO workflow_events (number, run, seq, data) VALUES (transaction_number(), "


@pytest.fixture
async def made(place: Place) -> AsyncIterator[Made]:
    """Written by two gateways where two may."""
    news = News()
    async with open_storage(place, tables.FORM) as here, open_storage(place, tables.FORM) as other:
        turns = cycle((here, other) if isinstance(place, PostgresPlace) else (here,))

        async def write(given: Sequence[Event]) -> None:
            def command(rows: Rows, _: int) -> None:
                rows.executemany(
                    INSERT + "?, ?, ?)", [(one.run, one.seq, e.encode(one)) for one in given]
                )

            await next(turns).submit(command)
            news.ring()

        yield Made(RowsLog(here, news), write)


async def test_what_commits_late_is_waited_for(postgres: Postgres) -> None:
    """Two took their numbers in one order, and commit in the other."""
    place = postgres.place()
    async with open_storage(place, tables.FORM) as storage:
        log = RowsLog(storage, News())
        cursor = await log.start()
        with psycopg.connect(place.conninfo) as first, psycopg.connect(place.conninfo) as second:
            for connection, run in ((first, "a"), (second, "b")):
                connection.execute(f"SET search_path TO {place.schema}")
                for one in events(run, 1, 2):
                    connection.execute(
                        INSERT.encode() + b"%s, %s, %s)", (run, one.seq, e.encode(one))
                    )
            second.commit()
            assert await log.end() == cursor
            entries, cursor = await log.read(cursor, 10, 0.05)
            assert entries == []
            first.commit()
            entries, cursor = await log.read(cursor, 3, 0.0)
            assert names(entries) == [("a", 1), ("a", 2), ("b", 1)]
            first.execute(INSERT.encode() + b"'a', 3, '')")
            second.execute(INSERT.encode() + b"'b', 3, %s)", (e.encode(events("b", 3, 1)[0]),))
            second.commit()
            entries, cursor = await log.read(cursor, 10, 0.05)
            assert names(entries) == [("b", 2)]
            first.rollback()
            entries, cursor = await log.read(cursor, 10, 0.0)
            assert names(entries) == [("b", 3)]


async def test_numbers_of_another_server_begin_anew(postgres: Postgres) -> None:
    async with open_storage(postgres.place(), tables.FORM) as storage:

        def restored(rows: Rows, _: int) -> None:
            for one in events("a", 1, 3):
                rows.execute(
                    "INSERT INTO workflow_events (number, run, seq, data) VALUES (?, ?, ?, ?)",
                    (2**50 + one.seq, one.run, one.seq, e.encode(one)),
                )

        await storage.submit(restored)
        log = RowsLog(storage, News())
        assert (await log.read(await log.start(), 10, 0.0))[0] == []
        assert await storage.submit(renumber) is False
        entries, _ = await log.read(await log.start(), 10, 0.0)
        assert names(entries) == [("a", 1), ("a", 2), ("a", 3)]


async def test_who_has_looked_and_does_not_wait_yet_is_woken() -> None:
    """A commit that comes between the look and the wait: on a file, nobody would look again."""
    news = News()
    async with open_storage(SqlitePlace(None), tables.FORM) as storage:

        class Late:
            """Rows whose reader is slow to go on: in the meantime something is committed."""

            shared = False

            async def submit(self, command: Command[object]) -> object:
                found = await storage.submit(command)
                if not written:
                    written.append(events("run", 1, 1)[0])
                    await storage.submit(write)
                    news.ring()
                return found

        def write(rows: Rows, _: int) -> None:
            rows.execute(INSERT + "?, ?, ?)", ("run", 1, e.encode(written[0])))

        written: list[Event] = []
        log = RowsLog(Late(), news)  # type: ignore[arg-type]
        with patience():
            entries, _ = await log.read(await log.start(), 10, float("inf"))
        assert names(entries) == [("run", 1)]
