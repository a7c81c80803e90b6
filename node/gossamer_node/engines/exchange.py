"""One HTTP exchange with a peer that may be down, slow, hostile or not an engine at all.

Every byte that an engine sends enters here. The answer is read whole, but never more than
`ANSWER_BYTES_MAX`, and within one deadline for everything from connecting to the last byte, so
a peer that trickles can hold nobody. Whatever goes wrong below HTTP becomes EngineUnavailable.
What a status means is for the adapters to say.
"""

import json
from dataclasses import dataclass
from typing import Any

import httpx
import trio

from gossamer_node.errors import EngineUnavailable

ANSWER_BYTES_MAX = 64 * 2**20
"""Largest answer. A hundred jobs with half a megabyte of variables each still fit."""

SENTENCE_CHARS_MAX = 500
"""How much of a peer's own words goes into a message."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer: its status, its bytes, and the Retry-After that came with it, if any.

    `content_type` is what its sender calls the bytes, empty where it doesn't say.
    """

    status: int
    body: bytes
    retry_after_ms: int | None
    content_type: str = ""

    def json(self) -> Any:
        """The body as JSON, whole numbers exact. Raises ValueError for anything else."""
        try:
            return json.loads(self.body)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error

    def json_object(self) -> dict[str, Any]:
        """The body as a JSON object; an empty one where it is something else."""
        try:
            value = self.json()
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    def sentence(self) -> str:
        """What the peer says in its own words: bounded, on one line, perhaps empty."""
        told = self.json_object()
        # Camunda 7 says "message", problem+json (RFC 9457) "detail" or at least "title",
        # OAuth2 (RFC 6749 §5.2) "error_description" or at least "error".
        for key in ("message", "detail", "error_description", "error", "title"):
            if isinstance(told.get(key), str) and told[key]:
                return one_line(told[key])
        return one_line(self.body[: 4 * SENTENCE_CHARS_MAX].decode(errors="replace"))


def text(value: object) -> str:
    """A string that an answer must hold at this place. Raises TypeError for anything else."""
    if not isinstance(value, str):
        raise TypeError(f"a {type(value).__name__} where a string belongs")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        # JSON's escapes can spell half a surrogate pair, which no URL and no message can carry.
        raise TypeError("a string that is no Unicode") from error
    return value


def whole(value: object) -> int:
    """A whole number that an answer must hold at this place. Raises TypeError for anything else."""
    if not isinstance(value, int):
        raise TypeError(f"a {type(value).__name__} where a whole number belongs")
    return value


def one_line(text: str) -> str:
    """`text` without line breaks and control characters, at most SENTENCE_CHARS_MAX long."""
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return words if len(words) <= SENTENCE_CHARS_MAX else words[: SENTENCE_CHARS_MAX - 1] + "…"


async def exchange(
    client: httpx.AsyncClient, request: httpx.Request, *, within_ms: int, peer: str
) -> Answer:
    """Sends `request` and reads the answer.

    Args:
        within_ms: deadline for the whole exchange.
        peer: whom the messages name, `engine 'a' at http://...`.

    Raises:
        EngineUnavailable: no answer, half an answer, or too much of one.
    """
    try:
        with trio.fail_after(within_ms / 1000):
            response = await client.send(request, stream=True)
            try:
                body = await read_bounded(response, ANSWER_BYTES_MAX)
            finally:
                await response.aclose()
    except trio.TooSlowError:
        raise EngineUnavailable(
            f"{peer} gave no full answer within {within_ms / 1000:g} s; is it overloaded?"
        ) from None
    except (httpx.ConnectError, httpx.UnsupportedProtocol) as error:
        raise EngineUnavailable(f"{peer} cannot be reached: {_reason(error)}") from error
    except (httpx.HTTPError, httpx.StreamError, OSError) as error:
        raise EngineUnavailable(f"{peer} broke off the exchange: {_reason(error)}") from error
    if body is None:
        raise EngineUnavailable(
            f"{peer} sent more than {ANSWER_BYTES_MAX} bytes in one answer; "
            "fetch fewer jobs or fewer variables."
        )
    content_type = response.headers.get("content-type", "")
    return Answer(response.status_code, body, _retry_after_ms(response), content_type)


async def read_bounded(response: httpx.Response, bytes_max: int) -> bytes | None:
    """A body as it came; None where it has more bytes, the rest of which is not read.

    Raises: httpx.HTTPError, httpx.StreamError: it broke off.
    """
    found = bytearray()
    try:
        # Raw: a compressed bomb stays as small as it came. We ask for no compression.
        async for chunk in response.aiter_raw():
            found += chunk
            if len(found) > bytes_max:
                # To leave the loop here would leave httpx's generators, one in another, unfinished,
                # and they are nobody's to close under trio; a closed response makes them all end by
                # themselves. (Not its stream: the pool would take one that is whole, and closed,
                # for a connection at rest.)
                await response.aclose()
    except (httpx.HTTPError, httpx.StreamError, trio.ClosedResourceError):
        if len(found) <= bytes_max:
            raise
    return None if len(found) > bytes_max else bytes(found)


def _reason(error: Exception) -> str:
    # Under trio a failed handshake has no words of its own; what it came from has.
    told: BaseException | None = error
    while told is not None and not str(told):
        told = told.__cause__ or told.__context__
    words = one_line(str(told or type(error).__name__))
    if "CERTIFICATE_VERIFY_FAILED" in words:
        return f"{words}; name its authority as ca_file."
    return f"{words}; check that it runs and that the URL is right."


def _retry_after_ms(response: httpx.Response) -> int | None:
    # RFC 9110 §10.2.3: seconds, or a date, which no engine sends.
    seconds = response.headers.get("retry-after", "")
    return (
        int(seconds) * 1000
        if seconds.isascii() and seconds.isdigit() and len(seconds) < 6
        else None
    )
