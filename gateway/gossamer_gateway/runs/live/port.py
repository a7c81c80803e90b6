"""The log of all events, as the bridge reads it: rows of the storage, or a topic of Kafka.

A cursor is a text that means a place in the log to whoever made it, and nothing to anybody else.
"""

from collections.abc import Sequence
from typing import Protocol


class Entry(Protocol):
    """An event in the log; `data` is its JSON as stored."""

    @property
    def run(self) -> str: ...
    @property
    def seq(self) -> int: ...
    @property
    def data(self) -> bytes: ...


class Log(Protocol):
    """All events of all runs, in order within each run, each once."""

    async def start(self) -> str:
        """The cursor before the oldest entry that is kept."""

    async def end(self) -> str:
        """The cursor behind the newest entry."""

    async def read(self, cursor: str, limit: int, wait_s: float) -> tuple[Sequence[Entry], str]:
        """Entries behind a cursor, at most `limit`, and the cursor behind them.

        Where there is none it waits so long for one. Fewer than `limit`: all that there were when
        the read began have been read.

        Raises: BadRequest for what is no cursor, or one whose entries are gone; StorageFailed.
        """
