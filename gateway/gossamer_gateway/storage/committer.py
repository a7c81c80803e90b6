"""Many requests, one transaction: nothing is answered before it is on disk.

One task owns the file. It runs the commands that have gathered, each whole or not at all, and
commits them together while the loop goes on reading the next requests: with synchronous FULL a
commit costs a disk flush, and one flush serves all that came in during the last one. A command
that raises is taken back alone, also when SQLite refused one of its statements. When the disk
refuses, everything of that transaction is taken back and nothing of it is acknowledged.
"""

import sqlite3
from collections.abc import Callable
from typing import TypeVar, cast

import trio

from gossamer_gateway.errors import StorageFailed
from gossamer_gateway.storage.file import File
from gossamer_gateway.storage.pending import Entry, Pending

BATCH_MAX = 64
"""Commands in one transaction: enough to share a flush, few enough to bound the wait for it."""

_STATEMENT_WRONG = (
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_RANGE,
    sqlite3.SQLITE_TOOBIG,
)
"""Result codes that blame the statement, not the file."""

T = TypeVar("T")

Command = Callable[[int], T]
"""Takes the time in milliseconds, reads and writes the file, returns what to answer."""


class Committer:
    """Runs commands for everybody else."""

    def __init__(self, file: File, clock: Callable[[], int], committed: Callable[[], None]) -> None:
        """
        Args:
            clock: tells the time in milliseconds since 1970; locks outlive the process.
            committed: called after each transaction that is on disk.
        """
        self._file = file
        self._clock = clock
        self._committed = committed
        self._pending: Pending[Command[object]] = Pending("the disk")

    async def submit(self, command: Command[T]) -> T:
        """Runs a command and returns its result once it is committed.

        A caller that is cancelled leaves the command in the queue: it takes effect unanswered.

        Raises: what the command raised; StorageFailed; Overloaded.
        """
        return cast("T", await self._pending.submit(command))

    async def run(self) -> None:
        """Serves until cancelled. What was begun is finished first; what still waits is refused."""
        try:
            while True:
                batch = [await self._pending.receive()]
                with trio.CancelScope(shield=True):
                    await self._serve(batch)
        finally:
            self._pending.close()

    async def _serve(self, batch: list[Entry[Command[object]]]) -> None:
        changes = self._file.connection.total_changes
        try:
            self._file.begin()
            for entry in batch:  # grows while it is walked
                self._attempt(entry)
                if len(batch) < BATCH_MAX:
                    await trio.lowlevel.cancel_shielded_checkpoint()
                    self._pending.gather(batch, BATCH_MAX)
            if self._file.connection.total_changes == changes:
                self._file.commit()  # nothing to flush
            else:
                await trio.to_thread.run_sync(self._file.commit)
        except sqlite3.Error as error:
            self._file.rollback()
            for entry in batch:
                entry.error = StorageFailed(f"The file could not be written: {error}")
        else:
            self._committed()
        for entry in batch:
            entry.settled.set()

    def _attempt(self, entry: Entry[Command[object]]) -> None:
        try:
            with self._file.all_or_nothing():
                entry.result = entry.command(self._clock())
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
            if code & 0xFF not in _STATEMENT_WRONG:
                raise
            entry.error = StorageFailed(f"SQLite refused a statement: {error}")
        except Exception as error:  # a refusal, or a mistake of ours: its neighbours don't care
            entry.error = error
