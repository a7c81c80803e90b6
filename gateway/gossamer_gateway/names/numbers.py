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
    found: dict[str, int] = {}
    for id in ids:
        if id in found:
            continue
        asked = (engine, id)
        row = (
            rows.execute("SELECT number FROM number WHERE engine = ? AND id = ?", asked).fetchone()
            or rows.execute(
                "INSERT INTO number (engine, id) VALUES (?, ?) RETURNING number", asked
            ).fetchone()
        )
        found[id] = row[0]
        if found[id] >= NUMBER_END:
            raise StorageFailed("All numbers for other engines' ids are given away")
    return found


def named(rows: Rows, number: int) -> Named | None:
    """What a number stands for; None for one that was never given."""
    if not 0 < number < NUMBER_END:
        return None
    row = rows.execute("SELECT engine, id FROM number WHERE number = ?", (number,)).fetchone()
    return Named(*row) if row else None
