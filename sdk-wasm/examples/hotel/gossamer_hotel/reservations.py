"""Reservations to start, each with the ending that it must have.

The same count and seed always give the same list. Good ones are spread over the calendar so
that the hotel never runs out of rooms for them, whatever order they are worked in; so "no room"
is decided by the request alone, and a wrong ending is always somebody's mistake.
"""

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from enum import Enum

from gossamer_node.variables import JsonValue, Variables

from gossamer_hotel.rooms import CLOSED_ROOM_TYPE, ROOMS

FIRST_NIGHT = date(2030, 1, 7)
"""Every reservation lies in the future; its exact day means nothing."""

STAY_DAYS = 4
"""The calendar is cut into pieces of this length and no stay crosses one's edge: then a room
type is never fragmented, and `len(ROOMS[type])` stays fit in a piece in any order."""

GOOD_SHARE, INVALID_SHARE = 0.7, 0.15
"""What is neither good nor invalid asks for a room that does not exist."""

RETURNING_SHARE = 0.2
"""Guests with an earlier reservation in the list: they may be found and need not be created."""

NAMES = (
    ("Jean", "Martin"),
    ("Amina", "Diallo"),
    ("Søren", "Lindqvist"),
    ("José", "Núñez"),
    ("Mei", "Tanaka"),
    ("Olga", "Petrović"),
)


class Ending(Enum):
    """How a reservation ends; the value is what the variable `status` says then."""

    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    INVALID = "invalid"

    @property
    def end_event_id(self) -> str:
        """Id of the end event in HotelReservationProcess."""
        return f"End_{self.value.capitalize()}"


@dataclass(frozen=True, slots=True)
class Reservation:
    """One process instance to start.

    Attributes:
        reservation_id: its business key, and the variable of that name.
        variables: what to start it with.
        ending: where it must end.
    """

    reservation_id: str
    variables: Variables
    ending: Ending


def make_reservations(count: int, seed: int) -> list[Reservation]:
    """Makes `count` reservations of all three endings, mixed; at least one of each from 3 on."""
    chance = random.Random(seed)
    endings = list(Ending)[:count]
    endings += chance.choices(
        list(Ending),
        weights=[GOOD_SHARE, 1 - GOOD_SHARE - INVALID_SHARE, INVALID_SHARE],
        k=count - len(endings),
    )
    chance.shuffle(endings)
    stays: Counter[str] = Counter()
    guests: list[dict[str, JsonValue]] = []
    made = []
    for number, ending in enumerate(endings, start=1):
        reservation_id = f"R-{seed}-{number:05d}"
        if not guests or chance.random() >= RETURNING_SHARE:
            guests.append(_guest(reservation_id, chance))
            guest = guests[-1]
        else:
            guest = chance.choice(guests)
        made.append(_reservation(reservation_id, ending, guest, stays, chance))
    return made


def _guest(reservation_id: str, chance: random.Random) -> dict[str, JsonValue]:
    first_name, last_name = chance.choice(NAMES)
    return {
        "first_name": first_name,
        "last_name": last_name,
        "email": f"guest-{reservation_id.lower()}@example.com",
        "phone": f"+33 1 {chance.randint(10_000_000, 99_999_999)}",
    }


def _reservation(
    reservation_id: str,
    ending: Ending,
    guest: Mapping[str, JsonValue],
    stays: Counter[str],
    chance: random.Random,
) -> Reservation:
    room_type = chance.choice([kind for kind, rooms in ROOMS.items() if rooms])
    piece = stays[room_type] // len(ROOMS[room_type])
    if ending is Ending.CONFIRMED:
        stays[room_type] += 1
    check_in = FIRST_NIGHT + timedelta(days=piece * STAY_DAYS)
    check_out = check_in + timedelta(days=chance.randint(1, STAY_DAYS))
    values: dict[str, JsonValue] = {
        "reservation_id": reservation_id,
        **guest,
        "room_type": CLOSED_ROOM_TYPE if ending is Ending.REJECTED else room_type,
        "check_in": check_in.isoformat(),
        "check_out": check_out.isoformat(),
        "guests": chance.randint(1, 2),
    }
    if ending is Ending.INVALID:
        values |= chance.choice(_mistakes(check_in))
    return Reservation(reservation_id, Variables(values), ending)


def _mistakes(check_in: date) -> list[Mapping[str, JsonValue]]:
    return [
        {"email": "nobody at example.com"},
        {"email": None},
        {"last_name": " "},
        {"guests": 0},
        {"check_in": "2030-02-30"},
        {"check_out": check_in.isoformat()},
    ]
