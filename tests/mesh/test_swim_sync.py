"""Comparing tables, one frame at a time: the test is the other side."""

from tests.mesh.swim_bench import (
    ADDRESSES,
    CODEC,
    US,
    A,
    B,
    Bench,
    C,
    claim,
    goodbye,
)

from gossamer_mesh.swim.codec import ACK, PING, STATE, SYNC, Update
from gossamer_mesh.swim.config import Config
from gossamer_mesh.swim.digest import BUCKET_BYTES, Digest, bucket_of, buckets_of, mask_of
from gossamer_mesh.swim.state import ALIVE, DEAD, SUSPECT

BUCKETS = 16


def digest_of(table: dict[str, int]) -> tuple[int, int, bytes]:
    """As a SYNC has it."""
    digest = Digest()
    for id, incarnation in table.items():
        digest.toggle(id, incarnation)
    return len(table), BUCKETS, digest.folded(BUCKETS)


def words(updates: list[Update]) -> set[tuple[str, int, int]]:
    return {(update.id, update.incarnation, update.state) for update in updates}


def test_equal_tables_cost_one_empty_answer() -> None:
    bench = Bench()
    bench.hear(A, claim(A), claim(B))
    bench.sent()
    bench.hear(A, claim(A), kind=SYNC, sequence=4, digest=digest_of({US: 10, A: 1, B: 1}))
    [(frame, address)] = bench.sent()
    assert (frame.kind, frame.sequence, frame.target, address) == (STATE, 4, A, ADDRESSES[A])
    assert (frame.updates, frame.digest) == ([], None)
    assert bench.sent_by_stream() == []
    assert "syncs_differing" not in bench.swim.statistics()


def test_only_buckets_that_differ_travel() -> None:
    bench = Bench()
    bench.hear(A, claim(A), claim(B), claim(C, 5))
    bench.sent()
    bench.hear(A, kind=SYNC, digest=digest_of({US: 10, A: 1, B: 1, C: 4}))
    [(frame, _)] = bench.sent(STATE)
    assert words(frame.updates) == {(C, 5, ALIVE)}
    assert frame.digest is not None
    _, count, mask = frame.digest
    assert buckets_of(mask, count) == [bucket_of(C, count)]


def test_an_answer_is_answered_with_what_the_other_side_lacks() -> None:
    bench = Bench()
    bench.hear(A, claim(A), claim(B, 5), claim(C, 5))
    bench.sent()
    everything = (0, 1, mask_of([0], 1))
    bench.hear(A, claim(A), claim(B, 4), kind=STATE, target=US, digest=everything)
    [(frame, _)] = bench.sent(STATE)
    assert words(frame.updates) == {(US, 10, ALIVE), (B, 5, ALIVE), (C, 5, ALIVE)}
    assert frame.digest is None, "the answer to an answer ends it"
    # What an answer does not have in full is not answered.
    bench.hear(A, claim(A), kind=STATE, target=US)
    assert bench.sent(STATE) == []


def test_nothing_is_sent_back_of_what_was_just_learnt() -> None:
    bench = Bench()
    bench.hear(A, claim(A), claim(B, 5))
    bench.sent()
    everything = (0, 1, mask_of([0], 1))
    told = (claim(A), claim(B, 6), claim(C))
    bench.hear(A, *told, kind=STATE, target=US, digest=everything)
    [(frame, _)] = bench.sent(STATE)
    assert words(frame.updates) == {(US, 10, ALIVE)}


def test_the_dead_are_told_to_those_who_may_hold_them_alive_and_not_to_newcomers() -> None:
    bench = Bench()
    bench.hear(A, claim(A), claim(B))
    bench.bury(B)
    bench.sent()
    bench.hear(A, kind=SYNC, digest=digest_of({US: 10, A: 1, B: 1}))
    [(frame, _)] = bench.sent(STATE)
    assert words(frame.updates) == {(B, 1, ALIVE), (B, 1, DEAD)}
    bench.hear(C, claim(C), kind=SYNC, digest=digest_of({C: 1}))
    [(frame, _)] = bench.sent(STATE)
    assert B not in [update.id for update in frame.updates]


def test_a_death_with_its_claim_makes_nobody_known() -> None:
    bench = Bench()
    dead = (claim(B, 5), CODEC.verdict(DEAD, B, 5, A))
    bench.hear(A, claim(A), *dead, kind=STATE, target=US)
    assert bench.said() == ["joined aa"]
    # Who holds an older claim takes the newer, and the death in a table as a suspicion.
    bench.hear(A, claim(B, 4))
    bench.hear(A, *dead, kind=STATE, target=US)
    assert bench.said() == ["joined bb", "suspected bb"]
    held = bench.swim.member(B)
    assert held is not None
    assert (held.state, held.incarnation) == (SUSPECT, 5)
    bench.hear(A, claim(C, 2))
    bench.hear(A, goodbye(C, 2), kind=STATE, target=US)
    assert bench.said() == ["joined cc", "left cc"]


def test_many_words_go_over_a_stream_and_some_in_datagrams() -> None:
    bench = Bench(Config(sync_frames_max=2))
    everyone = {f"{number:02x}" + "11" * 15: 1 for number in range(256)}
    bench.hear_by_stream(A, claim(A), *[claim(id, tags=bytes(300)) for id in everyone])
    bench.sent()
    bench.hear(A, kind=SYNC)
    stream = [frame for frame, _, _ in bench.sent_by_stream()]
    datagrams = [frame for frame, _ in bench.sent(STATE)]
    assert (len(stream), len(datagrams)) == (2, 2)
    assert {update.id for frame in stream for update in frame.updates} == {*everyone, US, A}
    # Another part each time, so that all pass in the end where streams do not.
    bench.hear(A, kind=SYNC)
    again = [frame for frame, _ in bench.sent(STATE)]
    assert words(datagrams[0].updates) != words(again[0].updates)


def test_the_words_on_one_member_stay_together() -> None:
    bench = Bench(Config(sync_frames_max=8))
    ids = [f"{number:02x}" + "22" * 15 for number in range(10)]
    for id in ids:
        bench.hear(A, claim(A), claim(id, tags=bytes(500)))
        bench.hear(A, CODEC.verdict(SUSPECT, id, 1, A))
    bench.sent()
    bench.hear(A, kind=SYNC)
    for frame, _ in bench.sent(STATE):
        told = words(frame.updates)
        for id in ids:
            assert ((id, 1, ALIVE) in told) == ((id, 1, SUSPECT) in told)


def test_who_does_not_answer_is_asked_once_more_over_a_stream() -> None:
    for is_answered in (False, True):
        bench = Bench(Config(probe_interval_ms=60_000))
        bench.hear(A, claim(A))
        bench.sent()
        while not (asked := bench.sent(SYNC)):
            bench.advance(bench.now_ms + 10)
        [(question, address)] = asked
        assert address == ADDRESSES[A]
        assert question.digest is not None
        assert len(question.digest[2]) == question.digest[1] * BUCKET_BYTES
        if is_answered:
            bench.hear(A, kind=STATE, target=US, sequence=question.sequence)
        bench.advance(bench.now_ms + 2_000)
        over_streams = [frame.kind for frame, _, _ in bench.sent_by_stream()]
        assert (SYNC in over_streams) == (not is_answered)


def test_who_found_a_difference_compares_again_soon() -> None:
    for differs in (False, True):
        bench = Bench(Config(probe_interval_ms=60_000, sync_again_ms=1_000))
        bench.hear(A, claim(A))
        while not (asked := bench.sent(SYNC)):
            bench.advance(bench.now_ms + 10)
        digest = (0, 1, b"\1") if differs else None
        sequence = asked[0][0].sequence
        bench.hear(A, claim(B), kind=STATE, target=US, sequence=sequence, digest=digest)
        bench.advance(bench.now_ms + 999)
        assert bench.sent(SYNC) == []
        bench.advance(bench.now_ms + 1)
        assert len(bench.sent(SYNC)) == (1 if differs else 0)


def test_a_digest_leaves_room_for_the_claim_and_for_what_must_be_objected_to() -> None:
    bench = Bench(Config(frame_bytes_max=1_000))
    bench.swim.set_tags(bytes(512), bench.now_ms)
    for number in range(300):
        bench.hear(A, claim(A, tags=bytes(512)), claim(f"{number:03x}" + "3" * 29))
    bench.hear(A, CODEC.verdict(SUSPECT, A, 1, A))
    bench.sent()
    for _ in range(3_000):
        bench.advance(bench.now_ms + 10)
        for data, _ in bench.swim.datagrams_to_send():
            assert len(data) <= 1_000
            frame = CODEC.decode(data)
            assert frame is not None
            if frame.kind == PING:
                answer = CODEC.encode(
                    ACK, frame.target, frame.sequence, target=frame.target, address=None, updates=[]
                )
                bench.swim.receive_datagram(answer, ADDRESSES[B], bench.now_ms)
    assert bench.swim.statistics()["syncs"] >= 1
