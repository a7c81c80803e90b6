"""An engine as it is configured: where it is, and how a node proves who it is there.

`gossamer_node.config` reads these from files, flags and the environment; the adapters take them.
Secrets are resolved by then, and kept out of every `repr`, so that no log line can hold one.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True)
class NoAuth:
    """The engine asks for nothing."""


@dataclass(frozen=True, slots=True)
class BasicAuth:
    """HTTP basic authentication (RFC 7617)."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class BearerAuth:
    """A fixed token (RFC 6750)."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class OAuth2:
    """Client credentials (RFC 6749 §4.4).

    Attributes:
        token_url: where tokens are had.
        audience: Camunda 8's extension to the request; None leaves it out.
        scope: None leaves it out.
    """

    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    audience: str | None = None
    scope: str | None = None


Auth = NoAuth | BasicAuth | BearerAuth | OAuth2


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """One engine.

    Attributes:
        name: under which services, logs and the mesh know it.
        kind: which dialect it speaks; the embedded engine speaks Camunda 7's.
        url: base of the REST API, without a slash at its end: `http://localhost:8080/engine-rest`
            for Camunda 7, `http://localhost:8080` for Camunda 8 (`/v2` is added).
        tenant: None for the default tenant.
        ca_file: certificates to trust beside the system's, PEM.
    """

    name: str
    kind: Literal["camunda7", "camunda8"]
    url: str
    tenant: str | None = None
    auth: Auth = field(default_factory=NoAuth)
    ca_file: Path | None = None
