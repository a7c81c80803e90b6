"""The keys of an issuer, fetched when they are needed and kept while it is down.

Rules:

1. They are fetched with the first token, and again when they are older than `KEPT_MS`: the request
   that finds them so does not wait, it is judged by those that are there.
2. A token with an unknown `kid` has them fetched at once, and waits for it: the issuer may have
   turned them over. That happens once in `AGAIN_MS`, whoever asks; in between such tokens are
   refused. Junk can thus not make the gateway attack the issuer.
3. An answer is bounded in bytes and time, and no redirect is followed. One that is of no use
   changes nothing: the keys of before stay, and the log says so.
"""

import math
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx
import trio

from gossamer_gateway.door.principals import Principal
from gossamer_gateway.door.tokens import Issuer, Refused, Tokens, UnknownKey, read_keys
from gossamer_node import logs
from gossamer_node.address import Address
from gossamer_node.engines.exchange import read_bounded

KEPT_MS = 10 * 60_000
AGAIN_MS = 10_000
ANSWER_MS_MAX = 5_000
ANSWER_BYTES_MAX = 256 * 1024

log = logs.get("door")


def check_url(url: str) -> str:
    """An issuer's address of keys: https, or http to this machine. Raises: ValueError."""
    parts = urlsplit(url)
    if parts.hostname is None or parts.scheme not in ("http", "https"):
        raise ValueError("is no http(s) URL")
    if parts.scheme == "http" and not Address(parts.hostname, 0).is_loopback:
        raise ValueError("would be fetched unprotected; use https")
    return url


class KeySet:
    """Judges tokens of an issuer, with its keys of now.

    Args:
        client: fetches the keys.
        now_ms: the time since 1970.
    """

    def __init__(
        self, issuer: Issuer, client: httpx.AsyncClient, now_ms: Callable[[], int]
    ) -> None:
        self.fetches = 0
        self._tokens = Tokens(issuer)
        self._client = client
        self._now_ms = now_ms
        self._fetched_ms = -math.inf
        self._tried_ms = -math.inf
        self._lock = trio.Lock()
        self._wanted = trio.Event()

    async def whose(self, text: str) -> Principal:
        """Whose token it is. Raises: Refused."""
        if self._is_old():
            self._wanted.set()
        try:
            return self._tokens.whose(text, self._now_ms())
        except UnknownKey:
            if await self._fetch(AGAIN_MS):
                return self._tokens.whose(text, self._now_ms())
            if not self._tokens.has_keys:
                raise Refused("the issuer's keys could not be had; try again later") from None
            raise

    async def run(self) -> None:
        """Renews the keys that are used, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            await self._fetch(AGAIN_MS)

    def _is_old(self) -> bool:
        return self._tokens.has_keys and self._now_ms() - self._fetched_ms >= KEPT_MS

    async def _fetch(self, again_ms: int) -> bool:
        """Fetches, or waits for who does. Returns whether there may be other keys than before."""
        fetched_ms = self._fetched_ms
        async with self._lock:
            if self._fetched_ms != fetched_ms:
                return True
            if self._now_ms() - self._tried_ms < again_ms:
                return False
            self._tried_ms = self._now_ms()
            self.fetches += 1
            url = self._tokens.issuer.jwks_url
            try:
                keys = read_keys(await self._download(url))
            except (httpx.HTTPError, httpx.InvalidURL, ValueError, trio.TooSlowError) as error:
                reason = str(error) or type(error).__name__
                log.warning("an issuer's keys could not be had", url=url, reason=reason)
                return False
            self._tokens.take(keys)
            self._fetched_ms = self._now_ms()
            return True

    async def _download(self, url: str) -> bytes:
        with trio.fail_after(ANSWER_MS_MAX / 1_000):
            async with self._client.stream("GET", url, follow_redirects=False) as answer:
                if answer.status_code != 200:
                    raise ValueError(f"it answered {answer.status_code}")
                data = await read_bounded(answer, ANSWER_BYTES_MAX)
        if data is None:
            raise ValueError(f"it is longer than {ANSWER_BYTES_MAX} bytes")
        return data


def open_client() -> httpx.AsyncClient:
    """What fetches keys."""
    return httpx.AsyncClient(
        timeout=ANSWER_MS_MAX / 1_000,
        headers={"user-agent": "gossamer", "accept-encoding": "identity"},
        trust_env=False,
    )
