"""`http.fetch`: one HTTP request to a granted origin.

It talks to a transport (`reaching`) rather than to httpx's client: a client keeps cookies from one
job to the next, reads proxies from the environment and decompresses without a bound. One parsed URL
is both checked and used, so no two parsers can disagree on where it leads; where its name leads is
checked again when a connection is made. A server's junk, and whatever httpx makes of it, is
UNAVAILABLE; the time is the job's, kept by `io_loop` over everything.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import httpx

from gossamer_node.wasm.asking.io_loop import Busy
from gossamer_node.wasm.asking.operations.errors import Code, OperationError, count, text, why
from gossamer_node.wasm.asking.operations.http_read import STREAMS_MAX, Streams, streams_of
from gossamer_node.wasm.asking.reaching import Unreachable
from gossamer_node.wasm.run import Run

URL_CHARACTERS_MAX = 8_192
HEADERS_MAX = 64
BODY_BYTES_MAX = 2**20
REDIRECTS_MAX = 5
TIMEOUT_MS_MAX = 3_600_000

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_OURS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "te"}
    | {"trailer", "expect"}
)
"""Headers that frame the message or steer the connection: a worker's own could split a request."""

_CREDENTIAL = re.compile(r"auth|cookie|token|secret|passw|credential|key|session|signature")
"""Headers that stay behind when a redirect leads to another origin, beside all that hold a secret
which the service was given. Every service has words of its own for a credential."""

_PORTS = {"http": 80, "https": 443}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
"""RFC 9110 §5.6.2."""


def origin_of(url: httpx.URL) -> str | None:
    """`scheme://host:port` with the port spelled out; None for what has no HTTP origin."""
    port = url.port or _PORTS.get(url.scheme)
    if port is None or url.scheme not in _PORTS or not url.host:
        return None
    return f"{url.scheme}://{url.raw_host.decode('ascii', 'replace')}:{port}"


def http_fetch(request: Mapping[str, Any], run: Run) -> Mapping[str, Any]:
    """`{"url", "method", "headers", "body" | "body_base64", "timeout_ms", "stream"}` → `{"status",
    ...}`."""
    asked = _parse(request)
    streams = _streams(request, run)
    grant = run.around.grant
    granted = _origins(grant.http_origins)
    _check_granted(asked.url, granted)
    timeout_ms = count(request, "timeout_ms", TIMEOUT_MS_MAX)
    timeout_s = run.remaining_s()
    if timeout_ms is not None:
        timeout_s = min(timeout_s, timeout_ms / 1000)
    io = run.around.io

    async def fetch() -> Mapping[str, Any]:
        return await _fetch(run, asked, granted, streams)

    try:
        return io.call(fetch, run, timeout_s)
    except TimeoutError:
        raise OperationError(
            Code.DEADLINE, f"{_where(asked.url)} did not answer within {timeout_s * 1000:.0f} ms."
        ) from None
    except Busy:
        raise OperationError(
            Code.UNAVAILABLE, "Too many operations are under way on this node."
        ) from None


def _streams(request: Mapping[str, Any], run: Run) -> Streams | None:
    """Where the answer's body is to stay until it is read, if it is to."""
    wanted = request.get("stream")
    if wanted is not None and not isinstance(wanted, bool):
        raise OperationError(Code.BAD_REQUEST, "stream is neither true nor false.")
    if not wanted or not run.around.grant.http_origins:
        return None
    streams = streams_of(run)
    if streams.are_full:
        raise OperationError(
            Code.TOO_LARGE, f"{STREAMS_MAX} streams are open; read one to its end, or close it."
        )
    return streams


def _parse(request: Mapping[str, Any]) -> httpx.Request:
    address = text(request, "url")
    if not address or len(address) > URL_CHARACTERS_MAX:
        raise OperationError(
            Code.BAD_REQUEST, f"url is missing or longer than {URL_CHARACTERS_MAX} characters."
        )
    method = text(request, "method") or "GET"
    if method not in METHODS:
        raise OperationError(Code.BAD_REQUEST, f"method is none of {', '.join(sorted(METHODS))}.")
    try:
        url = httpx.URL(address)
    except (httpx.InvalidURL, ValueError) as error:
        raise OperationError(Code.BAD_REQUEST, f"url is not a URL: {error}.") from None
    if origin_of(url) is None:
        raise OperationError(Code.BAD_REQUEST, "url is not an absolute http or https URL.")
    if url.userinfo:
        raise OperationError(Code.BAD_REQUEST, "url holds a user name; send a header instead.")
    headers = _headers(request.get("headers"))
    # Content codings are the worker's business, as they would need a bound of their own.
    if not any(name == "accept-encoding" for name, _ in headers):
        headers.append(("accept-encoding", "identity"))
    return httpx.Request(method, url, headers=headers, content=_body(request))


def _headers(given: object) -> list[tuple[str, str]]:
    if given is None:
        return []
    if not isinstance(given, dict) or len(given) > HEADERS_MAX:
        raise OperationError(
            Code.BAD_REQUEST, f"headers is not a map of at most {HEADERS_MAX} names."
        )
    headers = []
    for name, value in given.items():
        lower = name.lower()
        if not name or not _TOKEN.issuperset(name):
            raise OperationError(Code.BAD_REQUEST, f"{name!r} is no header's name.")
        if lower in _OURS or lower.startswith("proxy-"):
            raise OperationError(Code.BAD_REQUEST, f"The header {lower} is the host's to set.")
        if not isinstance(value, str) or not value.isascii() or not value.isprintable():
            raise OperationError(
                Code.BAD_REQUEST, f"The header {lower} is not printable ASCII text."
            )
        headers.append((lower, value))
    return headers


def _body(request: Mapping[str, Any]) -> bytes | None:
    plain, encoded = text(request, "body"), text(request, "body_base64")
    if plain is not None and encoded is not None:
        raise OperationError(Code.BAD_REQUEST, "body and body_base64 exclude each other.")
    if encoded is not None:
        try:
            body = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise OperationError(Code.BAD_REQUEST, "body_base64 is not base64.") from None
    elif plain is not None:
        body = plain.encode()
    else:
        return None
    if len(body) > BODY_BYTES_MAX:
        raise OperationError(Code.TOO_LARGE, f"A body has at most {BODY_BYTES_MAX} bytes.")
    return body


@lru_cache(maxsize=256)
def _origins(granted: tuple[str, ...]) -> frozenset[str | None]:
    return frozenset(origin_of(httpx.URL(one)) for one in granted) - {None}


def _check_granted(url: httpx.URL, granted: frozenset[str | None]) -> None:
    origin = origin_of(url)
    if origin not in granted:
        raise OperationError(
            Code.DENIED,
            f"The origin {origin} is not granted; request it in the service's capabilities and "
            "grant it in the node's configuration.",
        )


def _where(url: httpx.URL) -> str:
    # Without the query, which may hold what no log should.
    return f"{origin_of(url)}{url.path}"


async def _fetch(
    run: Run, request: httpx.Request, granted: frozenset[str | None], streams: Streams | None
) -> Mapping[str, Any]:
    io, grant = run.around.io, run.around.grant
    for _ in range(REDIRECTS_MAX + 1):
        try:
            transport = io.transport(request.url.scheme, grant.networks)
            response = await transport.handle_async_request(request)
        except Unreachable as error:
            raise OperationError(Code.DENIED, str(error)) from None
        except Exception as error:
            raise OperationError(
                Code.UNAVAILABLE,
                f"{_where(request.url)} gave no answer: {why(error)}.",
            ) from None
        is_read = True
        try:
            target = response.headers.get("location")
            if grant.redirects and response.status_code in _REDIRECTS and target is not None:
                secrets = run.around.secrets.values
                request = _redirected(request, response.status_code, target, granted, secrets)
                continue
            if streams is None:
                return await _reply(request, response)
            is_read = False
            number = await streams.add(response, _where(request.url))
            return {**_head(response), "stream": number}
        finally:
            if is_read:
                await response.aclose()
    raise OperationError(
        Code.UNAVAILABLE, f"More than {REDIRECTS_MAX} redirects, the last to {_where(request.url)}."
    )


def _redirected(
    request: httpx.Request,
    status: int,
    target: str,
    granted: frozenset[str | None],
    secrets: Iterable[str],
) -> httpx.Request:
    try:
        url = request.url.join(target)
    except (httpx.InvalidURL, ValueError):
        raise OperationError(
            Code.UNAVAILABLE, f"{_where(request.url)} redirects to what is no URL."
        ) from None
    if origin_of(url) is None:
        raise OperationError(
            Code.DENIED, f"{_where(request.url)} redirects to what is no http or https URL."
        )
    _check_granted(url, granted)
    method, content = request.method, request.content
    headers = [(name, value) for name, value in request.headers.items() if name not in _OURS]
    # RFC 9110 §15.4: 303 asks for a GET; for 301 and 302 every client turns a POST into one.
    if (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST"):
        method, content = "GET", b""
        headers = [one for one in headers if not one[0].startswith("content-")]
    if origin_of(url) != origin_of(request.url):
        headers = [
            (name, value)
            for name, value in headers
            if (name == "idempotency-key" or not _CREDENTIAL.search(name))
            and not any(secret in value for secret in secrets)
        ]
    return httpx.Request(method, url, headers=headers, content=content or None)


async def _reply(request: httpx.Request, response: httpx.Response) -> Mapping[str, Any]:
    body = bytearray()
    try:
        async for chunk in response.aiter_raw():
            if len(body) <= BODY_BYTES_MAX:
                body += chunk
            if len(body) > BODY_BYTES_MAX:
                # And on, into the error that this makes: it ends the generators that httpx has
                # nested, which a break would leave to the garbage collector.
                await response.aclose()
    except Exception as error:
        if len(body) <= BODY_BYTES_MAX:
            raise OperationError(
                Code.UNAVAILABLE,
                f"{_where(request.url)} broke off its answer: {why(error)}.",
            ) from None
    if len(body) > BODY_BYTES_MAX:
        raise OperationError(
            Code.TOO_LARGE, f"{_where(request.url)} answered more than {BODY_BYTES_MAX} bytes."
        )
    reply = _head(response)
    try:
        reply["body"] = bytes(body).decode()
    except UnicodeDecodeError:
        reply["body_base64"] = base64.b64encode(body).decode()
    return reply


def _head(response: httpx.Response) -> dict[str, Any]:
    return {
        "status": response.status_code,
        # httpx joins the values of a repeated header; bytes that are no text become something.
        "headers": {
            name: value.encode("utf-8", "replace").decode("utf-8", "replace")
            for name, value in response.headers.items()
        },
    }
