"""Datagrams under the mesh key: read by members only, and by members of this mesh only.

    version (1) | hint (4) | salt (12) | counter (8) | ChaCha20-Poly1305 of the frame, tag included

The hint says which key of the ring sealed (`keyring.HINT_BYTES`), so junk costs no derivation, or
one where it guesses a hint, whatever the length of the ring. A process draws its salt once and
counts its datagrams; each key and salt have a subkey of their own (HKDF-SHA256 of mesh key, mesh
name, hint and salt), so no nonce ever repeats under a key, however many members share the mesh
key. Random nonces under one key would collide after some days of a large mesh, and a single
collision lets forgeries in. The mesh's name goes into the subkey: another name opens nothing. An
old datagram can be replayed; what that can change is the protocol's matter (incarnations).
"""

import os
from collections import OrderedDict

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gossamer_mesh.errors import MisuseError
from gossamer_mesh.keyring import HINT_BYTES, KEY_BYTES, Keyring, hint_of

VERSION = 1
MESH_NAME_BYTES_MAX = 64

_SALT_BYTES = 12
_COUNTER_BYTES = 8
_MARK_BYTES = HINT_BYTES + _SALT_BYTES
_HEADER_BYTES = 1 + _MARK_BYTES + _COUNTER_BYTES
_TAG_BYTES = 16

OVERHEAD_BYTES = _HEADER_BYTES + _TAG_BYTES
"""What a seal adds to a frame: 41 (memberlist's AES-GCM: 29, with random nonces)."""

PEER_SUBKEYS_MAX = 4_096
"""Subkeys kept, one per running peer and key; beyond, the one unused for longest is dropped, to be
derived again."""


def derive(key: bytes, mesh_name: str, purpose: str, salt: bytes = b"") -> bytes:
    """32 bytes that follow from a mesh key, the mesh's name, a purpose and a salt (RFC 5869).

    Raises:
        MisuseError: the name is empty or too long.
    """
    name = mesh_name.encode()
    if not 0 < len(name) <= MESH_NAME_BYTES_MAX:
        raise MisuseError(
            f"the mesh name {mesh_name!r} has {len(name)} bytes; give 1 to {MESH_NAME_BYTES_MAX}."
        )
    info = b"gossamer 1 " + purpose.encode() + b"\0" + name
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt, info=info).derive(key)


class Seal:
    """Seals and opens one process's datagrams.

    Args:
        ring: the mesh's keys; `set_ring` gives others.
        mesh_name: see `derive`.

    Raises:
        MisuseError: see `derive`.
    """

    def __init__(self, ring: Keyring, mesh_name: str) -> None:
        self._mesh_name = mesh_name
        self._salt = os.urandom(_SALT_BYTES)
        self._counter = 0
        self._peers: OrderedDict[bytes, ChaCha20Poly1305] = OrderedDict()
        self.rejected_form = 0
        self.rejected_key = 0
        self.derivations = 0
        self.set_ring(ring)

    def set_ring(self, ring: Keyring) -> None:
        """Other keys, from the next datagram on."""
        self._ring = ring
        self._keys = {hint_of(key): key for key in ring.keys}
        # The counter goes on: a key that comes back under the same salt repeats no nonce.
        self._mark = hint_of(ring.keys[0]) + self._salt
        self._own = self._subkey(self._mark)
        for mark in [mark for mark in self._peers if mark[:HINT_BYTES] not in self._keys]:
            del self._peers[mark]

    def seal(self, frame: bytes) -> bytes:
        """A datagram that `open` of any member of the mesh takes."""
        self._counter += 1
        counter = self._counter.to_bytes(_COUNTER_BYTES, "big")
        header = bytes((VERSION,)) + self._mark + counter
        return header + self._own.encrypt(_nonce(counter), frame, header)

    def open(self, datagram: bytes) -> bytes | None:
        """The frame, or None for anything else; `rejected_form` counts what is no datagram of this
        version, `rejected_key` what another key or mesh name sealed, or what was changed."""
        if len(datagram) < OVERHEAD_BYTES or datagram[0] != VERSION:
            self.rejected_form += 1
            return None
        header = datagram[:_HEADER_BYTES]
        mark, counter = header[1 : 1 + _MARK_BYTES], header[1 + _MARK_BYTES :]
        if mark[:HINT_BYTES] not in self._keys:
            self.rejected_key += 1
            return None
        subkey = self._peers.get(mark) or self._subkey(mark)
        try:
            frame = subkey.decrypt(_nonce(counter), datagram[_HEADER_BYTES:], header)
        except InvalidTag:
            self.rejected_key += 1
            return None
        # Only a salt that proved itself takes a place: junk cannot push out the members'.
        self._peers[mark] = subkey
        self._peers.move_to_end(mark)
        if len(self._peers) > PEER_SUBKEYS_MAX:
            self._peers.popitem(last=False)
        return frame

    def is_of_retired_key(self, datagram: bytes) -> bool:
        """Whether a datagram claims a key that this ring had once."""
        return (
            len(datagram) >= OVERHEAD_BYTES
            and datagram[0] == VERSION
            and self._ring.is_retired(datagram[1 : 1 + HINT_BYTES])
        )

    def _subkey(self, mark: bytes) -> ChaCha20Poly1305:
        self.derivations += 1
        key = self._keys[mark[:HINT_BYTES]]
        return ChaCha20Poly1305(derive(key, self._mesh_name, "datagrams", mark))


def _nonce(counter: bytes) -> bytes:
    return b"\0\0\0\0" + counter
