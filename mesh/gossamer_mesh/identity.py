"""Who a node is, and who may give orders: Ed25519 keys, each in a file of its own.

A node's id is the hash of its public key, so nobody can take the id without the key. An operator's
key signs orders (`orders`); nodes know it by its public half. Files that other users can read are
refused: a key seen once is a key lost. Mesh keys are `keyring`'s; what TLS makes of both is
`drivers/certificates.py`.
"""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from gossamer_mesh import keyfiles
from gossamer_mesh.errors import KeyFileError

KEY_FILE_BYTES_MAX = 4_096
"""A private key in PEM is some hundred bytes; a longer file is something else."""


@dataclass(frozen=True, slots=True)
class Identity:
    """This node's Ed25519 private key, and the id that follows from it."""

    private_key: Ed25519PrivateKey
    node_id: str

    @classmethod
    def generate(cls) -> "Identity":
        """A new one, kept nowhere."""
        return cls.of(Ed25519PrivateKey.generate())

    @classmethod
    def of(cls, private_key: Ed25519PrivateKey) -> "Identity":
        return cls(private_key, node_id_of(private_key.public_key()))


def node_id_of(public_key: Ed25519PublicKey) -> str:
    """32 lowercase hex digits: the first 16 bytes of SHA-256 of the raw public key."""
    return sha256(_raw(public_key)).digest()[:16].hex()


def load_or_create(path: Path) -> Identity:
    """Reads a node's identity, or makes a new one and keeps it (PKCS #8 PEM, mode 0600).

    Raises:
        KeyFileError: not an Ed25519 key, not readable, not writable, or open to other users.
    """
    if not path.exists():
        return Identity.of(_create(path, "the node's key"))
    return Identity.of(_load(path, "the node's key", "move it away, and the node makes a new one"))


def create_operator_key(path: Path) -> str:
    """Makes an operator's key (PKCS #8 PEM, mode 0600) and returns its public half, see
    `operator_of`.

    Raises:
        KeyFileError: the file exists or cannot be made.
    """
    return operator_of(_create(path, "the operator's key"))


def load_operator_key(path: Path) -> Ed25519PrivateKey:
    """Reads an operator's key.

    Raises:
        KeyFileError: missing, not an Ed25519 key, not readable, or open to other users.
    """
    remedy = "name the file that `gossamer key new --operator` made"
    return _load(path, "the operator's key", remedy)


def operator_of(private_key: Ed25519PrivateKey) -> str:
    """How nodes know an operator: the raw public key in 64 lowercase hex digits."""
    return _raw(private_key.public_key()).hex()


def _raw(public_key: Ed25519PublicKey) -> bytes:
    return public_key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def _create(path: Path, what: str) -> Ed25519PrivateKey:
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    keyfiles.create(path, pem, what)
    return key


def _load(path: Path, what: str, remedy: str) -> Ed25519PrivateKey:
    data = keyfiles.read(path, what, bytes_max=KEY_FILE_BYTES_MAX)
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError) as error:
        raise KeyFileError(f"{path} is no private key in PEM; {remedy}.") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{path} is a key of another kind than Ed25519; {remedy}.")
    return key
