"""Signed tokens (JWT, RFC 7519) of one issuer: whether one holds, and what its claims give.

PyJWT checks the signature (MIT, 34 kB, needs nothing beside `cryptography`, which is here; joserfc
is as good and twice as large for encryption that is not used). Its clock is the system's, so times
are judged here. Rules, by RFC 8725:

1. The algorithms are the configuration's, never the token's; `none` and those with a shared secret
   can't be configured, and each takes only keys of its own type, so a public key never becomes a
   secret. A key that names an algorithm is used with no other.
2. `iss`, `aud` and `exp` must be there and right. `nbf` and `iat` count when they are.
3. A key is found by `kid` among the issuer's; headers that bring a key or say where one is (`jwk`,
   `jku`, `x5u`, `x5c`) are not looked at, and `crit` is refused, since nothing critical is known.
4. What was verified is remembered by its hash until it ends, or until the issuer's keys change.
"""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from gossamer_gateway.door.principals import Grant, Principal

ALGORITHMS: Mapping[str, tuple[str, str | None]] = {
    "RS256": ("RSA", None),
    "RS384": ("RSA", None),
    "RS512": ("RSA", None),
    "PS256": ("RSA", None),
    "PS384": ("RSA", None),
    "PS512": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}
"""Each with the type of its keys, and their curve."""

PUBLIC = ("kty", "crv", "n", "e", "x", "y")
"""The members of a key that are anybody's (RFC 7518 §6, RFC 8037 §2)."""

RSA_BITS_MIN = 2_048
KEYS_MAX = 100
"""Of an issuer; most have two."""
REMEMBERED_MAX = 1_000
VALUES_MAX = 1_000
"""Of the claim that gives roles."""
NAME_CHARS_MAX = 200


class Refused(Exception):
    """The token does not hold; says why, for the client."""


class UnknownKey(Refused):
    """No key of its `kid` is known: the issuer may have a new one."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """Whose tokens are believed, and what their claims give.

    Attributes:
        roles_claim: by name, or by names with dots between for one inside others. A list of texts,
            or one text with spaces.
        grants: by a value of that claim.
    """

    issuer: str
    audience: str
    jwks_url: str
    grants: Mapping[str, tuple[Grant, ...]]
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    name_claim: str = "sub"
    roles_claim: str = "roles"
    leeway_ms: int = 30_000


@dataclass(frozen=True, slots=True)
class Key:
    """A public key of an issuer."""

    kid: str | None
    type: str
    curve: str | None
    algorithm: str | None
    key: Any = field(repr=False)


def read_keys(data: bytes) -> tuple[Key, ...]:
    """The keys of a JWKS (RFC 7517 §5) that can be used; others are passed over.

    Raises: ValueError, it is none, or no key can be used.
    """
    try:
        told = json.loads(data)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    listed = told.get("keys") if isinstance(told, dict) else None
    if not isinstance(listed, list):
        raise ValueError("it is no list of keys")
    read = (_read_key(one) for one in listed[:KEYS_MAX])
    keys = tuple(one for one in read if one is not None)
    if not keys:
        raise ValueError("it has no key that can be used")
    return keys


def _read_key(told: object) -> Key | None:
    if not isinstance(told, dict) or told.get("kty") not in ("RSA", "EC", "OKP"):
        return None
    operations = told.get("key_ops")
    if told.get("use", "sig") != "sig":
        return None
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):
        return None
    # Never a private one, though an issuer publish it.
    public = {name: value for name, value in told.items() if name in PUBLIC}
    kid, algorithm = told.get("kid"), told.get("alg")
    if not isinstance(kid, str | None) or not isinstance(algorithm, str | None):
        return None
    curve = told.get("crv") if told["kty"] != "RSA" else None
    usable = [name for name, form in ALGORITHMS.items() if form == (told["kty"], curve)]
    if not usable or algorithm not in (None, *usable):
        return None
    try:
        key = jwt.PyJWK(public, algorithm or usable[0]).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    if isinstance(key, RSAPublicKey) and key.key_size < RSA_BITS_MIN:
        return None
    return Key(kid, told["kty"], curve, algorithm, key)


class Tokens:
    """Judges the tokens of one issuer by the keys it was told last."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        self.has_keys = False
        self._keys: tuple[Key, ...] = ()
        self._remembered: OrderedDict[bytes, tuple[Principal, int]] = OrderedDict()
        self._jws = jwt.PyJWS(algorithms=list(issuer.algorithms))

    def take(self, keys: Iterable[Key]) -> None:
        """The issuer's keys now."""
        self._keys = tuple(keys)
        self.has_keys = True
        self._remembered.clear()

    def whose(self, text: str, now_ms: int) -> Principal:
        """Whose token it is. Raises: Refused, UnknownKey."""
        digest = hashlib.sha256(text.encode()).digest()
        remembered = self._remembered.get(digest)
        if remembered is not None and now_ms < remembered[1]:
            self._remembered.move_to_end(digest)
            return remembered[0]
        claims = self._verified(text)
        until_ms = self._check(claims, now_ms)
        principal = self._principal(claims)
        self._remembered[digest] = (principal, until_ms)
        if len(self._remembered) > REMEMBERED_MAX:
            self._remembered.popitem(last=False)
        return principal

    def _verified(self, text: str) -> dict[str, Any]:
        """The claims of a token whose signature is right."""
        try:
            header = self._jws.get_unverified_header(text)
            algorithm, kid = header.get("alg"), header.get("kid")
            if algorithm not in self.issuer.algorithms:
                raise Refused("the token's algorithm is not allowed here")
            if "crit" in header:
                raise Refused("the token has critical headers, and none is known here")
            key = self._key(algorithm, kid)
            claims = json.loads(self._jws.decode(text, key.key, algorithms=[algorithm]))
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise Refused("the token can't be read, or its signature is wrong") from error
        if not isinstance(claims, dict):
            raise Refused("the token has no claims")
        return claims

    def _key(self, algorithm: str, kid: str | None) -> Key:
        fit = [
            one
            for one in self._keys
            if (one.type, one.curve) == ALGORITHMS[algorithm]
            and one.algorithm in (None, algorithm)
            and (kid is None or one.kid == kid)
        ]
        if len(fit) == 1:
            return fit[0]
        if fit:
            raise Refused("the token does not say by which of several keys it is signed")
        raise UnknownKey("the token's key is not one of the issuer's")

    def _check(self, claims: Mapping[str, Any], now_ms: int) -> int:
        """When the token ends, as far as we are concerned. Raises: Refused."""
        issuer, audience = self.issuer, claims.get("aud")
        if claims.get("iss") != issuer.issuer:
            raise Refused("the token is of another issuer")
        if issuer.audience not in (audience if isinstance(audience, list) else [audience]):
            raise Refused("the token is for somebody else (audience)")
        ends_ms = _moment_ms(claims, "exp")
        if ends_ms is None:
            raise Refused("the token has no end (exp)")
        if now_ms >= ends_ms + issuer.leeway_ms:
            raise Refused("the token has expired")
        for name in ("nbf", "iat"):
            begins_ms = _moment_ms(claims, name)
            if begins_ms is not None and now_ms < begins_ms - issuer.leeway_ms:
                raise Refused("the token does not hold yet")
        return ends_ms + issuer.leeway_ms

    def _principal(self, claims: Mapping[str, Any]) -> Principal:
        name = claims.get(self.issuer.name_claim)
        if not isinstance(name, str) or not 0 < len(name) <= NAME_CHARS_MAX:
            raise Refused(f"the token does not say whose it is ({self.issuer.name_claim})")
        values = set(_values(claims, self.issuer.roles_claim))
        grants = [
            grant
            for value, given in self.issuer.grants.items()
            if value in values
            for grant in given
        ]
        return Principal(name, "token", grants)


def _moment_ms(claims: Mapping[str, Any], name: str) -> int | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**40:
        raise Refused(f"the token's {name} is no time")
    return int(value * 1_000)


def _values(claims: Mapping[str, Any], name: str) -> Sequence[str]:
    """What the claim that gives roles holds."""
    value: Any = claims.get(name)
    if value is None:
        value = claims
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, str):
        value = value.split()
    if not isinstance(value, list):
        return ()
    return [one for one in value[:VALUES_MAX] if isinstance(one, str)]
