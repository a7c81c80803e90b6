"""The life of a lease: each pair of state and step, legal or not."""

import pytest

from gossamer_mesh.errors import MisuseError
from gossamer_mesh.leases import lease as states
from gossamer_mesh.leases.lease import TRANSITIONS, Lease
from gossamer_mesh.leases.messages import LeaseId

STATES = [
    states.WAITING,
    states.GRANTED,
    states.INHERITED,
    states.HELD,
    states.ABANDONED,
    states.REPORTING,
    states.RELEASING,
    states.SETTLED,
]
STEPS = sorted({step for _, step in TRANSITIONS})


def lease_in(state: str) -> Lease:
    one = Lease(LeaseId("e/a", "j1", "m1", 7, 1, 1), "t", b"r", b"p", 30_000, 30_000, "regrant", 5)
    one.state = state
    return one


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("step", STEPS)
def test_every_pair(state: str, step: str) -> None:
    one = lease_in(state)
    assert one.may(step) == ((state, step) in TRANSITIONS)
    if one.may(step):
        one.step(step, 9)
        assert one.state == TRANSITIONS[(state, step)]
        assert one.since_ms == (5 if one.state == state else 9)
        return
    before = {name: getattr(one, name) for name in Lease.__slots__}
    with pytest.raises(MisuseError, match=f"cannot {step} while {state}"):
        one.step(step, 9)
    assert {name: getattr(one, name) for name in Lease.__slots__} == before


def test_unknown_step_raises() -> None:
    with pytest.raises(MisuseError):
        lease_in(states.HELD).step("sing", 9)


def test_every_state_is_reached_and_ends() -> None:
    reached = {states.WAITING, states.INHERITED}
    while more := {to for (state, _), to in TRANSITIONS.items() if state in reached} - reached:
        reached |= more
    assert reached == set(STATES)
    ends = {states.SETTLED}
    while more := {state for (state, _), to in TRANSITIONS.items() if to in ends} - ends:
        ends |= more
    assert ends == set(STATES)


def test_nothing_follows_the_end() -> None:
    assert not [step for state, step in TRANSITIONS if state == states.SETTLED]
