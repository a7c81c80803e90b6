"""Reservations to start: the same for a seed, of every ending, and never more than the rooms."""

from collections import Counter
from datetime import date

import pytest

from gossamer_hotel.reservations import STAY_DAYS, Ending, Reservation, make_reservations
from gossamer_hotel.rooms import CLOSED_ROOM_TYPE, ROOMS, nights
from gossamer_node.variables import JsonValue


def of(reservation: Reservation, name: str) -> JsonValue:
    return reservation.variables.values[name]


def stay(reservation: Reservation) -> list[str]:
    check_in, check_out = (str(of(reservation, name)) for name in ("check_in", "check_out"))
    return nights(date.fromisoformat(check_in), date.fromisoformat(check_out))


def test_the_same_count_and_seed_make_the_same_reservations() -> None:
    assert make_reservations(20, 4) == make_reservations(20, 4)
    assert make_reservations(20, 4) != make_reservations(20, 5)


@pytest.mark.parametrize("seed", range(20))
def test_three_reservations_have_the_three_endings(seed: int) -> None:
    made = make_reservations(3, seed)
    assert Counter(one.ending for one in made) == dict.fromkeys(Ending, 1)


def test_each_reservation_has_its_own_id_and_some_guests_return() -> None:
    made = make_reservations(200, 1)
    assert len({one.reservation_id for one in made}) == 200
    good = [one for one in made if one.ending is Ending.CONFIRMED]
    assert 1 < len({of(one, "email") for one in good}) < len(good)
    assert all(of(one, "reservation_id") == one.reservation_id for one in made)


@pytest.mark.parametrize("count", [50, 1_000])
def test_the_hotel_has_a_room_for_every_good_one_whatever_their_order(count: int) -> None:
    """At most as many stays *touch* a piece of the calendar as there are rooms, and none crosses
    its edge, so no order of arrival can leave a good reservation without a room."""
    first = min(date.fromisoformat(night) for one in _good(count) for night in stay(one))
    touched: Counter[tuple[str, int]] = Counter()
    for one in _good(count):
        pieces = {(date.fromisoformat(night) - first).days // STAY_DAYS for night in stay(one)}
        assert len(pieces) == 1
        touched[str(of(one, "room_type")), pieces.pop()] += 1
    assert all(stays <= len(ROOMS[room_type]) for (room_type, _), stays in touched.items())


def _good(count: int) -> list[Reservation]:
    return [one for one in make_reservations(count, 3) if one.ending is Ending.CONFIRMED]


def test_a_rejected_one_asks_for_a_type_without_rooms() -> None:
    rejected = [one for one in make_reservations(60, 9) if one.ending is Ending.REJECTED]
    assert {of(one, "room_type") for one in rejected} == {CLOSED_ROOM_TYPE}
    assert ROOMS[CLOSED_ROOM_TYPE] == ()
