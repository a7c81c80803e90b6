"""Credentials on the wire: what goes into the Authorization header, and when to get a new one.

A token is fetched once however many calls wait for it, kept until shortly before its end, and
given up when the engine answers 401 to it; the call is then tried once more, never in a loop.
"""

import base64
from typing import Protocol

import httpx
import trio

from gossamer_node.engines.config import Auth, BasicAuth, BearerAuth, NoAuth, OAuth2Auth
from gossamer_node.engines.exchange import exchange
from gossamer_node.errors import EngineRefused, EngineUnavailable

TOKEN_MS_MAX = 10_000
"""How long a token endpoint may take to answer."""

TOKEN_RENEWED_EARLY_S = 30.0
"""A token is renewed this long before its end, or at nine tenths of a short life: it must still
hold when a request that waits in a queue reaches the engine."""


class Authorizer(Protocol):
    """Gives each request its Authorization header."""

    async def header(self, client: httpx.AsyncClient) -> str | None:
        """The header's value, None for no header.

        Raises: EngineUnavailable or EngineRefused, when a token can't be had.
        """

    def give_up(self, header: str | None) -> bool:
        """The engine answered 401 to `header`. Returns whether the next one may differ."""


def authorizer(auth: Auth, engine_name: str) -> Authorizer:
    """The authorizer for a configured `auth`; `engine_name` is for its messages."""
    match auth:
        case NoAuth():
            return _Fixed(None)
        case BasicAuth(username, password):
            pair = base64.b64encode(f"{username}:{password}".encode()).decode()
            return _Fixed(f"Basic {pair}")
        case BearerAuth(token):
            return _Fixed(f"Bearer {token}")
        case OAuth2Auth():
            return _ClientCredentials(auth, engine_name)


class _Fixed:
    def __init__(self, value: str | None) -> None:
        self._value = value

    async def header(self, client: httpx.AsyncClient) -> str | None:
        return self._value

    def give_up(self, header: str | None) -> bool:
        return False


class _ClientCredentials:
    """RFC 6749 §4.4. One token at a time, shared by every call to the engine."""

    def __init__(self, auth: OAuth2Auth, engine_name: str) -> None:
        self._auth = auth
        self._peer = f"The token endpoint {auth.token_url} of engine {engine_name!r}"
        self._fetching = trio.Lock()
        self._header: str | None = None
        self._renew_at_s = 0.0

    async def header(self, client: httpx.AsyncClient) -> str | None:
        if self._stale():
            async with self._fetching:
                if self._stale():
                    await self._fetch(client)
        return self._header

    def give_up(self, header: str | None) -> bool:
        # Another call may have renewed it since this one was sent: then only try again.
        if header == self._header:
            self._header = None
        return True

    def _stale(self) -> bool:
        return self._header is None or trio.current_time() >= self._renew_at_s

    async def _fetch(self, client: httpx.AsyncClient) -> None:
        auth = self._auth
        # In the body, not as Basic (§2.3.1 allows both): what Camunda's own clients do.
        form = {
            "grant_type": "client_credentials",
            "client_id": auth.client_id,
            "client_secret": auth.client_secret,
        }
        form |= {"scope": auth.scope} if auth.scope else {}
        form |= {"audience": auth.audience} if auth.audience else {}
        request = client.build_request("POST", auth.token_url, data=form)
        answer = await exchange(client, request, within_ms=TOKEN_MS_MAX, peer=self._peer)
        if 400 <= answer.status < 500 and answer.status != 429:
            raise EngineRefused(
                f"{self._peer} refuses the client {auth.client_id!r} ({answer.status}): "
                f"{answer.sentence()}; check its auth."
            )
        told = answer.json_object()
        token, life_s = told.get("access_token"), told.get("expires_in", float("inf"))
        if answer.status != 200 or not _is_token(token) or not isinstance(life_s, int | float):
            raise EngineUnavailable(
                f"{self._peer} gave no token ({answer.status}); check that the URL is right.",
                retry_after_ms=answer.retry_after_ms,
            )
        self._header = f"Bearer {token}"
        kept_s = max(life_s - TOKEN_RENEWED_EARLY_S, life_s * 0.9)
        self._renew_at_s = trio.current_time() + kept_s


def _is_token(token: object) -> bool:
    # RFC 6750 §2.1: visible ASCII. Anything else would be refused as a header, or smuggle one.
    return isinstance(token, str) and token.isascii() and token.isprintable() and bool(token)
