"""The part of the interpreter that host functions have: nobody waits who asks now and then."""

import random

import pytest

from gossamer_node.wasm.share import BURST_S, CALL_S, QUANTUM_S, SHARE, Share


class Clock:
    """Stands still unless it is told."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_burst_is_free(clock: Clock) -> None:
    share = Share(clock)
    calls = int(BURST_S / (2 * CALL_S)) - 1
    assert not any(share.spend(CALL_S) for _ in range(calls))


def test_who_finds_it_used_up_pauses_until_some_is_earned_back(clock: Clock) -> None:
    share = Share(clock)
    owed_s = 0.003
    assert share.spend(BURST_S + owed_s) == pytest.approx((owed_s + CALL_S + QUANTUM_S) / SHARE)
    clock.now_s += (owed_s + CALL_S + QUANTUM_S) / SHARE
    assert share.spend(QUANTUM_S / 2) == 0


def test_a_quiet_time_saves_up_no_more_than_a_burst(clock: Clock) -> None:
    share = Share(clock)
    clock.now_s += 3_600
    assert share.spend(BURST_S) > 0


def test_all_together_have_their_share_and_no_more(clock: Clock) -> None:
    """Of guests that ask without end, each of which pauses when it is told to."""
    chance = random.Random(7)
    share = Share(clock)
    until_s = [clock.now_s] * 5
    began_s, computed_s = clock.now_s, 0.0
    while clock.now_s < began_s + 20:
        guest = min(range(len(until_s)), key=until_s.__getitem__)
        clock.now_s = max(clock.now_s, until_s[guest])
        seconds = chance.uniform(0, 0.004)
        # One at a time: that is what the interpreter's lock does.
        clock.now_s += seconds
        computed_s += seconds
        until_s[guest] = clock.now_s + share.spend(seconds)
    part = computed_s / (clock.now_s - began_s)
    assert SHARE * 0.8 < part <= SHARE + BURST_S / 20
