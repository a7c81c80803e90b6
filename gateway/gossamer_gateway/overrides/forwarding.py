"""Requests that a URL answers in an engine's stead.

What goes there: the method, the query, the body, and the headers but for those of the connection,
and those that say who the client is (`CREDENTIALS`): it has shown them to this gateway and to
nobody else. What comes back: the status, the headers but for those of the connection and cookies,
and the body as it was sent, `BODY_BYTES_MAX` at most. Redirects are answers like any other, not
followed. One time bounds all of it.

The host is in the rule, never in the request. A part of the path that a request fills in is encoded
and may not climb (`..`). Each pass is written into `Via` (RFC 9110 §7.6.3): a request that comes
round again, or has passed too many, is refused with 508 before it is sent.

Which hosts may be named is not asked: rules are for administrators, and reach whatever the gateway
does.
"""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import quote

import httpx
import trio

from gossamer_gateway.errors import BadRequest, UpstreamFailed
from gossamer_gateway.overrides.deciding import Request
from gossamer_gateway.overrides.rules import HOP_BY_HOP, REST, ToUrl
from gossamer_node.engines.exchange import read_bounded

BODY_BYTES_MAX = 16 * 2**20
"""Of an answer; as much as the gateway takes in a request."""

CONNECT_S = 5.0

CONNECTIONS_MAX, IDLE_MAX = 256, 32
"""To all URLs together; further requests wait for one, within their time."""

PASSES_MAX = 8
"""Servers that a request may have been through, ours among them."""

CREDENTIALS = frozenset(("authorization", "cookie", "x-api-key"))

_NOT_SENT = HOP_BY_HOP | CREDENTIALS | {"host", "content-length", "expect"}
_NOT_ANSWERED = HOP_BY_HOP | {"content-length", "set-cookie", "set-cookie2", "alt-svc"}

_PART = re.compile(r"\{([^{}]*)\}")

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client is told. Names of headers are in small letters."""

    status: int
    headers: Headers
    body: bytes


class Forwarder:
    """Safe to use from several tasks at once.

    Args:
        via: this gateway's name in `Via`, without spaces: the same for no other.
    """

    def __init__(self, client: httpx.AsyncClient, via: str) -> None:
        self._client = client
        self._via = via

    async def forward(
        self, action: ToUrl, caught: Mapping[str, str], request: Request, query: bytes, body: bytes
    ) -> Answer:
        """The URL's answer.

        Args:
            caught: parts of the request's path (`deciding.Verdict`).
            query: as it came, without the question mark.

        Raises:
            BadRequest: a part of the path climbs; nothing was sent.
            UpstreamFailed: no whole answer came. It may have acted on the request, but for a status
                of 508.
        """
        url = target(action.url, caught)
        if query:
            url = f"{url}?{query.decode('latin-1')}"
        passes = [each.strip() for each in _all(request.headers, "via").split(",") if each.strip()]
        if any(each.split()[1:2] == [self._via] for each in passes):
            raise UpstreamFailed(
                508, f"{_shown(action)} leads back to this gateway; mend the rule."
            )
        if len(passes) >= PASSES_MAX:
            raise UpstreamFailed(508, f"the request has passed {PASSES_MAX} servers already.")
        dropped = _NOT_SENT | _of_connection(request.headers)
        headers = [(name, text) for name, text in request.headers if name not in dropped | {"via"}]
        headers.append(("via", ", ".join([*passes, f"1.1 {self._via}"])))
        try:
            with trio.fail_after(action.timeout_ms / 1_000):
                return await self._exchange(action, request.method, url, headers, body)
        except (trio.TooSlowError, httpx.TimeoutException) as error:
            raise UpstreamFailed(
                504, f"{_shown(action)} has not answered within {action.timeout_ms} ms."
            ) from error
        except httpx.InvalidURL as error:
            raise BadRequest("the path and query of this request make no URL.") from error
        except (httpx.HTTPError, UnicodeError) as error:
            why = str(error) or type(error).__name__
            raise UpstreamFailed(502, f"{_shown(action)} gave no whole answer: {why}.") from error

    async def _exchange(
        self, action: ToUrl, method: str, url: str, headers: Headers, body: bytes
    ) -> Answer:
        request = self._client.build_request(
            method,
            url,
            headers=[(name.encode("latin-1"), text.encode("latin-1")) for name, text in headers],
            content=body or (b"" if method in ("POST", "PUT", "PATCH") else None),
            timeout=httpx.Timeout(action.timeout_ms / 1_000, connect=CONNECT_S),
        )
        for name in ("accept", "accept-encoding", "user-agent"):
            if all(each != name for each, _ in headers) and name in request.headers:
                del request.headers[name]  # httpx's own; the client said none
        response = await self._client.send(request, stream=True)
        try:
            received = await read_bounded(response, BODY_BYTES_MAX)
        finally:
            await response.aclose()
        if received is None:
            raise UpstreamFailed(502, f"{_shown(action)} answers more than {BODY_BYTES_MAX} bytes.")
        answered = [(name.lower(), text) for name, text in response.headers.multi_items()]
        dropped = _NOT_ANSWERED | _of_connection(answered)
        kept = [(name, text) for name, text in answered if name not in dropped]
        return Answer(response.status_code, kept, received)


@asynccontextmanager
async def open_forwarder(via: str) -> AsyncIterator[Forwarder]:
    """Connections are kept until the block ends."""
    limits = httpx.Limits(max_connections=CONNECTIONS_MAX, max_keepalive_connections=IDLE_MAX)
    async with httpx.AsyncClient(limits=limits, trust_env=False, follow_redirects=False) as client:
        yield Forwarder(client, via)


def target(url: str, caught: Mapping[str, str]) -> str:
    """A rule's URL with the parts of a request's path in it.

    Raises: BadRequest for a part that would climb out of the URL's path.
    """

    def filled(part: re.Match[str]) -> str:
        text = caught[part[1]]
        if any(segment in (".", "..") for segment in re.split(r"[/\\]", text)):
            raise BadRequest("the path of this request has . or .. in it; write it without.")
        return quote(text, safe="/" if part[1] == REST else "", errors="surrogateescape")

    return _PART.sub(filled, url)


def _shown(action: ToUrl) -> str:
    return f"the upstream {action.url}"


def _all(headers: Headers, name: str) -> str:
    return ",".join(text for each, text in headers if each == name)


def _of_connection(headers: Headers) -> set[str]:
    """What a Connection header names is of one connection, too."""
    return {each.strip().lower() for each in _all(headers, "connection").split(",")}
