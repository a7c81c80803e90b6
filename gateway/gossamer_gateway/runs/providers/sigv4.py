"""AWS Signature Version 4, as in AWS's "Create a signed AWS API request". Pure.

The body is signed whole. Every header given is signed, and `host`, `x-amz-date` and, with temporary
credentials, `x-amz-security-token` are added.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Keys:
    """Credentials; those that are temporary have a session token."""

    id: str
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


def signed(
    method: str, url: str, headers: Mapping[str, str], body: bytes, keys: Keys, *,
    region: str, service: str, at: str, query: Sequence[tuple[str, str]] = (),
) -> dict[str, str]:  # fmt: skip
    """All headers of the request, with its `authorization`.

    Args:
        url: without a query; its path encoded once, as it is sent.
        query: pairs as they are meant, not encoded.
        at: the time, as `20150830T123600Z`.
    """
    parts = urlsplit(url)
    found = {"host": parts.netloc, "x-amz-date": at, **({"x-amz-security-token": keys.token} if keys.token else {})}  # noqa: E501  # fmt: skip
    found |= {name.lower(): " ".join(value.split()) for name, value in headers.items()}
    names = ";".join(sorted(found))
    pairs = sorted((quote(name, safe=""), quote(value, safe="")) for name, value in query)
    canonical = "\n".join((
        method,
        quote(parts.path or "/", safe="/"),  # encoded twice, for every service but S3
        "&".join(f"{name}={value}" for name, value in pairs),
        "".join(f"{name}:{found[name]}\n" for name in sorted(found)),
        names,
        hashlib.sha256(body).hexdigest(),
    ))  # fmt: skip
    scope = f"{at[:8]}/{region}/{service}/aws4_request"
    text = "\n".join((ALGORITHM, at, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = f"AWS4{keys.secret}".encode()
    for part in (*scope.split("/"), text):
        key = hmac.digest(key, part.encode(), "sha256")
    said = f"{ALGORITHM} Credential={keys.id}/{scope}, SignedHeaders={names}, Signature={key.hex()}"
    return {**found, "authorization": said}
