"""An engine's REST API as the adapters use it: credentials, deadlines, and errors with a name.

One pool of kept-alive connections for each engine. Long polls may hold `POLLS_MAX` of them at a
time and the rest is for everything else, so a settlement never waits for a poll. The answer of
any status comes back as it is; `error` turns one that an adapter can't use into the exception.
"""

import json
import ssl
from collections.abc import Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final

import httpx

from gossamer_node.engines.auth import authorizer
from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.exchange import Answer, exchange
from gossamer_node.errors import EngineError, EngineRefused, EngineUnavailable, InputError

ANSWER_MS_MAX = 30_000
"""Deadline for a call that isn't a long poll. Longer than an engine under load takes to commit."""

CONNECT_MS_MAX = 5_000
"""Deadline for a connection: whoever takes longer counts as down."""

POLLS_MAX = 64
"""Long polls open at a time. Camunda 7 refuses the 201st of all its clients together."""

CALLS_MAX = 32
"""Connections for everything else; more calls than that wait their turn."""

BACKPRESSURE_MS = 500
"""Pause after an engine said "too much" (429, 503) without saying for how long."""

FormFile = tuple[str, bytes, str]
"""File name, content, content type."""


class RestClient:
    """Safe to use from several tasks at once."""

    def __init__(self, config: EngineConfig, *, base_path: str = "") -> None:
        """Opens nothing yet.

        Raises:
            InputError: a certificate's file can't be used.
        """
        self.peer: Final = f"Engine {config.name!r} at {config.url}"
        self._authorizer = authorizer(config.auth, config.name)
        self._client = httpx.AsyncClient(
            base_url=config.url.rstrip("/") + base_path,
            verify=trust(config),
            timeout=httpx.Timeout(None, connect=CONNECT_MS_MAX / 1000),
            limits=httpx.Limits(max_connections=POLLS_MAX + CALLS_MAX),
            headers={"user-agent": "gossamer", "accept-encoding": "identity"},
            # No engine needs a cookie; a jar that takes any would grow at the peer's will.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )

    async def send(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        form: Mapping[str, str] | None = None,
        files: list[tuple[str, FormFile]] | None = None,
        query: Mapping[str, str | int] | None = None,
        within_ms: int = ANSWER_MS_MAX,
    ) -> Answer:
        """One call; a second one with fresh credentials if the engine answers 401.

        Args:
            body: sent as JSON.
            form, files: sent as multipart/form-data.

        Raises:
            EngineUnavailable: no usable answer.
            EngineRefused: `body` can't be written as JSON, or no token is to be had.
        """
        if self._client.is_closed:
            raise EngineUnavailable(f"{self.peer} was closed; open it again to ask it.")
        content = None if body is None else self._encode(body)
        renewed = False
        while True:
            header = await self._authorizer.header(self._client)
            headers = {} if content is None else {"content-type": "application/json"}
            if header is not None:
                headers["authorization"] = header
            request = self._client.build_request(
                method,
                path,
                content=content,
                data=form,
                files=files,
                params=query,
                headers=headers,
            )
            answer = await exchange(self._client, request, within_ms=within_ms, peer=self.peer)
            if answer.status != 401 or renewed or not self._authorizer.give_up(header):
                return answer
            renewed = True

    async def authorization(self) -> str | None:
        """The Authorization of a call now, None for none, for one that goes another way.

        Raises: EngineUnavailable or EngineRefused, when no token is to be had.
        """
        return await self._authorizer.header(self._client)

    def give_up(self, header: str | None) -> bool:
        """The engine refused `header`. Returns whether the next one may differ."""
        return self._authorizer.give_up(header)

    def error(self, answer: Answer, doing: str) -> EngineError:
        """The exception for an answer that says no, by the general meaning of its status.

        Args:
            doing: what was asked, as in "can't …": `deploy hotel.bpmn`.
        """
        status, said = answer.status, answer.sentence()
        failed = f"{self.peer} did not {doing}"
        if status == 401:
            return EngineRefused(f"{self.peer} refuses the credentials (401); check its auth.")
        if status == 403:
            return EngineRefused(f"{failed}: the credentials don't allow it (403): {said}")
        if status == 429 or status >= 500:
            wait_ms = answer.retry_after_ms
            if wait_ms is None and status in (429, 503):
                wait_ms = BACKPRESSURE_MS
            return EngineUnavailable(f"{failed} ({status}): {said}", retry_after_ms=wait_ms)
        if status >= 400:
            return EngineRefused(f"{failed} ({status}): {said}")
        if status >= 300:
            return EngineRefused(f"{failed}: it redirects ({status}); give its final URL.")
        return self.nonsense(doing)

    def nonsense(self, doing: str) -> EngineUnavailable:
        """The exception for an answer that means nothing in this engine's dialect."""
        return EngineUnavailable(
            f"{self.peer} gave an answer that makes no sense when asked to {doing}; "
            "check that the URL and the kind are right."
        )

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    def _encode(self, body: Mapping[str, Any]) -> bytes:
        try:
            return json.dumps(body, allow_nan=False, separators=(",", ":")).encode()
        except (ValueError, TypeError, RecursionError) as error:
            raise EngineRefused(
                f"{self.peer} can't be sent these variables, they are no JSON: {error}."
            ) from error


def trust(config: EngineConfig) -> ssl.SSLContext:
    """Whose certificates are believed, and which one is ours.

    Raises: InputError when a file can't be used.
    """
    context = httpx.create_ssl_context()
    if config.ca_file is not None:
        try:
            context.load_verify_locations(config.ca_file)
        except OSError as error:  # ssl.SSLError is one
            raise InputError(
                f"Engine {config.name!r} can't use the CA file {config.ca_file}: {error}."
            ) from error
    if config.cert_file is not None:
        try:
            # An encrypted key would be asked for on the terminal; without password it is refused.
            context.load_cert_chain(config.cert_file, config.key_file, password="")
        except OSError as error:
            raise InputError(
                f"Engine {config.name!r} can't use the client certificate {config.cert_file} with "
                f"the key {config.key_file}: {error}."
            ) from error
    return context
