"""Signatures: nodes' signer and the simulations' twin pass one suite."""

from typing import TYPE_CHECKING

import pytest

from gossamer_mesh.errors import MisuseError
from gossamer_mesh.identity import Identity
from gossamer_mesh.packing import pack, unpack
from gossamer_mesh.signing import Ed25519Signer
from gossamer_mesh.swim.codec import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, Codec, Profile
from gossamer_mesh.testing.toy_signing import ToySigner

if TYPE_CHECKING:
    from gossamer_mesh.swim.codec import Signer


@pytest.fixture(params=["real", "toy"])
def signers(request: pytest.FixtureRequest) -> "tuple[Signer, Signer]":
    if request.param == "toy":
        return ToySigner("aa" * 16), ToySigner("bb" * 16)
    return (
        Ed25519Signer(Identity.generate(), "mesh"),
        Ed25519Signer(Identity.generate(), "mesh"),
    )


def test_everyone_can_check_what_one_signed(signers: "tuple[Signer, Signer]") -> None:
    one, other = signers
    signature = one.sign(b"word")
    assert (len(one.public_key), len(signature)) == (PUBLIC_KEY_BYTES, SIGNATURE_BYTES)
    assert other.verify(one.public_key, b"word", signature)
    assert not other.verify(one.public_key, b"words", signature)
    assert not other.verify(other.public_key, b"word", signature)
    assert one.sign(b"word") == signature


def test_an_id_follows_from_the_key(signers: "tuple[Signer, Signer]") -> None:
    one, other = signers
    assert one.id_of(other.public_key) == other.id_of(other.public_key)
    assert one.id_of(one.public_key) != one.id_of(other.public_key)
    assert len(bytes.fromhex(one.id_of(one.public_key))) == 16


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(32), b"\xff" * 32])
@pytest.mark.parametrize("signature", [b"", bytes(63), bytes(64), b"\xff" * 64])
def test_junk_is_no_signature_and_raises_nothing(
    signers: "tuple[Signer, Signer]", key: bytes, signature: bytes
) -> None:
    one, _ = signers
    assert not one.verify(one.public_key, b"word", signature)
    if signature != bytes(64) or key != bytes(32):
        assert not one.verify(key, b"word", signature)


def test_a_node_has_the_same_id_on_streams_and_in_claims() -> None:
    identity = Identity.generate()
    signer = Ed25519Signer(identity, "mesh")
    assert signer.id_of(signer.public_key) == identity.node_id


def test_a_claim_of_one_mesh_says_nothing_in_another() -> None:
    identity = Identity.generate()
    here, there = Ed25519Signer(identity, "here"), Ed25519Signer(identity, "there")
    signature = here.sign(b"word")
    assert here.verify(here.public_key, b"word", signature)
    assert not there.verify(here.public_key, b"word", signature)


def test_where_a_name_ends_and_a_message_begins_is_signed_too() -> None:
    identity = Identity.generate()
    short, long = Ed25519Signer(identity, "ab"), Ed25519Signer(identity, "abc")
    assert not long.verify(long.public_key, b"def", short.sign(b"cdef"))


@pytest.mark.parametrize("name", ["", "n" * 65])
def test_a_mesh_has_a_name(name: str) -> None:
    with pytest.raises(MisuseError, match="mesh name"):
        Ed25519Signer(Identity.generate(), name)


def test_a_claim_is_signed_and_checked_with_real_keys() -> None:
    one, other = (Codec(pack, unpack, Ed25519Signer(Identity.generate(), "mesh")) for _ in range(2))
    claim = one.claim(5, Profile("10.0.0.1", 7946, "one", b"", 7))
    data = one.encode(3, one.own_id, 0, target="", address=None, updates=[claim.encoded])
    frame = other.decode(data)
    assert frame is not None
    assert frame.updates[0].id == one.own_id
    assert other.is_proved(frame.updates[0])
    # The same words under the other's key are the other's words, and those it did not sign.
    stolen = claim.encoded[:1] + bytes(PUBLIC_KEY_BYTES) + claim.encoded[1 + PUBLIC_KEY_BYTES :]
    frame = other.decode(pack([3, bytes(16), 0, b"", None, [stolen]]))
    assert frame is not None
    assert frame.updates[0].id != one.own_id
    assert not other.is_proved(frame.updates[0])
