"""Both databases keep the port's word: the same suite, on a file and on a real PostgreSQL."""

import sys
import time
from collections.abc import AsyncIterator
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from gossamer_gateway.errors import BadRequest, GatewayError, InputError, Overloaded, StorageFailed
from gossamer_gateway.names import numbers
from gossamer_gateway.storage import Form, Place, PostgresPlace, Rows, Storage, Write, open_storage
from gossamer_gateway.storage.pending import PENDING_MAX

FORM = Form(
    "The test's file",
    "--file",
    7,
    1,
    "CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL);"
    "CREATE TABLE thing (id INTEGER PRIMARY KEY, name TEXT UNIQUE, size REAL, data BLOB);"
    "CREATE INDEX thing_size ON thing (size);" + numbers.SCHEMA,
)


@pytest.fixture
async def rows_kept(place: Place) -> AsyncIterator[Storage]:
    async with open_storage(place, FORM) as storage:
        yield storage


def count_up(rows: Rows, _now_ms: int, *, name: str = "n") -> int:
    """As an innocent writes it: reads, thinks, writes."""
    row = rows.execute("SELECT value FROM counter WHERE name = ?", (name,)).fetchone()
    if row is None:
        rows.execute("INSERT INTO counter VALUES (?, 1)", (name,))
        return 1
    rows.execute("UPDATE counter SET value = ? WHERE name = ?", (row[0] + 1, name))
    return int(row[0] + 1)


async def value(storage: Storage, name: str = "n") -> int:
    def read(rows: Rows, _now_ms: int) -> int:
        row = rows.execute("SELECT value FROM counter WHERE name = ?", (name,)).fetchone()
        return int(row[0]) if row else 0

    return await storage.submit(read)


async def test_values_come_back_as_they_went(rows_kept: Storage) -> None:
    class Kind(StrEnum):
        ONE = "first"

    values: list[tuple[Any, ...]] = [
        (-(2**63), "", -1.5, b""),
        (2**63 - 1, "ä?%'\U0001f600", 1e300, bytes(range(256))),
        (3, None, None, None),
        (True, Kind.ONE, 2, b"x"),
    ]

    def write(rows: Rows, _: int) -> int:
        return rows.executemany("INSERT INTO thing VALUES (?, ?, ?, ?)", values).rowcount

    assert await rows_kept.submit(write) == 4
    found = await rows_kept.submit(
        lambda rows, _: list(rows.execute("SELECT id, name, size, data FROM thing ORDER BY id"))
    )
    assert found == [values[0], (1, "first", 2.0, b"x"), values[2], values[1]]
    assert [[type(one) for one in row] for row in found[:2]] == 2 * [[int, str, float, bytes]]


async def test_statements_mean_the_same(rows_kept: Storage) -> None:
    def work(rows: Rows, _: int) -> list[Any]:
        put = "INSERT INTO thing (name, size) VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET size "
        answers: list[Any] = []
        for name in ("b", "ä", "B", "a", "b"):
            answers.append(
                rows.execute(put + "= thing.size + 1 RETURNING size", (name,)).fetchone()
            )
        in_order = rows.execute("SELECT name FROM thing ORDER BY name").fetchall()
        answers.append("".join(name for (name,) in in_order))
        marks = rows.execute("SELECT '?%s', name FROM thing WHERE name > ? AND name <> '?'", ("z",))
        answers += [marks.fetchone(), marks.fetchone()]
        answers.append(
            rows.execute("SELECT count(*), CAST(sum(size) AS BIGINT) FROM thing").fetchone()
        )
        answers.append(rows.execute("UPDATE thing SET data = NULL WHERE size = 1").rowcount)
        answers.append(rows.execute("DELETE FROM thing WHERE name = 'nobody'").rowcount)
        answers.append(rows.execute("SELECT id FROM thing ORDER BY id LIMIT ?", (2,)).fetchall())
        return answers

    one, two = (1.0,), (2.0,)
    assert (await rows_kept.submit(work))[:-1] == [
        one, one, one, one, two, "Babä", ("?%s", "ä"), None, (4, 5), 3, 0,
    ]  # fmt: skip


async def test_statements_for_many_rows_mean_what_they_mean_for_each(rows_kept: Storage) -> None:
    class Kind(StrEnum):
        ONE = "first"

    def work(rows: Rows, _: int) -> list[Any]:
        things = [
            (7, "ä'{\U0001f600", None, b"\0\xff"), (2**63 - 1, None, 1, None),
            (-(2**63), "", -1.5, b""), (True, Kind.ONE, 0, b"x"),
        ]  # fmt: skip
        put = "INSERT INTO thing (name, size) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET size "
        counts = rows.together(
            Write("INSERT INTO thing VALUES (?, ?, ?, ?)", things),
            Write("DELETE FROM thing WHERE name = ? AND id = ?", []),
            Write("UPDATE thing SET size = ?, data = ? WHERE id = ?", [
                (None, b"new", 7), (None, b"none", 8), (2.5, None, 1)
            ]),
            Write("UPDATE thing SET data = ?, name = ? WHERE id = ? AND name = ?", [
                (None, "%?", 1, "first"), (None, "b", -(2**63), "b")
            ]),
            Write(put + "= thing.size + excluded.size", [("%?", 1.5), ("c", 1), ("d", 2)]),
            Write("DELETE FROM thing WHERE name = ? AND id = ?", [("", -(2**63)), ("", 1)]),
        )  # fmt: skip
        found = rows.execute("SELECT id, name, size, data FROM thing ORDER BY id").fetchall()
        some = "SELECT name FROM thing WHERE size > 0 AND name IN (?) ORDER BY name"
        names = rows.lookup(some, ["d", "none", "%?", "c"])
        ids = rows.lookup("SELECT count(*) FROM thing WHERE id IN (?)", [7, 2**63 - 1, 10**15])
        return [*counts, *found, *names, *ids, *rows.lookup(some, []), *rows.together()]

    found = await rows_kept.submit(work)
    assert found[:6] == [4, 0, 2, 1, 3, 1]
    by_name = {one[1]: one for one in found[6:-4]}
    # Their numbers are whatever the database gives.
    assert by_name.pop("c")[2:] == (1.0, None) and by_name.pop("d")[2:] == (2.0, None)
    assert by_name == {
        "%?": (1, "%?", 4.0, None), "ä'{\U0001f600": (7, "ä'{\U0001f600", None, b"new"),
        None: (2**63 - 1, None, 1.0, None),
    }  # fmt: skip
    assert found[-4:] == [("%?",), ("c",), ("d",), (2,)]


async def test_rows_that_are_written_together_count_in_their_order(rows_kept: Storage) -> None:
    names = [f"n{at * 7919 % 1000}" for at in range(1000)]

    def work(rows: Rows, _: int) -> list[Any]:
        rows.together(Write("INSERT INTO thing (name) VALUES (?)", [(one,) for one in names]))
        return rows.execute("SELECT name FROM thing ORDER BY id").fetchall()

    assert await rows_kept.submit(work) == [(one,) for one in names]


@pytest.mark.parametrize("alone", [True, False])
async def test_what_is_refused_together_takes_all_of_its_command_back(
    rows_kept: Storage, alone: bool
) -> None:
    def work(rows: Rows, now_ms: int) -> None:
        count_up(rows, now_ms)
        add = "INSERT INTO thing (name) VALUES (?)"
        first = [] if alone else [Write(add, [("b",)]), Write(add, [("c",)])]
        rows.together(*first, Write(add, [("a",), ("a",)]), Write(add, [("d",)] if first else []))

    with pytest.raises(StorageFailed, match="refused"):
        await rows_kept.submit(work)
    assert await value(rows_kept) == 0
    assert (
        await rows_kept.submit(lambda rows, _: rows.execute("SELECT 1 FROM thing").fetchall()) == []
    )


@pytest.mark.parametrize(
    "bad",
    ["a\0b", "half \ud83d", 2**63, -(2**63) - 1, 2**70_000],
    ids=["0", "half", "+", "-", "++"],
)
async def test_what_no_column_holds_is_the_clients_mistake(rows_kept: Storage, bad: Any) -> None:
    for look in (
        lambda rows, _: rows.execute("SELECT 1 FROM thing WHERE name = ?", (bad,)).fetchall(),
        lambda rows, _: rows.lookup("SELECT 1 FROM thing WHERE name IN (?)", ("a", bad)),
        lambda rows, _: rows.together(Write("DELETE FROM thing WHERE name = ?", [("a",), (bad,)])),
    ):
        with pytest.raises(BadRequest):
            await rows_kept.submit(look)


async def test_the_time_is_that_of_people(rows_kept: Storage) -> None:
    before_ms = time.time() * 1_000
    now_ms = await rows_kept.submit(lambda _, now_ms: now_ms)
    assert type(now_ms) is int and before_ms - 1 <= now_ms <= time.time() * 1_000


async def test_each_command_whole_or_not_at_all(rows_kept: Storage) -> None:
    """Those that fail are spread among those that don't, and share transactions with them."""

    def refuse(rows: Rows, now_ms: int) -> None:
        raise KeyError("at once")

    def write_and_refuse(rows: Rows, now_ms: int) -> None:
        count_up(rows, now_ms)
        raise KeyError("late")

    def break_a_rule(rows: Rows, now_ms: int) -> None:
        count_up(rows, now_ms)
        rows.execute("INSERT INTO thing (id, name) VALUES (1, 'x'), (2, 'x')")

    def speak_wrongly(rows: Rows, now_ms: int) -> None:
        count_up(rows, now_ms)
        rows.execute("SELEKT")

    ways = [count_up, refuse, write_and_refuse, break_a_rule, speak_wrongly]
    raised: dict[str, list[type[Exception]]] = {way.__name__: [] for way in ways}
    returned: list[int] = []

    async def submit(way: Any) -> None:
        try:
            returned.append(await rows_kept.submit(way))
        except (KeyError, GatewayError) as error:
            raised[way.__name__].append(type(error))

    async with trio.open_nursery() as nursery:
        for position in range(100):
            nursery.start_soon(submit, ways[position % len(ways)])
    assert sorted(returned) == list(range(1, 21))
    assert await value(rows_kept) == 20
    assert raised == {
        "count_up": [], "refuse": 20 * [KeyError], "write_and_refuse": 20 * [KeyError],
        "break_a_rule": 20 * [StorageFailed], "speak_wrongly": 20 * [StorageFailed],
    }  # fmt: skip
    things = "SELECT count(*) FROM thing"
    assert await rows_kept.submit(lambda rows, _: rows.execute(things).fetchone()) == (0,)


async def test_a_caller_that_is_gone_leaves_his_command(rows_kept: Storage) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await rows_kept.submit(count_up)
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(rows_kept.submit, count_up)
        await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    while (found := await value(rows_kept)) < 21:
        pass
    assert found == 21


async def test_what_waits_at_the_end_is_refused(place: Place) -> None:
    answers: list[str] = []

    async def submit(storage: Storage) -> None:
        try:
            await storage.submit(count_up)
            answers.append("done")
        except StorageFailed as error:
            answers.append(str(error))

    async with trio.open_nursery() as nursery, open_storage(place, FORM) as storage:
        for _ in range(200):
            nursery.start_soon(submit, storage)
        await trio.testing.wait_all_tasks_blocked()
    assert len(answers) == 200 and set(answers) <= {"done", "The gateway is stopping"}
    with pytest.raises(StorageFailed, match="stopping"):
        await storage.submit(count_up)


async def test_waiting_commands_are_bounded(rows_kept: Storage) -> None:
    refused: list[Exception] = []

    async def submit() -> None:
        try:
            await rows_kept.submit(count_up)
        except Overloaded as error:
            refused.append(error)

    count = PENDING_MAX + 500
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(submit)
    assert 0 < len(refused) < 500 and await value(rows_kept) == count - len(refused)


async def test_rows_of_another_form_are_refused(place: Place, tmp_path: Path) -> None:
    from gossamer_gateway.storage import SqlitePlace

    if isinstance(place, SqlitePlace):
        place = SqlitePlace(tmp_path / "rows.sqlite")
    async with open_storage(place, FORM) as storage:
        await storage.submit(count_up)
    async with open_storage(place, FORM) as storage:
        assert await storage.submit(count_up) == 2
    with pytest.raises(InputError, match=r"version 1, and 2 is read"):
        async with open_storage(place, Form("The file", "--file", 7, 2, FORM.schema)):
            pass


# --- several gateways on one PostgreSQL ---

TASKS, TIMES = 50, 4


@pytest.fixture
def shared(postgres: Any) -> PostgresPlace:
    place: PostgresPlace = postgres.place()
    return place


async def test_gateways_that_start_together_make_the_tables_once(shared: PostgresPlace) -> None:
    counted: list[int] = []

    async def gateway() -> None:
        async with open_storage(shared, FORM) as storage:
            counted.append(await storage.submit(count_up))

    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(gateway)
    assert sorted(counted) == [1, 2, 3, 4, 5, 6]


async def test_no_update_is_lost_between_gateways(shared: PostgresPlace) -> None:
    returned: list[int] = []

    async def count(storage: Storage) -> None:
        for _ in range(TIMES):
            returned.append(await storage.submit(count_up))

    async with open_storage(shared, FORM) as one, open_storage(shared, FORM) as two:
        async with trio.open_nursery() as nursery:
            for position in range(TASKS):
                nursery.start_soon(count, (one, two)[position % 2])
        assert await value(one) == await value(two) == TASKS * TIMES
    assert sorted(returned) == list(range(1, TASKS * TIMES + 1))


async def test_an_id_has_one_number_whoever_asks(shared: PostgresPlace) -> None:
    given: dict[str, set[int]] = {}

    async def ask(storage: Storage, first: int) -> None:
        ids = [f"id-{(first * 7 + step) % 60}" for step in range(10)]
        found = await storage.submit(lambda rows, _: numbers.numbers_of(rows, "old", ids))
        for id, number in found.items():
            given.setdefault(id, set()).add(number)

    async with (
        open_storage(shared, FORM) as one,
        open_storage(shared, FORM) as two,
        trio.open_nursery() as nursery,
    ):
        for position in range(60):
            nursery.start_soon(ask, (one, two)[position % 2], position)
    assert len(given) == 60 and all(len(found) == 1 for found in given.values())
    assert len({number for found in given.values() for number in found}) == 60


async def test_what_two_rely_on_is_not_changed_by_both(shared: PostgresPlace) -> None:
    """Write skew, which less than SERIALIZABLE lets through: one of two must stay, and both go."""

    def both_here(rows: Rows, _: int) -> None:
        rows.execute("DELETE FROM counter")
        rows.execute("INSERT INTO counter VALUES ('a', 1), ('b', 1)")

    def leave(rows: Rows, _: int, *, name: str) -> bool:
        (here,) = rows.execute("SELECT count(*) FROM counter WHERE value = 1").fetchone()
        if here < 2:
            return False
        rows.execute("UPDATE counter SET value = 0 WHERE name = ?", (name,))
        return True

    async with open_storage(shared, FORM) as one, open_storage(shared, FORM) as two:
        for turn in range(20):
            left: list[bool] = []

            async def go(storage: Storage, name: str, left: list[bool] = left) -> None:
                left.append(await storage.submit(partial(leave, name=name)))

            await one.submit(both_here)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(go, one, "a")
                nursery.start_soon(go, two, "b")
            assert sorted(left) == [False, True], turn


async def test_a_schema_of_somebody_else_is_refused(postgres: Any, shared: PostgresPlace) -> None:
    import psycopg

    with psycopg.connect(shared.conninfo) as connection:
        connection.execute(f"CREATE SCHEMA {shared.schema}")
        connection.execute(f"CREATE TABLE {shared.schema}.theirs (id int)")
    with pytest.raises(InputError, match=f"the schema {shared.schema} has another program's"):
        async with open_storage(shared, FORM):
            pass


@pytest.mark.parametrize("conninfo", ["host=/nonexistent dbname=x", "nonexistent"])
async def test_a_server_that_is_not_there_is_said(conninfo: str) -> None:
    nowhere = PostgresPlace(conninfo)
    with pytest.raises(InputError, match=r"PostgreSQL can't be used: .*nonexistent"):
        async with open_storage(nowhere, FORM):
            pass


@pytest.mark.parametrize("schema", ["", "A", "a-b", "1a", "pg_x", "x" * 64, 'a"; DROP', "a\n"])
def test_names_of_schemas_are_plain(schema: str) -> None:
    with pytest.raises(InputError, match="can't name a schema"):
        PostgresPlace("", schema)


def test_without_its_library_the_way_to_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("postgres", "session"):
        monkeypatch.delitem(sys.modules, f"gossamer_gateway.storage.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(InputError, match=r"pip install 'gossamer\[postgres\]'"):
        open_storage(PostgresPlace(""), FORM)
