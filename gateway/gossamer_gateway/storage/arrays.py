"""One statement for many rows: PostgreSQL takes their values from arrays, one of each column.

A row that is bound and sent by itself costs some ten microseconds here and as many there. So the
port's `Write` becomes a statement that has `unnest` of arrays in place of its values. Its text
depends on the columns' types alone, so it stays prepared.

The arrays are written here, in PostgreSQL's binary form (`array_recv` in its
src/backend/utils/adt/arrayfuncs.c): psycopg's way from a list asks each value what it is.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain, repeat
from struct import Struct
from typing import Any

import psycopg
from psycopg.types.string import BytesBinaryDumper

from gossamer_gateway.storage.columns import Column

_HEAD = Struct("!iiIii").pack
"""Dimensions, whether there are nulls, the elements' type, how many, and the first one's number."""

_LENGTH, _WHOLE, _REAL = Struct("!i").pack, Struct("!iq").pack, Struct("!id").pack
_NULL = _LENGTH(-1)

_OIDS = {"text": 25, "bigint": 20, "double precision": 701, "bytea": 17}
"""As in PostgreSQL's src/include/catalog/pg_type.dat."""


class Array(bytes):
    """An array in its binary form; a statement says of what."""


class _ArrayDumper(BytesBinaryDumper):
    oid = 0  # whatever the statement says


def learn(connection: psycopg.Connection[Any]) -> None:
    """Has a connection send arrays."""
    connection.adapters.register_dumper(Array, _ArrayDumper)


def arrays(columns: Sequence[Column]) -> list[Array]:
    """The columns that have a type."""
    return [_array(one.kind, one.values) for one in columns if one.kind is not None]


def _array(kind: str, values: Sequence[Any]) -> Array:
    head = _HEAD(1, 1, _OIDS[kind], len(values), 1)
    if None in values:
        parts = [_NULL if one is None else b"".join(_elements(kind, [one])) for one in values]
        return Array(head + b"".join(parts))
    return Array(head + b"".join(_elements(kind, values)))


def _elements(kind: str, values: Sequence[Any]) -> Iterable[bytes]:
    """Each with its length before it, in parts; for a thousand of them, so in C."""
    if kind == "bigint":
        return map(_WHOLE, repeat(8), values)
    if kind == "double precision":
        return map(_REAL, repeat(8), values)
    data = list(map(str.encode, values)) if kind == "text" else values
    return chain.from_iterable(zip(map(_LENGTH, map(len, data)), data, strict=True))


@lru_cache(1_000)
def of_array(statement: str, kind: str | None) -> bytes:
    """A query of the port's `lookup` as one that takes its keys from an array."""
    return statement.replace("%", "%%").replace("IN (?)", f"= ANY (%b::{kind}[])").encode()


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
        whole = f"{parts['insert']}SELECT {parts['given']} FROM {source}{parts['rest']}"  # noqa: S608
    elif parts["update"]:
        whole = f"{parts['update']} FROM {source}{parts['which']}"
    else:
        whole = f"{parts['delete']} USING {source}{parts['whose']}"
    return whole.encode()
