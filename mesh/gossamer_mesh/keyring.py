"""The mesh key as a ring: one key that seals, others that still open, so that it can change while
the mesh runs.

    # comments and empty lines are for people
    bWVzaCBrZXkgbWVzaCBrZXkgbWVzaCBrZXkgbWVzaCE=      the first key seals, and is shown in TLS
    YW5vdGhlciBtZXNoIGtleSwgb25lIHRoYXQgb3BlbnM=      all of them open, and are taken in TLS
    retired 3f9a1c0be2d47788                          a key that was here: who still has it is told

A file of one line, 32 bytes in base64, is a ring of one key. A rotation is three steps, each done
on all members before the next: `added` everywhere, `led_by` everywhere, `kept_only` everywhere; so
at any time each member opens what any other seals. Keys are spoken of by fingerprint, which tells
nothing of them.
"""

import base64
import binascii
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gossamer_mesh import keyfiles
from gossamer_mesh.errors import KeyFileError, MisuseError

KEY_BYTES = 32
"""256 bits: a key for any of the AEADs of RFC 5116."""

KEYS_MAX = 8
"""A rotation needs two; the rest is for one that was given up half-way. Each costs a receiver a
comparison a datagram and a certificate."""

RETIRED_MAX = 8
"""Fingerprints kept of keys that were removed, the newest last."""

FINGERPRINT_BYTES = 8
HINT_BYTES = 4
"""The beginning of a fingerprint, on every datagram and in the names that TLS asks for: which key
of the ring is meant. Two keys of a ring that share it by chance (1 in 150 million) are refused."""

KEY_FILE_BYTES_MAX = 16_384
"""Eight keys are some hundred bytes; the rest is room for comments."""

_RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Keyring:
    """The keys of a mesh, as one member has them.

    Attributes:
        keys: 32 bytes each; the first seals, all open.
        retired: fingerprints of keys that were removed.

    Raises:
        MisuseError: no key, more than `KEYS_MAX`, one of another length, or the same twice.
    """

    keys: tuple[bytes, ...]
    retired: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < len(self.keys) <= KEYS_MAX:
            raise MisuseError(f"a keyring has 1 to {KEYS_MAX} keys, this one {len(self.keys)}.")
        for key in self.keys:
            if len(key) != KEY_BYTES:
                raise MisuseError(f"a mesh key has {KEY_BYTES} bytes, this one {len(key)}.")
        if len({hint_of(key) for key in self.keys}) < len(self.keys):
            raise MisuseError("a keyring has each key once; remove the second.")

    def fingerprints(self) -> tuple[str, ...]:
        """Of all keys, in order."""
        return tuple(fingerprint(key) for key in self.keys)

    def key_of(self, mark: str) -> bytes | None:
        """The key of a fingerprint."""
        return next((key for key in self.keys if fingerprint(key) == mark), None)

    def is_retired(self, hint: bytes) -> bool:
        """Whether a hint is of a key that was removed."""
        return any(mark.startswith(hint.hex()) for mark in self.retired)

    def added(self, key: bytes) -> "Keyring":
        """Opens with one key more; it seals as before."""
        if key in self.keys:
            return self
        mark = fingerprint(key)
        return Keyring((*self.keys, key), tuple(one for one in self.retired if one != mark))

    def led_by(self, mark: str) -> "Keyring":
        """Seals with the key of a fingerprint; opens what it opened.

        Raises:
            MisuseError: no such key.
        """
        key = self.key_of(mark)
        if key is None:
            raise MisuseError(f"there is no key {mark} in the ring; add it first.")
        return Keyring((key, *(one for one in self.keys if one != key)), self.retired)

    def kept_only(self, mark: str) -> "Keyring":
        """Without all other keys, whose fingerprints it remembers.

        Raises:
            MisuseError: the key is not the one that seals.
        """
        if fingerprint(self.keys[0]) != mark:
            raise MisuseError(f"the key {mark} is not in use; use it first.")
        removed = self.fingerprints()[1:]
        earlier = (one for one in self.retired if one not in removed)
        return Keyring(self.keys[:1], (*earlier, *removed)[-RETIRED_MAX:])


def fingerprint(key: bytes) -> str:
    """16 hex digits that name a key and tell nothing of it (RFC 5869)."""
    info = b"gossamer 1 fingerprint"
    return HKDF(SHA256(), FINGERPRINT_BYTES, salt=b"", info=info).derive(key).hex()


def hint_of(key: bytes) -> bytes:
    """See `HINT_BYTES`."""
    return bytes.fromhex(fingerprint(key))[:HINT_BYTES]


def read_keyring(path: Path) -> Keyring:
    """Reads a mesh key file, which only its owner may read.

    Raises:
        KeyFileError: missing, not readable, of another form, or open to other users.
    """
    data = keyfiles.read(path, "the mesh key", bytes_max=KEY_FILE_BYTES_MAX)
    keys: list[bytes] = []
    retired: list[str] = []
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        words = line.partition("#")[0].split()
        if words[:1] == [_RETIRED] and len(words) == 2 and _is_fingerprint(words[1]):
            retired.append(words[1])
        elif words:
            keys.append(_key_of_line("".join(words), path, number))
    if not keys:
        raise KeyFileError(f"{path} has no mesh key; {_REMEDY}")
    try:
        return Keyring(tuple(keys), tuple(retired[-RETIRED_MAX:]))
    except MisuseError as error:
        raise KeyFileError(f"{path} is no keyring: {error}") from error


def write_keyring(path: Path, ring: Keyring) -> None:
    """Replaces the file by a ring, atomically, on the disk when this returns. Comments go.

    Raises:
        KeyFileError: it cannot be written; the file is as before.
    """
    keyfiles.replace(path, text_of(ring), "the mesh key")


def text_of(ring: Keyring) -> bytes:
    """A key file's content."""
    lines = [f"{base64.b64encode(key).decode()}\n" for key in ring.keys]
    lines += [f"{_RETIRED} {mark}\n" for mark in ring.retired]
    return "".join(lines).encode()


_REMEDY = "copy the file of another member, or make one with: gossamer key new"


def _key_of_line(text: str, path: Path, number: int) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise KeyFileError(
            f"line {number} of {path} is not a mesh key (base64 of {KEY_BYTES} bytes); {_REMEDY}"
        )
    return key


def _is_fingerprint(text: str) -> bool:
    return len(text) == 2 * FINGERPRINT_BYTES and set(text) <= set("0123456789abcdef")
