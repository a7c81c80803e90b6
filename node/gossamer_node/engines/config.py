"""How a person names an engine: where it is, how to sign in, whom to trust.

Values only: `factory.open_engine` makes the adapter. Secrets live in the `auth` objects, never in
the URL, and stay out of every repr, so a config can be logged as it is.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from gossamer_node.errors import InputError

Kind = Literal["camunda7", "camunda8"]
"""The dialect that the engine speaks; Gossamer's own engine speaks Camunda 7's."""


@dataclass(frozen=True, slots=True)
class NoAuth:
    """Requests carry no credentials."""


@dataclass(frozen=True, slots=True)
class BasicAuth:
    """RFC 7617: a user name and a password with every request."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class BearerAuth:
    """RFC 6750: a token that a person put into the configuration; it is never renewed."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class OAuth2Auth:
    """RFC 6749 §4.4, client credentials: tokens from `token_url`, renewed before they expire.

    Attributes:
        scope: sent when not empty.
        audience: sent when not empty; Camunda 8's identity asks for it.
    """

    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    scope: str = ""
    audience: str = ""

    def __post_init__(self) -> None:
        check_url(self.token_url, "The OAuth2 token URL")


Auth = NoAuth | BasicAuth | BearerAuth | OAuth2Auth


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """One engine.

    Attributes:
        name: unique in the mesh; every message about the engine begins with it.
        url: Camunda 7: up to and with `/engine-rest`. Camunda 8: the gateway's REST address,
            without `/v2`.
        tenant: None works for the default tenant alone on Camunda 8, and for jobs of every
            tenant that the credentials may see on Camunda 7.
        ca_file: PEM file of authorities trusted beside the public ones; None adds none.
        cert_file, key_file: PEM files of the certificate, with what leads to its authority, and
            the unencrypted key by which the engine knows us (mutual TLS), over REST and gRPC.
        grpc: Camunda 8: `host:port` of the gateway's gRPC, under TLS when `url` is https. It is
            used while it answers, and REST when it does not.

    Raises:
        InputError: the name is empty, the URL is no plain http(s) URL, `grpc` is no address, or
            of `cert_file` and `key_file` there is one alone, or a URL without TLS.
    """

    name: str
    kind: Kind
    url: str
    tenant: str | None = None
    auth: Auth = NoAuth()
    ca_file: Path | None = None
    grpc: str | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise InputError(f"The engine at {self.url} has no name; give it one.")
        check_url(self.url, f"The URL of engine {self.name!r}")
        if self.grpc is not None:
            if self.kind != "camunda8":
                raise InputError(f"Engine {self.name!r} is a {self.kind}: only Camunda 8 has gRPC.")
            self.grpc_address()
        if (self.cert_file is None) != (self.key_file is None):
            raise InputError(
                f"Engine {self.name!r} has a client certificate or its key alone; name both, as "
                "cert_file and key_file."
            )
        if self.cert_file is not None and not self.url.startswith("https:"):
            raise InputError(
                f"Engine {self.name!r} has a client certificate and a URL without TLS; use https."
            )

    def grpc_address(self) -> tuple[str, int]:
        """Host and port of `grpc`. Raises InputError when it is no address."""
        try:
            parts = urlsplit(f"//{self.grpc}")
            host, port = parts.hostname, parts.port
            if host and port and parts.netloc == self.grpc and "@" not in parts.netloc:
                return host, port
        except ValueError:
            pass
        raise InputError(
            f"The gRPC address of engine {self.name!r} is not HOST:PORT: {self.grpc!r}."
        )


def check_url(url: str, what: str) -> None:
    """Raises InputError unless `url` is plain http(s) and safe to show in a log."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        secret = parts.username is not None or bool(parts.query)
    except ValueError:
        usable, secret = False, False
    if secret:
        raise InputError(f"{what} carries credentials or a query; put credentials under auth.")
    if not usable:
        raise InputError(f"{what} is not an http or https URL: {url!r}.")
