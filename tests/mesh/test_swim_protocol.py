"""One core on a bench: single datagrams in, what it says and sends out."""

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.mesh.swim_bench import (
    ADDRESSES,
    CODEC,
    ELSEWHERE,
    US,
    A,
    B,
    Bench,
    C,
    claim,
    goodbye,
)

from gossamer_mesh.swim.codec import (
    ACK,
    GOSSIP,
    INCARNATION_MAX,
    PING,
    STATE,
    SYNC,
)
from gossamer_mesh.swim.config import Config
from gossamer_mesh.swim.joining import JOINS_MAX
from gossamer_mesh.swim.state import ALIVE, DEAD, LEFT, SUSPECT


def test_a_claim_makes_a_member_and_goes_on_to_the_others() -> None:
    bench = Bench()
    bench.hear(A, claim(A))
    assert bench.said() == ["joined aa"]
    assert [member.id for member in bench.swim.present()] == [US, A]
    bench.hear(A, claim(B))
    bench.advance(bench.now_ms + 50)
    told = {update.id for frame, _ in bench.sent(GOSSIP) for update in frame.updates}
    assert B in told


def test_a_ping_is_answered_to_where_it_came_from() -> None:
    bench = Bench()
    bench.hear(A, kind=PING, target=US, sequence=5)
    [(frame, address)] = bench.sent()
    assert (frame.kind, frame.sequence, frame.target, address) == (ACK, 5, US, ADDRESSES[A])


def test_a_ping_for_somebody_else_is_not_answered() -> None:
    bench = Bench()
    bench.hear(A, kind=PING, target=B, sequence=5)
    assert bench.sent() == []
    assert bench.swim.statistics()["frames_misaddressed"] == 1


def test_bad_words_on_ourselves_are_refuted() -> None:
    for bad in (CODEC.verdict(SUSPECT, US, 10, A), CODEC.verdict(DEAD, US, 10, A), goodbye(US, 10)):
        bench = Bench()
        bench.hear(A, claim(A), bad)
        assert bench.swim.own.incarnation == 11
        bench.advance(bench.now_ms)
        words = [word for frame, _ in bench.sent() for word in frame.updates if word.id == US]
        assert words[0].incarnation == 11
        assert words[0].state == ALIVE


def test_old_words_on_ourselves_are_left_alone() -> None:
    bench = Bench()
    bench.hear(A, CODEC.verdict(DEAD, US, 9, A), claim(US, 9, session=1))
    assert bench.swim.own.incarnation == 10


def test_an_earlier_process_of_ours_is_overruled() -> None:
    bench = Bench()
    bench.hear(A, claim(US, 500, session=1))
    assert bench.swim.own.incarnation == 501


def test_incarnations_stop_at_their_bound() -> None:
    bench = Bench()
    bench.hear(
        A, claim(US, INCARNATION_MAX, session=1), CODEC.verdict(DEAD, US, INCARNATION_MAX, A)
    )
    assert bench.swim.own.incarnation == INCARNATION_MAX


def test_changes_are_told_and_mere_refutations_are_not() -> None:
    bench = Bench()
    bench.hear(A, claim(A, 1))
    bench.hear(A, claim(A, 2))
    bench.hear(A, claim(A, 3, tags=b"new"))
    assert bench.said() == ["joined aa", "changed aa"]


def test_a_new_process_under_an_old_id_ends_the_old_life() -> None:
    bench = Bench()
    bench.hear(A, claim(A, 1, session=1))
    bench.hear(A, claim(A, 2, session=2))
    assert bench.said() == ["joined aa", "died aa", "joined aa"]


def test_who_is_held_dead_and_spoken_of_as_alive_is_asked_with_the_verdict() -> None:
    bench = Bench()
    bench.hear(A, claim(A), claim(B))
    bench.bury(B)
    bench.sent()
    bench.hear(A, claim(B, 1))
    bench.hear(A, claim(B, 1))
    pings = [(frame, to) for frame, to in bench.sent(PING) if frame.target == B]
    assert len(pings) == 1
    frame, address = pings[0]
    assert address == ADDRESSES[B]
    assert [(word.id, word.state) for word in frame.updates[:2]] == [(B, DEAD), (B, ALIVE)]


def test_what_says_nothing_of_anyone_known_is_ignored() -> None:
    bench = Bench()
    bench.hear(A, CODEC.verdict(DEAD, B, 1, A), CODEC.verdict(SUSPECT, C, 1, A))
    assert bench.said() == []
    assert bench.swim.statistics()["updates_ignored"] == 2


def test_a_join_is_answered_with_the_whole_table() -> None:
    bench = Bench()
    bench.hear(A, claim(A), claim(B))
    bench.sent()
    bench.hear(C, claim(C), kind=SYNC, sequence=9)
    [(frame, address)] = bench.sent(STATE)
    assert (address, frame.sequence) == (ADDRESSES[C], 9)
    assert {update.id for update in frame.updates} == {US, A, B, C}


def test_joining_asks_until_answered() -> None:
    bench = Bench()
    bench.swim.join([ADDRESSES[A], ADDRESSES[B]], bench.now_ms)
    [(first, _), _] = bench.sent(SYNC)
    assert first.updates[0].id == US
    bench.hear(A, claim(A), claim(C), kind=STATE, target=US, sequence=first.sequence)
    assert bench.said() == ["joined aa", "joined cc", "JoinAnswered"]
    # What the mesh told a newcomer, the mesh knows: it is not repeated to it.
    bench.advance(bench.now_ms + 100)
    assert bench.sent(GOSSIP) == []
    asked = 0
    while "JoinUnanswered" not in bench.said():
        bench.advance(bench.now_ms + 100)
        asked += [to for _, to in bench.sent(SYNC)].count(ADDRESSES[B])
        assert bench.now_ms < 10_000
    assert asked == Config().join_attempts - 1


def test_a_join_is_answered_from_whichever_address_its_host_has() -> None:
    bench = Bench()
    bench.swim.join([ELSEWHERE], bench.now_ms)
    [(asked, _)] = bench.sent(SYNC)
    bench.hear(A, claim(A), kind=STATE, target=US, sequence=asked.sequence)
    assert bench.said() == ["joined aa", "JoinAnswered"]


def test_joins_have_a_bound() -> None:
    bench = Bench()
    bench.swim.join([("10.1.0.1", port) for port in range(1, JOINS_MAX + 3)], bench.now_ms)
    assert bench.said() == ["JoinUnanswered"] * 2


def test_leaving_is_told_to_members_and_to_whom_we_asked() -> None:
    bench = Bench()
    bench.hear(A, claim(A))
    bench.swim.join([ELSEWHERE], bench.now_ms)
    bench.sent()
    bench.said()
    bench.swim.leave(bench.now_ms)
    told = {
        to for frame, to in bench.sent() if [each.state for each in frame.updates][:1] == [LEFT]
    }
    assert told == {ADDRESSES[A], ELSEWHERE}
    bench.advance(bench.now_ms + 3_000)
    assert bench.said() == ["JoinUnanswered", "LeaveDone"]
    assert bench.swim.get_timer() is None
    bench.swim.leave(bench.now_ms)
    bench.swim.join([ELSEWHERE], bench.now_ms)
    assert bench.said() == ["JoinUnanswered"]


def test_tags_spread_under_the_next_incarnation_and_repeating_them_costs_nothing() -> None:
    bench = Bench()
    bench.swim.set_tags(b"new", bench.now_ms)
    bench.swim.set_tags(b"new", bench.now_ms)
    assert bench.swim.own.incarnation == 11
    assert bench.swim.own.profile.tags == b"new"


def test_an_idle_timer_is_never_in_the_past_after_it_was_handled() -> None:
    bench = Bench()
    bench.hear(A, claim(A), claim(B))
    for _ in range(2_000):
        timer_ms = bench.swim.get_timer()
        assert timer_ms is not None
        bench.now_ms = max(bench.now_ms, timer_ms)
        bench.swim.handle_timer(bench.now_ms)
        after_ms = bench.swim.get_timer()
        assert after_ms is not None
        assert after_ms > bench.now_ms
        bench.sent()
        bench.said()


def test_tables_are_bounded() -> None:
    config = Config(
        members_max=5, gone_max=2, broadcasts_max=16, events_max=16, deaths_are_doubted=0
    )
    bench = Bench(config)
    for number in range(1, 40):
        id = f"{number:032x}"
        bench.hear(A, claim(id))
        if number % 5:
            bench.hear(A, CODEC.verdict(DEAD, id, 1, A))
    statistics = bench.swim.statistics()
    assert statistics["members_present"] == 5
    assert statistics["members_gone"] == 2
    assert statistics["members_refused"] > 0
    assert statistics["broadcasts_waiting"] <= 16
    assert len(bench.said()) == 16


ids = st.sampled_from([US, A, B, C])
incarnations = st.integers(0, 12) | st.just(INCARNATION_MAX)
updates = st.one_of(
    st.builds(
        lambda state, id, incarnation, by: CODEC.verdict(state, id, incarnation, by).encoded,
        st.sampled_from([SUSPECT, DEAD]),
        ids,
        incarnations,
        ids,
    ),
    st.builds(lambda id, incarnation: goodbye(id, incarnation).encoded, ids, incarnations),
    st.builds(
        lambda id, incarnation, session: claim(id, incarnation, session=session).encoded,
        ids,
        incarnations,
        st.integers(0, 2),
    ),
    st.binary(max_size=40),
)
frames = st.builds(
    lambda kind, sender, sequence, target, words: CODEC.encode(
        kind, sender, sequence, target=target, address=ADDRESSES[A], updates=words
    ),
    st.integers(0, 7),
    ids,
    st.integers(0, 3),
    ids | st.just(""),
    st.lists(updates, max_size=6),
)
mutated = st.builds(
    lambda data, at, byte: data[: at % len(data)] + bytes((byte,)) + data[at % len(data) + 1 :],
    frames,
    st.integers(0, 10_000),
    st.integers(0, 255),
)
happenings = st.tuples(frames | mutated | st.binary(max_size=60), st.integers(0, 3_000))


@settings(max_examples=150)
@given(st.lists(happenings, max_size=25), st.integers(0, 20))
def test_nothing_that_arrives_raises_or_breaks_a_bound(
    happening: list[tuple[bytes, int]], leave_at: int
) -> None:
    bench = Bench(Config(broadcasts_max=16, events_max=16, datagrams_max=16, gone_max=2))
    for index, (data, later_ms) in enumerate(happening):
        own = bench.swim.own.incarnation
        bench.swim.receive_datagram(data, ELSEWHERE, bench.now_ms)
        assert bench.swim.own.incarnation >= own
        bench.advance(bench.now_ms + later_ms)
        if index == leave_at:
            bench.swim.leave(bench.now_ms)
        assert len(bench.sent()) <= 16
        assert len(bench.said()) <= 16
        statistics = bench.swim.statistics()
        assert statistics["broadcasts_waiting"] <= 16
        assert statistics["members_gone"] <= 3
        assert statistics["suspicions"] <= statistics["members_present"]


def test_a_ping_over_a_stream_is_answered_over_a_stream() -> None:
    bench = Bench()
    bench.hear(A, claim(A))
    bench.sent()
    bench.hear_by_stream(A, kind=PING, target=US, sequence=5)
    assert bench.sent() == []
    [(frame, address, receiver)] = bench.sent_by_stream()
    assert (frame.kind, frame.sequence, frame.target) == (ACK, 5, US)
    assert (address, receiver) == (ADDRESSES[A], A)


def test_a_stream_frame_counts_only_for_the_sender_that_the_stream_proved() -> None:
    bench = Bench()
    bench.hear_by_stream(A, claim(B), claim(A), sender_id=B)
    assert bench.said() == []
    assert bench.swim.statistics()["frames_of_another_sender"] == 1
    bench.hear_by_stream(C, kind=PING, target=US)
    assert bench.sent_by_stream() == []
    assert bench.swim.statistics()["stream_frames_of_strangers"] == 1


def test_stream_frames_wait_in_a_bounded_queue_and_may_be_long() -> None:
    bench = Bench(Config(stream_frames_max=2))
    everyone = [claim(f"{number:032x}", tags=bytes(400)) for number in range(1, 200)]
    bench.hear_by_stream(A, claim(A), *everyone)
    assert len(bench.swim.present()) == 201
    for sequence in range(3):
        bench.hear_by_stream(A, kind=SYNC, sequence=sequence)
    [table, _] = bench.sent_by_stream()
    assert len({update.id for update in table[0].updates}) == 201
    assert bench.swim.statistics()["stream_frames_dropped"] == 1
