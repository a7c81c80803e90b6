"""Rows that many requests write: a SQLite file of one gateway, or a PostgreSQL that several share.

`port` is what the gateway's modules see of either. Each has one owner here that puts what came
together into one transaction, and nothing is answered before that is on disk.
"""

from contextlib import AbstractAsyncContextManager

from gossamer_gateway.errors import InputError
from gossamer_gateway.storage.file import Form
from gossamer_gateway.storage.places import Place, PostgresPlace, SqlitePlace
from gossamer_gateway.storage.port import Command, Rows, Storage, Value
from gossamer_gateway.storage.sqlite import open_sqlite

__all__ = [
    "Command",
    "Form",
    "Place",
    "PostgresPlace",
    "Rows",
    "SqlitePlace",
    "Storage",
    "Value",
    "open_storage",
]


def open_storage(place: Place, form: Form) -> AbstractAsyncContextManager[Storage]:
    """Opens the rows of a gateway: `async with open_storage(place, tables.FORM) as storage`.

    Nothing may be submitted after its end. What was begun by then is finished, what still waits
    is refused.

    Raises: InputError on entering, when the place can't be used, or holds rows of another form.
    """
    if isinstance(place, PostgresPlace):
        raise InputError("rows can't be kept in PostgreSQL yet; name a file with storage.file.")
    return open_sqlite(place, form)
