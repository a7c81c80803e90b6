"""Keys: who a node is, and who may be in the mesh.

A node's identity is an Ed25519 key in a file of its own; its id is the hash of the public key, so
nobody can take the id without the key. The mesh key is a secret of 32 bytes that all members share;
from it and the mesh's name comes an authority whose certificates TLS 1.3 streams check. Files that
other users can read are refused: a key seen once is a key lost.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Identity:
    """This node's Ed25519 private key (32 raw bytes) and the id that follows from it."""

    private_key: bytes
    node_id: str


def load_or_create(path: Path) -> Identity:
    """Reads a node's identity, or makes and keeps a new one (PEM, mode 0600).

    Raises:
        KeyFileError: not a key, not readable, not writable, or open to other users.
    """
    raise NotImplementedError(path)


def read_mesh_key(path: Path) -> bytes:
    """Reads the mesh key: base64 of 32 bytes, in a file that only its owner may read.

    Raises:
        KeyFileError: missing, of another form, or open to other users.
    """
    raise NotImplementedError(path)
