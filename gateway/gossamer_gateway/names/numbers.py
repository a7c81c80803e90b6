"""Numbers for what has none: how Camunda 8's dialect names what lives in Camunda 7.

They count from 1, with gaps, each once for all engines together. Zeebe's own keys have 51 bits that
count, below the number of a partition, and there is no partition 0: so what is below 2⁵¹ is one of
these, and the rest is the engine's own. All are safe in languages whose only numbers are doubles.
An id never loses its number, so the table only grows; ids of jobs are most of it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gossamer_gateway.errors import StorageFailed
from gossamer_gateway.storage.port import Rows

NUMBER_END = 2**51
"""Numbers are below it (Zeebe: `Protocol.KEY_BITS`)."""

_TOGETHER_MAX = 100
"""Ids in one statement."""

SCHEMA = """
CREATE TABLE number (
    number INTEGER PRIMARY KEY, engine TEXT NOT NULL, id TEXT NOT NULL,
    UNIQUE (engine, id)
)
"""


@dataclass(frozen=True, slots=True)
class Named:
    """What a number stands for: an engine's id, and which engine's."""

    engine: str
    id: str


def numbers_of(rows: Rows, engine: str, ids: Iterable[str]) -> Mapping[str, int]:
    """The numbers of an engine's ids; new ones are given, within the caller's transaction.

    Raises: StorageFailed when there are no more.
    """
    asked = sorted(set(ids))  # so that two who ask for the same go the same way
    found: dict[str, int] = {}
    for first in range(0, len(asked), _TOGETHER_MAX):
        some = asked[first : first + _TOGETHER_MAX]
        marks = ", ".join("?" * len(some))
        found |= rows.execute(
            f"SELECT id, number FROM number WHERE engine = ? AND id IN ({marks})",  # noqa: S608
            (engine, *some),
        ).fetchall()
        new = [id for id in some if id not in found]
        if new:
            marks = ", ".join(["(?, ?)"] * len(new))
            found |= rows.execute(
                f"INSERT INTO number (engine, id) VALUES {marks} RETURNING id, number",  # noqa: S608
                [value for id in new for value in (engine, id)],
            ).fetchall()
    if max(found.values(), default=0) >= NUMBER_END:
        raise StorageFailed("All numbers for other engines' ids are given away")
    return found


def named(rows: Rows, number: int) -> Named | None:
    """What a number stands for; None for one that was never given."""
    if not 0 < number < NUMBER_END:
        return None
    row = rows.execute("SELECT engine, id FROM number WHERE number = ?", (number,)).fetchone()
    return Named(*row) if row else None
