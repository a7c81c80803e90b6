"""The circuit breaker, second by second."""

from random import Random

import pytest

from gossamer_gateway.runs.providers import circuit
from gossamer_gateway.runs.providers.circuit import NEXT, Circuit, State, Word


def fails(one: Circuit, now_ms: int, times: int = 1) -> None:
    for _ in range(times):
        ticket = one.ask(now_ms)
        assert ticket is not None
        one.tell(ticket, now_ms, good=False)


def state(one: Circuit) -> State:
    """Asked anew each time, whatever mypy has concluded."""
    return one.state


def opened() -> Circuit:
    """One that has just opened, at 0."""
    one = Circuit()
    fails(one, 0, circuit.FAILURES_MIN)
    assert state(one) is State.OPEN
    return one


def test_a_few_failures_are_chance() -> None:
    one = Circuit()
    fails(one, 0, circuit.FAILURES_MIN - 1)
    assert state(one) is State.CLOSED and one.wait_ms(0) == 0


def test_failures_among_many_good_calls_do_not_open_it() -> None:
    one = Circuit()
    for now_ms in range(0, 20_000, 10):
        ticket = one.ask(now_ms)
        assert ticket is not None
        one.tell(ticket, now_ms, good=now_ms % 30 != 0)
    assert state(one) is State.CLOSED


def test_failures_that_are_long_ago_do_not_count() -> None:
    one = Circuit()
    for now_ms in range(0, 10 * circuit.WINDOW_MS, circuit.WINDOW_MS // 2):
        fails(one, now_ms)
    assert state(one) is State.CLOSED


def test_while_it_is_open_nothing_passes() -> None:
    one = opened()
    assert one.ask(1) is None and one.ask(circuit.OPEN_MS - 1) is None
    assert one.wait_ms(1) == circuit.OPEN_MS - 1


def test_then_one_may_try_and_a_good_one_closes_it() -> None:
    one = opened()
    probe = one.ask(circuit.OPEN_MS)
    assert probe is not None and state(one) is State.HALF_OPEN
    assert one.ask(circuit.OPEN_MS) is None and one.wait_ms(circuit.OPEN_MS) == circuit.WAIT_MS
    one.tell(probe, circuit.OPEN_MS + 5, good=True)
    assert state(one) is State.CLOSED and one.ask(circuit.OPEN_MS + 5) is not None
    fails(one, circuit.OPEN_MS + 6, circuit.FAILURES_MIN - 1)
    assert state(one) is State.CLOSED, "it counts anew"


def test_a_probe_that_fails_opens_it_for_twice_as_long_up_to_a_bound() -> None:
    one, now_ms, waits = opened(), 0, []
    for _ in range(5):
        now_ms += one.wait_ms(now_ms)
        fails(one, now_ms)
        waits.append(one.wait_ms(now_ms))
    assert waits == [20_000, 40_000, 60_000, 60_000, 60_000]
    now_ms += one.wait_ms(now_ms)
    probe = one.ask(now_ms)
    assert probe is not None
    one.tell(probe, now_ms, good=True)
    fails(one, now_ms, circuit.FAILURES_MIN)
    assert one.wait_ms(now_ms) == circuit.OPEN_MS, "and begins anew"


def test_a_call_from_before_it_opened_has_no_say() -> None:
    one = Circuit()
    early = one.ask(0)
    assert early is not None
    fails(one, 0, circuit.FAILURES_MIN)
    one.tell(early, 1, good=True)
    assert state(one) is State.OPEN
    probe = one.ask(circuit.OPEN_MS)
    assert probe is not None
    one.tell(early, circuit.OPEN_MS, good=False)
    assert state(one) is State.HALF_OPEN
    one.tell(probe, circuit.OPEN_MS, good=True)
    one.tell(early, circuit.OPEN_MS, good=False)
    assert state(one) is State.CLOSED


def test_a_probe_that_was_given_up_leaves_its_place_to_the_next() -> None:
    one = opened()
    probe = one.ask(circuit.OPEN_MS)
    assert probe is not None and one.ask(circuit.OPEN_MS) is None
    one.forget(probe)
    assert one.ask(circuit.OPEN_MS) is not None


def test_a_probe_that_is_never_told_of_does_not_keep_it_for_ever() -> None:
    one = opened()
    lost = one.ask(circuit.OPEN_MS)
    later = circuit.OPEN_MS + circuit.PROBE_MS
    assert one.ask(later - 1) is None
    probe = one.ask(later)
    assert lost is not None and probe is not None and probe != lost
    one.tell(lost, later, good=False)
    assert state(one) is State.HALF_OPEN


def test_the_table_knows_every_word_that_may_come() -> None:
    assert set(NEXT) == {(s, w) for s in State for w in Word} - {
        (State.CLOSED, Word.TIME),
        (State.HALF_OPEN, Word.TIME),
    }


@pytest.mark.parametrize("seed", range(200))
def test_whatever_comes_there_is_one_probe_and_an_end_to_waiting(seed: int) -> None:
    random, one, now_ms = Random(seed), Circuit(), 0
    at_work: list[int] = []
    for _ in range(400):
        now_ms += random.choice((0, 1, 500, 5_000, 30_000))
        ticket = one.ask(now_ms)
        if ticket is not None:
            at_work.append(ticket)
            if one.state is State.HALF_OPEN:
                assert one.ask(now_ms) is None, seed
        assert 0 <= one.wait_ms(now_ms) <= circuit.OPEN_MS_MAX, seed
        while at_work and random.random() < 0.6:
            picked = at_work.pop(random.randrange(len(at_work)))
            if random.random() < 0.1:
                one.forget(picked)
            else:
                one.tell(picked, now_ms, good=random.random() < 0.4)
    now_ms += circuit.OPEN_MS_MAX + circuit.PROBE_MS
    assert one.ask(now_ms) is not None, seed
