"""Datagrams under the mesh key."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_mesh.errors import MisuseError
from gossamer_mesh.keyring import Keyring
from gossamer_mesh.seal import OVERHEAD_BYTES, PEER_SUBKEYS_MAX, Seal
from gossamer_mesh.swim.codec import DATAGRAM_BYTES_MAX, FRAME_BYTES_MAX

KEY = bytes(range(32))
RING = Keyring((KEY,))


def test_a_member_opens_what_another_sealed() -> None:
    ours, theirs = Seal(RING, "mesh"), Seal(RING, "mesh")
    for frame in (b"", b"frame", os.urandom(FRAME_BYTES_MAX)):
        datagram = theirs.seal(frame)
        assert len(datagram) == len(frame) + OVERHEAD_BYTES <= DATAGRAM_BYTES_MAX
        assert ours.open(datagram) == frame
    assert (ours.rejected_form, ours.rejected_key) == (0, 0)


def test_equal_frames_give_different_datagrams() -> None:
    seal = Seal(RING, "mesh")
    assert len({seal.seal(b"frame") for _ in range(10)}) == 10


@pytest.mark.parametrize("other", [Seal(Keyring((bytes(32),)), "mesh"), Seal(RING, "another")])
def test_another_key_or_mesh_name_opens_nothing(other: Seal) -> None:
    ours = Seal(RING, "mesh")
    assert ours.open(other.seal(b"frame")) is None
    assert ours.rejected_key == 1


def test_any_changed_bit_is_refused() -> None:
    ours = Seal(RING, "mesh")
    datagram = Seal(RING, "mesh").seal(b"frame")
    for index in range(len(datagram)):
        for bit in (1, 128):
            changed = bytearray(datagram)
            changed[index] ^= bit
            assert ours.open(bytes(changed)) is None
    assert ours.open(datagram) == b"frame"


@given(st.binary(max_size=1_500))
def test_junk_is_counted_and_nothing_else(junk: bytes) -> None:
    seal = Seal(RING, "mesh")
    assert seal.open(junk) is None
    assert seal.rejected_form + seal.rejected_key == 1


def test_peers_beyond_the_bound_still_get_through() -> None:
    ours = Seal(RING, "mesh")
    first = Seal(RING, "mesh")
    ours.open(first.seal(b"first"))
    for _ in range(PEER_SUBKEYS_MAX):
        ours.open(Seal(RING, "mesh").seal(b"one of many"))
    assert len(ours._peers) == PEER_SUBKEYS_MAX
    assert ours.open(first.seal(b"again")) == b"again"


@pytest.mark.parametrize("name", ["", "x" * 65])
def test_names_have_bounds(name: str) -> None:
    with pytest.raises(MisuseError):
        Seal(RING, name)
