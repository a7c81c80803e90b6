"""The hotel's rooms: how many there are of each type, and which are free for a stay."""

import sqlite3
from datetime import date, timedelta

ROOMS: dict[str, tuple[str, ...]] = {
    "single": tuple(f"1{number:02d}" for number in range(1, 13)),
    "double": tuple(f"2{number:02d}" for number in range(1, 13)),
    "suite": tuple(f"3{number:02d}" for number in range(1, 5)),
    "penthouse": (),
}
"""Room ids by type."""

CLOSED_ROOM_TYPE = "penthouse"
"""It is being renovated: a request for it is always one too many."""

NIGHTS_MAX = 30
"""Longest stay: bounds the rows that one request writes."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS blocks (
    id INTEGER PRIMARY KEY, reservation_id TEXT NOT NULL, room_id TEXT NOT NULL,
    check_in TEXT NOT NULL, check_out TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS nights (
    room_id TEXT NOT NULL, night TEXT NOT NULL, block_id INTEGER NOT NULL REFERENCES blocks,
    PRIMARY KEY (room_id, night));
"""


def nights(check_in: date, check_out: date) -> list[str]:
    """The nights of a stay as ISO dates. Raises: ValueError if it is empty or too long."""
    length = (check_out - check_in).days
    if not 1 <= length <= NIGHTS_MAX:
        raise ValueError(f"a stay lasts 1 to {NIGHTS_MAX} nights, not {length}")
    return [(check_in + timedelta(days=day)).isoformat() for day in range(length)]


def free_room(
    database: sqlite3.Connection, room_type: str, stay: list[str], preferred: str | None = None
) -> str | None:
    """A room of this type that is free on every night of the stay, or None."""
    taken = {
        room
        for (room,) in database.execute(
            "SELECT DISTINCT room_id FROM nights WHERE night BETWEEN ? AND ?", (stay[0], stay[-1])
        )
    }
    free = [room for room in ROOMS.get(room_type, ()) if room not in taken]
    if preferred in free:
        return preferred
    return free[0] if free else None


def block(database: sqlite3.Connection, reservation_id: str, room_id: str, stay: list[str]) -> None:
    """Writes that the room is taken. The table's key refuses a night that is taken already."""
    last = date.fromisoformat(stay[-1]) + timedelta(days=1)
    cursor = database.execute(
        "INSERT INTO blocks (reservation_id, room_id, check_in, check_out) VALUES (?, ?, ?, ?)",
        (reservation_id, room_id, stay[0], last.isoformat()),
    )
    database.executemany(
        "INSERT INTO nights VALUES (?, ?, ?)",
        [(room_id, night, cursor.lastrowid) for night in stay],
    )
