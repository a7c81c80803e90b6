"""One connection to PostgreSQL, in a thread of its own: a batch of commands, in one transaction.

**Isolation** is SERIALIZABLE, because commands read, decide and write, and are written as if alone:
under READ COMMITTED two gateways would both read a row, and one's change would be lost; under
REPEATABLE READ two could each rely on what the other is about to change. PostgreSQL takes a
transaction back instead (SQLSTATE 40001), and it runs again from its beginning, after a pause by
chance; a batch that fails several times runs one by one, since what is short is seldom in the way.
Commands that guard themselves run under REPEATABLE READ, on a snapshot: PostgreSQL takes one back
only when it writes a row that another has written since, and reading costs nobody anything.

**Whole or not at all**, for each command of a batch: what raised before it wrote anything needs
nothing. What had written, or a statement that PostgreSQL refused, takes the batch back; in the next
run that command stands behind a savepoint. So savepoints, two more ways to the server and back, are
paid by those alone who need them.

**A lost connection** before COMMIT was sent is a transaction taken back: it runs again on a new
connection. Lost during COMMIT, it is in doubt. So each transaction that wrote something leaves its
number in a row of its session, and on the next connection that row tells which was the last to be
kept; its lock has that question wait for a COMMIT that is still under way. PostgreSQL's own numbers
of transactions won't do: after a crash it may give those anew that never came to its disk, and
`pg_xact_status` speaks of another's then; with it, the crash test found answered changes missing.
If the row can't be read in time, StorageFailed says so.

The time is the database's, so that gateways whose clocks differ agree on what has run out.
"""

import logging
import random
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from enum import Enum
from functools import lru_cache
from typing import Any

import psycopg
from psycopg import sql
from psycopg.abc import PQGen

from gossamer_gateway.errors import Overloaded, StorageFailed
from gossamer_gateway.storage.arrays import arrays, learn, of_array, of_arrays
from gossamer_gateway.storage.columns import columns
from gossamer_gateway.storage.pending import Entry
from gossamer_gateway.storage.places import PostgresPlace
from gossamer_gateway.storage.port import Command, Value, Write, plain

CONNECT_S = 3
"""For a new connection. libpq knows whole seconds, 2 at least."""
REPLY_S = 5.0
"""For one statement: it is cancelled by the server, or its connection given up, then."""
AWAY_S = 10.0
"""How long a command waits for a server that is away, from when it was submitted: a restart takes
a second or two, and clients of HTTP give up after some more than that."""
AWAY_PAUSE_S = 0.1
DOUBT_S = 5.0
"""For the question what became of a COMMIT."""
TOGETHER_MAX = 3
"""Runs of a batch that others are in the way of, before its commands run one by one."""
ALONE_MAX = 20
"""Runs of such a command. With the pauses: half a second."""
PAUSE_S, PAUSE_S_MAX = 0.001, 0.05
"""The mean pause after a conflict, doubled each time up to the second."""


class Isolation(Enum):
    """Of the transactions of a connection."""

    SERIALIZABLE = "SERIALIZABLE"
    SNAPSHOT = "REPEATABLE READ"


_BEGIN = (
    "BEGIN ISOLATION LEVEL {}; "
    "SELECT CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT)"
)
_SETTINGS = (
    "SET search_path TO {schema}; "
    "SET default_transaction_isolation = 'read committed'; "  # of what is not a command
    "SET statement_timeout = {reply_ms}; "
    "SET idle_in_transaction_session_timeout = {reply_ms}; "  # a paused gateway holds no rows
    # A whole table that is read collides with every change of it, however small both are.
    "SET enable_seqscan = off; "
    "SET enable_hashjoin = off; SET enable_mergejoin = off; "  # rows from arrays join by an index
    "SET jit = off; "  # or what must read a whole table after all is thought worth compiling
    "SELECT set_config('synchronous_commit', 'on', false) "
    "WHERE current_setting('synchronous_commit') = 'off'"
)

COMMITS = """
CREATE TABLE gossamer_commit (
    session TEXT PRIMARY KEY, number BIGINT NOT NULL, at TIMESTAMPTZ NOT NULL
)
"""
"""Beside the modules' tables: the last transaction of each session."""
_KEEP = (
    b"INSERT INTO gossamer_commit VALUES (%s, %s, now()) ON CONFLICT (session) "
    b"DO UPDATE SET number = excluded.number, at = excluded.at"
)
_LAST = (
    b"INSERT INTO gossamer_commit VALUES (%s, 0, now()) ON CONFLICT (session) "
    b"DO UPDATE SET at = excluded.at RETURNING number"
)
FORGET = "DELETE FROM gossamer_commit WHERE at < now() - interval '1 day'"
"""Sessions of gateways that are gone. A living one makes its row anew."""

Batch = Sequence[Entry[Command[object]]]


# Statements that go together fail together, and psycopg warns of those that it did not send. What
# becomes of the first is told by whoever said them.
logging.getLogger("psycopg").addFilter(lambda one: "error ignored terminating" not in one.msg)


class Away(Exception):
    """There is no connection, or it was lost before anything was committed."""


class _Conflict(Exception):
    """Another transaction was in the way; nothing was changed."""


class _Again(Exception):
    """Nothing was changed; the batch is to run once more, with a savepoint more."""


class _InDoubt(Exception):
    """The connection was lost during COMMIT."""


class _Connection(psycopg.Connection[tuple[Any, ...]]):
    """One that gives up a server that says nothing."""

    def wait(self, gen: PQGen[Any], interval: float = 0.1, timeout: float | None = None) -> Any:
        return super().wait(gen, interval, 2 * REPLY_S if timeout is None else timeout)


def lost(error: psycopg.Error) -> bool:
    """Whether an error ends the connection."""
    if error.sqlstate is None:  # not of the server, but of what lies between
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    # Shutdown and crash; idle for too long; a server that has become another's copy.
    return error.sqlstate[:3] in ("57P", "08") or error.sqlstate in ("25P03", "25006")


def _in_the_way(error: psycopg.Error) -> bool:
    # Serialization and deadlock; cancelled by the statement's time; a lock not had.
    return error.sqlstate is not None and (
        error.sqlstate.startswith("40") or error.sqlstate in ("57014", "55P03")
    )


def reason(error: Exception) -> str:
    """An error of psycopg in one line."""
    return " ".join(str(error).split())


@lru_cache(1_000)
def _translated(statement: str) -> tuple[bytes, bool]:
    """A statement with psycopg's marks, and whether it only reads."""
    parts = statement.replace("%", "%%").split("'")
    parts[::2] = [part.replace("?", "%s") for part in parts[::2]]
    return "'".join(parts).encode(), statement.lstrip()[:6].upper() == "SELECT"


class PostgresRows:
    """`Rows` within the open transaction of a connection.

    Attributes:
        wrote: whether anything but a SELECT was run, since it was last reset.
        failed: the first statement's error; the transaction is good for nothing then.
    """

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self._connection = connection
        self.wrote = False
        self.failed: psycopg.Error | None = None

    def execute(
        self, statement: str, values: Sequence[Value] = (), /
    ) -> psycopg.Cursor[tuple[Any, ...]]:
        query, reads = _translated(statement)
        self.wrote |= not reads
        with self._noting():
            return self._connection.execute(query, plain(values))

    def executemany(
        self, statement: str, values: Sequence[Sequence[Value]], /
    ) -> psycopg.Cursor[tuple[Any, ...]]:
        query, _ = _translated(statement)
        self.wrote = True
        cursor = self._connection.cursor()
        given = [plain(one) for one in values]
        with self._noting():
            cursor.executemany(query, given)
        return cursor

    def lookup(self, statement: str, keys: Sequence[Value], /) -> list[Any]:
        given = columns([(key,) for key in keys])
        if not given:
            return []
        query = of_array(statement, given[0].kind)
        with self._noting():
            return self._connection.execute(query, arrays(given), prepare=True).fetchall()

    def together(self, *writes: Write) -> list[int]:
        given = [
            (of_arrays(statement, tuple(one.kind for one in found)), found)
            for statement, rows in writes
            if (found := columns(rows))
        ]
        self.wrote = True
        with self._noting(), self._connection.pipeline() if len(given) > 1 else nullcontext():
            cursors = [
                self._connection.execute(query, arrays(found), prepare=True)
                for query, found in given
            ]
        changed = iter(cursors)
        return [next(changed).rowcount if one.rows else 0 for one in writes]

    @contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            self.failed = self.failed or error
            raise


class Session:
    """A connection, opened when it is first needed and again after it was lost.

    Args:
        stopping: set when nothing more shall be waited for.
    """

    def __init__(
        self, place: PostgresPlace, stopping: threading.Event, isolation: Isolation
    ) -> None:
        self._begin = _BEGIN.format(isolation.value).encode()
        self._place = place
        self._stopping = stopping
        self._connection: _Connection | None = None
        self._name = secrets.token_hex(8)
        self._number = 0

    def connected(self) -> psycopg.Connection[tuple[Any, ...]]:
        """The connection.

        Raises: Away.
        """
        if self._connection is not None:
            if not self._connection.closed:
                return self._connection
            self.close()
        try:
            connection = _Connection.connect(
                self._place.conninfo,
                autocommit=True,
                connect_timeout=CONNECT_S,
                tcp_user_timeout=round(REPLY_S * 1_000),
                application_name="gossamer",
                client_encoding="utf8",
            )
        except psycopg.Error as error:
            raise Away(reason(error)) from None
        learn(connection)
        self._connection = connection
        try:
            connection.execute(
                sql.SQL(_SETTINGS).format(
                    schema=sql.Identifier(self._place.schema),
                    reply_ms=sql.Literal(round(REPLY_S * 1_000)),
                )
            )
        except psycopg.Error as error:
            self.close()
            raise Away(reason(error)) from None
        return connection

    def close(self) -> None:
        """Lets go of the connection; what was not committed is taken back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def serve(self, batch: Batch, left_s: float) -> None:
        """Runs commands, and leaves in each entry what came of it.

        Args:
            left_s: how long a server that is away may be waited for; it is tried once anyway.
        """
        deadline_s = time.monotonic() + left_s
        if self._serve(batch, deadline_s, TOGETHER_MAX if len(batch) > 1 else ALONE_MAX):
            return
        for entry in batch:
            if len(batch) == 1 or not self._serve([entry], deadline_s, ALONE_MAX):
                entry.error = Overloaded(
                    "Others change the same rows all the time; try again in a moment"
                )

    def _serve(self, batch: Batch, deadline_s: float, runs_max: int) -> bool:
        """Returns False when others were in the way each time."""
        careful: set[int] = set()
        runs = 0
        while True:
            try:
                self._run(batch, careful)
                return True
            except _Again:
                continue
            except _Conflict:
                runs += 1
                if runs == runs_max:
                    return False
                pause_s = min(PAUSE_S * 2**runs, PAUSE_S_MAX) * random.uniform(0, 2)
            except Away as error:
                if time.monotonic() >= deadline_s or self._stopping.is_set():
                    return _fail(batch, f"PostgreSQL is away: {error}")
                pause_s = AWAY_PAUSE_S
            except _InDoubt as doubt:
                committed = self._was_kept()
                if committed:
                    return True
                if committed is None:
                    return _fail(
                        batch,
                        f"PostgreSQL went away while it was told to keep this, and may have: "
                        f"{doubt}",
                    )
                continue
            self._stopping.wait(pause_s)

    def _run(self, batch: Batch, careful: set[int]) -> None:
        """Runs commands in one transaction, and commits it.

        Raises: Away; _Conflict; _Again; _InDoubt.
        """
        connection = self.connected()
        committing = False
        try:
            begun = connection.execute(self._begin)
            begun.nextset()
            (now_ms,) = _one(begun)
            wrote = False
            for position, entry in enumerate(batch):
                rows = PostgresRows(connection)
                self._attempt(connection, rows, entry, position, careful, now_ms)
                wrote |= rows.wrote
            if wrote:
                self._number += 1
                connection.execute(_KEEP, (self._name, self._number), prepare=True)
                committing = True
            connection.execute(b"COMMIT")
        except _Again:
            self._roll_back()
            raise
        except psycopg.Error as error:
            if lost(error) or connection.closed:
                self.close()
                if committing:
                    raise _InDoubt(reason(error)) from None
                raise Away(reason(error)) from None
            self._roll_back()
            if _in_the_way(error):
                raise _Conflict from None
            _fail(batch, f"PostgreSQL refused a transaction: {reason(error)}")

    def _attempt(
        self,
        connection: psycopg.Connection[tuple[Any, ...]],
        rows: PostgresRows,
        entry: Entry[Command[object]],
        position: int,
        careful: set[int],
        now_ms: int,
    ) -> None:
        """Runs one command within the transaction; raises what ends the transaction."""
        saved = position in careful
        if saved:
            connection.execute("SAVEPOINT part")
        error: Exception | None = None
        try:
            entry.result = entry.command(rows, now_ms)
        except Exception as raised:  # a refusal, or a mistake of ours: its neighbours don't care
            error = raised
        failed = rows.failed
        if failed is not None and (lost(failed) or connection.closed or _in_the_way(failed)):
            raise failed
        error = error or failed
        entry.error = error
        if error is not None and (failed is not None or rows.wrote):
            if not saved:
                careful.add(position)
                raise _Again
            connection.execute("ROLLBACK TO part")
        if isinstance(error, psycopg.Error):
            entry.error = StorageFailed(f"PostgreSQL refused a statement: {reason(error)}")
        if saved:
            connection.execute("RELEASE part")

    def _roll_back(self) -> None:
        try:
            if self._connection is not None:
                self._connection.execute("ROLLBACK")
        except psycopg.Error:
            self.close()

    def _was_kept(self) -> bool | None:
        """Whether the last transaction is on disk; None when that can't be learned in time."""
        deadline_s = time.monotonic() + DOUBT_S
        while True:
            try:
                (number,) = _one(self.connected().execute(_LAST, (self._name,)))
                return bool(number == self._number)
            except psycopg.Error:
                self.close()
            except Away:
                pass
            if time.monotonic() >= deadline_s:
                return None
            time.sleep(AWAY_PAUSE_S)


def _one(cursor: psycopg.Cursor[tuple[Any, ...]]) -> tuple[Any, ...]:
    row = cursor.fetchone()
    assert row is not None
    return row


def _fail(batch: Batch, text: str) -> bool:
    for entry in batch:
        entry.error = StorageFailed(text)
    return True
