"""What may be configured, and where a functionId may lead."""

from pathlib import Path

import pytest

from gossamer_gateway.errors import InputError as GatewayInputError
from gossamer_gateway.runs.model.definition import Place
from gossamer_gateway.runs.providers import urls
from gossamer_gateway.runs.providers.config import (
    PROVIDERS,
    AwsConfig,
    AzureConfig,
    GcpConfig,
    ProviderConfig,
)
from gossamer_gateway.runs.providers.factory import open_provider
from gossamer_gateway.runs.providers.urls import BadFunctionId, http_function
from gossamer_node.schema.source import Invalid, Source, parse


def read(text: str) -> tuple[ProviderConfig, ...]:
    environ = {
        "KEY": "the key of a function",
        "SECRET": "the secret of one",
        "LINE": "the key with a line's end\n",
    }
    return PROVIDERS.read(parse(text.encode(), Source("test", environ=environ)), "providers")


def test_all_kinds() -> None:
    aws, gcp, azure = read("""
- kind: aws
  region: eu-central-1
  profile: payments
- kind: gcp
  name: google
  base_url: https://{region}-project.cloudfunctions.net
  origins: ["https://*-abc-ew.a.run.app"]
- kind: azure
  base_url: https://app.azurewebsites.net/api
  key: {env: KEY}
  audience: api://app
  tenant: t
  client_id: c
  client_secret: {env: SECRET}
  concurrency: 5
""")
    assert aws == AwsConfig(region="eu-central-1", profile="payments")
    assert isinstance(gcp, GcpConfig) and gcp.name == "google"
    assert isinstance(azure, AzureConfig) and azure.key == "the key of a function"
    assert "the key" not in repr(azure) and "the secret" not in repr(azure)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- kind: ibm", "none of the choices"),
        ("- kind: gcp", "no function can be named"),
        ("- kind: azure\n  base_url: http://app.example/api", "in plain text"),
        ("- kind: azure\n  base_url: https://u:p@app.example", "more than a host"),
        ("- kind: azure\n  base_url: https://a.example\n  client_id: c", "belong together"),
        ("- kind: gcp\n  origins: ['https://a.*.example']", "elsewhere"),
        ("- kind: gcp\n  origins: ['https://*.com']", "elsewhere"),
        ("- kind: gcp\n  origins: ['https://a.example/path']", "has a path"),
        ("- kind: aws\n  region: 'Europe!'", "a region's name"),
        (
            "- kind: azure\n  base_url: https://a.example\n  key: {env: LINE}",
            "character that no header may have",
        ),
        ("- kind: aws\n- kind: aws\n  name: aws", "the same as providers[0]"),
        ("- kind: aws\n  key: {env: KEY}", "unknown key"),
    ],
)
def test_what_may_not_be(text: str, said: str) -> None:
    with pytest.raises(Invalid) as caught:
        read(text)
    assert any(said in one.sentence for one in caught.value.problems), caught.value.problems


def test_a_file_of_authorities_that_is_none(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("nothing")
    with pytest.raises(GatewayInputError, match="Provider AWS can't use the CA file"):
        open_provider(AwsConfig(ca_file=file), {})


BASE = "https://{region}-project.cloudfunctions.net"
ORIGINS = ("https://pay-*.run.app.example", "http://127.0.0.1:8080")


@pytest.mark.parametrize(
    ("id", "url"),
    [
        ("pay", "https://eu-west1-project.cloudfunctions.net/pay"),
        ("v1/pay", "https://eu-west1-project.cloudfunctions.net/v1/pay"),
        ("/pay/", "https://eu-west1-project.cloudfunctions.net/pay"),
        ("pay:x", "https://eu-west1-project.cloudfunctions.net/pay%3Ax"),
        ("bezahlen-ü", "https://eu-west1-project.cloudfunctions.net/bezahlen-%C3%BC"),
        ("https://eu-west1-project.cloudfunctions.net/x",) * 2,
        ("https://pay-abc.run.app.example/x",) * 2,
        ("http://127.0.0.1:8080/x",) * 2,
    ],
)
def test_where_a_function_is(id: str, url: str) -> None:
    assert http_function(Place("GCP", id), BASE, ORIGINS, "eu-west1") == url


@pytest.mark.parametrize(
    "id",
    [
        "..", "a/../b", ".", "a//b", "", "a b", "a?b", "a#b", "a%2e", "\n", "a\\b",
        "https://elsewhere.example/pay",
        "https://pay-.run.app.example/pay",
        "https://pay-a.b.run.app.example/pay",
        "https://pay-a.run.app.example.evil.example/pay",
        "https://pay-a.run.app.example@evil.example/pay",
        "https://evil.example#@pay-a.run.app.example/pay",
        "https://pay-a.run.app.example:8443/pay",
        "https://pay-a.run.app.example/pay?code=secret",
        "https://pay-a.run.app.example\\@evil.example/pay",
        "http://pay-a.run.app.example/pay",
        "http://127.0.0.1:8081/x",
        "https://[::1/x",
        "HTTPS://EVIL.example/pay",
        "https://eu-west1-project.cloudfunctions.net.evil.example/x",
    ],
)  # fmt: skip
def test_where_no_function_may_be(id: str) -> None:
    with pytest.raises(BadFunctionId) as caught:
        http_function(Place("GCP", id), BASE, ORIGINS, "eu-west1")
    assert "secret" not in str(caught.value)


def test_a_region_is_needed_and_is_a_name() -> None:
    with pytest.raises(BadFunctionId, match="needs a region"):
        http_function(Place("GCP", "pay"), BASE, (), "")
    with pytest.raises(BadFunctionId, match="no region's name"):
        http_function(Place("GCP", "pay"), BASE, (), "evil.example/")
    assert urls.check_base("https://a.example/") == "https://a.example"
