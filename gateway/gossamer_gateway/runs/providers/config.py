"""Settings of providers: rows of `workflows.providers` in a gateway's configuration.

A provider that has no row is not used: whoever may define a workflow should not thereby use what
this machine may do in a cloud. Credentials are not here but for an Azure function's key and
secret, by reference; the clouds' usual places are asked for the others.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gossamer_gateway.runs.providers.urls import check_base, parse_origin
from gossamer_node.schema import (
    Choice,
    Field,
    FilePath,
    Form,
    ListOf,
    OneOf,
    Record,
    Secret,
    Text,
    Whole,
)

CONCURRENCY = 64


@dataclass(frozen=True, slots=True)
class AwsConfig:
    """AWS Lambda. `PROVIDERS` says what each setting means."""

    name: str = "AWS"
    region: str | None = None
    base_url: str | None = None
    profile: str | None = None
    invocation: str = "RequestResponse"
    concurrency: int = CONCURRENCY
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class GcpConfig:
    """Google's Cloud Run functions and services."""

    name: str = "GCP"
    region: str | None = None
    base_url: str | None = None
    origins: tuple[str, ...] = ()
    authentication: str = "id_token"
    audience: str | None = None
    credentials: Path | None = None
    concurrency: int = CONCURRENCY
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class AzureConfig:
    """Azure Functions."""

    name: str = "AZURE"
    region: str | None = None
    base_url: str | None = None
    origins: tuple[str, ...] = ()
    key: str | None = field(default=None, repr=False)
    audience: str | None = None
    tenant: str | None = None
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    concurrency: int = CONCURRENCY
    ca_file: Path | None = None


ProviderConfig = AwsConfig | GcpConfig | AzureConfig

_URL = Form("a URL, https unless it is of this machine", check_base, str)


def _check_http(config: GcpConfig | AzureConfig) -> Iterator[tuple[str, str]]:
    if config.base_url is None and not config.origins:
        yield "base_url", "no function can be named: write `base_url`, or the `origins` of URLs"


def _check_azure(config: AzureConfig) -> Iterator[tuple[str, str]]:
    yield from _check_http(config)
    if config.key is not None and not (config.key.isascii() and config.key.isprintable()):
        yield "key", "has a character that no header may have, such as a line's end; take it out"
    if (config.client_id is None) != (config.client_secret is None):
        yield "client_id", "`client_id` and `client_secret` belong together; write both or none"
    if config.client_id is not None and config.tenant is None:
        yield "tenant", "write the tenant in which the client is known"
    if config.client_id is not None and config.audience is None:
        yield "audience", "a token is for somebody: write the function app's application id URI"


def _name(default: str) -> Field:
    return Field(
        "name",
        Text("a name of letters, digits, `-` and `_`", 100, r"[A-Za-z][\w-]*"),
        "name",
        "What workflows call it as `provider`; letters count alike, small or large.",
        f"Most have one: `{default}`.",
    )


def _region(default_words: str) -> Field:
    return Field(
        "region",
        Text("a region's name", 64, r"[a-z0-9-]+"),
        "region",
        "For steps that name none.",
        default_words=default_words,
    )


_CONCURRENCY = Field(
    "concurrency",
    Whole(1, 10_000),
    "concurrency",
    "How many calls this gateway makes there at a time; the others wait.",
    "With calls of 200 ms that is 320 a second, about what one core makes, and far from any "
    "account's limit.",
)
_CA_FILE = Field(
    "ca_file",
    FilePath("a PEM file"),
    "ca_file",
    "Authorities that are believed beside the public ones, such as a proxy's.",
    default_words="none",
)
_BASE_URL = Field(
    "base_url",
    _URL,
    "base_url",
    "What comes before a `functionId` that is a name: `https://{region}-project.cloudfunctions.net`"
    " makes `pay` a function of that project. `{region}` is the step's region, or this row's.",
    default_words="none: `functionId` must be a URL of `origins`",
)
_ORIGINS = Field(
    "origins",
    ListOf(Form("an origin, whose first label may have a `*`", parse_origin, str), "origins", 100),
    "origins",
    "A `functionId` may also be a URL of one of these origins (or of `base_url`'s): "
    "`https://pay-abc123-ew.a.run.app`, or with a `*` in the first label.",
    "Credentials go where a functionId says, so it may not say anything.",
)

PROVIDERS: ListOf[ProviderConfig] = ListOf(
    OneOf(
        "kind",
        {
            "aws": Record(
                "AWS Lambda",
                "`functionId` is a function's name, `name:alias`, or an ARN. Credentials are "
                "looked for where AWS's own tools do: environment, `~/.aws` files, the container's "
                "endpoint, the machine's metadata.",
                AwsConfig,
                (
                    _name("AWS"),
                    _region("`AWS_REGION`, `AWS_DEFAULT_REGION`, or the profile's"),
                    Field(
                        "base_url",
                        _URL,
                        "base_url",
                        "Another endpoint, such as a VPC's; `{region}` is the region.",
                        default_words="`https://lambda.{region}.amazonaws.com`",
                    ),
                    Field(
                        "profile",
                        Text("a profile's name", 200),
                        "profile",
                        "This profile of the `~/.aws` files, and nothing else.",
                        default_words="`AWS_PROFILE`, else `default`, after the environment's keys",
                    ),
                    Field(
                        "invocation",
                        Choice(("RequestResponse", "Event")),
                        "invocation",
                        "`Event` hands the payload over and does not wait: the step gives null, "
                        "and AWS itself tries again what fails.",
                        "A workflow mostly wants the answer.",
                    ),
                    _CONCURRENCY,
                    _CA_FILE,
                ),
            ),
            "gcp": Record(
                "Google Cloud",
                "Cloud Run functions and services, called by POST with an ID token.",
                GcpConfig,
                (
                    _name("GCP"),
                    _region("none"),
                    _BASE_URL,
                    _ORIGINS,
                    Field(
                        "authentication",
                        Choice(("id_token", "none")),
                        "authentication",
                        "`none` for functions that everybody may call.",
                        "It is what Google asks for unless told otherwise.",
                    ),
                    Field(
                        "audience",
                        Text("a URL", 1_000),
                        "audience",
                        "For whom tokens are.",
                        default_words="the service's origin at `run.app`, else the function's URL",
                    ),
                    Field(
                        "credentials",
                        FilePath("a service account's JSON file"),
                        "credentials",
                        "Of which service account.",
                        default_words="`GOOGLE_APPLICATION_CREDENTIALS`, else the file that "
                        "gcloud keeps, else the machine's metadata",
                    ),
                    _CONCURRENCY,
                    _CA_FILE,
                ),
                check=_check_http,
            ),
            "azure": Record(
                "Azure Functions",
                "HTTP functions, called by POST with a function's or host's key, with a token of "
                "Entra ID, or both.",
                AzureConfig,
                (
                    _name("AZURE"),
                    _region("none"),
                    _BASE_URL,
                    _ORIGINS,
                    Field(
                        "key",
                        Secret(),
                        "key",
                        "Sent as `x-functions-key`.",
                        default_words="none",
                    ),
                    Field(
                        "audience",
                        Text("an application id URI", 1_000),
                        "audience",
                        "With it, calls carry a token for this: of the client below, of "
                        "`AZURE_CLIENT_ID` and `AZURE_CLIENT_SECRET`, or of the machine's "
                        "managed identity.",
                        default_words="no token",
                    ),
                    Field(
                        "tenant",
                        Text("a tenant's id or domain", 200, r"[\w.-]+"),
                        "tenant",
                        "Where the client is known.",
                        default_words="`AZURE_TENANT_ID`",
                    ),
                    Field(
                        "client_id",
                        Text("an id", 200),
                        "client_id",
                        "Of the client that this gateway is.",
                        default_words="`AZURE_CLIENT_ID`",
                    ),
                    Field(
                        "client_secret",
                        Secret(),
                        "client_secret",
                        "Its secret.",
                        default_words="`AZURE_CLIENT_SECRET`",
                    ),
                    _CONCURRENCY,
                    _CA_FILE,
                ),
                check=_check_azure,
            ),
        },
    ),
    "providers",
    20,
    unique=lambda one: one.name.casefold(),
)
"""The kind of the field `workflows.providers`."""
