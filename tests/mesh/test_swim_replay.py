"""The whole core against words that are forged, replayed, mutated, doubled and out of order."""

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.mesh.swim_bench import ADDRESSES, CODEC, US, A, B, Bench, C, claim, goodbye

from gossamer_mesh.packing import pack, unpack
from gossamer_mesh.swim.codec import (
    GOSSIP,
    INCARNATION_MAX,
    KINDS,
    STATE,
    SYNC,
    Codec,
    Profile,
)
from gossamer_mesh.swim.config import Config
from gossamer_mesh.swim.state import DEAD, LEFT, SUSPECT
from gossamer_mesh.testing.toy_signing import ToySigner

ids = st.sampled_from([US, A, B, C])
incarnations = st.integers(0, 12) | st.just(INCARNATION_MAX)


def own_word(id: str, incarnation: int, session: int, overruled: int, name: str) -> bytes:
    codec = Codec(pack, unpack, ToySigner(id))
    return codec.claim(incarnation, Profile("h", 1, name, b"", session), overruled).encoded


def bent(word: bytes, at: int, bit: int) -> bytes:
    """An own word with one bit of its proof or its content changed."""
    place = 1 + at % (len(word) - 1)
    return word[:place] + bytes((word[place] ^ (1 << bit),)) + word[place + 1 :]


own_words = st.builds(
    own_word,
    ids,
    incarnations,
    st.sampled_from([0, 1, 76, 77, 78]),
    st.sampled_from([0, 1, 77]),
    st.sampled_from(["", "us", "n"]),
) | st.builds(lambda id, incarnation: goodbye(id, incarnation).encoded, ids, incarnations)
forged_words = st.builds(bent, own_words, st.integers(0, 10**4), st.integers(0, 7))
verdicts = st.builds(
    lambda state, id, incarnation, by: CODEC.verdict(state, id, incarnation, by).encoded,
    st.sampled_from([SUSPECT, DEAD]),
    ids,
    incarnations,
    ids,
)
digests = st.none() | st.builds(
    lambda members, power, fill, kind: (
        members,
        1 << power,
        bytes((fill,)) * (4 << power if kind == SYNC else ((1 << power) + 7) // 8),
    ),
    st.integers(0, 5),
    st.integers(0, 8),
    st.integers(0, 255),
    st.sampled_from([SYNC, STATE]),
)
frames = st.builds(
    lambda kind, sender, sequence, target, words, digest: CODEC.encode(
        kind,
        sender,
        sequence,
        target=target,
        address=ADDRESSES[A],
        updates=words,
        digest=digest,
    ),
    st.integers(0, len(KINDS)),
    ids,
    st.integers(0, 3),
    ids | st.just(""),
    st.lists(own_words | verdicts | forged_words | st.binary(max_size=120), max_size=5),
    digests,
)
mutated = st.builds(
    lambda data, at, byte: data[: at % len(data)] + bytes((byte,)) + data[at % len(data) + 1 :],
    frames,
    st.integers(0, 10_000),
    st.integers(0, 255),
)
steps = st.tuples(frames | mutated, st.booleans(), st.integers(0, 2_000))


def held(bench: Bench) -> dict[str, int]:
    members = [bench.swim.member(id) for id in (US, A, B, C)]
    return {member.id: member.incarnation for member in members if member is not None}


@settings(max_examples=100)
@given(st.lists(steps, max_size=15), st.lists(st.integers(0, 14), max_size=15))
def test_incarnations_never_go_back_whatever_comes_or_comes_again(
    happening: list[tuple[bytes, bool, int]], again: list[int]
) -> None:
    bench = Bench(Config(broadcasts_max=16, events_max=16, datagrams_max=16, stream_frames_max=4))
    replayed = [happening[index % len(happening)] for index in again] if happening else []
    for data, by_stream, later_ms in happening + replayed:
        before = held(bench)
        if by_stream:
            bench.swim.receive_stream_frame(data, A, bench.now_ms)
        else:
            bench.swim.receive_datagram(data, ADDRESSES[A], bench.now_ms)
        after = held(bench)
        assert {id for id in before if after.get(id, INCARNATION_MAX) < before[id]} == set()
        bench.advance(bench.now_ms + later_ms)
        assert len(bench.sent()) <= 16
        assert len(bench.sent_by_stream()) <= 4
        bench.said()
        bench.swim.snapshot()


@settings(max_examples=100)
@given(st.lists(forged_words, max_size=6), ids.filter(lambda id: id != US), st.booleans())
def test_forged_words_change_nothing_at_all(words: list[bytes], sender: str, in_sync: bool) -> None:
    bench = Bench()
    bench.hear(A, claim(A, 5), claim(B, 5))
    bench.hear(A, goodbye(B, 5))
    bench.said()
    bench.sent()

    def everything() -> list[tuple[str, int, int, bytes]]:
        members = [bench.swim.member(id) for id in (US, A, B, C)]
        return [
            (each.id, each.state, each.incarnation, each.claim)
            for each in members
            if each is not None
        ]

    before = everything()
    data = CODEC.encode(
        STATE if in_sync else GOSSIP, sender, 1, target="", address=None, updates=words
    )
    bench.swim.receive_datagram(data, ADDRESSES[A], bench.now_ms)
    assert everything() == before
    assert bench.said() == []
    assert len(bench.swim.present()) == 2


def test_there_is_a_left_state_to_forge() -> None:
    """The words above include goodbyes, whose first byte is their state."""
    assert goodbye(A).encoded[0] == LEFT
