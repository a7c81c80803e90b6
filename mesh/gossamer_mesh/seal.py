"""Datagrams under the mesh key: read by members only, and by members of this mesh only.

    version (1) | salt (16) | counter (8) | ChaCha20-Poly1305 of the frame, tag included

A process draws its salt once and counts its datagrams; each salt has a subkey of its own
(HKDF-SHA256 of mesh key, mesh name and salt), so no nonce ever repeats under a key, however many
members share the mesh key. Random nonces under one key would collide after some days of a large
mesh, and a single collision lets forgeries in. The mesh's name goes into the subkey: another name
opens nothing. An old datagram can be replayed; what that can change is the protocol's matter
(incarnations).
"""

import os
from collections import OrderedDict

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gossamer_mesh.errors import MisuseError

VERSION = 1
KEY_BYTES = 32
MESH_NAME_BYTES_MAX = 64

_SALT_BYTES = 16
_COUNTER_BYTES = 8
_HEADER_BYTES = 1 + _SALT_BYTES + _COUNTER_BYTES
_TAG_BYTES = 16

OVERHEAD_BYTES = _HEADER_BYTES + _TAG_BYTES
"""What a seal adds to a frame: 41 (memberlist's AES-GCM: 29, with random nonces)."""

PEER_SUBKEYS_MAX = 4_096
"""Subkeys kept, one per running peer; beyond, the one unused for longest is dropped, to be derived
again."""


def derive(key: bytes, mesh_name: str, purpose: str, salt: bytes = b"") -> bytes:
    """32 bytes that follow from the mesh key, the mesh's name, a purpose and a salt (RFC 5869).

    Raises:
        MisuseError: the key is not 32 bytes long, or the name is empty or too long.
    """
    name = mesh_name.encode()
    if len(key) != KEY_BYTES:
        raise MisuseError(f"a mesh key has {KEY_BYTES} bytes, this one {len(key)}.")
    if not 0 < len(name) <= MESH_NAME_BYTES_MAX:
        raise MisuseError(
            f"the mesh name {mesh_name!r} has {len(name)} bytes; give 1 to {MESH_NAME_BYTES_MAX}."
        )
    info = b"gossamer 1 " + purpose.encode() + b"\0" + name
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt, info=info).derive(key)


class Seal:
    """Seals and opens one process's datagrams.

    Args:
        key: the mesh key, 32 bytes.
        mesh_name: see `derive`.

    Raises:
        MisuseError: see `derive`.
    """

    def __init__(self, key: bytes, mesh_name: str) -> None:
        self._key = key
        self._mesh_name = mesh_name
        self._salt = os.urandom(_SALT_BYTES)
        self._own = self._subkey(self._salt)
        self._counter = 0
        self._peers: OrderedDict[bytes, ChaCha20Poly1305] = OrderedDict()
        self.rejected_form = 0
        self.rejected_key = 0

    def seal(self, frame: bytes) -> bytes:
        """A datagram that `open` of any member of the mesh takes."""
        self._counter += 1
        counter = self._counter.to_bytes(_COUNTER_BYTES, "big")
        header = bytes((VERSION,)) + self._salt + counter
        return header + self._own.encrypt(_nonce(counter), frame, header)

    def open(self, datagram: bytes) -> bytes | None:
        """The frame, or None for anything else; `rejected_form` counts what is no datagram of this
        version, `rejected_key` what another key or mesh name sealed, or what was changed."""
        if len(datagram) < OVERHEAD_BYTES or datagram[0] != VERSION:
            self.rejected_form += 1
            return None
        header = datagram[:_HEADER_BYTES]
        salt, counter = header[1 : 1 + _SALT_BYTES], header[1 + _SALT_BYTES :]
        subkey = self._peers.get(salt) or self._subkey(salt)
        try:
            frame = subkey.decrypt(_nonce(counter), datagram[_HEADER_BYTES:], header)
        except InvalidTag:
            self.rejected_key += 1
            return None
        # Only a salt that proved itself takes a place: junk cannot push out the members'.
        self._peers[salt] = subkey
        self._peers.move_to_end(salt)
        if len(self._peers) > PEER_SUBKEYS_MAX:
            self._peers.popitem(last=False)
        return frame

    def _subkey(self, salt: bytes) -> ChaCha20Poly1305:
        return ChaCha20Poly1305(derive(self._key, self._mesh_name, "datagrams", salt))


def _nonce(counter: bytes) -> bytes:
    return b"\0\0\0\0" + counter
