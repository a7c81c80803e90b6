"""Client certificates: whose each is, by which of its names, and when it ends."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st
from tests.gateway.door_world import Authority

from gossamer_gateway.door import certificates
from gossamer_gateway.door.certificates import Certificates, Refused, Subjects
from gossamer_gateway.door.principals import Grant, Role

WORK = (Grant(Role.WORK),)
KNOWN = Certificates(
    Subjects(
        {
            "cn:worker": WORK,
            "dns:Shop.Test": WORK,
            "uri:spiffe://hotel/shop": WORK,
            "email:anna@hotel.test": WORK,
        }
    )
)
DAY_MS = 86_400_000


def now_ms() -> int:
    return int(datetime.now(UTC).timestamp() * 1_000)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.mark.parametrize(
    ("cn", "names", "found"),
    [
        ("worker", [], "cn:worker"),
        ("Worker", [], None),
        ("x", [x509.DNSName("other.test"), x509.DNSName("SHOP.test")], "dns:shop.test"),
        ("x", [x509.UniformResourceIdentifier("spiffe://hotel/shop")], "uri:spiffe://hotel/shop"),
        ("x", [x509.RFC822Name("anna@hotel.test")], "email:anna@hotel.test"),
        ("worker", [x509.DNSName("shop.test")], "dns:shop.test"),
        ("dns:shop.test", [], None),
        ("x", [x509.DNSName("worker")], None),
        ("x", [x509.DNSName("a.shop.test")], None),
    ],
)  # fmt: skip
def test_whose_it_is(
    authority: Authority, cn: str, names: list[x509.GeneralName], found: str | None
) -> None:
    whose = KNOWN.whose(authority.der(cn, *names), now_ms())
    assert (whose.name if whose else None) == found
    assert whose is None or (whose.known_by, whose.grants) == ("certificate", WORK)


def test_a_connection_may_outlive_it(authority: Authority) -> None:
    der = authority.der("worker")
    assert KNOWN.whose(der, now_ms()) is KNOWN.whose(der, now_ms())
    for ms in (now_ms() + 2 * DAY_MS, now_ms() - 2 * DAY_MS):
        with pytest.raises(Refused, match="expired"):
            KNOWN.whose(der, ms)


@given(st.binary(max_size=300))
def test_junk_is_refused(der: bytes) -> None:
    with pytest.raises(Refused):
        KNOWN.whose(der, 0)


def test_what_is_remembered_is_bounded(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "REMEMBERED_MAX", 2)
    known = Certificates(Subjects({}))
    for number in range(4):
        assert known.whose(authority.der(str(number)), now_ms()) is None
    assert len(known._remembered) == 2
