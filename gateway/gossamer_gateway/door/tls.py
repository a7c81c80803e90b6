"""The gateway's own TLS: its certificate, and whose certificates its clients may show.

A client need not show one: who does not may have a key or a token. One that is not of `client_ca`
ends the handshake.
"""

import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gossamer_gateway.errors import InputError
from gossamer_node.schema import Field, FilePath, Record

HTTP_PROTOCOLS = ("h2", "http/1.1")
GRPC_PROTOCOLS = ("h2",)


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """The gateway's certificate. `cert_file` None: plain text."""

    cert_file: Path | None = None
    key_file: Path | None = None
    client_ca: Path | None = None


def _check(config: TlsConfig) -> Iterator[tuple[str, str]]:
    if (config.cert_file is None) != (config.key_file is None):
        missing = "cert_file" if config.cert_file is None else "key_file"
        yield missing, "a certificate needs its key, and a key its certificate; write both"
    elif config.client_ca is not None and config.cert_file is None:
        yield "client_ca", "clients show certificates under TLS alone; write cert_file and key_file"


TLS = Record(
    "TLS",
    "With a certificate, HTTP and gRPC are served under TLS.",
    TlsConfig,
    (
        Field(
            "cert_file",
            FilePath("the path of a PEM file"),
            "cert_file",
            "The gateway's certificate, with what leads to its authority.",
            "A proxy in front has one, or all are on one machine.",
            default_words="none: plain text",
        ),
        Field(
            "key_file",
            FilePath("the path of a PEM file"),
            "key_file",
            "Its key, not encrypted; readable by the gateway's user alone.",
            default_words="none",
        ),
        Field(
            "client_ca",
            FilePath("the path of a PEM file"),
            "client_ca",
            "The authority of clients' certificates; `door.authentication` says what each may. No "
            "other authority counts.",
            default_words="none: nobody is asked for one",
        ),
    ),
    check=_check,
)


def server_tls(config: TlsConfig, protocols: Sequence[str]) -> ssl.SSLContext | None:
    """What a listener serves with; None for plain text.

    Args:
        protocols: `HTTP_PROTOCOLS` or `GRPC_PROTOCOLS`.

    Raises: InputError when a file can't be used.
    """
    if config.cert_file is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(list(protocols))
    try:
        # An encrypted key would be asked for on the terminal; without password it is refused.
        context.load_cert_chain(config.cert_file, config.key_file, password="")
        if config.client_ca is not None:
            context.load_verify_locations(config.client_ca)
            context.verify_mode = ssl.CERT_OPTIONAL
    except OSError as error:  # ssl.SSLError is one
        raise InputError(f"The gateway's TLS can't use its files: {error}.") from error
    return context
