"""The port: what the gateway's modules ask of the place where they keep rows.

One gateway keeps them in a SQLite file, several share a PostgreSQL. A *command* is a plain function
that reads and writes rows and never waits; it runs in a transaction, takes effect whole or not at
all, and its caller hears of it once that is on disk. All commands of all gateways take effect as if
one ran after the other. To that end a command may be run again from its beginning, when two
gateways got into each other's way, and it may run in a thread of its own: so it changes nothing but
rows, and looks at nothing that others change.

Statements are of the SQL that both know, in SQLite's words, with `?` for values. INTEGER is of 64
bits, `INTEGER PRIMARY KEY` counts by itself where none is given (there may be gaps), and TEXT, REAL
and BLOB are the other types. Upserts are `ON CONFLICT … DO UPDATE`, `RETURNING` is allowed, and
only a statement that answers rows is asked for rows. Two functions tell in which
order transactions were begun and which are over: `transaction_number()`, of this one, and
`transactions_settled()`: what all with lower numbers wrote is to be seen here, or was taken back. A
transaction sees nothing of one with a higher number. A statement that the database refuses, as one
that breaks a constraint, fails its command with StorageFailed. Equal values of ORDER BY come in any
order. `tests/gateway/test_storage_port.py` holds both to the same.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from gossamer_gateway.errors import BadRequest

Value = str | int | float | bytes | None
"""What a column holds. Truth is 0 or 1."""

INTEGER_END = 2**63
"""Whole numbers are below it, and not below its negative."""

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
    """The tables, within one transaction."""

    def execute(self, statement: str, values: Sequence[Value] = (), /) -> Cursor:
        """Runs a statement.

        Raises: BadRequest for a value that no column holds.
        """

    def executemany(self, statement: str, values: Sequence[Sequence[Value]], /) -> Cursor:
        """Runs a statement for each of these. It answers no rows, only their count.

        Raises: BadRequest for a value that no column holds.
        """

    def lookup(self, statement: str, keys: Sequence[Value], /) -> list[Any]:
        """The rows that a query finds for any of these keys, however many; it says `IN (?)` once.

        Raises: BadRequest for a value that no column holds.
        """

    def together(self, *writes: "Write") -> list[int]:
        """Runs statements in this order, each for all of its rows at once.

        Where there are many rows, or several statements, this is the cheapest way by far: it is one
        way to the server and back, whatever their number.

        Args:
            writes: inserts, updates and deletes. No two rows of one are of the same row of its
                table, and each `?` is a value by itself: to insert, to set, or to compare with.

        Returns: how many rows each changed.

        Raises: BadRequest for a value that no column holds.
        """


class Write(NamedTuple):
    """A statement, and the values of each of its rows; without any, nothing is to be done."""

    statement: str
    rows: Sequence[Sequence[Value]]


Command = Callable[[Rows, int], T]
"""Takes the tables and the time, in milliseconds since 1970; returns what to answer."""


class Storage(Protocol):
    """Where rows are kept."""

    @property
    def shared(self) -> bool:
        """Whether others write to it as well."""

    async def submit(self, command: Command[T]) -> T:
        """Runs a command and returns its result once it is on disk.

        A caller that is cancelled leaves the command under way: it takes effect unanswered.

        Raises: what the command raised, and nothing was changed then; StorageFailed when the
            database is away, or refused a statement; Overloaded.
        """

    async def submit_guarded(self, command: Command[T]) -> T:
        """The same for a command that guards itself: it runs on a snapshot of the rows.

        Two commands that change the same row never do so both on what they have read; one runs
        again. But what a command has only read may be changed by another meanwhile. So it is for
        commands that write each row that they rely on. They are seldom in each other's way where
        many gateways write to the same tables.
        """


def plain(values: Sequence[Value]) -> list[Value]:
    """Values as both databases take them, and refuse them.

    PostgreSQL holds no character 0 in a text, and neither holds half a surrogate or a number above
    64 bits. All of them come from clients, as an id in a path, so they are the client's mistake. A
    driver may also see more in a subclass than its value: psycopg stores an enum's name.

    Raises: BadRequest.
    """
    return [_PLAIN.get(type(value), _of_subclass)(value) for value in values]


def _text(value: Any) -> str:
    text = str.__str__(value)
    try:
        if "\0" not in text and (text.isascii() or text.encode()):
            return text
    except UnicodeEncodeError:
        pass
    raise BadRequest(f"The text {text[:100]!r} has a character that can't be kept")


def _whole(value: Any) -> int:
    if -INTEGER_END <= value < INTEGER_END:
        return int(value)
    raise BadRequest("A number is above 64 bits")


_PLAIN: dict[type, Callable[[Any], Value]] = {
    type(None): lambda _: None,
    str: _text,
    int: _whole,
    bool: int,
    float: float,
    bytes: bytes,
}


def _of_subclass(value: Any) -> Value:
    for kind, convert in _PLAIN.items():
        if isinstance(value, kind):
            return convert(value)
    raise TypeError(f"{type(value).__name__} is nothing that a column holds")
