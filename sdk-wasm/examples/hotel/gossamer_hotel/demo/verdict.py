"""Judges a run: did each reservation end as it must, and did it take effect once?

Two witnesses, neither of which is Gossamer: the engine (its history, or the awaited result where
the history can't be read) and the microservices' own databases. Pure functions over what they said.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gossamer_hotel.effects import Effects
from gossamer_hotel.reservations import Ending, Reservation

EXPECTED = {Ending.CONFIRMED: (1, 1), Ending.REJECTED: (0, 0), Ending.INVALID: (0, 0)}
"""Rooms blocked and bookings made by a reservation of each ending."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement over all reservations.

    Attributes:
        completed, rejected, invalid: reservations that ended so, as they had to.
        lost: reservations that did not end, ended otherwise, or lack an effect.
        effective_twice: reservations of which something was done more than once.
        complaints: a sentence for each lost or doubled reservation.
    """

    completed: int
    rejected: int
    invalid: int
    lost: int
    effective_twice: int
    complaints: tuple[str, ...]


def judge(
    reservations: Sequence[Reservation],
    endings: Mapping[str, str | None],
    effects: Mapping[str, Effects],
) -> Verdict:
    """Compares what had to happen with what the witnesses say.

    Args:
        reservations: those that were started.
        endings: by reservation id, the value of `Ending` that the engine reports; None or
            missing where it did not end.
        effects: as `read_effects` read them.
    """
    counts = dict.fromkeys(Ending, 0)
    complaints = []
    lost = twice = 0
    guests = _guests(reservations, effects)
    for one in reservations:
        said = endings.get(one.reservation_id)
        done = effects.get(one.reservation_id, Effects())
        clients = guests.get(str(one.variables.values["email"]), 1)
        if done.twice or clients > 1:
            twice += 1
            complaints.append(f"{one.reservation_id}: done twice: {done}, {clients} clients")
        elif said != one.ending.value:
            lost += 1
            complaints.append(
                f"{one.reservation_id}: must end {one.ending.value}, the engine says {said}"
            )
        elif (done.blocked_rooms, done.bookings) != EXPECTED[one.ending] or clients != 1:
            lost += 1
            complaints.append(
                f"{one.reservation_id}: {one.ending.value}, but its effects: {done}, "
                f"{clients} clients"
            )
        else:
            counts[one.ending] += 1
    return Verdict(
        completed=counts[Ending.CONFIRMED],
        rejected=counts[Ending.REJECTED],
        invalid=counts[Ending.INVALID],
        lost=lost,
        effective_twice=twice,
        complaints=tuple(complaints),
    )


def _guests(reservations: Sequence[Reservation], effects: Mapping[str, Effects]) -> dict[str, int]:
    """Clients that were created by e-mail, for the guests who need one; each must be 1.

    A guest with several reservations is created by whichever of them comes first.
    """
    clients: dict[str, int] = {}
    for one in reservations:
        if one.ending is not Ending.INVALID:
            email = str(one.variables.values["email"])
            made = effects.get(one.reservation_id, Effects()).clients
            clients[email] = clients.get(email, 0) + made
    return clients
