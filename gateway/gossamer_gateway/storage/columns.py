"""Values of many rows, column by column: what a statement for all of them is made of.

A row that is judged, bound and sent by itself costs tens of microseconds of the gateway's and of
PostgreSQL's; the same value as one of an array costs less than one. So `Rows.together` takes its
values as columns. SQLite binds rows all the same, and is glad of values that were judged at once.

PostgreSQL gets a statement that takes its rows from arrays, `unnest`, in place of the values: the
texts of two statements differ only by the types of their columns, so they stay prepared.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from gossamer_gateway.storage.port import INTEGER_END, Value, plain

_KINDS: dict[type, str] = {
    str: "text", int: "bigint", float: "double precision", bytes: "bytea",
}  # fmt: skip


class Column(NamedTuple):
    """One value of each row. `kind`: PostgreSQL's type; None where all are null."""

    kind: str | None
    values: Sequence[Value]


def columns(rows: Sequence[Sequence[Value]]) -> list[Column]:
    """Rows as columns, of values as both databases take them.

    Raises: BadRequest for a value that no column holds.
    """
    return [_column(values) for values in zip(*rows, strict=True)]


def _column(values: Sequence[Value]) -> Column:
    kinds = set(map(type, values))
    kinds.discard(type(None))
    if not kinds:
        return Column(None, values)
    kind = kinds.pop()
    if kinds or kind not in _KINDS or not _is_plain(kind, values):
        values = plain(values)
        kinds = set(map(type, values)) - {type(None)}
        if kinds == {int, float}:
            values = [None if one is None else float(one) for one in values]
            kinds = {float}
        (kind,) = kinds
    return Column(_KINDS[kind], values)


def _is_plain(kind: type, values: Sequence[Value]) -> bool:
    """Whether all of a kind are as `plain` would have them, as far as that is seen at once."""
    if kind is str:
        text = "".join(filter(None, values))  # type: ignore[arg-type]
        return text.isascii() and "\0" not in text
    if kind is int:
        numbers: list[int] = list(filter(None, values))  # type: ignore[arg-type]
        return not numbers or (-INTEGER_END <= min(numbers) and max(numbers) < INTEGER_END)
    return True


_WRITES = re.compile(
    r"(?P<insert>INSERT INTO .*?)VALUES \((?P<given>(?:[^()]|\(\))*)\)(?P<rest>.*)"
    r"|(?P<update>UPDATE .*? SET .*?)(?P<which> WHERE .*)"
    r"|(?P<delete>DELETE FROM .*?)(?P<whose> WHERE .*)",
    re.DOTALL,
)


@lru_cache(1_000)
def of_arrays(statement: str, kinds: tuple[str | None, ...]) -> bytes:
    """A statement of the port as one that takes all rows from arrays, in psycopg's words.

    Args:
        kinds: of the columns. Those without one are null in all rows, and no arrays.
    """
    names = iter([None if kind is None else f"given.v{at}" for at, kind in enumerate(kinds)])
    whole = re.sub(r"\?", lambda _: next(names) or "NULL", statement.replace("%", "%%"))
    there = [(f"v{at}", kind) for at, kind in enumerate(kinds) if kind is not None]
    arrays = ", ".join(f"%b::{kind}[]" for _, kind in there)
    source = f"unnest({arrays}) AS given({', '.join(name for name, _ in there)})"
    parts = _WRITES.fullmatch(whole)
    assert parts is not None, f"no insert, update or delete of rows: {statement}"
    if parts["insert"]:
        return f"{parts['insert']}SELECT {parts['given']} FROM {source}{parts['rest']}".encode()
    if parts["update"]:
        return f"{parts['update']} FROM {source}{parts['which']}".encode()
    return f"{parts['delete']} USING {source}{parts['whose']}".encode()
