"""Rows for tests: the gateway's tables in a database of either kind, empty at first."""

from collections.abc import AsyncIterator

import pytest
from tests.postgres_fixture import Postgres

from gossamer_gateway import tables
from gossamer_gateway.storage import Place, SqlitePlace, Storage, open_storage

__all__ = ["place", "storage"]


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest) -> Place:
    """Where a storage may be opened: an SQLite in memory once, a PostgreSQL several times."""
    if request.param == "sqlite":
        return SqlitePlace(None)
    server: Postgres = request.getfixturevalue("postgres")
    return server.place()


@pytest.fixture
async def storage(place: Place) -> AsyncIterator[Storage]:
    """An open one, with all tables of the gateway."""
    async with open_storage(place, tables.FORM) as opened:
        yield opened
