"""Junk of every kind into the machines of calls: nothing raises, every bound is kept."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer_mesh.leases.answering import Answerer, Asked
from gossamer_mesh.leases.calling import BUSY, GROUP, Caller
from gossamer_mesh.leases.config import LeaseConfig
from gossamer_mesh.leases.messages import (
    Accept,
    Grant,
    HandBack,
    Heartbeat,
    Keep,
    LeaseId,
    OutcomeReport,
    Prolong,
    Refuse,
    Revoke,
    Settled,
    from_plain,
)

CONFIG = LeaseConfig()
MEMBERS = ["a", "b", "c"]
NUMBERS = st.integers(0, 6) | st.sampled_from([2**31, 2**62, 2**63 - 1])
LEASES = st.builds(
    LeaseId,
    st.sampled_from([GROUP, "e/1"]),
    st.sampled_from(["j/1", "j/2"]),
    st.sampled_from(MEMBERS),
    st.sampled_from([7, 8]),
    st.just(0),
    NUMBERS,
)
BLOBS = st.binary(max_size=5)
MESSAGES = st.one_of(
    st.builds(
        Heartbeat, st.just(GROUP), NUMBERS, NUMBERS, st.just([]), st.lists(LEASES, max_size=3)
    ),
    st.builds(Grant, LEASES, st.just("s"), NUMBERS, BLOBS, BLOBS),
    st.builds(OutcomeReport, LEASES, st.just("s"), BLOBS, BLOBS),
    st.builds(Prolong, LEASES, NUMBERS),
    *(
        st.builds(kind, LEASES, st.sampled_from(["", BUSY]))
        for kind in (Accept, Refuse, HandBack, Settled, Revoke, Keep)
    ),
)
STEPS = st.lists(
    st.tuples(st.integers(0, 10), st.sampled_from(MEMBERS), MESSAGES, NUMBERS), max_size=40
)


@settings(max_examples=300)
@given(STEPS)
def test_calls_bear_any_messages_in_any_order(steps: list[tuple[int, str, Any, int]]) -> None:
    now_ms = 1_000
    caller, answerer = Caller("a", 7, 3, CONFIG), Answerer("a", 7, 3, 12, CONFIG)
    running: list[LeaseId] = []
    numbers: set[int] = set()
    for kind, member, message, number in steps:
        if kind < 5:
            again = from_plain(message.to_plain())
            assert again is not None
            caller.receive_message(member, again, now_ms)
            answerer.receive_message(member, again, now_ms)
        elif kind == 5 and not caller.is_full():
            numbers.add(caller.call("j/1", "s", MEMBERS, b"in", now_ms + number % 9_000, now_ms))
        elif kind == 6 and numbers:
            caller.cancel(sorted(numbers)[number % len(numbers)], now_ms)
        elif kind == 7:
            sessions = {one: 7 + number % 2 for one in MEMBERS[: 1 + number % 3]} | {"a": 7}
            caller.set_members(sessions, now_ms)
            answerer.set_members(sessions)
        elif kind == 8 and running:
            answerer.finish(running[number % len(running)], b"out", now_ms)
        elif kind == 9:
            for one in running:
                answerer.hand_back(one)
        else:
            now_ms += number % 20_000
        caller.handle_timer(now_ms)
        answerer.handle_timer(now_ms)
        for event in answerer.events():
            if isinstance(event, Asked):
                if number % 3:
                    answerer.accept(event.lease)
                    running.append(event.lease)
                else:
                    answerer.refuse(event.lease, BUSY)
        for _, sent in caller.messages_to_send() + answerer.messages_to_send():
            assert from_plain(sent.to_plain()) is not None
        for ended in caller.events():
            numbers.remove(ended.number)
        counts = answerer.statistics()
        assert counts["running"] + counts["unacknowledged"] <= 3
        assert caller.statistics()["open"] <= 3
    # What is left ends with its time.
    for _ in range(200):
        timers = [one for one in (caller.get_timer(), answerer.get_timer()) if one is not None]
        now_ms = max(now_ms, min(timers)) if timers else now_ms
        caller.handle_timer(now_ms)
        answerer.handle_timer(now_ms)
        answerer.set_members({"a": 7})
        answerer.messages_to_send()
    assert caller.get_timer() is None
