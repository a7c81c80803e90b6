"""What a request brings: each form, and junk, which is refused and nothing worse."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_gateway.door.credentials import (
    HEADER_BYTES_MAX,
    ApiKey,
    Token,
    Unreadable,
    read_credential,
)


def authorization(value: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"accept", b"*/*"), (b"authorization", value)]


def basic(text: str) -> bytes:
    return b"Basic " + base64.b64encode(text.encode())


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"Bearer gsk_ab_cd", ApiKey("gsk_ab_cd")),
        (b"bearer gsk_ab_cd", ApiKey("gsk_ab_cd")),
        (b"BEARER   gsk_ab_cd  ", ApiKey("gsk_ab_cd")),
        (b"Bearer a.b.c", Token("a.b.c")),
        (b"Bearer GSK_AB", Token("GSK_AB")),
        (basic("demo:gsk_ab_cd"), ApiKey("gsk_ab_cd")),
        (basic(":gsk_ab_cd"), ApiKey("gsk_ab_cd")),
        (basic("demo:pass:word"), ApiKey("pass:word")),
        (basic("demo:"), ApiKey("")),
    ],
)  # fmt: skip
def test_it_is_read(value: bytes, found: object) -> None:
    assert read_credential(authorization(value)) == found


def test_a_key_has_a_header_of_its_own() -> None:
    assert read_credential([(b"x-api-key", b" gsk_a ")]) == ApiKey("gsk_a")
    assert read_credential([(b"accept", b"*/*")]) is None


@pytest.mark.parametrize("value", [b"", b" ", b"\t"])
def test_an_empty_authorization_is_none(value: bytes) -> None:
    assert read_credential(authorization(value)) is None


@pytest.mark.parametrize(
    "value",
    [b"Bearer", b"Bearer ", b"Bearer a b", b"Bearer a,b", b"Bearer \xff", b"Basic", b"Basic !",
     b"Basic " + base64.b64encode(b"no colon"), b"Basic YQ", b"Digest a", b"Token a", b"gsk_a",
     b"Bearer\tgsk_a", b"Basic Z2Vo \xe9", b"Bearer " + b"a" * HEADER_BYTES_MAX],
)  # fmt: skip
def test_it_is_refused(value: bytes) -> None:
    with pytest.raises(Unreadable):
        read_credential(authorization(value))


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", b"Bearer gsk_a"), (b"authorization", b"Bearer gsk_b")],
        [(b"authorization", b"Bearer gsk_a"), (b"x-api-key", b"gsk_a")],
        [(b"x-api-key", b"gsk_a"), (b"x-api-key", b"gsk_a")],
    ],
)
def test_several_are_refused(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(Unreadable, match="several"):
        read_credential(headers)


@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda one: b"Basic " + one))
def test_junk_is_read_or_refused(value: bytes) -> None:
    try:
        found = read_credential(authorization(value))
        assert isinstance(found, ApiKey | Token) or not value.strip()
    except Unreadable as error:
        assert str(error).isprintable()


@given(st.text(max_size=50), st.text(max_size=50))
def test_any_password_comes_through_basic(user: str, password: str) -> None:
    found = read_credential(authorization(basic(f"{user.replace(':', '')}:{password}")))
    assert found == ApiKey(password.encode().decode("latin-1"))


def test_a_secret_is_in_no_repr() -> None:
    for found in (ApiKey("gsk_secret"), Token("secret")):
        assert "secret" not in repr(found)
