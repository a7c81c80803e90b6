"""Rows that many requests write: a SQLite file of one gateway, or a PostgreSQL that several share.

`port` is what the gateway's modules see of either. Each has one owner here that puts what came
together into one transaction, and nothing is answered before that is on disk.
"""

from contextlib import AbstractAsyncContextManager

from gossamer_gateway.errors import InputError
from gossamer_gateway.storage.file import Form
from gossamer_gateway.storage.parts import Part
from gossamer_gateway.storage.places import Place, PostgresPlace, SqlitePlace
from gossamer_gateway.storage.port import Command, Rows, Storage, Value, Write
from gossamer_gateway.storage.sqlite import open_sqlite

__all__ = [
    "Command",
    "Form",
    "Part",
    "Place",
    "PostgresPlace",
    "Rows",
    "SqlitePlace",
    "Storage",
    "Value",
    "Write",
    "open_storage",
]


def open_storage(place: Place, form: Form) -> AbstractAsyncContextManager[Storage]:
    """Opens the rows of a gateway: `async with open_storage(place, tables.FORM) as storage`.

    Nothing may be submitted after its end. What was begun by then is finished, what still waits
    is refused.

    Raises: InputError when the place can't be used, or holds rows of another form.
    """
    # Imported here: psycopg is an extra, and who has a file needs none of it.
    if isinstance(place, PostgresPlace):
        try:
            from gossamer_gateway.storage.postgres import open_postgres  # noqa: PLC0415
        except ImportError as error:
            raise InputError(
                f"PostgreSQL needs a library that is not here ({error}); install it with: "
                "pip install 'gossamer[postgres]'."
            ) from None
        return open_postgres(place, form)
    return open_sqlite(place, form)
