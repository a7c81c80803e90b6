"""Google's ID tokens: who calls, for one audience, for an hour.

Looked for in the usual order ("Application Default Credentials"): a service account's JSON file, as
configured or named by `GOOGLE_APPLICATION_CREDENTIALS`; the file that gcloud keeps; the metadata
server of the machine. With a file we sign an assertion (RFC 7523, with Google's `target_audience`)
and the token endpoint gives the token. What gcloud keeps for a person cannot name an audience, and
is refused by name.
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import jwt
import trio

from gossamer_gateway.runs.providers.calling import said
from gossamer_gateway.runs.providers.issuers import ask_for_token, ask_metadata
from gossamer_gateway.runs.providers.keeping import Fetched, NoCredentials, may_be_sent
from gossamer_gateway.runs.providers.urls import is_loopback

LIFE_S = 3_600
"""Of an assertion, and so of its token: the longest that Google gives."""

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"

_FILE_BYTES_MAX = 2**16


class Tokens:
    """Where ID tokens are from.

    Args:
        file: a service account's; None: the usual places.
        client: for the token endpoint. `metadata`: for this machine's, through no proxy.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        client: httpx.AsyncClient,
        metadata: httpx.AsyncClient,
        *,
        file: Path | None = None,
    ) -> None:
        self._environ = environ
        self._client = client
        self._metadata = metadata
        self._file = file

    async def fetch(self, audience: str) -> Fetched[str]:
        """Raises: NoCredentials."""
        named = self._environ.get("GOOGLE_APPLICATION_CREDENTIALS")
        file = self._file or (Path(named) if named else None)
        if file is None:
            base = self._environ.get("CLOUDSDK_CONFIG")
            home = Path(self._environ.get("HOME", "/nonexistent"))
            folder = Path(base) if base else home / ".config" / "gcloud"
            kept = folder / "application_default_credentials.json"
            file = kept if kept.is_file() else None
        if file is None:
            return await self._of_machine(audience)
        account = await trio.to_thread.run_sync(_read, file)
        return await self._of_account(account, audience, file)

    async def _of_account(
        self, account: Mapping[str, Any], audience: str, file: Path
    ) -> Fetched[str]:
        url = said(account, "token_uri")
        if not url.startswith("https://") and not is_loopback(url):
            raise NoCredentials(f"{file} has no https token_uri")
        now_s = int(time.time())
        claims = {
            "iss": account["client_email"], "sub": account["client_email"], "aud": url,
            "iat": now_s, "exp": now_s + LIFE_S, "target_audience": audience,
        }  # fmt: skip
        key_id = said(account, "private_key_id")
        try:
            assertion = jwt.encode(
                claims,
                account["private_key"],
                algorithm="RS256",
                headers={"kid": key_id} if key_id else None,
            )
        except (ValueError, TypeError, jwt.PyJWTError):
            raise NoCredentials(f"{file} has no usable private_key") from None
        form = {"grant_type": GRANT, "assertion": assertion}
        reply = await ask_for_token(self._client, url, form)
        if reply.status != 200:
            why = said(reply.fields(), "error_description", "error")
            raise NoCredentials(
                f"the token endpoint refuses {account['client_email']} ({reply.status}) {why}"
            )
        return _token(said(reply.fields(), "id_token"), "the token endpoint")

    async def _of_machine(self, audience: str) -> Fetched[str]:
        host = self._environ.get("GCE_METADATA_HOST") or "metadata.google.internal"
        url = f"http://{host}/computeMetadata/v1/instance/service-accounts/default/identity"
        try:
            reply = await ask_metadata(
                self._metadata, "GET", url, headers={"metadata-flavor": "Google"},
                query={"audience": audience, "format": "full"},
            )  # fmt: skip
        except NoCredentials as error:
            raise NoCredentials(
                f"there is no service account's file, and this machine's metadata has none: {error}"
            ) from error
        return _token(reply.body.decode("latin-1").strip(), "this machine's metadata")


def _read(file: Path) -> Mapping[str, Any]:
    try:
        with file.open("rb") as opened:
            account = json.loads(opened.read(_FILE_BYTES_MAX))
    except (OSError, ValueError, RecursionError) as error:
        raise NoCredentials(f"{file} cannot be read: {type(error).__name__}") from None
    kind = account.get("type") if isinstance(account, dict) else None
    if kind != "service_account":
        raise NoCredentials(f"{file} is of no service account, and none else can name an audience")
    if not said(account, "client_email") or not said(account, "private_key"):
        raise NoCredentials(f"{file} has no client_email and private_key")
    assert isinstance(account, dict), "its type was read"
    return account


def _token(token: str, who: str) -> Fetched[str]:
    try:
        # Whether it is true is for the function to judge; here it is the end that counts.
        claims = jwt.decode(token, options={"verify_signature": False})
        if not may_be_sent(token):
            raise ValueError
        return Fetched(token, float(claims["exp"]))
    except (jwt.PyJWTError, KeyError, TypeError, ValueError):
        raise NoCredentials(f"{who} gave no token") from None
