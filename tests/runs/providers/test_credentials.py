"""Where credentials are from, place by place."""

import json
import time
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from tests.runs.providers.clouds import NO_NETWORK, rsa_key
from tests.runs.providers.scripted import SILENCE, Asked, open_scripted, reply

from gossamer_gateway.runs.providers import aws_credentials, azure_tokens
from gossamer_gateway.runs.providers.aws_credentials import Places
from gossamer_gateway.runs.providers.azure_tokens import Tokens as EntraTokens
from gossamer_gateway.runs.providers.config import AzureConfig
from gossamer_gateway.runs.providers.exchange import new_client
from gossamer_gateway.runs.providers.gcp_tokens import Tokens as GoogleTokens
from gossamer_gateway.runs.providers.keeping import Fetched, NoCredentials
from gossamer_gateway.runs.providers.sigv4 import Keys

ENDS = "2099-01-02T03:04:05Z"


def aws(environ: dict[str, str], profile: str | None = None) -> Places:
    """Of which nothing is fetched."""
    return Places(NO_NETWORK | environ, new_client(trust_env=False), profile=profile)


async def of_aws(environ: dict[str, str], profile: str | None = None) -> Fetched[Keys]:
    async with new_client(trust_env=False) as client:
        return await Places(NO_NETWORK | environ, client, profile=profile).fetch()


async def of_google(
    environ: dict[str, str], file: Path | None = None, audience: str = "https://f/pay"
) -> Fetched[str]:
    async with new_client(trust_env=False) as client:
        tokens = GoogleTokens(NO_NETWORK | environ, client, client, file=file)
        return await tokens.fetch(audience)


async def of_entra(environ: dict[str, str], audience: str = "api://app") -> Fetched[str]:
    async with new_client(trust_env=False) as client:
        config = AzureConfig(base_url="https://a")
        return await EntraTokens(config, environ, client, client).fetch(audience)


async def test_keys_of_the_environment_come_first(tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    file.write_text("[default]\naws_access_key_id = of-file\naws_secret_access_key = s\n")
    environ = {"AWS_SHARED_CREDENTIALS_FILE": str(file)}
    assert (await of_aws(environ)).value == Keys("of-file", "s")
    environ |= {"AWS_ACCESS_KEY_ID": "of-env", "AWS_SECRET_ACCESS_KEY": "t"}
    assert await of_aws(environ) == Fetched(Keys("of-env", "t"))
    assert (await of_aws(environ, "default")).value.id == "of-file", "configured wins"


async def test_profiles_of_the_files(tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text(
        "[default]\naws_access_key_id=a\naws_secret_access_key=b\n"
        "[pay]\naws_access_key_id = c\naws_secret_access_key = d%=\naws_session_token = e==\n"
    )
    (tmp_path / ".aws" / "config").write_text(
        "[default]\nregion = eu-central-1\n[profile pay]\nregion=us-east-1\n"
        "[profile role]\nrole_arn = arn:aws:iam::1:role/x\n"
    )
    environ = {"HOME": str(tmp_path)}
    assert (await of_aws(environ)).value == Keys("a", "b")
    assert aws(environ).region() == "eu-central-1"
    of_pay = {**environ, "AWS_PROFILE": "pay"}
    assert (await of_aws(of_pay)).value == Keys("c", "d%=", "e==")
    assert aws(of_pay).region() == aws(environ, "pay").region() == "us-east-1"
    assert aws({**environ, "AWS_REGION": "eu-west-1"}).region() == "eu-west-1"
    with pytest.raises(NoCredentials, match="role_arn, which is not supported"):
        await of_aws(environ, "role")
    with pytest.raises(NoCredentials, match="no keys of profile nobody"):
        await of_aws(environ, "nobody")


async def test_a_file_that_is_no_such_file_says_nothing_of_what_is_in_it(tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    file.write_text("aws_secret_access_key = the/secret\n")
    with pytest.raises(NoCredentials) as caught:
        await of_aws({"AWS_SHARED_CREDENTIALS_FILE": str(file)})
    assert "the/secret" not in str(caught.value) and str(file) in str(caught.value)


async def test_the_containers_endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = reply({"AccessKeyId": "i", "SecretAccessKey": "s", "Token": "t", "Expiration": ENDS})
    (tmp_path / "token").write_text("pod token\n")
    async with open_scripted(said) as server:
        found = await of_aws(
            {
                "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{server.url}/v1/credentials",
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(tmp_path / "token"),
            }
        )
        assert found.value == Keys("i", "s", "t") and found.ends_s is not None
        assert server.asked[0].headers["authorization"] == "pod token"
        monkeypatch.setattr(aws_credentials, "CONTAINER_URL", server.url)
        relative = {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials/x"}
        assert (await of_aws(relative)).value.id == "i"
        assert server.asked[1].target == "/v2/credentials/x"
    with pytest.raises(NoCredentials, match=r"evil\.example without TLS"):
        await of_aws({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://evil.example/x"})


async def test_the_metadata_of_the_machine() -> None:
    keys = {"AccessKeyId": "i", "SecretAccessKey": "s", "Token": "t", "Expiration": ENDS}

    def metadata(asked: Asked) -> bytes:
        if asked.method == "PUT":
            assert asked.headers["x-aws-ec2-metadata-token-ttl-seconds"] == "21600"
            return reply("session", media="text/plain")
        assert asked.headers["x-aws-ec2-metadata-token"] == "session"
        is_list = asked.target.endswith("/security-credentials/")
        return reply("my-role", media="text/plain") if is_list else reply(keys)

    async with open_scripted(metadata) as server:
        environ = {"AWS_EC2_METADATA_DISABLED": "no"}
        environ["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = server.url
        assert (await of_aws(environ)).value == Keys("i", "s", "t")
        assert [one.target for one in server.asked][-1].endswith("/my-role")


@pytest.mark.parametrize(
    "said",
    [
        SILENCE,
        reply({}, "500 No"),
        reply("\x01 junk", media="text/plain"),
        reply("x" * 5_000, media="text/plain"),
    ],
)
async def test_metadata_that_fails_is_bounded(said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws_credentials, "METADATA_S", 0.2)
    async with open_scripted(said) as server:
        environ = {"AWS_EC2_METADATA_DISABLED": "no"}
        environ["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = server.url
        with pytest.raises(NoCredentials, match="neither the environment nor the files"):
            await of_aws(environ)


async def test_an_assertion_of_a_service_account(tmp_path: Path) -> None:
    async with open_scripted(b"") as server:
        account = {
            "type": "service_account", "client_email": "a@p.iam.gserviceaccount.com",
            "private_key_id": "k", "private_key": rsa_key(), "token_uri": f"{server.url}/token",
        }  # fmt: skip
        file = tmp_path / "account.json"
        file.write_text(json.dumps(account))
        found = await of_google({"GOOGLE_APPLICATION_CREDENTIALS": str(file)})
        assert found.ends_s is not None and found.ends_s > time.time() + 3_000
        (asked,) = server.tokens
        form = dict(one.split("=") for one in asked.body.decode().split("&"))
        header = jwt.get_unverified_header(form["assertion"])
        key = load_pem_private_key(rsa_key().encode(), None)
        assert isinstance(key, RSAPrivateKey)
        claims = jwt.decode(
            form["assertion"], key.public_key(), algorithms=["RS256"], audience=account["token_uri"]
        )
    assert header == {"alg": "RS256", "kid": "k", "typ": "JWT"}
    assert (claims["iss"], claims["sub"]) == (account["client_email"],) * 2
    assert claims["target_audience"] == "https://f/pay" and claims["exp"] - claims["iat"] == 3_600


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read"),
        ("[]", "of no service account"),
        ('{"type": "authorized_user", "refresh_token": "hidden-token"}', "of no service account"),
        ('{"type": "service_account"}', "no client_email and private_key"),
        (
            '{"type": "service_account", "client_email": "a", "private_key": "hidden-key",'
            ' "token_uri": "http://evil.example"}',
            "no https token_uri",
        ),
        (
            '{"type": "service_account", "client_email": "a", "private_key": "hidden-key",'
            ' "token_uri": "https://t.example"}',
            "no usable private_key",
        ),
    ],
)
async def test_a_file_of_google_that_will_not_do(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "account.json"
    file.write_text(text)
    with pytest.raises(NoCredentials, match=said) as caught:
        await of_google({}, file)
    assert "hidden" not in str(caught.value)


async def test_googles_metadata() -> None:
    token = jwt.encode({"exp": int(time.time()) + 500}, "x" * 32, algorithm="HS256")
    async with open_scripted(reply(token, media="text/plain")) as server:
        host = server.url.removeprefix("http://")
        found = await of_google({"GCE_METADATA_HOST": host})
        assert found.value == token
        (asked,) = server.asked
    assert asked.headers["metadata-flavor"] == "Google"
    assert "audience=https%3A%2F%2Ff%2Fpay" in asked.target


async def test_a_managed_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    said = reply({"access_token": "of the identity", "expires_on": "4070908800"})
    async with open_scripted(said) as server:
        environ = {"IDENTITY_ENDPOINT": f"{server.url}/msi", "IDENTITY_HEADER": "the header"}
        assert await of_entra(environ) == Fetched("of the identity", 4070908800.0)
        monkeypatch.setattr(azure_tokens, "METADATA_URL", f"{server.url}/imds")
        assert (await of_entra({})).value == "of the identity"
        service, machine = server.asked
    assert service.headers["x-identity-header"] == "the header"
    assert service.target == "/msi?api-version=2019-08-01&resource=api%3A%2F%2Fapp"
    assert machine.headers["metadata"] == "true"
    with pytest.raises(NoCredentials, match="another machine's"):
        await of_entra({"IDENTITY_ENDPOINT": "http://evil.example", "IDENTITY_HEADER": "h"})


@pytest.mark.parametrize(
    "said", [reply({}), reply([]), reply({"access_token": "a\nb", "expires_in": 5}), reply("x")]
)
async def test_a_token_that_is_none(said: bytes) -> None:
    async with open_scripted(said) as server:
        with pytest.raises(NoCredentials, match="gave no token"):
            environ = {"IDENTITY_ENDPOINT": server.url, "IDENTITY_HEADER": "h"}
            await of_entra(environ)
