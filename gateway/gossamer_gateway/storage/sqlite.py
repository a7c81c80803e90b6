"""The port on a SQLite file of one gateway: a `File`, and the `Committer` that owns it.

Commands run one after the other, so they are serial by themselves and none runs twice.
"""

import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from sqlite3 import Connection, Cursor
from typing import Any, TypeVar

import trio

from gossamer_gateway.storage.columns import columns
from gossamer_gateway.storage.committer import Committer
from gossamer_gateway.storage.file import File, Form
from gossamer_gateway.storage.parts import grow
from gossamer_gateway.storage.places import SqlitePlace
from gossamer_gateway.storage.port import Command, Value, Write, plain

T = TypeVar("T")


class SqliteRows:
    """The tables of a file. Tests that need no storage around them take it by itself."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def execute(self, statement: str, values: Sequence[Value] = (), /) -> Cursor:
        return self._connection.execute(statement, plain(values))

    def executemany(self, statement: str, values: Sequence[Sequence[Value]], /) -> Cursor:
        return self._connection.executemany(statement, [plain(one) for one in values])

    def lookup(self, statement: str, keys: Sequence[Value], /) -> list[Any]:
        # As JSON, for which the statement is the same whatever their number.
        listed = json.dumps(plain(keys))
        some = statement.replace("IN (?)", "IN (SELECT value FROM json_each(?))")
        return self._connection.execute(some, (listed,)).fetchall()

    def together(self, *writes: Write) -> list[int]:
        changed = [0] * len(writes)
        for place, (statement, rows) in enumerate(writes):
            if rows:
                values = zip(*(one.values for one in columns(rows)), strict=True)
                changed[place] = self._connection.executemany(statement, values).rowcount
        return changed


class SqliteStorage:
    """`Storage` in a file."""

    shared = False

    def __init__(self, file: File, clock: Callable[[], int]) -> None:
        self._rows = SqliteRows(file.connection)
        self._committer = Committer(file, clock, lambda: None)
        self.run = self._committer.run

    async def submit(self, command: Command[T]) -> T:
        return await self._committer.submit(lambda now_ms: command(self._rows, now_ms))

    submit_guarded = submit


def clock_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def _grow(file: File, form: Form) -> None:
    # One writes, one transaction after the other: all that is to be seen is settled, and what
    # comes later stands behind it by the number of its row.
    for name, value in (("transaction_number", 0), ("transactions_settled", 1)):
        file.connection.create_function(name, 0, lambda value=value: value, deterministic=True)
    if not form.parts:
        return
    file.begin()
    try:
        for part in form.parts:
            grow(SqliteRows(file.connection), part, f"{form.subject} has")
    except BaseException:
        file.rollback()
        raise
    file.commit()


@asynccontextmanager
async def open_sqlite(place: SqlitePlace, form: Form) -> AsyncIterator[SqliteStorage]:
    """Opens the file, and closes it when what was begun is on disk.

    Raises: InputError, as `File` does.
    """
    file = File(place.path, form)
    try:
        _grow(file, form)
        storage = SqliteStorage(file, clock_ms)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(storage.run)
            yield storage
            nursery.cancel_scope.cancel()
    finally:
        file.close()
