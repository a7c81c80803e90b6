"""From a row of the configuration to the provider."""

from collections.abc import Mapping
from typing import Literal

from gossamer_gateway.errors import InputError
from gossamer_gateway.runs.providers.aws import Aws
from gossamer_gateway.runs.providers.azure import Azure
from gossamer_gateway.runs.providers.config import AwsConfig, GcpConfig, ProviderConfig
from gossamer_gateway.runs.providers.exchange import new_client
from gossamer_gateway.runs.providers.gcp import Gcp
from gossamer_gateway.runs.providers.port import Provider


def open_provider(config: ProviderConfig, environ: Mapping[str, str]) -> Provider:
    """Opens no connection yet.

    Args:
        environ: where the clouds' own variables are.

    Raises: InputError: its `ca_file` cannot be used.
    """
    try:
        client = new_client(ca_file=config.ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise InputError(
            f"Provider {config.name} can't use the CA file {config.ca_file}: {error}."
        ) from error
    # What this machine says of itself is never asked of a proxy.
    metadata = new_client(trust_env=False)
    if isinstance(config, AwsConfig):
        return Aws(config, environ, client, metadata)
    if isinstance(config, GcpConfig):
        return Gcp(config, environ, client, metadata)
    return Azure(config, environ, client, metadata)


def kind_of(config: ProviderConfig) -> Literal["aws", "gcp", "azure"]:
    """As it is written in the configuration."""
    if isinstance(config, AwsConfig):
        return "aws"
    return "gcp" if isinstance(config, GcpConfig) else "azure"
