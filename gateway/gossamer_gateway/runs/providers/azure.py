"""Azure Functions: a POST of JSON, with a key, with a token of Entra ID, or with both."""

from collections.abc import Mapping

import httpx

from gossamer_gateway.runs.model.definition import Place
from gossamer_gateway.runs.model.events import Failure
from gossamer_gateway.runs.providers.azure_tokens import Tokens
from gossamer_gateway.runs.providers.calling import Calling, encoded, of_http
from gossamer_gateway.runs.providers.config import AzureConfig
from gossamer_gateway.runs.providers.exchange import Reply
from gossamer_gateway.runs.providers.keeping import Keeper
from gossamer_gateway.runs.providers.port import Invocation, Outcome
from gossamer_gateway.runs.providers.urls import http_function


class Azure(Calling):
    """Functions of Azure's.

    Args:
        metadata: asks this machine's metadata, through no proxy; closed with the other.
    """

    def __init__(
        self,
        config: AzureConfig,
        environ: Mapping[str, str],
        client: httpx.AsyncClient,
        metadata: httpx.AsyncClient,
    ) -> None:
        super().__init__(config.name, client)
        self._config = config
        self._metadata = metadata
        tokens = Tokens(config, environ, client, metadata)
        audience = config.audience
        self._token: Keeper[str] | None = None
        if audience is not None:
            self._token = Keeper(lambda: tokens.fetch(audience))
        self._note(config.key, config.client_secret, environ.get("AZURE_CLIENT_SECRET"))

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
        if self._token is None:
            return of_http(await self._send(url, invocation, None), place)
        token = await self._token.get()
        reply = await self._send(url, invocation, token)
        if reply.status == 401 and self._token.give_up(token):
            reply = await self._send(url, invocation, await self._token.get())
        return of_http(reply, place)

    async def _send(self, url: str, invocation: Invocation, token: str | None) -> Reply:
        self._note(token, self._config.key)
        headers = {"content-type": "application/json", "idempotency-key": invocation.key}
        if self._config.key is not None:
            headers["x-functions-key"] = self._config.key
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        request = self._client.build_request(
            "POST", url, headers=headers, content=encoded(invocation.payload)
        )
        return await self._exchange(request)
