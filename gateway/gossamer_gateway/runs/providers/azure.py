"""Azure Functions, with a key, with a token of Entra ID, or with both."""

from collections.abc import Mapping

import httpx

from gossamer_gateway.runs.providers.azure_tokens import Tokens
from gossamer_gateway.runs.providers.config import AzureConfig
from gossamer_gateway.runs.providers.http_functions import HttpFunctions
from gossamer_gateway.runs.providers.keeping import Keeper


class Azure(HttpFunctions[AzureConfig]):
    """Functions of Azure's."""

    def __init__(
        self,
        config: AzureConfig,
        environ: Mapping[str, str],
        client: httpx.AsyncClient,
        metadata: httpx.AsyncClient,
    ) -> None:
        secrets = (config.key, config.client_secret, environ.get("AZURE_CLIENT_SECRET"))
        super().__init__(config, client, metadata, secrets)
        tokens = Tokens(config, environ, client, metadata)
        audience = config.audience
        self._token: Keeper[str] | None = None
        if audience is not None:
            self._token = Keeper(lambda: tokens.fetch(audience))

    def _tokens_for(self, url: str) -> Keeper[str] | None:
        return self._token

    def _key_headers(self) -> Mapping[str, str]:
        return {} if self._config.key is None else {"x-functions-key": self._config.key}
