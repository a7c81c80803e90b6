"""Whose words count: signatures, verdicts and the allow-list."""

import pytest
from tests.mesh.swim_bench import ADDRESSES, CODEC, US, A, B, Bench, C, claim, forged, goodbye

from gossamer_mesh.errors import MisuseError
from gossamer_mesh.packing import pack, unpack
from gossamer_mesh.swim.codec import (
    ACK,
    GOSSIP,
    INCARNATION_MAX,
    PING,
    Codec,
    Profile,
)
from gossamer_mesh.swim.config import Config
from gossamer_mesh.swim.protocol import Swim
from gossamer_mesh.swim.rng import Rng
from gossamer_mesh.swim.state import ALIVE, DEAD, SUSPECT
from gossamer_mesh.testing.toy_signing import ToySigner


def test_forged_words_change_nothing() -> None:
    bench = Bench()
    bench.hear(A, claim(A, 5), claim(B, 5))
    bench.said()
    bench.hear(C, forged(claim(B, 9, tags=b"x")), forged(goodbye(B, 5)), forged(claim(C)))
    bench.hear(C, forged(claim(US, 99, session=1)), forged(goodbye(US, 10)))
    assert bench.said() == []
    assert bench.swim.own.incarnation == 10
    assert bench.state_of(B) == ALIVE
    assert bench.state_of(C) is None
    assert bench.swim.statistics()["claims_forged"] == 5


def test_old_words_are_not_worth_a_check() -> None:
    bench = Bench()
    bench.hear(A, claim(A, 5))
    bench.hear(A, forged(claim(A, 5)), forged(claim(A, 4)))
    assert "claims_forged" not in bench.swim.statistics()


def test_only_a_member_itself_moves_its_incarnation() -> None:
    """Else a verdict on the last incarnation of all would lock a member out for ever."""
    bench = Bench()
    bench.hear(A, claim(A), claim(B, 3))
    for state in (SUSPECT, DEAD):
        bench.hear(A, CODEC.verdict(state, B, INCARNATION_MAX, A))
        bench.hear(A, CODEC.verdict(state, US, INCARNATION_MAX, A))
    held = bench.swim.member(B)
    assert held is not None
    assert (held.state, held.incarnation) == (ALIVE, 3)
    assert bench.swim.own.incarnation == 10
    assert bench.swim.statistics()["verdicts_ahead"] == 4
    # With the claim that it answers it counts, whichever comes first in the frame.
    bench.hear(A, CODEC.verdict(SUSPECT, B, 7, A), claim(B, 7))
    assert bench.state_of(B) == SUSPECT


def test_a_verdict_does_not_push_out_the_claim_that_it_answers() -> None:
    bench = Bench()
    bench.hear(A, claim(A), claim(B, 3))
    bench.sent()
    bench.hear(A, claim(B, 4), CODEC.verdict(SUSPECT, B, 4, A))
    bench.advance(bench.now_ms + 300)
    [(frame, _)] = bench.sent(GOSSIP)[:1]
    told = {(word.state, word.incarnation) for word in frame.updates if word.id == B}
    assert told == {(ALIVE, 4), (SUSPECT, 4)}
    bench.hear(A, claim(B, 5))
    bench.sent()
    bench.advance(bench.now_ms + 300)
    [(frame, _)] = bench.sent(GOSSIP)[:1]
    assert [(word.state, word.incarnation) for word in frame.updates if word.id == B] == [
        (ALIVE, 5)
    ]


def test_who_is_not_on_the_list_is_not_heard_and_not_taken_in() -> None:
    bench = Bench(admits=lambda id: id in (A, B))
    bench.hear(A, claim(A), claim(C))
    bench.hear(C, claim(B), kind=PING, target=US)
    assert bench.said() == ["joined aa"]
    assert bench.sent(ACK) == []
    statistics = bench.swim.statistics()
    assert (statistics["claims_not_admitted"], statistics["frames_not_admitted"]) == (1, 1)


def test_who_is_taken_off_the_list_is_dead_here_and_not_spoken_of() -> None:
    admitted = {A, B}
    bench = Bench(admits=lambda id: id in admitted)
    bench.hear(A, claim(A), claim(B))
    bench.sent()
    bench.said()
    admitted.discard(B)
    bench.swim.check_admission(bench.now_ms)
    assert bench.said() == ["died bb"]
    assert [member.id for member in bench.swim.present()] == [US, A]
    bench.hear(A, claim(B, 2))
    assert bench.state_of(B) is None
    bench.swim.datagrams_to_send()
    bench.advance(bench.now_ms + 60_000)
    assert ADDRESSES[B] not in [address for _, address in bench.sent()]
    admitted.add(B)
    bench.hear(A, claim(B, 3))
    assert "joined bb" in bench.said()


def test_the_list_is_looked_at_now_and_then() -> None:
    admitted = {A, B}
    bench = Bench(admits=lambda id: id in admitted)
    bench.hear(A, claim(A), claim(B))
    admitted.discard(B)
    bench.advance(bench.now_ms + 2 * Config().sync_interval_ms)
    assert bench.state_of(B) is None


def test_a_member_speaks_with_its_own_key_only() -> None:
    with pytest.raises(MisuseError, match="signer"):
        Swim(
            config=Config(),
            codec=Codec(pack, unpack, ToySigner(A)),
            rng=Rng(1),
            node_id=B,
            incarnation=1,
            profile=Profile("10.0.0.9", 7946, "us", b"", 77),
            now_ms=0,
        )
