"""A signer for simulations: as fast as one hash, the same on every interpreter, and no secret.

Whoever reads this can sign for anyone, so it shows only that the core asks and what it does with
the answer; `signing.py` is what keeps others from answering. Ids can be chosen: they are the first
half of the public key.
"""

from hashlib import sha256

_ID_BYTES = 16


class ToySigner:
    """The signer of the member `id` (32 hex digits)."""

    def __init__(self, id: str) -> None:
        self.public_key = bytes.fromhex(id) + bytes(_ID_BYTES)

    def sign(self, message: bytes) -> bytes:
        """64 bytes that `verify` takes."""
        return _signature(self.public_key, message)

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Whether `sign` of the member with that key made it."""
        return signature == _signature(public_key, message)

    def id_of(self, public_key: bytes) -> str:
        """The first half of the key."""
        return public_key[:_ID_BYTES].hex()


def _signature(public_key: bytes, message: bytes) -> bytes:
    half = sha256(public_key + message).digest()
    return half + half
