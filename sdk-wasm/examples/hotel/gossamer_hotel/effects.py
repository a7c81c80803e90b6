"""What really happened, read from the microservices' own databases.

Effects are counted per reservation, and no table refuses a second booking or block for the same
one: a worker that ran twice without its idempotency key would show here as two.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Effects:
    """How often each effect of one reservation was written. Each is 0 or 1 when all is well.

    Attributes:
        clients: clients that were created for it; 0 where the guest was known before.
        blocked_rooms: stays blocked for it.
        bookings: bookings made for it.
    """

    clients: int = 0
    blocked_rooms: int = 0
    bookings: int = 0

    @property
    def twice(self) -> bool:
        """Whether something was done more than once."""
        return max(self.clients, self.blocked_rooms, self.bookings) > 1


def read_effects(data_dir: Path) -> dict[str, Effects]:
    """The effects by reservation id; a reservation without any is left out.

    Safe while the microservices run. Raises: sqlite3.Error if the files are not theirs.
    """
    counts = {
        "clients": dict(_rows(data_dir, "client", _COUNT.format("clients"))),
        "blocked_rooms": dict(_rows(data_dir, "room", _COUNT.format("blocks"))),
        "bookings": dict(_rows(data_dir, "booking", _COUNT.format("bookings"))),
    }
    return {
        reservation: Effects(**{what: of.get(reservation, 0) for what, of in counts.items()})
        for reservation in set().union(*counts.values())
    }


def read_repeats(data_dir: Path) -> int:
    """How many requests came again with the same key, and had no second effect."""
    query = "SELECT 'repeats', coalesce(sum(repeats), 0) FROM replies"
    return sum(
        count
        for service in ("booking", "room", "client")
        for _, count in _rows(data_dir, service, query)
    )


_COUNT = "SELECT reservation_id, count(*) FROM {} GROUP BY reservation_id"


def _rows(data_dir: Path, service: str, query: str) -> Iterator[tuple[str, int]]:
    file = (data_dir / f"{service}.sqlite").resolve().as_uri()
    with closing(sqlite3.connect(f"{file}?mode=ro", uri=True)) as database:
        yield from database.execute(query)
