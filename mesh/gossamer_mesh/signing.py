"""Ed25519 for the membership core: what a member says of itself, signed with its own key.

    what is signed = "gossamer 1 claim" | 0 | length of the mesh's name (1) | the name | message

The prefix keeps uses of one key apart. A claim of one mesh says nothing in another, although a
machine may use one key file in both; and what the same key signs elsewhere (TLS certificates and
handshakes, which begin otherwise) is never a claim.

Nothing is cached: the core checks a claim only when it would change the table, so each is checked
about once (measured on a shared core: 0.1 ms to check, 0.05 ms to sign; a table of a thousand new
members takes a tenth of a second, spread over its frames).
"""

from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gossamer_mesh.errors import MisuseError
from gossamer_mesh.identity import Identity
from gossamer_mesh.seal import MESH_NAME_BYTES_MAX

_PURPOSE = b"gossamer 1 claim\0"


class Ed25519Signer:
    """The signer of one node in one mesh.

    Args:
        identity: the node's key.
        mesh_name: what the signatures are good for.

    Raises:
        MisuseError: the name is empty or too long.
    """

    def __init__(self, identity: Identity, mesh_name: str) -> None:
        name = mesh_name.encode()
        if not 0 < len(name) <= MESH_NAME_BYTES_MAX:
            raise MisuseError(
                f"the mesh name {mesh_name!r} has {len(name)} bytes; "
                f"give 1 to {MESH_NAME_BYTES_MAX}."
            )
        self._private_key = identity.private_key
        self._prefix = _PURPOSE + bytes((len(name),)) + name
        self.public_key = identity.private_key.public_key().public_bytes(
            Encoding.Raw, PublicFormat.Raw
        )

    def sign(self, message: bytes) -> bytes:
        """64 bytes that only this node's key makes."""
        return self._private_key.sign(self._prefix + message)

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Whether that key signed that message for this mesh. Junk is False."""
        try:
            key = Ed25519PublicKey.from_public_bytes(public_key)
            key.verify(signature, self._prefix + message)
        except (InvalidSignature, ValueError):
            return False
        return True

    def id_of(self, public_key: bytes) -> str:
        """As `identity.node_id_of`: the first 16 bytes of SHA-256, in hex."""
        return sha256(public_key).digest()[:16].hex()
