"""Where the gateway's rows are, as its configuration says it."""

import re
from dataclasses import dataclass
from pathlib import Path

from gossamer_gateway.errors import InputError

_SCHEMA_NAME = re.compile(r"(?!pg_)[a-z_][a-z0-9_]{0,62}")


@dataclass(frozen=True, slots=True)
class SqlitePlace:
    """A file of one gateway.

    Attributes:
        path: it is made where it is missing. None keeps everything in memory, for tests.
    """

    path: Path | None


@dataclass(frozen=True, slots=True)
class PostgresPlace:
    """A PostgreSQL, 13 or newer, that several gateways share.

    Attributes:
        conninfo: as libpq reads it: `postgresql://user@host/database?sslmode=verify-full`, or
            `host=… dbname=…`. A password is better kept in a file that `passfile=` names.
        schema: the tables are in it. It is made where it is missing; gateways of two meshes may
            share a database by two of them.

    Raises: InputError for a schema that is no plain name.
    """

    conninfo: str
    schema: str = "gossamer"

    def __post_init__(self) -> None:
        if not _SCHEMA_NAME.fullmatch(self.schema):
            raise InputError(
                f"{self.schema!r} can't name a schema of PostgreSQL here; use a-z, 0-9 and _, at "
                "most 63 of them, no digit and no pg_ at the beginning."
            )


Place = SqlitePlace | PostgresPlace
