"""The way to a gateway: where it is, how its door opens, and a connection that is made anew.

A token is a secret. It comes from an argument, from the environment or from a file, goes into one
header, and nowhere else: no message, no log and no `repr` has it, and what a server echoes is
cleaned of it. A file is read anew for each request, so a token that is renewed there is used at
once. Redirects are not followed: they could carry the token to somebody else.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROLE = "work"
"""What a gateway whose door is closed wants of a worker."""

SAID_CHARACTERS_MAX = 300
"""Of what a gateway says beside a status."""

_TOKEN = re.compile(r"[!-~]+")
_URL = "a gateway's URL is http://host:port or https://…, without user, password or query"


class Trouble(ConnectionError):
    """Why a request has no good answer.

    Attributes:
        status: the HTTP status; 0 where there was none.
        kind: empty for what may pass by itself; otherwise a name for what somebody has to mend.
    """

    def __init__(self, text: str, *, status: int = 0, kind: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.kind = kind


class Gateway:
    """Where a gateway is, and what it is shown.

    Args:
        url: `http://host:port` or `https://…`, perhaps with a path before the gateway's own.
        token: an API key or a token.
        token_file: a file that has it, and nothing else.
        ca_file: PEM of the authorities that are trusted instead of the machine's.

    Raises: ValueError: one of them cannot be; the message says which, and has no secret.
    """

    def __init__(
        self, url: str, token: str | None, token_file: str | None, ca_file: str | None
    ) -> None:
        try:
            parts = urlsplit(url)
            self.host, self.port = parts.hostname or "", parts.port
        except ValueError:
            raise ValueError(_URL) from None
        if parts.scheme not in {"http", "https"} or not self.host or "@" in parts.netloc:
            raise ValueError(_URL)
        if parts.query or parts.fragment:
            raise ValueError(_URL)
        if token is not None and token_file is not None:
            raise ValueError("a token is given as such or in a file: name one of them")
        self.place = f"the gateway at {url}"
        self.path = parts.path.rstrip("/")
        self.tls = _tls(ca_file) if parts.scheme == "https" else None
        self._token = None if token is None else _checked(token, "the token")
        self._token_file = token_file
        try:
            self.token()
        except Trouble as error:
            raise ValueError(str(error)) from None

    def token(self) -> str | None:
        """The token as it is now. Raises: Trouble: its file has none."""
        if self._token_file is None:
            return self._token
        try:
            text = Path(self._token_file).read_text(encoding="utf-8")
            return _checked(text.strip(), "what it has")
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise Trouble(
                f"no token could be read from {self._token_file}: {why}", kind="token"
            ) from None


class Line:
    """One connection to the gateway, for one thread at a time; made anew whenever it is lost."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._connection: http.client.HTTPConnection | None = None
        self._has_ended = False

    def post(self, path: str, body: str, timeout_s: float) -> Any:
        """The answer's JSON.

        Raises: Trouble.
        """
        fresh = self._connection is None
        try:
            try:
                return self._post(path, body, timeout_s)
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                if fresh:
                    raise
                # A server may close an idle connection at any time. Each request here may be
                # repeated.
                return self._post(path, body, timeout_s)
        except Trouble:
            raise
        except ssl.SSLCertVerificationError as error:
            raise Trouble(
                f"its certificate is not trusted ({error.verify_message}); say whose is, by "
                "`ca_file` or GOSSAMER_CA_FILE",
                kind="certificate",
            ) from None
        except OSError as error:
            raise Trouble(f"it cannot be reached ({error})") from None
        except http.client.HTTPException as error:
            raise Trouble(f"it does not speak HTTP: {error!r}") from None

    def _post(self, path: str, body: str, timeout_s: float) -> Any:
        token = self._gateway.token()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if self._connection is None:
            self._connection = self._connect(timeout_s)
        connection = self._connection
        if self._has_ended:
            raise ConnectionAbortedError("it is closed")
        connection.timeout = timeout_s
        if connection.sock is not None:
            connection.sock.settimeout(timeout_s)
        try:
            connection.request("POST", self._gateway.path + path, body.encode(), headers)
            answer = connection.getresponse()
            text = answer.read()
        except BaseException:
            self.close()
            raise
        if answer.will_close:
            self.close()
        if not 200 <= answer.status < 300:
            raise refusal(answer.status, answer.reason, text, token)
        try:
            return json.loads(text) if text else None
        except ValueError:
            raise Trouble("it answers what is not JSON; is it a gateway?") from None

    def _connect(self, timeout_s: float) -> http.client.HTTPConnection:
        at = self._gateway
        if at.tls is not None:
            return http.client.HTTPSConnection(at.host, at.port, timeout=timeout_s, context=at.tls)
        return http.client.HTTPConnection(at.host, at.port, timeout=timeout_s)

    def end(self) -> None:
        """For good, from any thread: who waits for an answer gets an error."""
        self._has_ended = True
        self.close()

    def close(self) -> None:
        """The next request makes a new connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            sock = connection.sock
            if sock is not None:
                with contextlib.suppress(OSError):
                    sock.shutdown(2)
            connection.close()


def refusal(status: int, reason: str, text: bytes, token: str | None) -> Trouble:
    """What an answer that is none means, in words for whoever runs the worker."""
    said = _said(text, token)
    if status == 401:
        what = "does not know this worker's token" if token else "wants a token of this worker"
        said = (
            f"it {what} (401): {said}; give it one with the role `{ROLE}`, by GOSSAMER_TOKEN or "
            "GOSSAMER_TOKEN_FILE"
        )
    elif status == 403:
        said = f"it does not let this worker take jobs (403): {said}; it needs the role `{ROLE}`"
    else:
        said = f"it answers {status} {reason}: {said}"
    # What is wrong with us stays so until somebody mends it; the rest may pass.
    return Trouble(said, status=status, kind=str(status) if 400 <= status < 500 else "")


def _said(text: bytes, token: str | None) -> str:
    said = text[:65_536].decode("utf-8", "replace")
    with contextlib.suppress(ValueError, RecursionError):
        problem = json.loads(said)
        if isinstance(problem, dict) and isinstance(problem.get("detail"), str):
            said = problem["detail"]
    if token is not None:
        said = said.replace(token, "…")
    return " ".join(said.split())[:SAID_CHARACTERS_MAX]


def _checked(token: str, what: str) -> str:
    if not _TOKEN.fullmatch(token):
        raise ValueError(f"{what} is not one word of visible ASCII characters")
    return token


def _tls(ca_file: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise ValueError(f"no authorities could be read from {ca_file}: {error}") from None
