"""Worlds in which workflows run."""

from tests.runs.worlds import execution, opens, world

__all__ = ["execution", "opens", "world"]
