"""Keys: who a node is, and who may be in the mesh.

A node's identity is an Ed25519 key in a file of its own; its id is the hash of the public key, so
nobody can take the id without the key. The mesh key is a secret of 32 bytes that all members share
(`gossamer key new` writes it). Files that other users can read are refused: a key seen once is a
key lost. What TLS makes of both is `drivers/certificates.py`.
"""

import base64
import binascii
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from gossamer_mesh.errors import KeyFileError
from gossamer_mesh.seal import KEY_BYTES

T = TypeVar("T")

KEY_FILE_BYTES_MAX = 4_096
"""A key file is some hundred bytes; a longer file is something else."""


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
    raw = public_key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return sha256(raw).digest()[:16].hex()


def load_or_create(path: Path) -> Identity:
    """Reads a node's identity, or makes a new one and keeps it (PKCS #8 PEM, mode 0600).

    Raises:
        KeyFileError: not an Ed25519 key, not readable, not writable, or open to other users.
    """
    if not path.exists():
        return _create(path)
    data = _read(path, "the node's key")
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError) as error:
        raise KeyFileError(
            f"{path} is no private key in PEM; move it away, and the node makes a new one."
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(
            f"{path} is a key of another kind than Ed25519; move it away, and the node makes one."
        )
    return Identity.of(key)


def read_mesh_key(path: Path) -> bytes:
    """Reads the mesh key: base64 of 32 bytes, in a file that only its owner may read.

    Raises:
        KeyFileError: missing, not readable, of another form, or open to other users.
    """
    data = _read(path, "the mesh key")
    try:
        key = base64.b64decode(data.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise KeyFileError(
            f"{path} is not a mesh key (base64 of {KEY_BYTES} bytes); "
            "copy the file of another member, or make one with: gossamer key new"
        )
    return key


def _create(path: Path) -> Identity:
    identity = Identity.generate()
    pem = identity.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def write() -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Exclusive: of two nodes that start on one file, one fails instead of both sharing half.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())

    _or_key_file_error(write, f"the node's key cannot be kept in {path}")
    return identity


def _read(path: Path, what: str) -> bytes:
    def read() -> bytes:
        with path.open("rb") as file:
            # Of the open file, not of the name: nobody can change one for the other in between.
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise KeyFileError(f"{path} is not a file; name the file of {what}.")
            if mode & 0o077:
                raise KeyFileError(
                    f"{path} holds {what} and other users may use it (mode {mode & 0o777:04o}); "
                    f"run: chmod 600 {path}"
                )
            return file.read(KEY_FILE_BYTES_MAX)

    return _or_key_file_error(read, f"{what} cannot be read from {path}")


def _or_key_file_error(action: Callable[[], T], failure: str) -> T:
    try:
        return action()
    except OSError as error:
        raise KeyFileError(f"{failure}: {error.strerror}; check the path and its owner.") from error
