"""Where AWS's credentials are, in the order in which AWS's own tools look.

1. The environment: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`.
2. The files `~/.aws/credentials` and `~/.aws/config`, or those that `AWS_CONFIG_FILE` and
   `AWS_SHARED_CREDENTIALS_FILE` name: the keys of a profile (`AWS_PROFILE`, else `default`).
3. The container's endpoint (ECS, EKS Pod Identity): `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` or
   `…_FULL_URI`, with `AWS_CONTAINER_AUTHORIZATION_TOKEN` or `…_TOKEN_FILE`.
4. The metadata of the machine (EC2, IMDSv2), unless `AWS_EC2_METADATA_DISABLED` is `true`.

A configured profile is looked for in the files alone. Profiles that assume a role, sign in over SSO
or run a program are refused by name, and so is a web identity (EKS's IRSA): AWS's tools would take
those first, so whatever else is found would be other rights. Let the AWS CLI export what they give.
"""

import configparser
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import httpx
import trio

from gossamer_gateway.runs.providers.calling import said
from gossamer_gateway.runs.providers.exchange import Reply
from gossamer_gateway.runs.providers.issuers import ask_metadata
from gossamer_gateway.runs.providers.keeping import Fetched, NoCredentials, may_be_sent
from gossamer_gateway.runs.providers.sigv4 import Keys
from gossamer_gateway.runs.providers.urls import host_of, is_loopback

METADATA_S = 1.0
"""For each question to the metadata: it answers in milliseconds, or is not there."""

CONTAINER_URL = "http://169.254.170.2"
METADATA_URL = "http://169.254.169.254"

_PLAIN_HOSTS = ("169.254.170.2", "169.254.170.23", "fd00:ec2::23")
"""Of containers; the only ones but for this machine that may be asked without TLS (AWS SDKs and
Tools Reference Guide, "Container credential provider")."""

_FILE_BYTES_MAX = 2**20

_BEFORE_KEYS = ("role_arn", "sso_session", "sso_start_url")
_AFTER_KEYS = ("credential_process",)
"""Ways of a profile that are not gone here: those that AWS's tools try before its keys, and after.
"""


class Places:
    """The usual places, of this environment.

    Args:
        client: asks container and metadata, through no proxy.
    """

    def __init__(
        self, environ: Mapping[str, str], client: httpx.AsyncClient, *, profile: str | None = None
    ) -> None:
        self._environ = environ
        self._client = client
        self._profile = profile

    def region(self) -> str:
        """The region that is set up here; empty where none is."""
        names = () if self._profile else ("AWS_REGION", "AWS_DEFAULT_REGION")
        for name in names:
            if self._environ.get(name):
                return self._environ[name]
        try:
            return next((one["region"] for one in self._sections() if "region" in one), "")
        except NoCredentials:
            return ""

    async def fetch(self) -> Fetched[Keys]:
        """Raises: NoCredentials."""
        if self._profile is None:
            of_environment = self._of_environment()
            if of_environment is not None:
                return Fetched(of_environment)
            if self._environ.get("AWS_WEB_IDENTITY_TOKEN_FILE"):
                raise NoCredentials(
                    "AWS_WEB_IDENTITY_TOKEN_FILE names a web identity, which is not supported "
                    "here; EKS Pod Identity is, and so are keys"
                )
        sections = await trio.to_thread.run_sync(self._sections)
        name = self._name()
        _refuse(_BEFORE_KEYS, sections, name)
        for section in sections:
            if "aws_access_key_id" in section and "aws_secret_access_key" in section:
                return Fetched(
                    _checked(
                        section["aws_access_key_id"],
                        section["aws_secret_access_key"],
                        section.get("aws_session_token"),
                        f"profile {name}",
                    )
                )
        _refuse(_AFTER_KEYS, sections, name)
        if self._profile is not None:
            raise NoCredentials(f"the files of AWS have no keys of profile {name}")
        found = await self._of_container()
        if found is None:
            found = await self._of_machine()
        return found

    def _of_environment(self) -> Keys | None:
        id, secret = (
            self._environ.get(name, "") for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        )
        if not id or not secret:
            return None
        token = self._environ.get("AWS_SESSION_TOKEN")
        return _checked(id, secret, token, "AWS_ACCESS_KEY_ID, … of the environment")

    def _name(self) -> str:
        return self._profile or self._environ.get("AWS_PROFILE") or "default"

    def _sections(self) -> list[Mapping[str, str]]:
        """What the files say of the profile; that of `credentials` counts first."""
        name = self._name()
        home = Path(self._environ.get("HOME", "/nonexistent")) / ".aws"
        return [
            _section(Path(self._environ.get(variable) or home / file), section)
            for variable, file, section in (
                ("AWS_SHARED_CREDENTIALS_FILE", "credentials", name),
                ("AWS_CONFIG_FILE", "config", name if name == "default" else f"profile {name}"),
            )
        ]

    async def _of_container(self) -> Fetched[Keys] | None:
        relative = self._environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
        full = self._environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
        if relative:
            url = CONTAINER_URL + "/" + relative.lstrip("/")
        elif full:
            url = full
            host = host_of(url)
            if not url.startswith("https://") and not is_loopback(url) and host not in _PLAIN_HOSTS:
                raise NoCredentials(f"AWS_CONTAINER_CREDENTIALS_FULL_URI names {host} without TLS")
        else:
            return None
        token = self._environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")
        file = self._environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
        if file:
            token = _text(Path(file)).strip()
        headers = {"authorization": token} if token else {}
        return _keys(await self._ask("GET", url, headers), "the container's endpoint")

    async def _of_machine(self) -> Fetched[Keys]:
        nowhere = (
            "neither the environment nor the files of AWS nor this machine's metadata have any"
        )
        if self._environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
            raise NoCredentials("neither the environment nor the files of AWS have any")
        base = self._environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or METADATA_URL
        base = base.rstrip("/")
        try:
            reply = await self._ask(
                "PUT", f"{base}/latest/api/token", {"x-aws-ec2-metadata-token-ttl-seconds": "21600"}
            )
            token = {"x-aws-ec2-metadata-token": _line(reply)}
            path = f"{base}/latest/meta-data/iam/security-credentials/"
            role = _line(await self._ask("GET", path, token))
            return _keys(await self._ask("GET", path + role, token), "this machine's metadata")
        except NoCredentials as error:
            raise NoCredentials(f"{nowhere}; the metadata: {error}") from error

    async def _ask(self, method: str, url: str, headers: Mapping[str, str]) -> Reply:
        return await ask_metadata(self._client, method, url, headers=headers, within_s=METADATA_S)


def _section(path: Path, section: str) -> dict[str, str]:
    if not path.is_file():
        return {}
    parser = configparser.RawConfigParser(default_section="\0none", strict=False)
    try:
        parser.read_string(_text(path))
    except configparser.Error as error:
        # Its own words quote the line, which may be a secret.
        raise NoCredentials(f"{path} cannot be read: {type(error).__name__}") from None
    return dict(parser[section]) if parser.has_section(section) else {}


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_FILE_BYTES_MAX).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise NoCredentials(f"{path} cannot be read: {type(error).__name__}") from None


def _line(reply: Reply) -> str:
    text = reply.body.decode("latin-1").strip()
    if not text.isprintable() or not 0 < len(text) <= 1_000 or not text.isascii():
        raise NoCredentials("it answered junk")
    return text


def _refuse(ways: Sequence[str], sections: Sequence[Mapping[str, str]], name: str) -> None:
    for way in ways:
        if any(way in one for one in sections):
            raise NoCredentials(
                f"profile {name} has {way}, which is not supported here; "
                f"`aws configure export-credentials --profile {name}` gives keys"
            )


def _checked(id: str, secret: str, token: str | None, who: str) -> Keys:
    for name, value in (
        ("AWS_ACCESS_KEY_ID", id),
        ("AWS_SECRET_ACCESS_KEY", secret),
        ("AWS_SESSION_TOKEN", token),
    ):
        if value and not may_be_sent(value):
            raise NoCredentials(
                f"{who}: {name} has a character that none of AWS's has, such as a line's end"
            )
    return Keys(id, secret, token or None)


def _keys(reply: Reply, who: str) -> Fetched[Keys]:
    """Keys with an end, as container and metadata give them."""
    fields = reply.fields()
    id, secret, ends = (
        said(fields, one) for one in ("AccessKeyId", "SecretAccessKey", "Expiration")
    )
    token = said(fields, "Token")
    try:
        if not all(may_be_sent(one) for one in (id, secret, token or "none")):
            raise ValueError
        at = datetime.fromisoformat(ends)
    except ValueError:
        raise NoCredentials(f"{who} answered no keys") from None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return Fetched(Keys(id, secret, token or None), at.timestamp())
