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
never that of another.

Where more nodes work on a service, its states move between them (`gossamer_node.keyed`), so each
has a version. An answer counts only for the history that its state is of: one that lost against
another node's takes its answers along. A key that a worker emptied is forgotten at once while the
node has never met another; later its version stays for `EMPTIED_S`, so that an old copy that comes
back with a node that was away does not bring it to life again.
"""

import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgpack

from gossamer_node.keyed.key import Key
from gossamer_node.keyed.versions import NOTHING, Ballot, Version
from gossamer_node.wasm.store import Change, Store, StoreError

ANSWERS_MAX = 100_000

ANSWERS_BYTES_MAX = 2**30
"""Of all answers: they must not take the file from the states. The oldest go first."""

EMPTIED_S = 7 * 86_400
"""A node that was away for longer brings emptied keys back; remove its `states.sqlite` before."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS states (
    service TEXT NOT NULL, tenant TEXT NOT NULL, key TEXT NOT NULL, state BLOB NOT NULL,
    number INTEGER NOT NULL, line BLOB NOT NULL, emptied INTEGER NOT NULL,
    PRIMARY KEY (service, tenant, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS emptied ON states (emptied) WHERE emptied > 0;
CREATE TABLE IF NOT EXISTS answers (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    service TEXT NOT NULL, tenant TEXT NOT NULL, key TEXT NOT NULL,
    engine TEXT NOT NULL, job TEXT NOT NULL, outcome BLOB NOT NULL,
    of INTEGER NOT NULL, term INTEGER NOT NULL, home TEXT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS answered ON answers (service, tenant, key, engine, job);
CREATE INDEX IF NOT EXISTS recent ON answers (service, tenant, key, of);
CREATE TABLE IF NOT EXISTS met (once INTEGER PRIMARY KEY);
"""

StateError = StoreError


@dataclass(frozen=True, slots=True)
class Kept:
    """What is on the disk for a key. `state`: empty for none."""

    version: Version = NOTHING
    state: bytes = b""


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """A job's outcome; `number`: of the version that came with it."""

    engine: str
    job: str
    outcome: bytes
    number: int


@dataclass(slots=True)
class _Put(Change):
    """`ballot`: None for a write of this node alone, whose version follows what is there."""

    key: Key
    ballot: Ballot | None
    version: Version
    state: bytes
    answers: tuple[KeptAnswer, ...]
    term: int = field(default=0, init=False)


@dataclass(slots=True)
class _Drop(Change):
    key: Key
    version: Version


@dataclass(slots=True)
class _Meet(Change):
    pass


class States:
    """All services' states of one node. Safe to use from several threads."""

    def __init__(self, file: Path | None, own: str = "") -> None:
        """Open or make the file; None keeps states in memory, for a job run by hand.

        Args:
            own: this node's id, under which it writes while it is alone.

        Raises: InputError, for a file that is none of ours or cannot be made.
        """
        self._store: Store[_Put | _Drop | _Meet] = Store(
            file,
            _SCHEMA,
            self._write,
            subject="the states",
            mending="mend the file, or move it away and every key begins anew",
        )
        self._counts: dict[str, int] = dict(
            self._store.rows(
                "SELECT service, COUNT(*) FROM states WHERE emptied = 0 GROUP BY service", ()
            )
        )
        ((self._answers_bytes,),) = self._store.rows(
            "SELECT COALESCE(SUM(LENGTH(outcome)), 0) FROM answers", ()
        )
        self.has_met = bool(self._store.rows("SELECT once FROM met", ()))
        self._own = own

    def close(self) -> None:
        self._store.close()

    def read(self, key: Key) -> Kept:
        """What was kept for the key last. Raises: StateError."""
        rows = self._store.rows(
            "SELECT number, line, state FROM states WHERE service=? AND tenant=? AND key=?",
            _named(key),
        )
        return Kept(_version(rows[0][0], rows[0][1]), bytes(rows[0][2])) if rows else Kept()

    def answer(self, key: Key, engine: str, job: str, version: Version) -> bytes | None:
        """The outcome that a job's state was kept with, if it was. Raises: StateError.

        Args:
            version: the key's, of `read`.
        """
        rows = self._store.rows(
            "SELECT outcome, of, term, home FROM answers WHERE service=? AND tenant=? AND key=? "
            "AND engine=? AND job=?",
            (*_named(key), engine, job),
        )
        for outcome, number, term, home in rows:
            if version.reign_at(number) in (None, (term, home)):
                return bytes(outcome)
        return None

    def answers(
        self, key: Key, version: Version, most: int, most_bytes: int
    ) -> tuple[KeptAnswer, ...]:
        """The last ones in a version's history, the newest last. Raises: StateError."""
        rows = self._store.rows(
            "SELECT engine, job, outcome, of, term, home FROM answers WHERE service=? AND tenant=? "
            "AND key=? AND of <= ? ORDER BY of DESC LIMIT ?",
            (*_named(key), version.number, most),
        )
        found: list[KeptAnswer] = []
        for engine, job, outcome, number, term, home in rows:
            most_bytes -= len(outcome)
            if most_bytes < 0:
                break
            if version.reign_at(number) == (term, home):
                found.append(KeptAnswer(engine, job, bytes(outcome), number))
        return tuple(reversed(found))

    def keep(self, key: Key, engine: str, job: str, state: bytes, outcome: bytes) -> Version:
        """Put the state and the job's outcome on the disk; returns when they are there.

        Args:
            state: empty: the key has none any more.
            outcome: any bytes, for `answer`.

        Returns: the version of the state.

        Raises: StateError, and nothing of it is kept.
        """
        change = _Put(key, None, NOTHING, state, (KeptAnswer(engine, job, outcome, 0),))
        self._store.commit(change)
        return change.version

    def put(
        self,
        key: Key,
        ballot: Ballot,
        version: Version,
        state: bytes,
        answers: tuple[KeptAnswer, ...],
    ) -> int:
        """Put what a key's home says on the disk; returns when it is there.

        Returns: 0; or the term of what is there already, whose ballot is above, and nothing is
        changed.

        Raises: StateError, and nothing of it is kept.
        """
        change = _Put(key, ballot, version, state, answers)
        self._store.commit(change)
        return change.term

    def drop(self, key: Key, version: Version) -> None:
        """Forget an old copy: others have it, or a newer one. Raises: StateError."""
        self._store.commit(_Drop(key, version))

    def meet(self) -> None:
        """From now on there may be copies on other nodes. Raises: StateError."""
        if not self.has_met:
            self._store.commit(_Meet())

    def page(self, after: Key | None, most: int) -> list[tuple[Key, Version]]:
        """Keys in an order of their own, the emptied ones as well. Raises: StateError."""
        rows = self._store.rows(
            "SELECT service, tenant, key, number, line FROM states "
            "WHERE (service, tenant, key) > (?, ?, ?) ORDER BY service, tenant, key LIMIT ?",
            (*(_named(after) if after else ("", "", "")), most),
        )
        return [
            (Key(service, tenant, value), _version(number, line))
            for service, tenant, value, number, line in rows
        ]

    def kept(self, service: str) -> int:
        """How many keys of a service have a state."""
        return self._counts.get(service, 0)

    def _write(
        self, database: sqlite3.Connection, changes: Sequence[_Put | _Drop | _Meet]
    ) -> Callable[[], None]:
        counts = dict(self._counts)
        added_bytes, has_met = 0, self.has_met
        for change in changes:
            match change:
                case _Put():
                    if change.ballot is not None and not has_met:
                        database.execute("INSERT OR REPLACE INTO met VALUES (1)")
                        has_met = True
                    added_bytes += self._apply(database, change, counts)
                case _Drop():
                    before = _found(database, change.key)
                    if before is not None and before[0].order() <= change.version.order():
                        _delete(database, change.key)
                        counts[change.key.service] -= before[1]
                case _Meet():
                    database.execute("INSERT OR REPLACE INTO met VALUES (1)")
                    has_met = True
        answers_bytes = self._forget_answers(database, self._answers_bytes + added_bytes)

        def written() -> None:
            self._counts, self._answers_bytes = counts, answers_bytes
            self.has_met = has_met

        return written

    def _apply(self, database: sqlite3.Connection, change: _Put, counts: dict[str, int]) -> int:
        """Returns how many bytes of answers it added."""
        key, state = change.key, change.state
        before, had_state = _found(database, key) or (NOTHING, False)
        if change.ballot is None:
            # Nobody else has a say in the key; a history that came from another goes on as ours.
            term, home = before.ballot
            ballot = before.ballot if home == self._own and term else (term + 1, self._own)
            change.version = before.next(ballot)
        elif before.ballot > change.ballot:
            change.term = before.ballot[0]
            return 0
        version = change.version
        if state or self.has_met or change.ballot is not None:
            emptied = 0 if state or not version.number else int(time.time())
            line = msgpack.packb(version.line)
            database.execute(
                "INSERT OR REPLACE INTO states VALUES (?, ?, ?, ?, ?, ?, ?)",
                (*_named(key), state, version.number, line, emptied),
            )
            if emptied:
                database.execute(
                    "DELETE FROM states WHERE emptied > 0 AND emptied < ?", (emptied - EMPTIED_S,)
                )
        else:
            change.version = NOTHING
            _delete(database, key)
        counts[key.service] = counts.get(key.service, 0) + bool(state) - had_state
        added_bytes = 0
        for one in change.answers:
            number = one.number or version.number
            reign = version.reign_at(number)
            if reign is not None:
                (replaced,) = database.execute(
                    "SELECT COALESCE(SUM(LENGTH(outcome)), 0) FROM answers "
                    "WHERE service=? AND tenant=? AND key=? AND engine=? AND job=?",
                    (*_named(key), one.engine, one.job),
                ).fetchone()
                added_bytes += len(one.outcome) - replaced
                database.execute(
                    "INSERT OR REPLACE INTO answers "
                    "(service, tenant, key, engine, job, outcome, of, term, home) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (*_named(key), one.engine, one.job, one.outcome, number, *reign),
                )
        return added_bytes

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


def _named(key: Key) -> tuple[str, str, str]:
    return (key.service, key.tenant, key.value)


def _version(number: int, line: bytes) -> Version:
    reigns = [(first, term, home) for first, term, home in msgpack.unpackb(line)]
    return Version(number, tuple(reigns))


def _found(database: sqlite3.Connection, key: Key) -> tuple[Version, bool] | None:
    """A key's version, and whether it has a state."""
    row = database.execute(
        "SELECT number, line, emptied FROM states WHERE service=? AND tenant=? AND key=?",
        _named(key),
    ).fetchone()
    return None if row is None else (_version(row[0], row[1]), not row[2])


def _delete(database: sqlite3.Connection, key: Key) -> None:
    database.execute("DELETE FROM states WHERE service=? AND tenant=? AND key=?", _named(key))
