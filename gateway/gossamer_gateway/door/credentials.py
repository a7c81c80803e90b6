"""What a request brings to say who it is from: read, not yet believed. Pure.

One credential a request, from `Authorization` or from `X-API-Key`; two are refused, since who
checked the one and who used the other need not be the same. What stands in a header always counts:
a wrong key beside a good client certificate is refused, not passed over.

Clients of Camunda 7 know nothing but Basic (RFC 7617), so an API key may come as its password; the
user's name is not looked at. A bearer (RFC 6750) that begins as our keys do is a key, any other a
token.
"""

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

HEADER_BYTES_MAX = 16 * 1024
"""Of a credential. Tokens of large groups have some KiB."""

_BEARER = re.compile(rb"[A-Za-z0-9._~+/-]+=*")
"""RFC 6750 §2.1, `b64token`."""


class Unreadable(Exception):
    """The credentials are none of any form that is known here; says which, for the client."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Token:
    text: str = field(repr=False)


Credential = ApiKey | Token

KEY_PREFIX = "gsk_"


def read_credential(headers: Iterable[tuple[bytes, bytes]]) -> Credential | None:
    """What a request's headers bring, names in lower case; None for nothing.

    Raises: Unreadable.
    """
    found: bytes | None = None
    name = b""
    for header, value in headers:
        if header in (b"authorization", b"x-api-key"):
            if found:
                raise Unreadable("it brings several credentials; send one")
            found, name = value, header
    if found is None or (name == b"authorization" and not found.strip()):
        return None  # @camunda8/sdk sends an empty Authorization where it has none
    if len(found) > HEADER_BYTES_MAX:
        raise Unreadable(f"its credentials are longer than {HEADER_BYTES_MAX} bytes")
    if name == b"x-api-key":
        return ApiKey(found.decode("latin-1").strip())
    scheme, _, rest = found.strip().partition(b" ")
    return _of_scheme(scheme.lower(), rest.strip())


def _of_scheme(scheme: bytes, rest: bytes) -> Credential:
    if scheme not in (b"bearer", b"basic"):
        raise Unreadable("its Authorization is neither Bearer nor Basic")
    kind: Literal["Bearer", "Basic"] = "Bearer" if scheme == b"bearer" else "Basic"
    if scheme == b"bearer" and _BEARER.fullmatch(rest):
        text = rest.decode("ascii")
        return ApiKey(text) if text.startswith(KEY_PREFIX) else Token(text)
    if scheme == b"basic":
        try:
            _, colon, password = base64.b64decode(rest, validate=True).partition(b":")
        except (binascii.Error, ValueError):
            colon, password = b"", b""
        if colon:
            return ApiKey(password.decode("latin-1"))
    raise Unreadable(f"its Authorization is no {kind} that can be read")
