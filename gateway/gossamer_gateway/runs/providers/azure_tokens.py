"""Tokens of Entra ID for a function app: of a client with a secret, or of a managed identity.

1. A client: configured, or `AZURE_TENANT_ID`, `AZURE_CLIENT_ID` and `AZURE_CLIENT_SECRET`; from
   `AZURE_AUTHORITY_HOST`, by default `https://login.microsoftonline.com` (OAuth 2.0 §4.4).
2. App Service's endpoint: `IDENTITY_ENDPOINT` with `IDENTITY_HEADER`.
3. The metadata of the machine (IMDS).
"""

import time
from collections.abc import Mapping

import httpx

from gossamer_gateway.runs.providers.calling import said
from gossamer_gateway.runs.providers.config import AzureConfig
from gossamer_gateway.runs.providers.exchange import Reply
from gossamer_gateway.runs.providers.issuers import ask_for_token, ask_metadata
from gossamer_gateway.runs.providers.keeping import Fetched, NoCredentials, may_be_sent
from gossamer_gateway.runs.providers.urls import address_of, is_loopback

AUTHORITY = "https://login.microsoftonline.com"
METADATA_URL = "http://169.254.169.254/metadata/identity/oauth2/token"


class Tokens:
    """Where tokens are from.

    Args:
        client: for the authority. `metadata`: for this machine's, through no proxy.
    """

    def __init__(
        self,
        config: AzureConfig,
        environ: Mapping[str, str],
        client: httpx.AsyncClient,
        metadata: httpx.AsyncClient,
    ) -> None:
        self._environ = environ
        self._client = client
        self._metadata = metadata
        self._tenant = config.tenant or environ.get("AZURE_TENANT_ID")
        self._id = config.client_id or environ.get("AZURE_CLIENT_ID")
        self._secret = config.client_secret or environ.get("AZURE_CLIENT_SECRET")

    async def fetch(self, audience: str) -> Fetched[str]:
        """Raises: NoCredentials."""
        if self._tenant and self._id and self._secret:
            return await self._of_client(self._tenant, self._id, self._secret, audience)
        endpoint = self._environ.get("IDENTITY_ENDPOINT")
        header = self._environ.get("IDENTITY_HEADER")
        # With its id alone, AZURE_CLIENT_ID names one of several managed identities.
        query = {"resource": audience, **({"client_id": self._id} if self._id else {})}
        if endpoint and header:
            if not endpoint.startswith("https://") and not _is_local(endpoint):
                raise NoCredentials("IDENTITY_ENDPOINT is another machine's, without TLS")
            return await self._of_machine(
                endpoint, {"api-version": "2019-08-01", **query}, {"x-identity-header": header}
            )
        return await self._of_machine(
            METADATA_URL, {"api-version": "2018-02-01", **query}, {"metadata": "true"}
        )

    async def _of_client(self, tenant: str, id: str, secret: str, audience: str) -> Fetched[str]:
        authority = (self._environ.get("AZURE_AUTHORITY_HOST") or AUTHORITY).rstrip("/")
        if "://" not in authority:
            authority = f"https://{authority}"
        if not authority.startswith("https://") and not is_loopback(authority):
            raise NoCredentials("AZURE_AUTHORITY_HOST is not https")
        form = {
            "grant_type": "client_credentials",
            "client_id": id,
            "client_secret": secret,
            "scope": f"{audience.rstrip('/')}/.default",
        }
        url = f"{authority}/{tenant}/oauth2/v2.0/token"
        reply = await ask_for_token(self._client, url, form)
        if reply.status != 200:
            raise NoCredentials(
                f"the token endpoint refuses the client {id} ({reply.status}) "
                f"{said(reply.fields(), 'error')}"
            )
        return _token(reply, "the token endpoint")

    async def _of_machine(
        self, url: str, query: Mapping[str, str], headers: Mapping[str, str]
    ) -> Fetched[str]:
        try:
            reply = await ask_metadata(self._metadata, "GET", url, headers=headers, query=query)
        except NoCredentials as error:
            raise NoCredentials(
                f"there is no client's secret, and this machine has no managed identity: {error}"
            ) from error
        return _token(reply, "the managed identity's endpoint")


def _is_local(url: str) -> bool:
    address = address_of(url)
    return is_loopback(url) or (address is not None and address.is_link_local)


def _token(reply: Reply, who: str) -> Fetched[str]:
    fields = reply.fields()
    token = said(fields, "access_token")
    try:
        if not may_be_sent(token):
            raise ValueError
        # Seconds as text from managed identities, as a number from the authority.
        if "expires_on" in fields:
            return Fetched(token, float(fields["expires_on"]))
        return Fetched(token, time.time() + float(fields["expires_in"]))
    except (KeyError, TypeError, ValueError):
        raise NoCredentials(f"{who} gave no token") from None
