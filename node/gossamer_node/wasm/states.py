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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gossamer_node.wasm.store import Change, Store, StoreError

ANSWERS_MAX = 100_000

ANSWERS_BYTES_MAX = 2**30
"""Of all answers: they must not take the file from the states. The oldest go first."""

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

StateError = StoreError


@dataclass(frozen=True, slots=True)
class Key:
    """Whose state: a service's key within a tenant."""

    service: str
    tenant: str
    value: str


@dataclass(slots=True)
class _Kept(Change):
    key: Key
    engine: str
    job: str
    state: bytes
    outcome: bytes


class States:
    """All services' states of one node. Safe to use from several threads."""

    def __init__(self, file: Path | None) -> None:
        """Open or make the file; None keeps states in memory, for a job run by hand.

        Raises: InputError, for a file that is none of ours or cannot be made.
        """
        self._store: Store[_Kept] = Store(
            file,
            _SCHEMA,
            self._write,
            subject="the states",
            mending="mend the file, or move it away and every key begins anew",
        )
        self._counts: dict[str, int] = dict(
            self._store.rows("SELECT service, COUNT(*) FROM states GROUP BY service", ())
        )
        ((self._answers_bytes,),) = self._store.rows(
            "SELECT COALESCE(SUM(LENGTH(outcome)), 0) FROM answers", ()
        )

    def close(self) -> None:
        self._store.close()

    def state(self, key: Key) -> bytes | None:
        """What was kept for the key last, None for nothing. Raises: StateError."""
        return self._one(
            "SELECT state FROM states WHERE service=? AND tenant=? AND key=?",
            (key.service, key.tenant, key.value),
        )

    def answer(self, key: Key, engine: str, job: str) -> bytes | None:
        """The outcome that a job's state was kept with, if it was. Raises: StateError."""
        return self._one(
            "SELECT outcome FROM answers WHERE service=? AND tenant=? AND key=? AND engine=? "
            "AND job=?",
            (key.service, key.tenant, key.value, engine, job),
        )

    def keep(self, key: Key, engine: str, job: str, state: bytes, outcome: bytes) -> None:
        """Put the state and the job's outcome on the disk; returns when they are there.

        Args:
            state: empty: the key has none any more.
            outcome: any bytes, for `answer`.

        Raises: StateError, and nothing of it is kept.
        """
        self._store.commit(_Kept(key, engine, job, state, outcome))

    def kept(self, service: str) -> int:
        """How many keys of a service have a state."""
        return self._counts.get(service, 0)

    def _one(self, query: str, values: tuple[str, ...]) -> bytes | None:
        rows = self._store.rows(query, values)
        return bytes(rows[0][0]) if rows else None

    def _write(self, database: sqlite3.Connection, changes: Sequence[_Kept]) -> Callable[[], None]:
        counts = dict(self._counts)
        for change in changes:
            self._apply(database, change, counts)
        answers_bytes = self._forget_answers(
            database, self._answers_bytes + sum(len(change.outcome) for change in changes)
        )

        def written() -> None:
            self._counts, self._answers_bytes = counts, answers_bytes

        return written

    def _apply(self, database: sqlite3.Connection, change: _Kept, counts: dict[str, int]) -> None:
        key = (change.key.service, change.key.tenant, change.key.value)
        removed = database.execute(
            "DELETE FROM states WHERE service=? AND tenant=? AND key=?", key
        ).rowcount
        if change.state:
            database.execute("INSERT INTO states VALUES (?, ?, ?, ?)", (*key, change.state))
        counts[key[0]] = counts.get(key[0], 0) + bool(change.state) - removed
        database.execute(
            "INSERT OR REPLACE INTO answers (service, tenant, key, engine, job, outcome) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (*key, change.engine, change.job, change.outcome),
        )

    def _forget_answers(self, database: sqlite3.Connection, size: int) -> int:
        """The oldest ones, until what is left, `size` bytes of now, is within the bounds."""
        old = database.execute("SELECT number, LENGTH(outcome) FROM answers ORDER BY number")
        (newest,) = database.execute("SELECT MAX(number) FROM answers").fetchone()
        last = None
        for number, length in old:
            if size <= ANSWERS_BYTES_MAX and number > newest - ANSWERS_MAX:
                break
            last, size = number, size - length
        old.close()
        if last is not None:
            database.execute("DELETE FROM answers WHERE number <= ?", (last,))
        return size
