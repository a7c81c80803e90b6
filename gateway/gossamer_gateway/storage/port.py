"""The port: what the gateway's modules ask of the place where they keep rows.

One gateway keeps them in a SQLite file, several share a PostgreSQL. A *command* is a plain function
that reads and writes rows and never waits; it runs in a transaction, takes effect whole or not at
all, and its caller hears of it once that is on disk. It may be run again from its beginning when
two gateways got into each other's way, so it changes nothing but rows.

Statements are of the SQL that both know, with `?` for values: whole numbers of 64 bits are BIGINT,
upserts are `ON CONFLICT … DO UPDATE`, and `RETURNING` is allowed. One suite of tests holds both to
the same.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

Value = str | int | float | bytes | None
"""What a column holds. Truth is 0 or 1."""

T = TypeVar("T")


class Cursor(Protocol):
    """What a statement answered."""

    @property
    def rowcount(self) -> int:
        """How many rows an insert, update or delete changed."""

    def fetchone(self) -> Any:
        """The next row as a tuple; None when there is none left."""

    def fetchall(self) -> list[Any]:
        """The rows that are left."""

    def __iter__(self) -> Iterator[Any]:
        """The rows that are left, one by one."""


class Rows(Protocol):
    """The tables, within one transaction. `sqlite3.Connection` is one."""

    def execute(self, statement: str, values: Sequence[Value] = (), /) -> Cursor:
        """Runs a statement."""

    def executemany(self, statement: str, values: Sequence[Sequence[Value]], /) -> Cursor:
        """Runs a statement for each of these."""


Command = Callable[[Rows, int], T]
"""Takes the tables and the time, in milliseconds since 1970; returns what to answer."""


class Storage(Protocol):
    """Where rows are kept."""

    async def submit(self, command: Command[T]) -> T:
        """Runs a command and returns its result once it is on disk.

        A caller that is cancelled leaves the command under way: it takes effect unanswered.

        Raises: what the command raised, and nothing was changed then; StorageFailed; Overloaded.
        """
