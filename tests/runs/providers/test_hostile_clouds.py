"""What clouds, their metadata and our own configuration do at their worst, cloud by cloud."""

import logging
import time
from email.utils import formatdate
from pathlib import Path
from typing import Any

import jwt
import pytest
import trio
from tests.patience import patience
from tests.runs.providers.clouds import (
    AWS_SECRET,
    AWS_TOKEN,
    AZURE_KEY,
    CLOUDS,
    KEY,
    NO_NETWORK,
    AwsCloud,
    AzureCloud,
    Cloud,
)
from tests.runs.providers.scripted import Asked, open_scripted, reply

from gossamer_gateway.runs.model.definition import Place
from gossamer_gateway.runs.model.events import Failure
from gossamer_gateway.runs.providers import aws_credentials, azure_tokens
from gossamer_gateway.runs.providers.calling import SECRETS_MAX, Calling
from gossamer_gateway.runs.providers.classifying import CODES, trips
from gossamer_gateway.runs.providers.config import AwsConfig, AzureConfig, GcpConfig
from gossamer_gateway.runs.providers.exchange import new_client
from gossamer_gateway.runs.providers.factory import open_provider
from gossamer_gateway.runs.providers.keeping import NoCredentials
from gossamer_gateway.runs.providers.port import Invocation, Outcome, Provider
from gossamer_gateway.runs.providers.urls import is_loopback

ENDS = "2099-01-02T03:04:05Z"


@pytest.fixture(params=CLOUDS, ids=lambda one: one.name)
def cloud(request: pytest.FixtureRequest, tmp_path: Path) -> Cloud:
    made: Cloud = request.param(tmp_path)
    return made


async def call(provider: Provider, name: str, function: str = "pay") -> Outcome | Failure:
    place = Place(name, function, "eu-central-1")
    return await provider.invoke(Invocation(place, None, KEY, 20_000))


# --- credentials that end, or are refused


async def test_a_function_that_says_401_to_everybody_is_no_storm(cloud: Cloud) -> None:
    """Each call came twice and had a token fetched: for a function that had no say in any."""
    no = cloud.refusal("401 Unauthorized", "UnrecognizedClientException")
    async with open_scripted(no) as server, cloud.open(server.url) as provider:
        for _ in range(10):
            found = await call(provider, cloud.name)
            assert isinstance(found, Failure) and found.code == "AccessDenied"
    # The first is tried again where the new token is another one, as Google's always is.
    assert len(server.asked) <= 11 and len(server.tokens) <= 2


async def test_credentials_that_end_in_the_middle_are_fetched_once_for_all() -> None:
    """Forty calls at once find out that the keys of the machine have ended."""
    given = 0

    def answer(asked: Asked) -> bytes:
        nonlocal given
        if asked.method == "PUT":
            return reply("session", media="text/plain")
        if asked.target.endswith("/security-credentials/"):
            return reply("role", media="text/plain")
        if asked.target.endswith("/role"):
            given += 1
            keys = {"AccessKeyId": f"AKID{given}", "SecretAccessKey": AWS_SECRET}
            return reply({**keys, "Token": AWS_TOKEN, "Expiration": ENDS})
        if "Credential=AKID1/" in asked.headers["authorization"]:
            return reply({"message": "ended"}, "403 No", x_amzn_errortype="ExpiredTokenException")
        return reply(1)

    async with open_scripted(answer) as server:
        environ = {"HOME": "/nonexistent", "AWS_EC2_METADATA_SERVICE_ENDPOINT": server.url}
        provider = open_provider(AwsConfig(base_url=server.url), environ)
        found: list[Outcome | Failure] = []

        async def one() -> None:
            found.append(await call(provider, "AWS"))

        async with trio.open_nursery() as nursery:
            for _ in range(40):
                nursery.start_soon(one)
        await provider.aclose()
    assert found == [Outcome(1)] * 40 and given == 2


# --- what nobody should read


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_SESSION_TOKEN", "the/session/token/with/a/line\n"),
        ("AWS_ACCESS_KEY_ID", "AKIDWITHALINE\n"),
        ("AWS_SECRET_ACCESS_KEY", "the/secret/with/a/line\n"),
        ("AWS_SESSION_TOKEN", "the/session/töken"),
    ],
)
async def test_keys_that_no_header_may_have_are_said_and_not_told(name: str, value: str) -> None:
    """A line's end comes along where a secret is made of a file; h11 quotes what it refuses."""
    async with open_scripted(reply(1)) as server:
        environ = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": AWS_SECRET, **NO_NETWORK}
        provider = open_provider(AwsConfig(base_url=server.url), environ | {name: value})
        found = await call(provider, "AWS")
        await provider.aclose()
    assert isinstance(found, Failure) and found.code == "NoCredentials"
    assert name in found.message and value.strip() not in repr(found)
    assert server.asked == []


async def test_keys_of_a_file_that_no_header_may_have(tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    file.write_text(
        "[default]\naws_access_key_id = A\naws_secret_access_key = s\n"
        "aws_session_token = one\n  two-of-the-secret\n"
    )
    environ = {**NO_NETWORK, "AWS_SHARED_CREDENTIALS_FILE": str(file)}
    async with open_scripted(reply(1)) as server:
        provider = open_provider(AwsConfig(base_url=server.url), environ)
        found = await call(provider, "AWS")
        await provider.aclose()
    assert isinstance(found, Failure) and found.code == "NoCredentials"
    assert "default" in found.message and "two-of-the-secret" not in repr(found)


@pytest.mark.parametrize("value", ["the-secret-with-a-line\n", "the-sécret-of-the-test"])
async def test_secrets_for_the_metadata_are_not_told(
    value: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with open_scripted(reply(1)) as server:
        aws = {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{server.url}/keys",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": value,
        }
        azure = {"IDENTITY_ENDPOINT": server.url, "IDENTITY_HEADER": value}
        for config, environ in (
            (AwsConfig(base_url=server.url), aws),
            (AzureConfig(base_url=server.url, audience="api://app"), azure),
        ):
            provider = open_provider(config, {**NO_NETWORK, **environ})
            found = await call(provider, config.name)
            await provider.aclose()
            assert isinstance(found, Failure) and found.code == "NoCredentials", found
            assert value.strip() not in repr(found) and value.strip() not in caplog.text


async def test_a_secret_is_scrubbed_however_many_came_after_it(tmp_path: Path) -> None:
    """The client's secret is sent once an hour; tokens of many functions came in between."""
    cloud = AzureCloud(tmp_path)
    told = reply({"message": f"you sent {AZURE_KEY} and {cloud.secrets[1]}"}, "500 No")
    async with open_scripted(told) as server, cloud.open(server.url) as provider:
        assert isinstance(provider, Calling)
        for number in range(SECRETS_MAX * 2):
            provider._note(f"another-token-{number}")
        found = await call(provider, "AZURE")
    assert isinstance(found, Failure) and "you sent [redacted] and [redacted]" in found.message


async def test_nothing_is_logged_that_is_secret(
    cloud: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    """By anybody: at DEBUG the HTTP library says a lot."""
    caplog.set_level(logging.DEBUG)
    async with open_scripted(reply(1)) as server, cloud.open(server.url) as provider:
        assert await call(provider, cloud.name) == Outcome(1)
        sent = [*cloud.secrets, server.asked[0].headers["authorization"].split()[-1]]
    assert "receive_response_headers" in caplog.text, "it was captured"
    assert not [one for one in sent if one[:20] in caplog.text]


# --- where credentials are from


async def keys_of(environ: dict[str, str], profile: str | None = None) -> Any:
    async with new_client(trust_env=False) as client:
        places = aws_credentials.Places(NO_NETWORK | environ, client, profile=profile)
        return (await places.fetch()).value


async def test_keys_are_of_one_file_and_not_a_bit_of_each(tmp_path: Path) -> None:
    """A token of one pair of keys, sent with another pair, is refused by AWS."""
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text(
        "[default]\naws_access_key_id = old\naws_secret_access_key = old\n"
        "aws_session_token = of the old\nregion = eu-west-1\n"
    )
    (tmp_path / ".aws" / "credentials").write_text(
        "[default]\naws_access_key_id = new\naws_secret_access_key = newer\n"
    )
    found = await keys_of({"HOME": str(tmp_path)})
    assert (found.id, found.secret, found.token) == ("new", "newer", None)


async def test_a_profile_of_a_role_is_not_worked_with_other_rights(tmp_path: Path) -> None:
    """AWS's tools take the role there, whatever keys stand beside it."""
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text(
        "[default]\nrole_arn = arn:aws:iam::1:role/small\nsource_profile = default\n"
    )
    (tmp_path / ".aws" / "credentials").write_text(
        "[default]\naws_access_key_id = admin\naws_secret_access_key = s\n"
    )
    with pytest.raises(NoCredentials, match="role_arn, which is not supported"):
        await keys_of({"HOME": str(tmp_path)})


async def test_a_web_identity_is_not_passed_over_for_the_machines_role() -> None:
    """On EKS the machine's role is another's, and mostly a mightier one."""
    with pytest.raises(NoCredentials, match="AWS_WEB_IDENTITY_TOKEN_FILE"):
        await keys_of({"AWS_WEB_IDENTITY_TOKEN_FILE": "/token", "AWS_ROLE_ARN": "arn:aws:iam::1:x"})


JUNK_KEYS: list[object] = [
    {},
    [],
    {"AccessKeyId": "i", "SecretAccessKey": "s", "Token": "t"},
    {"AccessKeyId": "i", "SecretAccessKey": "s", "Token": "t", "Expiration": None},
    {"AccessKeyId": "i", "SecretAccessKey": "s", "Token": "t", "Expiration": "soon"},
    {"AccessKeyId": "i", "SecretAccessKey": 7, "Token": "t", "Expiration": ENDS},
    {"AccessKeyId": "", "SecretAccessKey": "s", "Token": "t", "Expiration": ENDS},
    {"AccessKeyId": "i\r\nx: y", "SecretAccessKey": "s", "Token": "t", "Expiration": ENDS},
    {"Code": "AssumeRoleUnauthorizedAccess"},
]


@pytest.mark.parametrize("said", JUNK_KEYS, ids=str)
async def test_metadata_that_gives_junk_gives_no_keys(said: object) -> None:
    async with open_scripted(reply(said)) as server:
        with pytest.raises(NoCredentials, match="answered no keys"):
            await keys_of({"AWS_CONTAINER_CREDENTIALS_FULL_URI": server.url})


@pytest.mark.parametrize("end", ["nan", "inf", "-inf", "1e999"])
async def test_a_token_without_an_end_in_time_is_none(end: str) -> None:
    """`nan` is over neither now nor ever: a token was fetched for each call, or never again."""
    said = reply({"access_token": "token", "expires_on": end})
    async with open_scripted(said) as server, new_client(trust_env=False) as client:
        environ = {"IDENTITY_ENDPOINT": server.url, "IDENTITY_HEADER": "h"}
        tokens = azure_tokens.Tokens(AzureConfig(base_url="https://a"), environ, client, client)
        with pytest.raises(NoCredentials, match="gave no token"):
            await tokens.fetch("api://app")


async def test_a_token_of_googles_metadata_that_no_header_may_have() -> None:
    token = jwt.encode({"exp": int(time.time()) + 500}, "x" * 32, algorithm="HS256")
    async with open_scripted(reply(f"{token[:20]}\r\n{token[20:]}", media="text/plain")) as server:
        environ = {**NO_NETWORK, "GCE_METADATA_HOST": server.url.removeprefix("http://")}
        provider = open_provider(GcpConfig(base_url=server.url), environ)
        found = await call(provider, "GCP")
        await provider.aclose()
    assert isinstance(found, Failure) and found.code == "NoCredentials", found


@pytest.mark.parametrize(
    ("config", "environ"),
    [
        (GcpConfig(base_url="https://f"), {"GCE_METADATA_HOST": "ho st:1:2"}),
        (
            AzureConfig(base_url="https://f", audience="a"),
            {"IDENTITY_ENDPOINT": "https://[x/", "IDENTITY_HEADER": "h"},
        ),
        (
            AzureConfig(base_url="https://f", audience="a"),
            {"IDENTITY_ENDPOINT": "https://ho st:x/", "IDENTITY_HEADER": "h"},
        ),
        (AwsConfig(base_url="https://f"), {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "https://[x/"}),
    ],
)
async def test_a_variable_that_is_no_address_is_no_mistake_of_ours(
    config: AwsConfig | GcpConfig | AzureConfig, environ: dict[str, str]
) -> None:
    provider = open_provider(config, {**NO_NETWORK, **environ})
    found = await call(provider, config.name)
    await provider.aclose()
    assert isinstance(found, Failure) and found.code == "NoCredentials", found


@pytest.mark.parametrize(
    "url",
    ["http://127.evil.example/x", "http://127.0.0.1.evil.example", "http://localhost.evil.example"],
)
def test_a_name_that_looks_like_this_machine_is_another(url: str) -> None:
    assert not is_loopback(url)


async def test_a_name_that_looks_like_the_metadata_is_another() -> None:
    async with new_client(trust_env=False) as client:
        environ = {"IDENTITY_ENDPOINT": "http://169.254.evil.example", "IDENTITY_HEADER": "h"}
        tokens = azure_tokens.Tokens(AzureConfig(base_url="https://a"), environ, client, client)
        with pytest.raises(NoCredentials, match="another machine's"):
            await tokens.fetch("api://app")


# --- what is whose


@pytest.mark.parametrize(("late_s", "way"), [(1_200, "behind"), (-1_200, "ahead")])
async def test_a_clock_that_is_wrong_is_told(tmp_path: Path, late_s: int, way: str) -> None:
    """AWS says 403 and that a signature expired; a person looks for it in IAM."""
    there = formatdate(time.time() + late_s, usegmt=True)
    said = reply(
        {"message": "Signature expired: 20260101T000000Z is now earlier than 20260101T001500Z"},
        "403 Forbidden", x_amzn_errortype="InvalidSignatureException", date=there,
    )  # fmt: skip
    async with open_scripted(said) as server:
        found = await AwsCloud(tmp_path).call(server.url)
    assert isinstance(found, Failure)
    assert (found.code, found.blame, found.retryable) == ("ClockSkew", "provider", False)
    assert f"20 min {way}" in found.message and not trips(found)


async def test_a_wrong_signature_under_a_right_clock_is_what_it_says(tmp_path: Path) -> None:
    said = reply(
        {"message": "The request signature we calculated does not match"}, "403 Forbidden",
        x_amzn_errortype="InvalidSignatureException", date=formatdate(usegmt=True),
    )  # fmt: skip
    async with open_scripted(said) as server:
        found = await AwsCloud(tmp_path).call(server.url)
    assert isinstance(found, Failure) and found.code == "AccessDenied"


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        ("EFSIOException", "410 Gone", "Unavailable"),
        ("SnapStartNotReadyException", "409 Conflict", "Unavailable"),
        ("EFSMountTimeoutException", "408 Request Timeout", "Timeout"),
        ("NoPublishedVersionException", "400 Bad Request", "FunctionNotFound"),
        ("SerializedRequestEntityTooLargeException", "413 Too Large", "PayloadTooLarge"),
    ],
)
async def test_what_lambda_says_of_itself_is_not_the_functions_word(
    tmp_path: Path, error: str, status: str, code: str
) -> None:
    async with open_scripted(AwsCloud(tmp_path).refusal(status, error)) as server:
        found = await AwsCloud(tmp_path).call(server.url)
    assert isinstance(found, Failure)
    assert (found.code, found.blame) == (code, "provider")


async def test_a_payload_that_is_too_large_here_may_fit_elsewhere(cloud: Cloud) -> None:
    """Each cloud has a bound of its own, and Lambda a small one for events."""
    no = cloud.refusal("413 Payload Too Large", "RequestTooLargeException")
    async with open_scripted(no) as server:
        found = await cloud.call(server.url)
    assert isinstance(found, Failure)
    assert (found.code, found.blame, found.retryable) == ("PayloadTooLarge", "provider", False)
    assert not trips(found)


async def test_more_calls_than_a_pool_has_connections_do_not_wait_in_it(tmp_path: Path) -> None:
    """They would be too slow, and that would be the provider's fault."""
    count = 300
    here = 0
    all_here = trio.Event()

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal here
        async with stream:
            await stream.receive_some(65_536)
            here += 1
            if here == count:
                all_here.set()
            await all_here.wait()
            await stream.send_all(reply(1))

    cloud = AwsCloud(tmp_path)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, serve, 0)
        url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        found: list[Outcome | Failure] = []
        async with cloud.open(url) as provider:

            async def one() -> None:
                found.append(await call(provider, "AWS"))

            with patience():
                async with trio.open_nursery() as calls:
                    for _ in range(count):
                        calls.start_soon(one)
        nursery.cancel_scope.cancel()
    assert found == [Outcome(1)] * count


def test_every_code_says_whether_anybody_was_asked() -> None:
    """What was not asked is neither well nor unwell."""
    silent = {code for code, row in CODES.items() if not row.asked}
    assert silent == {
        "BadFunctionId", "CircuitOpen", "Mistake", "NoCredentials", "NotConfigured",
    }  # fmt: skip
    assert not [code for code in silent if CODES[code].trips]
