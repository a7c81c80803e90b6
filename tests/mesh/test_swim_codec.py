"""Frames as bytes: what is packed is read again, and nothing that is read can do harm."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_mesh.errors import MisuseError
from gossamer_mesh.packing import pack, unpack
from gossamer_mesh.seal import OVERHEAD_BYTES
from gossamer_mesh.swim.codec import (
    CLAIM_BYTES_MAX,
    DATAGRAM_BYTES_MAX,
    FRAME_BYTES_MAX,
    FRAME_BYTES_MIN,
    GOSSIP,
    INCARNATION_MAX,
    KINDS,
    NAME_BYTES_MAX,
    PING,
    PING_REQUEST,
    STATE,
    TAGS_BYTES_MAX,
    VERDICT_BYTES_MAX,
    Codec,
    Frame,
    Profile,
)
from gossamer_mesh.swim.state import ALIVE, DEAD, LEFT, SUSPECT
from gossamer_mesh.testing.toy_signing import ToySigner

A = "aa" * 16
B = "bb" * 16

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def codec() -> Codec:
    return Codec(pack, unpack, ToySigner(A))


def profile(tags: bytes = b"tags", name: str = "a") -> Profile:
    return Profile("10.0.0.1", 7946, name, tags, 7)


def read(data: bytes) -> Frame:
    frame = codec().decode(data)
    assert frame is not None
    return frame


def test_a_frame_is_read_as_it_was_packed() -> None:
    own = codec()
    claim = own.claim(5, profile(), overruled=9)
    words = [claim.encoded] + [own.verdict(state, A, 6, B).encoded for state in (SUSPECT, DEAD)]
    data = own.encode(PING_REQUEST, A, 2**32 - 1, target=B, address=("10.0.0.2", 1), updates=words)
    frame = read(data)
    assert (frame.kind, frame.sender, frame.sequence, frame.target) == (
        PING_REQUEST,
        A,
        2**32 - 1,
        B,
    )
    assert frame.address == ("10.0.0.2", 1)
    assert [(each.state, each.id, each.incarnation, each.by) for each in frame.updates] == [
        (ALIVE, A, 5, A),
        (SUSPECT, A, 6, B),
        (DEAD, A, 6, B),
    ]
    heard = frame.updates[0].profile
    assert heard is not None
    assert heard.same_as(profile())
    assert frame.updates[0].overruled == 9
    assert [each.encoded for each in frame.updates] == words


def test_the_largest_claim_fits_the_smallest_frame() -> None:
    largest = Profile("x" * 64, 65_535, "n" * NAME_BYTES_MAX, bytes(TAGS_BYTES_MAX), 2**32 - 1)
    small = Codec(pack, unpack, ToySigner(A), FRAME_BYTES_MIN)
    claim = small.claim(INCARNATION_MAX, largest, overruled=2**32 - 1)
    assert len(claim.encoded) == 767
    assert len(small.verdict(DEAD, A, INCARNATION_MAX, B).encoded) <= VERDICT_BYTES_MAX
    words = (bytes(CLAIM_BYTES_MAX), bytes(VERDICT_BYTES_MAX))
    assert sum(small.cost(word) for word in words) <= small.room()


def test_an_ordinary_claim_is_small() -> None:
    ordinary = Profile("10.0.0.17", 7946, "node-17", bytes(100), 2**32 - 1)
    assert len(codec().claim(2**41, ordinary).encoded) <= 240


def test_a_full_room_keeps_within_the_frame() -> None:
    own = codec()
    address = ("255.255.255.255", 65_535)
    word = own.verdict(DEAD, A, INCARNATION_MAX, B).encoded
    updates = [word] * (own.room(address) // own.cost(word))
    data = own.encode(STATE, A, 2**32 - 1, target=B, address=address, updates=updates)
    assert len(data) <= FRAME_BYTES_MAX
    assert FRAME_BYTES_MAX + OVERHEAD_BYTES == DATAGRAM_BYTES_MAX


def test_fields_of_a_later_version_are_ignored_and_handed_on() -> None:
    own = codec()
    signer = ToySigner(A)
    encoded = own.claim(5, profile()).encoded
    body = pack([*unpack(encoded[97:]), "more"])
    later = encoded[:33] + signer.sign(encoded[:1] + body) + body
    envelope = unpack(own.encode(GOSSIP, B, 0, target="", address=None, updates=[later]))
    frame = read(pack([*envelope, {"more": 1}]))
    assert frame.updates[0].incarnation == 5
    assert frame.updates[0].encoded == later
    assert own.is_proved(frame.updates[0])


def test_a_word_is_proved_by_its_own_bytes_and_nobody_can_add_to_it() -> None:
    own = codec()
    for word in (own.claim(5, profile()), own.goodbye(5)):
        assert own.is_proved(word)
        frame = read(pack([GOSSIP, bytes(16), 0, b"", None, [word.encoded]]))
        assert Codec(pack, unpack, ToySigner(B)).is_proved(frame.updates[0])
        assert (frame.updates[0].id, frame.updates[0].by) == (A, A)
        for at in range(len(word.encoded)):
            changed = word.encoded[:at] + bytes((word.encoded[at] ^ 1,)) + word.encoded[at + 1 :]
            for blob in (changed, word.encoded + b"\0"):
                heard = read(pack([GOSSIP, bytes(16), 0, b"", None, [blob]])).updates
                assert [each for each in heard if own.is_proved(each) and each.id == A] == []


def test_a_goodbye_is_not_a_claim_of_the_same_bytes() -> None:
    own = codec()
    claim = own.claim(5, profile()).encoded
    [word] = read(pack([GOSSIP, bytes(16), 0, b"", None, [bytes((LEFT,)) + claim[1:]]])).updates
    assert word.state == LEFT
    assert not own.is_proved(word)


def test_an_update_that_cannot_be_read_leaves_the_rest_of_its_frame() -> None:
    own = codec()
    good = own.verdict(DEAD, A, 1, B).encoded
    bad: list[object] = [b"", pack([9, bytes(16), 1, bytes(16)]), 5, None, pack([DEAD])]
    bad += [bytes((ALIVE,)) + bytes(96), bytes((LEFT,)) + bytes(96) + pack([-1])]
    bad += [bytes((LEFT,)) + bytes(96) + pack([1, bytes(CLAIM_BYTES_MAX)])]
    bad += [pack([DEAD, bytes(16), 1, bytes(16), bytes(VERDICT_BYTES_MAX)]), bytes((LEFT,)), good]
    frame = own.decode(pack([GOSSIP, bytes(16), 0, b"", None, bad]), by_stream=True)
    assert frame is not None
    assert [each.encoded for each in frame.updates] == [good]
    assert own.updates_rejected == len(bad) - 1


@pytest.mark.parametrize(
    "fields",
    [
        [GOSSIP, bytes(15), 0, b"", None, []],
        [len(KINDS), bytes(16), 0, b"", None, []],
        [True, bytes(16), 0, bytes(16), None, []],
        [GOSSIP, bytes(16), -1, b"", None, []],
        [GOSSIP, bytes(16), 2**32, b"", None, []],
        [GOSSIP, bytes(16), 0, b"x", None, []],
        [GOSSIP, bytes(16), 0, b"", None, {}],
        [GOSSIP, bytes(16), 0, b"", ["", 1], []],
        [GOSSIP, bytes(16), 0, b"", ["h", 0], []],
        [GOSSIP, bytes(16), 0, b"", ["h", 65_536], []],
        [GOSSIP, bytes(16), 0, b"", ["h" * 65, 1], []],
        [PING, bytes(16), 0, b"", None, []],
        [PING_REQUEST, bytes(16), 0, bytes(16), None, []],
        [GOSSIP, bytes(16), 0, b"", None],
        {},
        None,
    ],
)
def test_frames_out_of_bounds_are_refused(fields: object) -> None:
    own = codec()
    assert own.decode(pack(fields)) is None
    assert own.frames_rejected == 1


@given(st.binary(max_size=FRAME_BYTES_MAX + 10))
def test_any_bytes_are_a_frame_or_counted(junk: bytes) -> None:
    own = codec()
    assert (own.decode(junk) is None) == (own.frames_rejected == 1)


@given(st.lists(plain, max_size=8))
def test_any_fields_are_a_frame_or_counted(fields: list[object]) -> None:
    own = codec()
    assert (own.decode(pack(fields)) is None) == (own.frames_rejected == 1)


@given(plain, plain)
def test_any_update_is_read_or_counted(fields: object, more: object) -> None:
    own = codec()
    heads = [b"", bytes((ALIVE,)) + bytes(96), bytes((LEFT,)) + bytes(96)]
    bodies: list[object] = [fields, [fields, more], [1, 1, 0, fields, more, "", b""], [1, fields]]
    for head in heads:
        for body in bodies:
            heard = own.decode(pack([GOSSIP, bytes(16), 0, b"", None, [head + pack(body)]]))
            for update in heard.updates if heard is not None else []:
                assert own.is_proved(update) == (update.state in (SUSPECT, DEAD))


def test_a_promise_of_gigabytes_is_refused() -> None:
    own = codec()
    for header in (b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff"):
        assert own.decode(header) is None
    assert own.decode(b"\x91" * 1_300) is None


@pytest.mark.parametrize(
    "wrong",
    [
        profile(tags=bytes(TAGS_BYTES_MAX + 1)),
        profile(name="é" * 33),
        Profile("", 1, "", b"", 0),
        Profile("h", 0, "", b"", 0),
        Profile("h", 1, "", b"", -1),
    ],
)
def test_own_words_out_of_bounds_are_our_misuse(wrong: Profile) -> None:
    with pytest.raises(MisuseError, match="out of bounds"):
        codec().claim(1, wrong)
