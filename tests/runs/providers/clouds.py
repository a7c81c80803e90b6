"""The three clouds as the conformance suite sees them: how each is configured and speaks."""

import base64
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.runs.providers.scripted import ENTRA_TOKEN, Asked, reply

from gossamer_gateway.runs.model.definition import Place
from gossamer_gateway.runs.model.events import Failure
from gossamer_gateway.runs.providers.config import AwsConfig, AzureConfig, GcpConfig, ProviderConfig
from gossamer_gateway.runs.providers.factory import open_provider
from gossamer_gateway.runs.providers.port import Invocation, Outcome, Provider

KEY = "run-1:charge"
AWS_SECRET = "aws/secret/of/the/test+0123456789"
AWS_TOKEN = "aws//session//token//of//the//test=="
AZURE_KEY = "azure-function-key-of-the-test"
AZURE_SECRET = "azure-client-secret-of-the-test"

NO_NETWORK = {"AWS_EC2_METADATA_DISABLED": "true", "HOME": "/nonexistent"}


@cache
def rsa_key() -> str:
    """A private key, as PEM: one for all tests."""
    return (
        rsa.generate_private_key(65_537, 2_048)
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        .decode()
    )


class Cloud(ABC):
    """A kind of provider."""

    name: str
    secrets: tuple[str, ...] = ()

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def config(self, url: str, ca_file: Path | None = None) -> ProviderConfig:
        """Of functions at this URL."""

    @abstractmethod
    def environ(self, tokens_url: str) -> dict[str, str]:
        """Credentials. `tokens_url`: of the server that gives tokens."""

    @asynccontextmanager
    async def open(
        self, url: str, *, tokens_url: str | None = None, ca_file: Path | None = None
    ) -> AsyncIterator[Provider]:
        environ = self.environ(tokens_url or url) | NO_NETWORK
        provider = open_provider(self.config(url, ca_file), environ)
        try:
            yield provider
        finally:
            await provider.aclose()

    async def call(
        self, url: str, payload: Any = None, *, deadline_ms: int = 20_000, **how: Any
    ) -> Outcome | Failure:
        """One call of `pay` with a new provider."""
        async with self.open(url, **how) as provider:
            place = Place(self.name, "pay", "eu-central-1")
            return await provider.invoke(Invocation(place, payload, KEY, deadline_ms))

    def refusal(self, status: str, aws: str, **headers: str) -> bytes:
        """How the service says no. `aws`: the name of AWS's error."""
        return reply({"message": f"{aws}, in words"}, status, **headers)

    @abstractmethod
    def own_error(self) -> bytes:
        """What the function's code threw."""

    @abstractmethod
    def key_in(self, asked: Asked) -> str:
        """The idempotency key in a request."""

    @abstractmethod
    def credentials_in(self, asked: Asked) -> bool:
        """Whether a request has what the cloud wants to see."""


class AwsCloud(Cloud):
    name = "AWS"
    secrets = (AWS_SECRET, AWS_TOKEN)

    def config(self, url: str, ca_file: Path | None = None) -> AwsConfig:
        return AwsConfig(base_url=url, ca_file=ca_file)

    def environ(self, tokens_url: str) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": "AKIDOFTHETEST",
            "AWS_SECRET_ACCESS_KEY": AWS_SECRET,
            "AWS_SESSION_TOKEN": AWS_TOKEN,
        }

    def refusal(self, status: str, aws: str, **headers: str) -> bytes:
        return reply({"Message": f"{aws}, in words"}, status, **headers, x_amzn_errortype=aws)

    def own_error(self) -> bytes:
        said = {"errorType": "CardDeclined", "errorMessage": "no money", "stackTrace": ["at pay"]}
        return reply(said, x_amz_function_error="Unhandled")

    def key_in(self, asked: Asked) -> str:
        context = json.loads(base64.b64decode(asked.headers["x-amz-client-context"]))
        return str(context["custom"]["idempotencyKey"])

    def credentials_in(self, asked: Asked) -> bool:
        signed = asked.headers["authorization"]
        return (
            signed.startswith("AWS4-HMAC-SHA256 Credential=AKIDOFTHETEST/")
            and "/eu-central-1/lambda/aws4_request" in signed
            and asked.headers["x-amz-security-token"] == AWS_TOKEN
            and asked.target == "/2015-03-31/functions/pay/invocations"
        )


class GcpCloud(Cloud):
    name = "GCP"

    def config(self, url: str, ca_file: Path | None = None) -> GcpConfig:
        return GcpConfig(
            base_url=url, credentials=self.folder / "account.json", ca_file=ca_file
        )  # fmt: skip

    def environ(self, tokens_url: str) -> dict[str, str]:
        account = {
            "type": "service_account",
            "client_email": "gateway@project.iam.gserviceaccount.com",
            "private_key_id": "key-1",
            "private_key": rsa_key(),
            "token_uri": f"{tokens_url}/token",
        }
        (self.folder / "account.json").write_text(json.dumps(account))
        return {}

    def own_error(self) -> bytes:
        said = {"errorType": "CardDeclined", "message": "no money"}
        return reply(said, "500 INTERNAL SERVER ERROR", x_google_status="crash")

    def key_in(self, asked: Asked) -> str:
        return asked.headers["idempotency-key"]

    def credentials_in(self, asked: Asked) -> bool:
        return asked.headers["authorization"].startswith("Bearer ey") and asked.target == "/pay"


class AzureCloud(Cloud):
    name = "AZURE"
    secrets = (AZURE_KEY, AZURE_SECRET, ENTRA_TOKEN)

    def config(self, url: str, ca_file: Path | None = None) -> AzureConfig:
        return AzureConfig(
            base_url=f"{url}/api", key=AZURE_KEY, audience="api://pay", ca_file=ca_file
        )  # fmt: skip

    def environ(self, tokens_url: str) -> dict[str, str]:
        return {
            "AZURE_AUTHORITY_HOST": tokens_url,
            "AZURE_TENANT_ID": "tenant-1",
            "AZURE_CLIENT_ID": "client-1",
            "AZURE_CLIENT_SECRET": AZURE_SECRET,
        }

    def own_error(self) -> bytes:
        said = {"code": "CardDeclined", "message": "no money"}
        return reply(said, "422 Unprocessable Content")

    def key_in(self, asked: Asked) -> str:
        return asked.headers["idempotency-key"]

    def credentials_in(self, asked: Asked) -> bool:
        return (
            asked.headers["authorization"] == f"Bearer {ENTRA_TOKEN}"
            and asked.headers["x-functions-key"] == AZURE_KEY
            and asked.target == "/api/pay"
        )


CLOUDS: tuple[type[Cloud], ...] = (AwsCloud, GcpCloud, AzureCloud)
