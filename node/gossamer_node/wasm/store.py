"""One SQLite file of the node that one thread writes, for those that wait until it is on the disk.

What is handed to the writer is a change; all changes that come together are one transaction (WAL,
one fsync), and `commit` returns when that is on the disk, never before. A change belongs to its
store's `write`, which is called on the writer's thread within the transaction. Who waits may give
up: a change that has not begun is dropped then, and of one that has begun nobody hears. Reading
goes through a connection of its own, so it never stands behind an fsync.
"""

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from gossamer_node.errors import InputError

FILE_BYTES_MAX = 8 * 2**30
"""Of a file: SQLite refuses what would make it larger."""

WAITING_MAX = 1_024
"""Changes that wait for the writer. Each has a thread that waits with it, so more of them come only
from those that gave up while the disk stood still."""

_PAGE_BYTES = 4_096

_BUSY_MS = 5_000
"""Only a person with `sqlite3` at hand could make it wait at all."""

_REFUSED = (sqlite3.Error, UnicodeError)
"""What SQLite answers to a bad disk, and Python's binding to half a surrogate pair in a name."""

_log = logging.getLogger("gossamer.wasm")


class StoreError(Exception):
    """The disk would not take or give it; the message is a clause without its subject."""


@dataclass(slots=True)
class Change:
    """What one thread wants written; a store's own kinds carry more."""

    done: threading.Event = field(default_factory=threading.Event, init=False)
    error: StoreError | None = field(default=None, init=False)
    given_up: bool = field(default=False, init=False)


C = TypeVar("C", bound=Change)


class Store(Generic[C]):
    """The file, its writer and its readers. Safe to use from several threads."""

    def __init__(
        self,
        file: Path | None,
        schema: str,
        write: Callable[[sqlite3.Connection, Sequence[C]], Callable[[], None] | None],
        *,
        subject: str,
        mending: str,
    ) -> None:
        """Open or make the file.

        Args:
            file: None keeps all in memory, for a job run by hand.
            write: applies changes within a transaction; what it returns is called when they are on
                the disk.
            subject: what the file holds, such as `the states`.
            mending: what a person may do where the file is of no use.

        Raises: InputError, for a file that is none of ours or cannot be made.
        """
        self.file = file
        self._apply = write
        self._lock = threading.Lock()
        self._changed = threading.Condition(threading.Lock())
        self._waiting: list[C] = []
        self._thread: threading.Thread | None = None
        self._closed = False
        try:
            self.database = self._connect()
            self.database.execute("PRAGMA journal_mode=WAL").fetchone()
            # In WAL only FULL has the log on the disk at every commit.
            self.database.execute("PRAGMA synchronous=FULL")
            self.database.execute(f"PRAGMA max_page_count={FILE_BYTES_MAX // _PAGE_BYTES}")
            self.database.executescript(schema)
            self._reader = self.database if file is None else self._connect()
            self._reading = self._lock if file is None else threading.Lock()
        except sqlite3.Error as error:
            raise InputError(f"{subject} in {file} cannot be used ({error}); {mending}.") from None

    def close(self) -> None:
        """Write what waits, end the writer and close the file."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()
        with self._reading:
            self._reader.close()
        self.database.close()

    def commit(
        self, change: C, wait: Callable[[threading.Event], object] = threading.Event.wait
    ) -> None:
        """Hand it to the writer and return when it is on the disk.

        Args:
            wait: may raise to give up.

        Raises: StoreError, and nothing of it is kept; what `wait` raises.
        """
        with self._changed:
            if self._closed:
                raise StoreError(f"could not be written to {self.file}, as the node stops")
            if len(self._waiting) >= WAITING_MAX:
                raise StoreError(f"could not be written to {self.file}, whose disk stands still")
            self._waiting.append(change)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name="gossamer-wasm-store", daemon=True
                )
                self._thread.start()
            self._changed.notify()
        try:
            wait(change.done)
        finally:
            change.given_up = not change.done.is_set()
        if change.error is not None:
            raise change.error

    def rows(self, query: str, values: Sequence[Any]) -> list[Any]:
        """What a query finds of all that is on the disk. Raises: StoreError."""
        try:
            with self._reading:
                return self._reader.execute(query, values).fetchall()
        except _REFUSED as error:
            raise StoreError(
                f"could not be read from {self.file} ({error}); see to the disk and the file"
            ) from None

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(
            self.file or ":memory:",
            isolation_level=None,
            check_same_thread=False,
            timeout=_BUSY_MS / 1_000,
        )

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                changes, self._waiting = self._waiting, []
            if not changes:
                return
            self._write([change for change in changes if not change.given_up])

    def _write(self, changes: Sequence[C]) -> None:
        # Until it is there, nobody may hear that it is, whatever happens here.
        error: StoreError | None = StoreError(f"could not be written to {self.file}")
        try:
            with self._lock, self._transaction():
                written = self._apply(self.database, changes)
            if written is not None:
                written()
            error = None
        except _REFUSED as failure:
            error = StoreError(
                f"could not be written to {self.file} ({failure}); see to the disk, or let "
                "workers empty what they no longer need"
            )
        except Exception:
            # The writer goes on: the next change may be a better one.
            _log.exception("changes could not be written to %s", self.file)
        finally:
            for change in changes:
                change.error = error
                change.done.set()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self.database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.database.execute("COMMIT")
        except BaseException:
            # SQLite rolls back by itself after some errors, a full disk among them.
            if self.database.in_transaction:
                self.database.execute("ROLLBACK")
            raise
