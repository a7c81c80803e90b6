"""One microservice's SQLite file, and the rule that makes a repeated request harmless.

A worker may run twice for the same job (that is what "at least once" means), so every request
that changes something carries the job's key in `Idempotency-Key`. Its effect and its reply are
written in one transaction; the same key again gets the first reply and has no effect, and is
counted. The same key with another request is a mistake of the worker and is refused.

One connection, used by one thread at a time: SQLite has one writer anyway. WAL with
synchronous NORMAL keeps what was committed when the process is killed; a power cut may cost the
newest commits, which is right for an example and wrong for a hotel.
"""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import trio

from gossamer_node.variables import JsonValue

T = TypeVar("T")

KEY_CHARACTERS_MAX = 200
"""Camunda 7's ids have 36 characters, Camunda 8's keys 19."""

REPLIES_SCHEMA = """
CREATE TABLE IF NOT EXISTS replies (
    key TEXT PRIMARY KEY, request TEXT NOT NULL, status INTEGER NOT NULL, body TEXT NOT NULL,
    repeats INTEGER NOT NULL DEFAULT 0);
"""


class Refused(Exception):
    """The request cannot be served as it is. `status` is the HTTP status of the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: HTTP status and JSON body."""

    status: int
    body: Mapping[str, JsonValue]


class Store:
    """Reads, and changes that happen once per key."""

    def __init__(self, path: Path, schema: str) -> None:
        """Opens the file, creates what is missing. Raises: sqlite3.Error if it is no database."""
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        try:
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.executescript(REPLIES_SCHEMA + schema)
        except sqlite3.Error:
            self._database.close()
            raise
        self._one_thread = trio.CapacityLimiter(1)

    def close(self) -> None:
        self._database.close()

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Runs a query that changes nothing."""
        return await trio.to_thread.run_sync(query, self._database, limiter=self._one_thread)

    async def once(
        self,
        key: str,
        request: Mapping[str, str],
        effect: Callable[[sqlite3.Connection], Reply],
    ) -> Reply:
        """Runs `effect` in a transaction with its reply, unless `key` has one already.

        Raises:
            Refused: the key is missing, too long, or was used for another request. Nothing is
                written then, nor when `effect` raises.
        """
        if not 0 < len(key) <= KEY_CHARACTERS_MAX:
            raise Refused(400, f"send an Idempotency-Key of 1 to {KEY_CHARACTERS_MAX} characters")
        text = json.dumps(request, sort_keys=True)
        fingerprint = hashlib.sha256(text.encode()).hexdigest()
        return await trio.to_thread.run_sync(
            self._once, key, fingerprint, effect, limiter=self._one_thread
        )

    def _once(
        self, key: str, fingerprint: str, effect: Callable[[sqlite3.Connection], Reply]
    ) -> Reply:
        database = self._database
        database.execute("BEGIN IMMEDIATE")
        try:
            reply = self._repeated(key, fingerprint)
            if reply is None:
                reply = effect(database)
                database.execute(
                    "INSERT INTO replies (key, request, status, body) VALUES (?, ?, ?, ?)",
                    (key, fingerprint, reply.status, json.dumps(reply.body)),
                )
        except BaseException:
            database.execute("ROLLBACK")
            raise
        database.execute("COMMIT")
        return reply

    def _repeated(self, key: str, fingerprint: str) -> Reply | None:
        row = self._database.execute(
            "SELECT request, status, body FROM replies WHERE key = ?", (key,)
        ).fetchone()
        if row is None:
            return None
        request, status, body = row
        if request != fingerprint:
            raise Refused(422, f"key {key!r} was used for another request; use a key once")
        self._database.execute("UPDATE replies SET repeats = repeats + 1 WHERE key = ?", (key,))
        return Reply(status, json.loads(body))
