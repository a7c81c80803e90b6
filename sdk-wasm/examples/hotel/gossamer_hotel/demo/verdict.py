"""Judges a run: did each reservation end as it must, and did it take effect once?

Two witnesses, neither of which is Gossamer: the engine (its history, or the awaited result where
the history can't be read) and the microservices' own databases. Pure functions over what they said.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gossamer_hotel.effects import Effects
from gossamer_hotel.reservations import Ending, Reservation

EXPECTED = {
    Ending.CONFIRMED: Effects(clients=1, blocked_rooms=1, bookings=1),
    Ending.REJECTED: Effects(clients=1),
    Ending.INVALID: Effects(),
}
"""What a reservation of each ending leaves in the databases, each guest being new."""


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
    for one in reservations:
        said = endings.get(one.reservation_id)
        done = effects.get(one.reservation_id, Effects())
        if done.twice:
            twice += 1
            complaints.append(f"{one.reservation_id}: done twice: {done}")
        if said != one.ending.value:
            lost += 1
            complaints.append(
                f"{one.reservation_id}: must end {one.ending.value}, the engine says {said}"
            )
        elif not done.twice and done != EXPECTED[one.ending]:
            lost += 1
            complaints.append(f"{one.reservation_id}: {one.ending.value}, but its effects: {done}")
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
