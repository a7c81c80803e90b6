"""Many requests, one transaction: nothing is answered before it is on disk.

One task owns the file. It runs the commands that have gathered, each whole or not at all, and
commits them together while the loop goes on reading the next requests: with synchronous FULL a
commit costs a disk flush, and one flush serves all that came in during the last one. A command
that raises is taken back alone. When the disk refuses, everything of that transaction is taken
back and nothing of it is acknowledged.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar, cast

import trio

from gossamer_gateway.errors import Overloaded, StorageFailed
from gossamer_gateway.storage.file import File

PENDING_MAX = 1_000
"""Commands that may wait for their transaction; a thousand are a second of work."""
BATCH_MAX = 64
"""Commands in one transaction: enough to share a flush, few enough to bound the wait for it."""

T = TypeVar("T")

Command = Callable[[int], T]
"""Takes the time in milliseconds, reads and writes the file, returns what to answer."""


@dataclass(slots=True, eq=False)
class _Entry(Generic[T]):
    command: Command[T]
    settled: trio.Event = field(default_factory=trio.Event)
    result: T | None = None
    error: Exception | None = None


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
        self._submit, self._arrivals = trio.open_memory_channel["_Entry[object]"](PENDING_MAX)

    async def submit(self, command: Command[T]) -> T:
        """Runs a command and returns its result once it is committed.

        A caller that is cancelled leaves the command in the queue: it takes effect unanswered.

        Raises: what the command raised; StorageFailed; Overloaded.
        """
        entry = _Entry(command)
        try:
            self._submit.send_nowait(cast("_Entry[object]", entry))
        except trio.WouldBlock:
            raise Overloaded(
                f"{PENDING_MAX} requests wait for the disk; try again in a moment"
            ) from None
        await entry.settled.wait()
        if entry.error is not None:
            raise entry.error
        return cast("T", entry.result)

    async def run(self) -> None:
        """Serves until cancelled. What was begun is finished first."""
        while True:
            batch = [await self._arrivals.receive()]
            with trio.CancelScope(shield=True):
                await self._serve(batch)

    async def _serve(self, batch: list[_Entry[object]]) -> None:
        changes = self._file.connection.total_changes
        try:
            self._file.begin()
            for entry in batch:  # grows while it is walked
                self._attempt(entry)
                if len(batch) < BATCH_MAX:
                    await trio.lowlevel.cancel_shielded_checkpoint()
                    self._gather(batch)
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

    def _gather(self, batch: list[_Entry[object]]) -> None:
        while len(batch) < BATCH_MAX:
            try:
                batch.append(self._arrivals.receive_nowait())
            except trio.WouldBlock:
                return

    def _attempt(self, entry: _Entry[object]) -> None:
        try:
            with self._file.all_or_nothing():
                entry.result = entry.command(self._clock())
        except sqlite3.Error:
            raise
        except Exception as error:  # a refusal, or a mistake of ours: its neighbours don't care
            entry.error = error
