"""Restarts, snapshots, moved members, two processes of one identity, two members of one name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.mesh.swim_bench import ADDRESSES, CODEC, ELSEWHERE, US, A, B, Bench, C, claim, forged

from gossamer_mesh.packing import pack, unpack
from gossamer_mesh.swim.codec import GOSSIP, INCARNATION_MAX, PING, SYNC, Codec, Profile, Update
from gossamer_mesh.swim.config import Config
from gossamer_mesh.swim.events import IdentityTaken, NameTaken
from gossamer_mesh.swim.protocol import Swim
from gossamer_mesh.swim.rng import Rng
from gossamer_mesh.swim.snapshot import INCARNATIONS_AHEAD, PLACES_MAX, SNAPSHOT_BYTES_MAX, decode
from gossamer_mesh.swim.state import DEAD
from gossamer_mesh.testing.toy_signing import ToySigner


def words_of_us(session: int, incarnation: int, overruled: int = 0, port: int = 9) -> Update:
    """Another process of our identity speaks."""
    profile = Profile("10.9.9.9", port, "us", b"", session)
    return Codec(pack, unpack, ToySigner(US)).claim(incarnation, profile, overruled)


def said_of_us(bench: Bench) -> Update:
    """What the core claims of itself now."""
    update = CODEC.read_update(bench.swim.own.claim)
    assert update is not None
    return update


def restarted(snapshot: bytes, incarnation: int = 3) -> Swim:
    return Swim(
        config=Config(),
        codec=Codec(pack, unpack, ToySigner(US)),
        rng=Rng(2),
        node_id=US,
        incarnation=incarnation,
        profile=Profile("10.0.0.9", 7946, "us", b"", 78),
        now_ms=0,
        snapshot=snapshot,
    )


def test_the_next_process_begins_above_all_that_this_one_says() -> None:
    bench = Bench()
    snapshot = bench.swim.snapshot()
    for number in range(100):
        bench.swim.set_tags(bytes((number,)), bench.now_ms)
    # The clock went back: its milliseconds are less than what was said.
    again = restarted(snapshot, incarnation=3)
    assert again.own.incarnation == 10 + INCARNATIONS_AHEAD > bench.swim.own.incarnation
    assert restarted(snapshot, incarnation=2**41).own.incarnation == 2**41
    assert restarted(b"", incarnation=INCARNATION_MAX).snapshot()


def test_a_member_remembers_whom_it_knew_and_asks_them_when_it_knows_nobody() -> None:
    bench = Bench()
    bench.hear(A, claim(A), claim(B))
    swim = restarted(bench.swim.snapshot())
    asked = set()
    for now_ms in range(0, 3_000, 10):
        swim.handle_timer(now_ms)
        asked |= {address for data, address in swim.datagrams_to_send() if data[1] == SYNC}
    assert asked == {ADDRESSES[A], ADDRESSES[B]}
    # It remembers them still when it ends before anyone has answered.
    remembered = decode(CODEC, swim.snapshot())
    assert remembered is not None
    assert remembered.places == {ADDRESSES[A]: A, ADDRESSES[B]: B}


def test_who_is_found_is_asked_no_more_and_who_is_forgotten_neither() -> None:
    bench = Bench()
    bench.hear(A, claim(A))
    swim = restarted(bench.swim.snapshot())
    swim.handle_timer(Config().tombstone_ms + 1)
    swim.datagrams_to_send()
    assert decode(CODEC, swim.snapshot()).places == {}  # type: ignore[union-attr]


def test_a_snapshot_is_bounded_and_prefers_the_living() -> None:
    bench = Bench()
    ids = [f"{number:08x}" * 4 for number in range(1, PLACES_MAX + 50)]
    for number, id in enumerate(ids):
        profile = Profile("fe80::" + "f" * 30, 1 + number, "n", b"", 1)
        word = Codec(pack, unpack, ToySigner(id)).claim(1, profile)
        bench.hear_by_stream(A, word)
    snapshot = bench.swim.snapshot()
    assert len(snapshot) <= SNAPSHOT_BYTES_MAX
    read = decode(CODEC, snapshot)
    assert read is not None
    assert len(read.places) == PLACES_MAX


@given(st.binary(max_size=200))
def test_any_bytes_are_a_snapshot_or_none(junk: bytes) -> None:
    for data in (junk, pack([1, [[junk, "h", 1], junk, [], [bytes(16), "h", len(junk)]]])):
        snapshot = decode(CODEC, data)
        assert snapshot is None or snapshot.incarnation <= INCARNATION_MAX
        swim = restarted(data)
        assert swim.own.incarnation >= 3


@pytest.mark.parametrize("junk", [b"x", pack([-1, []]), pack([2**60, []]), pack([1, 2]), pack([1])])
def test_a_broken_snapshot_is_counted(junk: bytes) -> None:
    swim = restarted(junk)
    assert swim.own.incarnation == 3
    assert swim.statistics()["snapshots_rejected"] == 1


def test_a_member_may_move() -> None:
    bench = Bench()
    bench.hear(A, claim(A), claim(B, 1))
    moved = Codec(pack, unpack, ToySigner(B)).claim(2, Profile(*ELSEWHERE, B[:2], b"", 1))
    bench.hear(A, moved)
    assert bench.said() == ["joined aa", "joined bb", "changed bb"]
    held = bench.swim.member(B)
    assert held is not None
    assert held.address == ELSEWHERE
    # An old word does not move it back.
    bench.hear(A, claim(B, 1))
    assert bench.swim.member(B) is held


def test_a_member_is_asked_which_of_its_claims_of_one_incarnation_holds() -> None:
    """Two of its processes reached it, neither of which knew the other's."""
    bench = Bench()
    bench.hear(A, claim(A), claim(B, 1))
    held = bench.swim.member(B)
    assert held is not None
    rival = Codec(pack, unpack, ToySigner(B)).claim(1, Profile(*ELSEWHERE, B[:2], b"", 2))
    bench.sent()
    bench.hear(A, forged(rival))
    assert bench.sent(PING) == []
    for _ in range(2):  # one question a probe interval
        bench.hear(A, rival)
    asked = bench.sent(PING)
    assert [(address, frame.target) for frame, address in asked] == [(ELSEWHERE, B)]
    assert [update.encoded for update in asked[0][0].updates] == [held.claim]
    assert bench.swim.member(B) is held
    assert bench.swim.statistics()["claims_tied"] == 1


def test_an_earlier_process_is_overruled_by_its_session() -> None:
    bench = Bench()
    bench.hear(A, claim(A), words_of_us(session=99, incarnation=500))
    now = said_of_us(bench)
    assert (now.incarnation, now.overruled) == (501, 99)
    # However much that process has said: it ended before this one began, and never names it.
    for incarnation in range(501, 520):
        bench.hear(A, words_of_us(session=99, incarnation=incarnation, overruled=55))
        bench.hear(A, words_of_us(session=98, incarnation=incarnation, overruled=99))
    assert "identity_conflicts" not in bench.swim.statistics()
    assert bench.swim.get_timer() is not None


def test_of_two_processes_the_lower_session_yields_and_is_quiet() -> None:
    bench = Bench()
    bench.hear(A, claim(A))
    bench.swim.join([ELSEWHERE], bench.now_ms)
    bench.sent()
    bench.said()
    bench.hear(A, words_of_us(session=99, incarnation=20, overruled=77))
    assert bench.said() == ["JoinUnanswered", "IdentityTaken"]
    assert bench.sent() == []
    assert bench.swim.get_timer() is None
    bench.hear(A, words_of_us(session=99, incarnation=30, overruled=77), claim(B))
    bench.swim.set_tags(b"x", bench.now_ms)
    bench.swim.leave(bench.now_ms)
    bench.swim.handle_timer(bench.now_ms + 10_000)
    assert (bench.sent(), bench.said()) == ([], [])


def test_of_two_processes_the_higher_session_stays_and_objects() -> None:
    bench = Bench()
    bench.hear(A, claim(A), words_of_us(session=33, incarnation=20, overruled=77))
    now = said_of_us(bench)
    assert (now.incarnation, now.overruled) == (21, 33)
    assert bench.said() == ["joined aa"]
    assert bench.swim.statistics()["identity_conflicts"] == 1


def test_copies_of_one_process_are_told_apart_by_their_addresses() -> None:
    for port, is_yielded in ((65_535, True), (1, False)):
        bench = Bench()
        profile = Profile("10.0.0.9", port, "us", b"", 77)
        word = Codec(pack, unpack, ToySigner(US)).claim(20, profile, 77)
        bench.hear(A, claim(A), word)
        assert ("IdentityTaken" in bench.said()) == is_yielded


def test_a_forged_rival_makes_nobody_yield() -> None:
    bench = Bench()
    word = words_of_us(session=99, incarnation=20, overruled=77).encoded
    data = CODEC.encode(
        GOSSIP, A, 0, target="", address=None, updates=[word[:33] + bytes(64) + word[97:]]
    )
    bench.swim.receive_datagram(data, ADDRESSES[A], bench.now_ms)
    assert bench.said() == []
    assert bench.swim.own.incarnation == 10


def events_of(bench: Bench) -> list[tuple[str, str]]:
    found = []
    while (event := bench.swim.next_event()) is not None:
        assert not isinstance(event, IdentityTaken)
        if isinstance(event, NameTaken):
            found.append((event.member.id, event.other_id))
    return found


def named(id: str, name: str, incarnation: int = 1) -> Update:
    profile = Profile(*ADDRESSES[id], name, b"", 1)
    return Codec(pack, unpack, ToySigner(id)).claim(incarnation, profile)


def test_two_members_of_one_name_are_told_once() -> None:
    bench = Bench()
    bench.hear(A, named(A, "pump"), named(B, "pump"), named(C, ""))
    assert events_of(bench) == [(B, A)]
    bench.hear(A, named(B, "other", 2))
    bench.hear(A, named(B, "pump", 3))
    bench.hear(A, CODEC.verdict(DEAD, B, 3, A))
    bench.hear(A, named(B, "pump", 4))
    assert events_of(bench) == []
    bench.hear(A, named(C, "us", 2))
    assert events_of(bench) == [(C, US)]
    assert bench.swim.statistics()["names_taken"] == 2
