"""Key files of a node: who it is."""

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gossamer_mesh.errors import KeyFileError
from gossamer_mesh.identity import load_operator_key, load_or_create, node_id_of


def write(path: Path, data: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


def test_a_node_keeps_its_identity(tmp_path: Path) -> None:
    path = tmp_path / "deeper" / "node.key"
    first = load_or_create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_or_create(path).node_id == first.node_id
    assert load_or_create(tmp_path / "other.key").node_id != first.node_id


def test_the_node_id_is_the_hash_of_the_public_key() -> None:
    # The vector: SHA-256 of the public key of RFC 8032 §7.1, test 1, cut to 16 bytes.
    secret = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    public_key = Ed25519PrivateKey.from_private_bytes(secret).public_key()
    assert node_id_of(public_key) == "21fe31dfa154a261626bf854046fd227"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_keys_that_others_may_use_are_refused(tmp_path: Path, mode: int) -> None:
    node = tmp_path / "node.key"
    load_or_create(node)
    node.chmod(mode)
    with pytest.raises(KeyFileError, match=f"chmod 600 {node}"):
        load_or_create(node)


def test_what_is_no_node_key_is_refused(tmp_path: Path) -> None:
    other = X25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    for data in (b"", b"junk", other):
        with pytest.raises(KeyFileError, match="move it away"):
            load_or_create(write(tmp_path / "node.key", data))


def test_files_that_cannot_be_had_are_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"nowhere.key: No such file"):
        load_operator_key(tmp_path / "nowhere.key")
    with pytest.raises(KeyFileError, match="cannot be kept"):
        load_or_create(write(tmp_path / "file", b"") / "node.key")
    with pytest.raises(KeyFileError, match=r"is not a file|Is a directory"):
        load_or_create(tmp_path)
