"""Pages of other origins: what each may, what a browser is told, what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_gateway.door.cors import (
    ALL_METHODS,
    OWN,
    CorsRule,
    Page,
    is_known_host,
    judge,
    parse_origin,
)

PAGE = "https://app.test"
ONE = CorsRule((PAGE,), ("/v2/*",), methods=("GET", "POST"))
ANY = CorsRule(("*",), ("/v1/*",))
RULES = (ONE, ANY)


def ask(
    origin: str, path: str = "/v2/topology", method: str = "GET", websocket: bool = False
) -> Page:
    return judge(
        RULES, method=method, path=path, origin=origin.encode(), host="gateway.test:8080",
        websocket=websocket,
    )  # fmt: skip


def preflight(method: str, headers: str | None = None, origin: str = PAGE) -> Page:
    return judge(
        RULES,
        method="OPTIONS",
        path="/v2/topology",
        origin=origin.encode(),
        host="gateway.test:8080",
        asked_method=method.encode(),
        asked_headers=None if headers is None else headers.encode(),
    )


def test_a_page_that_is_named_reads_the_answer() -> None:
    page = ask(PAGE)
    assert page.refused is None and not page.preflight
    assert dict(page.headers) == {
        b"access-control-allow-origin": PAGE.encode(),
        b"access-control-expose-headers": b"RateLimit, RateLimit-Policy, Retry-After",
        b"vary": b"Origin",
    }


@pytest.mark.parametrize("origin", ["http://gateway.test:8080", "https://gateway.test:8080"])
def test_the_gateways_own_page_needs_no_rule(origin: str) -> None:
    assert ask(origin, method="DELETE") is OWN
    assert ask(origin, websocket=True) is OWN


@pytest.mark.parametrize(
    "origin",
    ["https://evil.test", "null", "", f"{PAGE}:8443", "http://app.test", f"{PAGE}/", f" {PAGE}",
     "https://gateway.test", "gateway.test:8080", "https://x@gateway.test:8080", "\u00ff"],
)  # fmt: skip
def test_a_foreign_page_reads_nothing_and_changes_nothing(origin: str) -> None:
    for method in ALL_METHODS:
        page = ask(origin, method=method)
        assert (page.refused is None) == (method in ("GET", "HEAD")), method
        assert page.headers == ((b"vary", b"Origin"),)
    assert ask(origin, websocket=True).refused is not None
    assert preflight("GET", origin=origin).refused is not None


def test_a_path_or_method_that_the_rule_does_not_name() -> None:
    assert ask(PAGE, "/engine-rest/message", "POST").refused is not None
    assert ask(PAGE, method="DELETE").refused is not None
    assert ask(PAGE, method="POST").refused is None


def test_any_page_is_a_star_without_vary() -> None:
    page = ask("https://whoever.test", "/v1/health", "POST")
    assert dict(page.headers)[b"access-control-allow-origin"] == b"*"
    assert b"vary" not in dict(page.headers)


def test_credentials_never_come_with_a_star() -> None:
    for origins in (("*",), (PAGE,)):
        rule = CorsRule(origins, credentials=True)
        page = judge([rule], method="GET", path="/", origin=PAGE.encode(), host="h")
        told = dict(page.headers)
        assert told[b"access-control-allow-origin"] == PAGE.encode()
        assert told[b"access-control-allow-credentials"] == b"true"
        assert told[b"vary"] == b"Origin"


def test_a_preflight_is_answered() -> None:
    page = preflight("POST", "Authorization, content-type")
    told = dict(page.headers)
    assert page.preflight and page.refused is None
    assert told[b"access-control-allow-methods"] == b"GET, POST"
    assert told[b"access-control-allow-headers"] == (
        b"authorization, content-type, idempotency-key, x-api-key"
    )
    assert told[b"access-control-max-age"] == b"600"


@pytest.mark.parametrize(
    ("method", "headers"),
    [("DELETE", None), ("post", None), ("", None), ("GET", "x-other"), ("GET", "a\x00b"),
     ("GET", ",".join(["accept"] * 200)), ("GET", "authorization;x"), ("PATCH", "authorization")],
)  # fmt: skip
def test_a_preflight_is_refused(method: str, headers: str | None) -> None:
    page = preflight(method, headers)
    assert page.refused is not None and not page.preflight
    assert b"access-control-allow-origin" not in dict(page.headers)


@given(st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=60))
def test_junk_is_judged_and_never_echoed(origin: bytes, method: bytes, headers: bytes) -> None:
    page = judge(
        RULES, method="OPTIONS", path="/v2/x", origin=origin, host="h",
        asked_method=method, asked_headers=headers,
    )  # fmt: skip
    assert origin == PAGE.encode() or page.refused is not None or page is OWN
    assert page.refused is None or page.refused.isprintable()


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:8080", "[::1]", "[::1]:8080", "10.1.2.3",
     "gateway.test", "gateway.test:443", "0.0.0.0"],
)  # fmt: skip
def test_a_host_that_is_known(host: str) -> None:
    assert is_known_host(host.lower(), ("gateway.test",))


@pytest.mark.parametrize(
    "host",
    ["", "evil.test", "localhost.evil.test", "127.0.0.1.evil.test", "gateway.test.", "a:b:c",
     "localhost:port", "localhost:123456", "[localhost]", "::1", "127.0.0.1@evil.test",
     "2130706433", "127.1", "localhost\n", " localhost", "[::1", "user:pass@localhost"],
)  # fmt: skip
def test_a_host_that_is_not(host: str) -> None:
    assert not is_known_host(host, ("gateway.test",))


@given(st.text(max_size=30))
def test_any_host_is_known_or_not(host: str) -> None:
    is_known_host(host, ())


@pytest.mark.parametrize("text", ["*", PAGE, "http://localhost:3000", "chrome-extension://abc"])
def test_an_origin(text: str) -> None:
    assert parse_origin(text) == text


@pytest.mark.parametrize(
    "text",
    ["app.test", "https://app.test/", "https://app.test/x", "https://App.test", "null", "",
     "https://*.test", "https://app.test:443", "http://app.test:80", "https://a b"],
)  # fmt: skip
def test_what_is_no_origin(text: str) -> None:
    with pytest.raises(ValueError):
        parse_origin(text)
