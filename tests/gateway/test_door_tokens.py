"""Tokens: what holds, what each kind of attack on them gets, and what their claims give."""

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st
from tests.gateway.door_world import ISSUER, NOW_MS, Signer, claims, issuer

from gossamer_gateway.door import tokens
from gossamer_gateway.door.principals import Role
from gossamer_gateway.door.tokens import Refused, Tokens, UnknownKey, read_keys

SIGNER = Signer("one")
OTHER = Signer("two")
CURVE = Signer("three", "ES256")


def jwks(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


def judge(*signers: Signer, **more: Any) -> Tokens:
    judging = Tokens(issuer(**more))
    judging.take(read_keys(jwks(*(one.public() for one in signers or (SIGNER, CURVE)))))
    return judging


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forged(header: dict[str, Any], payload: dict[str, Any], signature: bytes = b"") -> str:
    parts = [b64(json.dumps(one).encode()) for one in (header, payload)]
    return ".".join([*parts, b64(signature)])


@pytest.mark.parametrize("signer", [SIGNER, CURVE])
def test_a_token_holds(signer: Signer) -> None:
    found = judge().whose(signer.sign(claims()), NOW_MS)
    assert (found.name, found.known_by) == ("anna", "token")
    assert found.may(Role.WORK) and not found.may(Role.READ)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"iss": None}, "issuer"),
        ({"iss": ISSUER + "/"}, "issuer"),
        ({"iss": [ISSUER]}, "issuer"),
        ({"aud": None}, "audience"),
        ({"aud": "other"}, "audience"),
        ({"aud": ["other", "Gossamer"]}, "audience"),
        ({"aud": {"gossamer": 1}}, "audience"),
        ({"exp": None}, "no end"),
        ({"exp": NOW_MS // 1_000 - 30}, "expired"),
        ({"exp": str(NOW_MS)}, "no time"),
        ({"exp": True}, "no time"),
        ({"exp": 2**70}, "no time"),
        ({"exp": -1}, "no time"),
        ({"nbf": NOW_MS // 1_000 + 31}, "not hold yet"),
        ({"iat": NOW_MS // 1_000 + 31}, "not hold yet"),
        ({"nbf": "soon"}, "no time"),
        ({"sub": ""}, "whose"),
        ({"sub": "x" * 201}, "whose"),
    ],
)  # fmt: skip
def test_claims_that_do_not_hold(more: dict[str, Any], why: str) -> None:
    # As a signature over bytes, since PyJWT would not write all of these.
    payload = json.dumps(claims(**more)).encode()
    text = jwt.PyJWS().encode(payload, SIGNER.key, "RS256", {"kid": "one"})
    with pytest.raises(Refused, match=why):
        judge().whose(text, NOW_MS)


@pytest.mark.parametrize(
    "more",
    [
        {"exp": NOW_MS // 1_000 - 29},
        {"nbf": NOW_MS // 1_000 + 30, "iat": NOW_MS // 1_000 + 30},
        {"aud": ["other", "gossamer"]},
        {"exp": NOW_MS / 1_000 + 0.5},
    ],
)
def test_claims_that_hold_by_the_leeway(more: dict[str, Any]) -> None:
    assert judge().whose(SIGNER.sign(claims(**more)), NOW_MS).name == "anna"


def test_a_remembered_token_ends_too() -> None:
    judging, text = judge(), SIGNER.sign(claims(exp=NOW_MS // 1_000 + 10))
    ends_ms = NOW_MS + 10_000 + 30_000
    assert judging.whose(text, NOW_MS) is judging.whose(text, ends_ms - 1)
    with pytest.raises(Refused, match="expired"):
        judging.whose(text, ends_ms)


def test_a_token_ends_with_its_key() -> None:
    judging, text = judge(), SIGNER.sign(claims())
    judging.whose(text, NOW_MS)
    judging.take(read_keys(jwks(OTHER.public())))
    with pytest.raises(UnknownKey):
        judging.whose(text, NOW_MS)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "REMEMBERED_MAX", 2)
    judging = judge()
    for number in range(4):
        judging.whose(CURVE.sign(claims(sub=str(number))), NOW_MS)
    assert len(judging._remembered) == 2


# --- attacks


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", None, 5, ["RS256"], {}])
def test_a_token_without_signature(algorithm: object) -> None:
    for signature in (b"", b"x"):
        text = forged({"alg": algorithm, "typ": "JWT", "kid": "one"}, claims(), signature)
        with pytest.raises(Refused):
            judge().whose(text, NOW_MS)


@pytest.mark.parametrize("form", ["pem", "der", "jwk"])
@pytest.mark.parametrize("algorithm", ["HS256", "HS512"])
def test_the_public_key_as_a_secret(form: str, algorithm: str) -> None:
    """Whoever knows the public key signs with it, and calls it a shared secret."""
    public = SIGNER.key.public_key()
    secret = {
        "pem": public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
        "der": public.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
        "jwk": json.dumps(SIGNER.public()).encode(),
    }[form]
    text = forged({"alg": algorithm, "kid": "one"}, claims())
    signed = text.rpartition(".")[0]
    digest = hashlib.sha256 if algorithm == "HS256" else hashlib.sha512
    signature = hmac.new(secret, signed.encode(), digest).digest()
    with pytest.raises(Refused, match="not allowed"):
        judge().whose(f"{signed}.{b64(signature)}", NOW_MS)


def test_a_secret_cannot_be_configured() -> None:
    assert not [name for name in tokens.ALGORITHMS if name.startswith("HS") or name == "none"]


def test_an_algorithm_that_is_not_configured() -> None:
    text = jwt.encode(claims(), SIGNER.key, algorithm="RS512", headers={"kid": "one"})
    with pytest.raises(Refused, match="not allowed"):
        judge().whose(text, NOW_MS)


def test_a_key_of_another_type() -> None:
    """An RS256 token that names the curve's key, and the reverse."""
    for signer, kid in ((SIGNER, "three"), (CURVE, "one")):
        text = jwt.encode(claims(), signer.key, algorithm=signer.algorithm, headers={"kid": kid})
        with pytest.raises(UnknownKey):
            judge().whose(text, NOW_MS)


def test_a_key_that_names_its_algorithm_is_used_with_no_other() -> None:
    judging = Tokens(issuer(algorithms=("RS256", "PS256")))
    judging.take(read_keys(jwks(SIGNER.public(alg="RS256"))))
    assert judging.whose(SIGNER.sign(claims()), NOW_MS)
    text = jwt.encode(claims(), SIGNER.key, algorithm="PS256", headers={"kid": "one"})
    with pytest.raises(UnknownKey):
        judging.whose(text, NOW_MS)


@pytest.mark.parametrize(
    "headers",
    [
        {"jwk": OTHER.public()},
        {"jku": "https://evil.test/keys"},
        {"x5u": "https://evil.test/cert"},
        {"x5c": ["AAAA"]},
    ],
)
def test_a_token_that_brings_its_own_key(headers: dict[str, Any]) -> None:
    text = jwt.encode(claims(), OTHER.key, algorithm="RS256", headers={"kid": "one", **headers})
    with pytest.raises(Refused):
        judge().whose(text, NOW_MS)


@pytest.mark.parametrize(
    "kid", ["../../dev/null", "one' OR '1'='1", "", "ONE", "one\u0000", "x" * 9_000]
)
def test_a_kid_is_looked_up_and_nothing_else(kid: str) -> None:
    with pytest.raises(UnknownKey):
        judge().whose(SIGNER.sign(claims(), kid=kid), NOW_MS)


@pytest.mark.parametrize("kid", [5, ["one"], {"one": 1}, True])
def test_a_kid_that_is_no_text(kid: object) -> None:
    with pytest.raises(Refused):
        judge().whose(forged({"alg": "RS256", "kid": kid}, claims(), b"x" * 256), NOW_MS)


def test_without_kid_only_where_there_is_no_choice() -> None:
    text = Signer.sign(_without_kid(SIGNER), claims())
    assert judge(SIGNER).whose(text, NOW_MS)
    with pytest.raises(Refused, match="which of several"):
        judge(SIGNER, OTHER).whose(text, NOW_MS)


def _without_kid(signer: Signer) -> Signer:
    other = object.__new__(Signer)
    other.kid, other.algorithm, other.key = None, signer.algorithm, signer.key
    return other


def test_critical_headers_are_refused() -> None:
    text = forged({"alg": "RS256", "kid": "one", "crit": ["exp"], "exp": 1}, claims(), b"x" * 256)
    with pytest.raises(Refused):
        judge().whose(text, NOW_MS)


def test_another_signer_with_the_same_kid() -> None:
    with pytest.raises(Refused, match="signature"):
        judge().whose(Signer("one").sign(claims()), NOW_MS)


def test_a_token_that_was_changed() -> None:
    head, _, signature = SIGNER.sign(claims()).split(".")
    for payload in (claims(roles=["admins"]), {}, {"roles": ["admins"]}):
        changed = ".".join((head, b64(json.dumps(payload).encode()), signature))
        with pytest.raises(Refused, match="signature"):
            judge().whose(changed, NOW_MS)


@pytest.mark.parametrize("payload", [b"", b"[]", b"5", b"null", b"\xff", b"[" * 100_000])
def test_claims_that_are_none(payload: bytes) -> None:
    text = jwt.PyJWS().encode(payload, SIGNER.key, "RS256", {"kid": "one"})
    with pytest.raises(Refused):
        judge().whose(text, NOW_MS)


@given(st.text(st.characters(codec="ascii"), max_size=200))
def test_junk_is_refused(text: str) -> None:
    for junk in (text, f"{text}.{text}.{text}", f"{b64(text.encode())}.e30.AA"):
        with pytest.raises(Refused):
            judge().whose(junk, NOW_MS)


def test_huge_tokens_are_refused() -> None:
    for junk in ("a" * 1_000_000, "." * 100_000, forged({"alg": "RS256", "a": ["x"] * 9_999}, {})):
        with pytest.raises(Refused):
            judge().whose(junk, NOW_MS)


# --- what claims give


@pytest.mark.parametrize(
    ("claim", "more", "roles"),
    [
        ("roles", {"roles": ["workers", "admins", "x"]}, {Role.WORK, Role.ADMIN}),
        ("roles", {"roles": "x workers"}, {Role.WORK}),
        ("roles", {"roles": {"workers": 1}}, set()),
        ("roles", {"roles": None}, set()),
        ("roles", {"roles": [["workers"], 5, None]}, set()),
        ("realm_access.roles", {"realm_access": {"roles": ["workers"]}}, {Role.WORK}),
        ("realm_access.roles", {"realm_access": ["roles"]}, set()),
        ("https://a.test/roles", {"https://a.test/roles": ["workers"]}, {Role.WORK}),
        ("scope", {"scope": "openid workers"}, {Role.WORK}),
        ("a.b.c.d", {"a": {"b": {"c": {"d": "workers"}}}}, {Role.WORK}),
    ],
)  # fmt: skip
def test_roles_by_claim(claim: str, more: dict[str, Any], roles: set[Role]) -> None:
    judging = judge(roles_claim=claim)
    found = judging.whose(SIGNER.sign(claims(**more)), NOW_MS)
    assert {one.role for one in found.grants} == roles


def test_the_name_is_a_claim_of_choice() -> None:
    judging = judge(name_claim="email")
    assert judging.whose(SIGNER.sign(claims(email="a@b.test")), NOW_MS).name == "a@b.test"
    with pytest.raises(Refused, match=r"whose it is \(email\)"):
        judging.whose(SIGNER.sign(claims()), NOW_MS)


# --- the issuer's keys


def test_keys_that_cannot_be_used_are_passed_over() -> None:
    small: Any = jwt.algorithms.RSAAlgorithm.to_jwk(
        rsa.generate_private_key(65_537, 1_024).public_key(), as_dict=True
    )
    good = SIGNER.public()
    useless: list[Any] = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "one"},
        small | {"kid": "small"},
        SIGNER.public(use="enc"),
        SIGNER.public(key_ops=["encrypt"]),
        SIGNER.public(key_ops="verify"),
        SIGNER.public(alg="HS256"),
        SIGNER.public(alg="ES256"),
        SIGNER.public(kid=5),
        {"kty": "RSA"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"},
        {"kty": "OKP", "crv": "X25519", "x": "AA"},
        {"kty": ["RSA"]},
        None,
        5,
        [],
    ]
    (key,) = read_keys(jwks(*useless, good))
    assert key.kid == "one"


def test_a_private_key_that_an_issuer_shows_is_taken_as_public() -> None:
    private: Any = jwt.algorithms.RSAAlgorithm.to_jwk(SIGNER.key, as_dict=True)
    private |= {"kid": "one", "key_ops": ["sign", "verify"]}
    (key,) = read_keys(jwks(private))
    assert isinstance(key.key, rsa.RSAPublicKey)


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[]", b"null", b'{"keys": {}}', b'{"keys": []}', b"<html>", b"\xff\xfe",
     b"[" * 100_000, b'{"keys": [{"kty": "RSA", "n": "AQAB", "e": 5}]}'],
)  # fmt: skip
def test_what_is_no_list_of_keys(data: bytes) -> None:
    with pytest.raises(ValueError):
        read_keys(data)


@given(st.binary(max_size=200))
def test_junk_is_no_list_of_keys(data: bytes) -> None:
    with pytest.raises(ValueError):
        read_keys(data)
