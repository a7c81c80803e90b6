"""What services keep under keys of their own choice, in one SQLite file of the node.

Each service has its keys for itself, whatever its version, within a quota that the node's
configuration gives. A value is on the disk before the worker hears of it, and stays there whatever
becomes of the job: unlike the state of a dense key it is not undone when the job fails. Every write
gives its key a new version, out of one sequence for the whole file, so that a version never comes
twice, not even for a key that was deleted in between; a write that names the version it has seen
(0: no such key) is refused when the key has another by then. Compared and written is on the
writer's one thread, so of two jobs that saw the same one loses, and knows it.
"""

import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gossamer_node.service.spec import KvQuota
from gossamer_node.wasm.store import Change, Store

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    service TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, version INTEGER NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS by_key ON entries (service, key);
CREATE TABLE IF NOT EXISTS used (
    service TEXT PRIMARY KEY, keys INTEGER NOT NULL, bytes INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS last (version INTEGER NOT NULL);
INSERT INTO last SELECT 0 WHERE NOT EXISTS (SELECT * FROM last);
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """A value and the version that was written with it."""

    value: bytes
    version: int


class QuotaError(Exception):
    """A write that the service has no room for; the message is a sentence."""


@dataclass(slots=True)
class _Write(Change):
    """One write; `value` None deletes."""

    service: str
    key: bytes
    value: bytes | None
    if_version: int | None
    quota: KvQuota
    is_written: bool = field(default=False, init=False)
    version: int = field(default=0, init=False)
    refusal: str = field(default="", init=False)


class Kv:
    """All services' keys of one node. Safe to use from several threads."""

    def __init__(self, file: Path | None) -> None:
        """Open or make the file; None keeps all in memory, for a job run by hand.

        Raises: InputError, for a file that is none of ours or cannot be made.
        """
        self._store: Store[_Write] = Store(
            file,
            _SCHEMA,
            _write_all,
            subject="what services keep",
            mending="mend the file, or move it away and every service begins with nothing",
        )

    def close(self) -> None:
        self._store.close()

    def get(self, service: str, key: bytes) -> Entry | None:
        """What is under a key. Raises: StoreError."""
        rows = self._store.rows(
            "SELECT value, version FROM entries WHERE service=? AND key=?", (service, key)
        )
        return Entry(*rows[0]) if rows else None

    def keys(self, service: str, prefix: bytes, after: bytes, at_most: int) -> list[bytes]:
        """Keys with a prefix that come after another, in the order of their bytes.

        Raises: StoreError.
        """
        begin = max(prefix, after + b"\0") if after else prefix
        query = "SELECT key FROM entries WHERE service=? AND key>=?"
        values: list[object] = [service, begin]
        if prefix:
            # UTF-8 has no byte 0xFF, so the last one can be counted up.
            query += " AND key<?"
            values.append(prefix[:-1] + bytes([prefix[-1] + 1]))
        rows = self._store.rows(query + " ORDER BY key LIMIT ?", (*values, at_most))
        return [key for (key,) in rows]

    def write(
        self,
        service: str,
        key: bytes,
        value: bytes | None,
        *,
        if_version: int | None,
        quota: KvQuota,
        wait: Callable[[threading.Event], object] = threading.Event.wait,
    ) -> tuple[bool, int]:
        """Put a value on the disk, or delete it; returns when that is there.

        Args:
            value: None deletes.
            if_version: write only while the key has this version; 0: only if there is no such key.
            wait: may raise to give up.

        Returns: whether it was written, and the key's version, 0 where it has none.

        Raises: QuotaError; StoreError; what `wait` raises.
        """
        change = _Write(service, key, value, if_version, quota)
        self._store.commit(change, wait)
        if change.refusal:
            raise QuotaError(change.refusal)
        return change.is_written, change.version


def _write_all(database: sqlite3.Connection, changes: Sequence[_Write]) -> None:
    for change in changes:
        _write(database, change)


def _write(database: sqlite3.Connection, change: _Write) -> None:
    whose = (change.service, change.key)
    row = database.execute(
        "SELECT version, LENGTH(value) FROM entries WHERE service=? AND key=?", whose
    ).fetchone()
    change.version, size = row or (0, 0)
    if change.if_version not in (None, change.version):
        return
    if change.value is None:
        if row is not None:
            database.execute("DELETE FROM entries WHERE service=? AND key=?", whose)
            _count(database, change.service, -1, -len(change.key) - size)
            change.is_written, change.version = True, 0
        return
    keys, grown = (0, 0) if row is not None else (1, len(change.key))
    grown += len(change.value) - size
    change.refusal = _refusal(database, change, keys, grown)
    if change.refusal:
        return
    (change.version,) = database.execute(
        "UPDATE last SET version = version + 1 RETURNING version"
    ).fetchone()
    database.execute(
        "INSERT INTO entries VALUES (?, ?, ?, ?) ON CONFLICT (service, key) "
        "DO UPDATE SET value=excluded.value, version=excluded.version",
        (*whose, change.value, change.version),
    )
    _count(database, change.service, keys, grown)
    change.is_written = True


def _refusal(database: sqlite3.Connection, change: _Write, keys: int, grown: int) -> str:
    """Why a write has no room. What does not grow is never refused: a quota may have shrunk."""
    has_keys, has_bytes = database.execute(
        "SELECT COALESCE(SUM(keys), 0), COALESCE(SUM(bytes), 0) FROM used WHERE service=?",
        (change.service,),
    ).fetchone()
    quota = change.quota
    if keys and has_keys + keys > quota.keys:
        return (
            f"{change.service} has {has_keys:,} keys, its quota on this node; delete some, or "
            "raise `kv.keys` in its grant."
        )
    if grown > 0 and has_bytes + grown > quota.bytes:
        return (
            f"{change.service} keeps {has_bytes:,} bytes of its quota of {quota.bytes:,} on this "
            f"node, and this would add {grown:,}; delete some, or raise `kv.bytes` in its grant."
        )
    return ""


def _count(database: sqlite3.Connection, service: str, keys: int, grown: int) -> None:
    database.execute(
        "INSERT INTO used VALUES (?, ?, ?) ON CONFLICT (service) "
        "DO UPDATE SET keys = keys + excluded.keys, bytes = bytes + excluded.bytes",
        (service, keys, grown),
    )
