"""Google's Cloud Run functions and services: a POST of JSON, with an ID token for an audience."""

from collections.abc import Mapping
from urllib.parse import urlsplit

import httpx

from gossamer_gateway.runs.model.definition import Place
from gossamer_gateway.runs.model.events import Failure
from gossamer_gateway.runs.providers.calling import Calling, encoded, of_http
from gossamer_gateway.runs.providers.config import GcpConfig
from gossamer_gateway.runs.providers.exchange import Reply
from gossamer_gateway.runs.providers.gcp_tokens import Tokens
from gossamer_gateway.runs.providers.keeping import Keepers
from gossamer_gateway.runs.providers.port import Invocation, Outcome
from gossamer_gateway.runs.providers.urls import http_function


class Gcp(Calling):
    """Functions of Google's.

    Args:
        metadata: asks this machine's metadata, through no proxy; closed with the other.
    """

    def __init__(
        self,
        config: GcpConfig,
        environ: Mapping[str, str],
        client: httpx.AsyncClient,
        metadata: httpx.AsyncClient,
    ) -> None:
        super().__init__(config.name, client)
        self._config = config
        self._metadata = metadata
        tokens = Tokens(environ, client, metadata, file=config.credentials)
        self._tokens: Keepers[str] = Keepers(tokens.fetch)

    def region(self, place: Place) -> str:
        """The place's, or the configuration's."""
        return place.region or self._config.region or ""

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._metadata.aclose()
        await super().aclose()

    async def _call(self, invocation: Invocation) -> Outcome | Failure:
        place, config = invocation.place, self._config
        url = http_function(place, config.base_url, config.origins, self.region(place))
        if config.authentication == "none":
            return of_http(await self._send(url, invocation, None), place)
        keeper = self._tokens[config.audience or _audience(url)]
        token = await keeper.get()
        reply = await self._send(url, invocation, token)
        if reply.status == 401 and keeper.give_up(token):
            reply = await self._send(url, invocation, await keeper.get())
        return of_http(reply, place)

    async def _send(self, url: str, invocation: Invocation, token: str | None) -> Reply:
        self._note(token)
        headers = {"content-type": "application/json", "idempotency-key": invocation.key}
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        request = self._client.build_request(
            "POST", url, headers=headers, content=encoded(invocation.payload)
        )
        return await self._exchange(request)


def _audience(url: str) -> str:
    """Cloud Run's is the service, without a path; that of a function is its whole URL."""
    parts = urlsplit(url)
    if (parts.hostname or "").endswith(".run.app"):
        return f"{parts.scheme}://{parts.netloc}"
    return url
