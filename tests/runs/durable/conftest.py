"""Rows for the tests of what keeps runs: in a file, and on a real PostgreSQL."""

from tests.gateway.places import place, storage

__all__ = ["place", "storage"]
