"""Rows for tests: the gateway's tables in a database of either kind, empty at first."""

from collections.abc import AsyncIterator

import pytest

from gossamer_gateway import tables
from gossamer_gateway.storage import Place, SqlitePlace, Storage, open_storage

__all__ = ["place", "storage"]


@pytest.fixture(params=["sqlite"])
def place(request: pytest.FixtureRequest) -> Place:
    """Where a storage may be opened once."""
    return SqlitePlace(None)


@pytest.fixture
async def storage(place: Place) -> AsyncIterator[Storage]:
    """An open one, with all tables of the gateway."""
    async with open_storage(place, tables.FORM) as opened:
        yield opened
