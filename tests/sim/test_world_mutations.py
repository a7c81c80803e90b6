"""Breaking the cores on purpose breaks a rule of the worlds, within some seeds.

Each defect is a few lines that a careless change could leave behind. A world that does not notice
one of them would not notice a real one.
"""

from collections.abc import Callable

import pytest

from gossamer_mesh.leases import granting
from gossamer_mesh.leases.claimer import Claimer
from gossamer_mesh.leases.credit import HolderView
from gossamer_mesh.leases.holder import Holder
from gossamer_mesh.leases.lease import Lease
from gossamer_mesh.leases.messages import LeaseId, OutcomeReport
from gossamer_mesh.leases.tombstones import Tombstones
from gossamer_mesh.swim import protocol
from gossamer_mesh.swim.codec import Codec
from gossamer_mesh.swim.protocol import Swim
from gossamer_mesh.testing import world, world_trouble
from gossamer_mesh.testing.lease_checks import InvariantBroken
from gossamer_mesh.testing.world import World

SEEDS_MAX = 150
"""Worlds within which a defect must have shown itself."""

SOUND_SEEDS = 15
"""Worlds as rough that sound cores must bear."""

Patch = Callable[[pytest.MonkeyPatch], None]


def rough(patch: pytest.MonkeyPatch) -> None:
    """More trouble and more work than usual: some defects show themselves sooner there."""
    patch.setattr(world_trouble, "TROUBLES_MAX", 50)
    patch.setattr(world, "JOBS_MAX", 60)
    patch.setattr(world, "POISON_PERCENT", 20)


# --- leases


def fencing(patch: pytest.MonkeyPatch) -> None:
    """Outcomes of a lease count, whichever holder had it before."""
    receive = Claimer._receive_outcome

    def unfenced(self: Claimer, sender: str, report: OutcomeReport, now_ms: int) -> None:
        one = self._table.get(report.lease.key)
        if one is not None and one.may("outcome"):
            self._take_outcome(one, report.outcome, now_ms)
        else:
            receive(self, sender, report, now_ms)

    patch.setattr(Claimer, "_receive_outcome", unfenced)


def regrant_limit(patch: pytest.MonkeyPatch) -> None:
    """A poison job walks through the mesh."""
    lose = Claimer._lose

    def forgetful(self: Claimer, one: Lease, now_ms: int) -> None:
        one.regrants = 0
        lose(self, one, now_ms)

    patch.setattr(Claimer, "_lose", forgetful)


def tombstones(patch: pytest.MonkeyPatch) -> None:
    """A repeated outcome is no longer known."""
    patch.setattr(Tombstones, "put", lambda self, lease, result: None)


def credit_spent_twice(patch: pytest.MonkeyPatch) -> None:
    """Grants on their way are not taken from the offer."""
    patch.setattr(HolderView, "credit", lambda self: self._slots_free)


def slots_offered_twice(patch: pytest.MonkeyPatch) -> None:
    """A slot with a job in it is offered."""
    patch.setattr(Holder, "slots_free", lambda self: self._slots)


def ids_repeated(patch: pytest.MonkeyPatch) -> None:
    """A lease id comes again."""

    def next_id(self: Claimer, key: str) -> LeaseId:
        self._counter += 1
        return LeaseId(self.group, key, self._member_id, 0, 1, 1)

    patch.setattr(Claimer, "_next_id", next_id)


def outcomes_not_repeated(patch: pytest.MonkeyPatch) -> None:
    """An outcome that was lost on its way is not sent again."""
    send = Holder._send_outcome

    def once(self: Holder, held: object, now_ms: int) -> None:
        if getattr(held, "tries") == 0:  # noqa: B009 (the class is private)
            send(self, held, now_ms)  # type: ignore[arg-type]

    patch.setattr(Holder, "_send_outcome", once)


def lost_holders_not_missed(patch: pytest.MonkeyPatch) -> None:
    """A dead or silent holder keeps its leases."""
    patch.setattr(Claimer, "_lose_all", lambda self, member_ids, now_ms: None)


def topics_confused(patch: pytest.MonkeyPatch) -> None:
    """A holder gets a job that it has no service for."""
    patch.setattr(granting, "choose", lambda holders, *rest: min(holders, default=None))


# --- membership


def refutation(patch: pytest.MonkeyPatch) -> None:
    """A member does not object when it is called dead."""
    patch.setattr(Swim, "_hear_of_self", lambda self, update: None)


def signatures(patch: pytest.MonkeyPatch) -> None:
    """What anybody says of anybody counts."""
    patch.setattr(Codec, "is_proved", lambda self, update: True)


def old_words(patch: pytest.MonkeyPatch) -> None:
    """The last word wins, not the newest."""
    patch.setattr(protocol, "supersedes", lambda *incarnations_and_states: True)


def suspicion(patch: pytest.MonkeyPatch) -> None:
    """Who does not answer is never called dead."""
    patch.setattr(Swim, "_pass_verdict", lambda self, state, id: None)


DEFECTS: list[Patch] = [
    fencing,
    regrant_limit,
    tombstones,
    credit_spent_twice,
    slots_offered_twice,
    ids_repeated,
    outcomes_not_repeated,
    lost_holders_not_missed,
    topics_confused,
    refutation,
    signatures,
    old_words,
    suspicion,
]


def test_sound_cores_bear_rough_worlds(monkeypatch: pytest.MonkeyPatch) -> None:
    rough(monkeypatch)
    for seed in range(SOUND_SEEDS):
        World(seed).run()


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.__name__)
def test_a_defect_is_caught_and_its_seed_told(
    defect: Patch, monkeypatch: pytest.MonkeyPatch
) -> None:
    defect(monkeypatch)
    with pytest.raises(InvariantBroken, match=r"^seed \d+ at \d+ ms: .*; replay: python -m"):
        for seed in range(SEEDS_MAX):
            World(seed).run()
            with monkeypatch.context() as patch:
                rough(patch)
                World(seed).run()
