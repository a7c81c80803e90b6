"""Google's Cloud Run functions and services, with an ID token for an audience."""

from collections.abc import Mapping
from urllib.parse import urlsplit

import httpx

from gossamer_gateway.runs.providers.config import GcpConfig
from gossamer_gateway.runs.providers.gcp_tokens import Tokens
from gossamer_gateway.runs.providers.http_functions import HttpFunctions
from gossamer_gateway.runs.providers.keeping import Keeper, Keepers


class Gcp(HttpFunctions[GcpConfig]):
    """Functions of Google's."""

    def __init__(
        self,
        config: GcpConfig,
        environ: Mapping[str, str],
        client: httpx.AsyncClient,
        metadata: httpx.AsyncClient,
    ) -> None:
        super().__init__(config, client, metadata)
        tokens = Tokens(environ, client, metadata, file=config.credentials)
        self._tokens: Keepers[str] = Keepers(tokens.fetch)

    def _tokens_for(self, url: str) -> Keeper[str] | None:
        if self._config.authentication == "none":
            return None
        return self._tokens[self._config.audience or _audience(url)]


def _audience(url: str) -> str:
    """Cloud Run's is the service, without a path; that of a function is its whole URL."""
    parts = urlsplit(url)
    if (parts.hostname or "").endswith(".run.app"):
        return f"{parts.scheme}://{parts.netloc}"
    return url
