"""One HTTP exchange with a cloud: bounded in time and size, and what goes wrong has a code.

The codes are those of `classifying`. Redirects are answers like any other: a cloud that redirects a
signed call is not ours. Proxies of the environment count, as they do for the clouds' own tools.
"""

import email.utils
import json
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any

import httpx
import trio

from gossamer_gateway.runs.model.events import RETRY_AFTER_MS_MAX
from gossamer_gateway.runs.providers.port import REPLY_BYTES_MAX
from gossamer_node.engines.exchange import one_line, read_bounded

CONNECT_S = 5.0
"""Who takes longer is down: a region that is gone often says nothing at all."""

IDLE_MAX = 64
"""Connections that are kept for the next calls. How many there are at a time is bounded by the
calls (`concurrency`): a call that waited in the pool would look like a provider that is too slow.
"""


class NoReply(Exception):
    """No whole answer came. `code` is one of `classifying.CODES`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer. Names of headers are in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Raises: ValueError."""
        try:
            value = json.loads(self.body, parse_constant=_refused)
            if b"\\u" in self.body:
                # Half of a surrogate pair can be written in JSON and stored nowhere.
                json.dumps(value, ensure_ascii=False).encode()
        except RecursionError as error:
            raise ValueError("nested too deeply") from error
        return value

    def fields(self) -> Mapping[str, Any]:
        """The body as a JSON object; an empty one where it is something else."""
        try:
            value = self.json()
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    def date_s(self) -> float | None:
        """When it was given, by the clock of who gave it; in whole seconds."""
        return _date_s(self.headers.get("date", ""))

    def retry_after_ms(self, now_s: float) -> int | None:
        """RFC 9110 §10.2.3: seconds, or a date."""
        said = self.headers.get("retry-after", "")
        if said.isascii() and said.isdigit():
            return min(int(said[:9]) * 1_000, RETRY_AFTER_MS_MAX)
        at_s = _date_s(said)
        if at_s is None:
            return None
        return min(max(0, round((at_s - now_s) * 1_000)), RETRY_AFTER_MS_MAX)


def new_client(*, ca_file: Path | None = None, trust_env: bool = True) -> httpx.AsyncClient:
    """A pool of connections that believes the public authorities, and this one.

    Raises: OSError: the file cannot be used.
    """
    context = httpx.create_ssl_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return httpx.AsyncClient(
        verify=context,
        timeout=httpx.Timeout(None, connect=CONNECT_S),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=IDLE_MAX),
        headers={"user-agent": "gossamer", "accept-encoding": "identity"},
        # A jar that takes any cookie would grow at the peer's will.
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        trust_env=trust_env,
    )


async def exchange(client: httpx.AsyncClient, request: httpx.Request) -> Reply:
    """Sends a request and reads the answer; the caller bounds the time.

    Raises: NoReply.
    """
    host = request.url.host
    try:
        response = await client.send(request, stream=True, follow_redirects=False)
        try:
            body = await read_bounded(response, REPLY_BYTES_MAX)
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
                await response.aclose()
    except httpx.ConnectTimeout as error:
        raise NoReply(
            "ConnectFailed", f"{host} took no connection within {CONNECT_S:g} s"
        ) from error
    except httpx.ConnectError as error:
        raise _not_reached(host, error) from error
    except httpx.LocalProtocolError:
        # Its words quote what could not be written, which may be a secret.
        raise NoReply("Mistake", f"what was to be sent to {host} is no HTTP") from None
    except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError) as error:
        raise NoReply("ConnectionLost", f"{host} broke off: {_words(error)}") from error
    except trio.ClosedResourceError as error:
        raise NoReply("ConnectionLost", f"{host} broke off") from error
    if body is None:
        raise NoReply("ReplyTooLarge", f"the reply has more than {REPLY_BYTES_MAX} bytes")
    headers = {name.lower(): value for name, value in response.headers.multi_items()}
    return Reply(response.status_code, headers, body)


def _not_reached(host: str, error: Exception) -> NoReply:
    known: tuple[tuple[type[BaseException], str, str], ...] = (
        (socket.gaierror, "NameNotFound", "has no address: {}"),
        (ssl.SSLError, "TlsFailed", "is not trusted: {}"),
        (ConnectionRefusedError, "ConnectRefused", "refuses connections"),
    )
    for one in _causes(error):
        for kind, code, what in known:
            if isinstance(one, kind):
                return NoReply(code, f"{host} {what.format(_words(one))}")
    return NoReply("ConnectFailed", f"{host} cannot be reached: {_words(error)}")


def _causes(error: BaseException) -> list[BaseException]:
    """An error and all that led to it; a happy eyeballs' group with its members."""
    found: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting and len(found) < 50:
        one = waiting.pop(0)
        if one is None or one in found:
            continue
        found.append(one)
        waiting += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
    return found


def _words(error: BaseException) -> str:
    told = next((str(one) for one in _causes(error) if str(one)), type(error).__name__)
    return one_line(told)


def _date_s(text: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None


def _refused(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
