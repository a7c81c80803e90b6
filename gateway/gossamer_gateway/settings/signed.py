"""Settings as they travel: signed by the gateway that made them.

    word       [1, gateway's public key (32), payload, Ed25519 signature (64)]
    payload    [mesh name, kind, name, value as JSON or "", clock, who, at_ms]     all of it msgpack

A person changes a setting by a request that a gateway has authenticated, so it is the gateway that
vouches for it: with its own key, the one that its node id is the hash of. Others take a word if the
signature holds and their own configuration names that id among its peers. Who has the mesh key,
and even a gateway that nobody named, changes nothing. The signature is over a prefix that no other
use of the key has, and over the name of the mesh: what was recorded elsewhere says nothing here.
A word may come from anyone and at any time, also again; an old one loses to what counts (`table`).
"""

import json
from collections.abc import Container, Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gossamer_gateway.errors import BadRequest, WordRefused
from gossamer_gateway.settings.table import CLOCK_MAX, Setting, Version
from gossamer_mesh.identity import Identity, node_id_of, operator_of
from gossamer_mesh.packing import pack, unpack

VALUE_BYTES_MAX = 32 * 2**10
"""Of a value as JSON: a fixed answer with a page of text in it."""

KIND_CHARS_MAX, NAME_CHARS_MAX, WHO_CHARS_MAX = 32, 256, 256

WORD_BYTES_MAX = VALUE_BYTES_MAX + 4 * (KIND_CHARS_MAX + NAME_CHARS_MAX + WHO_CHARS_MAX) + 512

_VERSION = 1
_PREFIX = b"gossamer 1 setting\0"


def sign(
    identity: Identity,
    mesh_name: str,
    kind: str,
    name: str,
    value: Mapping[str, Any] | None,
    *,
    clock: int,
    who: str,
    at_ms: int,
) -> Setting:
    """A new setting of this gateway.

    Raises: BadRequest for one that is too long.
    """
    text = "" if value is None else _text(value)
    if len(text.encode("utf-8", "surrogatepass")) > VALUE_BYTES_MAX:
        raise BadRequest(
            f"the {kind} {name} takes more than {VALUE_BYTES_MAX} bytes as JSON; make it shorter."
        )
    if not 0 < len(name) <= NAME_CHARS_MAX:
        raise BadRequest(f"the name of a {kind} has 1 to {NAME_CHARS_MAX} characters.")
    who = who[:WHO_CHARS_MAX]
    try:
        payload = pack([mesh_name, kind, name, text, clock, who, at_ms])
    except UnicodeError as error:
        raise BadRequest(
            f"the {kind} has half a character in its name; write whole ones."
        ) from error
    public_key = bytes.fromhex(operator_of(identity.private_key))
    word = pack([_VERSION, public_key, payload, identity.private_key.sign(_PREFIX + payload)])
    return Setting(kind, name, value, Version(clock, identity.node_id), who, at_ms, word)


def read(word: bytes, mesh_name: str, trusted: Container[str]) -> Setting:
    """A setting that one of these gateways, by node id, made for this mesh.

    Raises: WordRefused.
    """
    setting, name, (public_key, payload, signature) = _parts(word)
    if setting.version.gateway not in trusted:
        raise WordRefused(
            f"it was made by {setting.version.gateway}, which is no gateway of this "
            "configuration; if it shall be one, name it in peers"
        )
    if name != mesh_name:
        raise WordRefused(f"it is for the mesh {name!r}, this one is {mesh_name!r}")
    try:
        public_key.verify(signature, _PREFIX + payload)
    except InvalidSignature as error:
        raise WordRefused("its gateway's signature does not hold") from error
    return setting


def read_kept(word: bytes) -> Setting:
    """A setting that was checked before it was kept here, without checking it again.

    Raises: WordRefused for bytes that are no word.
    """
    return _parts(word)[0]


def _parts(word: bytes) -> tuple[Setting, str, tuple[Ed25519PublicKey, bytes, bytes]]:
    unreadable = WordRefused("it is nothing that this version can read")
    match _unpacked(word) if len(word) <= WORD_BYTES_MAX else None:
        case [1, bytes(key), bytes(payload), bytes(signature), *_] if len(key) == 32:
            pass
        case _:
            raise unreadable
    match _unpacked(payload):
        case [
            str(mesh_name), str(kind), str(name), str(text), int(clock), str(who), int(at_ms), *_,
        ] if (
            0 < clock <= CLOCK_MAX
            and 0 <= at_ms <= CLOCK_MAX
            and 0 < len(kind) <= KIND_CHARS_MAX
            and 0 < len(name) <= NAME_CHARS_MAX
            and len(who) <= WHO_CHARS_MAX
        ):  # fmt: skip
            pass
        case _:
            raise unreadable
    value: Any = None
    if text:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            raise unreadable from None
        if not isinstance(value, dict):
            raise unreadable
    try:
        public_key = Ed25519PublicKey.from_public_bytes(key)
    except ValueError:
        raise unreadable from None
    version = Version(clock, node_id_of(public_key))
    setting = Setting(kind, name, value, version, who, at_ms, word)
    return setting, mesh_name, (public_key, payload, signature)


def _text(value: Mapping[str, Any]) -> str:
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadRequest(f"this is nothing that JSON has: {error}.") from error


def _unpacked(data: bytes) -> object:
    try:
        value: object = unpack(data)
    except Exception:  # msgpack raises a dozen kinds for junk
        return None
    return value
