"""The state that workers keep for their keys, in one SQLite file of the node.

A worker's answer may carry state for its key. It is on the disk (WAL, one fsync for all that come
together) before the outcome leaves this module's caller, so an engine never learns of a job whose
state a crash took back. The reverse can happen: the state is kept and the node dies before the
engine is told, so the engine gives the job again. Then the worker must not run on its own result:
with each state the outcome that came with it is kept, under the job's own key, and the same job is
answered from it. So a job changes the state of its key once, however often it is given to this
node. Both are one transaction: whatever the log (WAL) lost its end to, they are there together or
not at all. Answers are kept for the last `ANSWERS_MAX` jobs with state, and `ANSWERS_BYTES_MAX` of
them: a job comes again within seconds.

State belongs to the service's name, whatever its version, and to the tenant: a key of one tenant is
never that of another. It does not travel to other nodes.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gossamer_node.errors import InputError

ANSWERS_MAX = 100_000

ANSWERS_BYTES_MAX = 2**30
"""Of all answers: they must not take the file from the states. The oldest go first."""

FILE_BYTES_MAX = 8 * 2**30
"""Of the file: SQLite refuses what would make it larger."""

_PAGE_BYTES = 4_096

_BUSY_MS = 5_000
"""Only a person with `sqlite3` at hand could make it wait at all."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS states (
    service TEXT NOT NULL, tenant TEXT NOT NULL, key TEXT NOT NULL, state BLOB NOT NULL,
    PRIMARY KEY (service, tenant, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answers (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    service TEXT NOT NULL, tenant TEXT NOT NULL, key TEXT NOT NULL,
    engine TEXT NOT NULL, job TEXT NOT NULL, outcome BLOB NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS answered ON answers (service, tenant, key, engine, job);
"""

_REFUSED = (sqlite3.Error, UnicodeError)
"""What SQLite answers to a bad disk, and Python's binding to half a surrogate pair in a name."""


class StateError(Exception):
    """The disk would not take or give it; the message is a clause without its subject."""


@dataclass(frozen=True, slots=True)
class Key:
    """Whose state: a service's key within a tenant."""

    service: str
    tenant: str
    value: str


@dataclass(slots=True)
class _Change:
    key: Key
    engine: str
    job: str
    state: bytes
    outcome: bytes
    done: bool = False
    error: StateError | None = None


class States:
    """All services' states of one node. Safe to use from several threads."""

    def __init__(self, file: Path | None) -> None:
        """Open or make the file; None keeps states in memory, for a job run by hand.

        Raises: InputError, for a file that is none of ours or cannot be made.
        """
        self._file = file
        self._lock = threading.Lock()
        self._gathering = threading.Lock()
        self._waiting: list[_Change] = []
        try:
            self._database = sqlite3.connect(
                file or ":memory:",
                isolation_level=None,
                check_same_thread=False,
                timeout=_BUSY_MS / 1_000,
            )
            self._database.execute("PRAGMA journal_mode=WAL").fetchone()
            # In WAL only FULL has the log on the disk at every commit.
            self._database.execute("PRAGMA synchronous=FULL")
            self._database.execute(f"PRAGMA max_page_count={FILE_BYTES_MAX // _PAGE_BYTES}")
            self._database.executescript(_SCHEMA)
            self._counts: dict[str, int] = dict(
                self._database.execute("SELECT service, COUNT(*) FROM states GROUP BY service")
            )
            (self._answers_bytes,) = self._database.execute(
                "SELECT COALESCE(SUM(LENGTH(outcome)), 0) FROM answers"
            ).fetchone()
        except sqlite3.Error as error:
            raise InputError(
                f"the states in {file} cannot be used ({error}); mend the file, or move it away "
                "and every key begins anew."
            ) from None

    def close(self) -> None:
        with self._lock:
            self._database.close()

    def state(self, key: Key) -> bytes | None:
        """What was kept for the key last, None for nothing. Raises: StateError."""
        row = self._one(
            "SELECT state FROM states WHERE service=? AND tenant=? AND key=?",
            (key.service, key.tenant, key.value),
        )
        return None if row is None else bytes(row)

    def answer(self, key: Key, engine: str, job: str) -> bytes | None:
        """The outcome that a job's state was kept with, if it was. Raises: StateError."""
        row = self._one(
            "SELECT outcome FROM answers WHERE service=? AND tenant=? AND key=? AND engine=? "
            "AND job=?",
            (key.service, key.tenant, key.value, engine, job),
        )
        return None if row is None else bytes(row)

    def keep(self, key: Key, engine: str, job: str, state: bytes, outcome: bytes) -> None:
        """Put the state and the job's outcome on the disk; returns when they are there.

        Args:
            state: empty: the key has none any more.
            outcome: any bytes, for `answer`.

        Raises: StateError, and nothing of it is kept.
        """
        change = _Change(key, engine, job, state, outcome)
        with self._gathering:
            self._waiting.append(change)
        with self._lock:
            # While this thread waited, another one may have written its change along.
            if not change.done:
                with self._gathering:
                    together, self._waiting = self._waiting, []
                self._write(together)
        if change.error is not None:
            raise change.error

    def kept(self, service: str) -> int:
        """How many keys of a service have a state."""
        return self._counts.get(service, 0)

    def _write(self, changes: list[_Change]) -> None:
        counts = dict(self._counts)
        # Until it is there, nobody may hear that it is, whatever happens here.
        error: StateError | None = StateError(f"could not be written to {self._file}")
        try:
            with self._transaction():
                for change in changes:
                    self._apply(change, counts)
                answers_bytes = self._forget_answers(
                    self._answers_bytes + sum(len(change.outcome) for change in changes)
                )
            self._counts, self._answers_bytes, error = counts, answers_bytes, None
        except _REFUSED as failure:
            error = StateError(
                f"could not be written to {self._file} ({failure}); see to the disk, or let "
                "workers empty states that they no longer need"
            )
        finally:
            for change in changes:
                change.done, change.error = True, error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            # SQLite rolls back by itself after some errors, a full disk among them.
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise

    def _apply(self, change: _Change, counts: dict[str, int]) -> None:
        key = (change.key.service, change.key.tenant, change.key.value)
        removed = self._database.execute(
            "DELETE FROM states WHERE service=? AND tenant=? AND key=?", key
        ).rowcount
        if change.state:
            self._database.execute("INSERT INTO states VALUES (?, ?, ?, ?)", (*key, change.state))
        counts[key[0]] = counts.get(key[0], 0) + bool(change.state) - removed
        self._database.execute(
            "INSERT OR REPLACE INTO answers (service, tenant, key, engine, job, outcome) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (*key, change.engine, change.job, change.outcome),
        )

    def _forget_answers(self, size: int) -> int:
        """The oldest ones, until what is left, `size` bytes of now, is within the bounds."""
        old = self._database.execute("SELECT number, LENGTH(outcome) FROM answers ORDER BY number")
        (newest,) = self._database.execute("SELECT MAX(number) FROM answers").fetchone()
        last = None
        for number, length in old:
            if size <= ANSWERS_BYTES_MAX and number > newest - ANSWERS_MAX:
                break
            last, size = number, size - length
        old.close()
        if last is not None:
            self._database.execute("DELETE FROM answers WHERE number <= ?", (last,))
        return size

    def _one(self, query: str, values: tuple[str, ...]) -> bytes | None:
        try:
            with self._lock:
                row = self._database.execute(query, values).fetchone()
        except _REFUSED as error:
            raise StateError(
                f"could not be read from {self._file} ({error}); see to the disk and the file"
            ) from None
        return None if row is None else row[0]
