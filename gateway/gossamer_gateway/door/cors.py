"""From which web pages a browser may ask, by the Fetch standard's CORS protocol. Pure.

quart-cors was looked at (0.8.0, the last, is of December 2024): it knows one set of rules for a
whole application or a mark on each handler, not paths that a person names; it works within Quart,
behind the door, which has to answer preflights before it asks who is there; and it sends nothing
where a page is foreign, where this refuses. The protocol itself is this page.

A browser puts `Origin` on what pages ask across origins, and on all that is no GET or HEAD. Rules:

1. A request with the origin of another page is answered as the first rule says that names its path
   and that origin. A preflight is answered here; no credentials come with it.
2. Where no rule does, a GET is answered without CORS headers, so the page cannot read it; whatever
   may change something, and a WebSocket, which no such header protects, is refused.
3. `*` is never told together with credentials (Fetch §3.2.5): the origin itself is, with `Vary`.
4. Without authentication, a page whose name was made to mean this machine (DNS rebinding) would be
   of the same origin. So then the `Host` must be an address, `localhost`, or a name that is
   configured. An address is no name, and cannot be rebound.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from gossamer_gateway.door.principals import fits

SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
ALL_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
PREFLIGHT_HEADERS_MAX = 100

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class CorsRule:
    """Pages of `origins` may ask for `paths`. `origins` may be `*`: any page."""

    origins: tuple[str, ...]
    paths: tuple[str, ...] = ()
    methods: tuple[str, ...] = ALL_METHODS
    headers: tuple[str, ...] = ("authorization", "content-type", "idempotency-key", "x-api-key")
    exposed: tuple[str, ...] = ("RateLimit", "RateLimit-Policy", "Retry-After")
    credentials: bool = False
    max_age_ms: int = 600_000

    def names(self, origin: str, path: str) -> bool:
        return ("*" in self.origins or origin in self.origins) and (
            not self.paths or fits(self.paths, path)
        )


@dataclass(frozen=True, slots=True)
class Page:
    """What a request's origin means.

    Attributes:
        refused: why it is not let in; None when it is.
        preflight: the answer is `headers` alone.
        headers: to add to whatever is answered.
    """

    refused: str | None = None
    preflight: bool = False
    headers: Headers = ()


OWN = Page()
_VARY = ((b"vary", b"Origin"),)


def judge(
    rules: Sequence[CorsRule],
    *,
    method: str,
    path: str,
    origin: bytes,
    host: str,
    asked_method: bytes | None = None,
    asked_headers: bytes | None = None,
    websocket: bool = False,
) -> Page:
    """What to do with a request that has an Origin.

    Args:
        host: the request's Host: the gateway's own pages are of it. The scheme is not looked at,
            as a proxy before the gateway may have ended TLS.
        asked_method, asked_headers: Access-Control-Request-Method and -Headers.
    """
    name = origin.decode("latin-1")
    if host and name.partition("://")[2] == host:
        return OWN
    preflight = method == "OPTIONS" and asked_method is not None
    rule = next((one for one in rules if one.names(name, path)), None)
    if rule is None:
        if preflight or websocket or method not in SAFE_METHODS:
            return Page(f"pages of {_shown(name)} may not ask for this", headers=_VARY)
        return Page(headers=_VARY)
    headers = _allowing(rule, name)
    if not preflight:
        if method not in rule.methods and method != "OPTIONS":
            return Page(f"pages of {_shown(name)} may not {method} this", headers=_VARY)
        exposed = ", ".join(rule.exposed).encode()
        return Page(headers=(*headers, (b"access-control-expose-headers", exposed)))
    assert asked_method is not None
    names = [part.strip().lower() for part in (asked_headers or b"").decode("latin-1").split(",")]
    wanted = [part for part in names if part]
    known = {part.lower() for part in rule.headers}
    if asked_method.decode("latin-1") not in rule.methods:
        return Page(f"pages of {_shown(name)} may not use this method here", headers=_VARY)
    if len(wanted) > PREFLIGHT_HEADERS_MAX or not all(
        _TOKEN.fullmatch(part) and part in known for part in wanted
    ):
        return Page(f"pages of {_shown(name)} may not send these headers", headers=_VARY)
    return Page(
        preflight=True,
        headers=(
            *headers,
            (b"access-control-allow-methods", ", ".join(rule.methods).encode()),
            (b"access-control-allow-headers", ", ".join(rule.headers).encode()),
            (b"access-control-max-age", b"%d" % (rule.max_age_ms // 1_000)),
        ),
    )


def _allowing(rule: CorsRule, origin: str) -> Headers:
    if "*" in rule.origins and not rule.credentials:
        return ((b"access-control-allow-origin", b"*"),)
    allowed = (b"access-control-allow-origin", origin.encode("latin-1"))
    if rule.credentials:
        return (allowed, (b"access-control-allow-credentials", b"true"), *_VARY)
    return (allowed, *_VARY)


def is_known_host(host: str, names: Iterable[str]) -> bool:
    """Whether a Host is an address, `localhost`, or one of the names; a port is passed over."""
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(?::[0-9]{1,5})?", host)
    if match is None:
        return False
    name = match[1].lower()
    if name == "localhost" or name in names:
        return True
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def parse_origin(text: str) -> str:
    """An origin as browsers write it: `https://example.org:8443`, or `*`. Raises: ValueError."""
    form = r"[a-z][a-z0-9+.-]*://(?:\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?"
    if text != "*" and re.fullmatch(form, text) is None:
        raise ValueError("is no origin")
    if text.startswith("http://") and text.endswith(":80"):
        raise ValueError("has the port that browsers leave out")
    if text.startswith("https://") and text.endswith(":443"):
        raise ValueError("has the port that browsers leave out")
    return text


def _shown(origin: str) -> str:
    return origin[:100] if origin.isprintable() else "an unreadable origin"
