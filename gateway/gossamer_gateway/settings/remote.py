"""How commands ask a gateway that runs: where it is, with which key, and what its refusals say."""

import argparse
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from gossamer_gateway.errors import GatewayError, InputError
from gossamer_mesh import keyfiles

URL_DEFAULT, URL_VARIABLE = "http://127.0.0.1:8090", "GOSSAMER_GATEWAY"
KEY_FILE_VARIABLE = "GOSSAMER_API_KEY_FILE"

TIMEOUT_S = 30.0
ANSWER_SHOWN_MAX = 300
"""Characters of an answer that is no gateway's."""

KEY_BYTES_MAX = 4_096


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Where the gateway is, and how results are shown."""
    parser.add_argument(
        "--gateway",
        metavar="URL",
        default=os.environ.get(URL_VARIABLE) or URL_DEFAULT,
        help=f"of the gateway's HTTP (default: {URL_VARIABLE}, else {URL_DEFAULT})",
    )
    parser.add_argument(
        "--api-key-file",
        metavar="FILE",
        type=Path,
        default=os.environ.get(KEY_FILE_VARIABLE) or None,
        help=f"holds the API key; yours alone to read (default: {KEY_FILE_VARIABLE})",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, as the gateway says it")


def ask(
    arguments: argparse.Namespace, method: str, path: str, body: Any = None, **query: Any
) -> Any:
    """A gateway's answer to a request under `/v1`; see `ask_path`."""
    return ask_path(arguments, method, f"/v1{path}", body, query=query)


def ask_path(
    arguments: argparse.Namespace,
    method: str,
    path: str,
    body: Any = None,
    *,
    query: Mapping[str, Any] | None = None,
    more: Mapping[str, str] | None = None,
) -> Any:
    """A gateway's answer to a request; None for one without a body.

    Args:
        body: bytes go as they are, anything else as JSON.
        query: what is None is left out.
        more: headers.

    Raises:
        InputError: it refused what was asked for, and changed nothing.
        GatewayError: it cannot be reached, or failed.
    """
    base = str(arguments.gateway).rstrip("/")
    headers = {"accept": "application/json", **(more or {})}
    if arguments.api_key_file is not None:
        data = keyfiles.read(arguments.api_key_file, "the API key", bytes_max=KEY_BYTES_MAX)
        headers["x-api-key"] = data.decode("ascii", "replace").strip()
    given = {name: value for name, value in (query or {}).items() if value is not None}
    sent = {"content": body} if isinstance(body, bytes) else {"json": body}
    try:
        answer = httpx.request(
            method,
            f"{base}{path}",
            **sent,
            params=given or None,
            headers=headers,
            timeout=TIMEOUT_S,
        )
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise InputError(f"{base} is no URL; write one such as {URL_DEFAULT}.") from error
    except httpx.HTTPError as error:
        raise GatewayError(
            f"the gateway at {base} gives no answer ({error}); is it running? --gateway names "
            "another."
        ) from error
    if answer.is_success:
        try:
            return answer.json() if answer.content else None
        except ValueError:
            raise GatewayError(f"what answers at {base} is no gateway; name one.") from None
    raise _refusal(base, answer)


def _refusal(base: str, answer: httpx.Response) -> GatewayError:
    detail = ""
    try:
        detail = str(answer.json()["detail"])
    except (ValueError, TypeError, KeyError):
        shown = " ".join(answer.text[:ANSWER_SHOWN_MAX].split())
        detail = f"{base} answered {answer.status_code} {answer.reason_phrase}. {shown}"
    if answer.status_code in (401, 403):
        return InputError(f"{detail.rstrip('.')}; --api-key-file names a key that may do this.")
    if 400 <= answer.status_code < 500:
        return InputError(detail)
    return GatewayError(detail)


def segment(text: str) -> str:
    """A name as one part of a path.

    Raises: InputError for what would be none, or another part than this one.
    """
    if text in ("", ".", ".."):
        raise InputError(f"{text!r} is no name; write the one that you mean.")
    return quote(text, safe="")


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns for people."""
    lines = [list(headings), *(list(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
