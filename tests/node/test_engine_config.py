"""An engine's configuration is refused with one sentence where it can't work."""

from pathlib import Path

import pytest

from gossamer_node.engines.config import EngineConfig, OAuth2Auth
from gossamer_node.engines.factory import open_engine
from gossamer_node.errors import InputError


@pytest.mark.parametrize(
    "url",
    [
        *("", "engine", "engine:8080/engine-rest", "ftp://engine/", "http://", "http://:80/"),
        *("http://[::1", "http://engine:99999/", "http://engine:port/", "/engine-rest"),
    ],
)
def test_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="'mine' is not an http or https URL"):
        EngineConfig("mine", "camunda7", url)
    with pytest.raises(InputError, match="token URL is not an http or https URL"):
        OAuth2Auth(url, "me", "secret")


@pytest.mark.parametrize("url", ["http://me:s3cret@engine/", "https://engine/?token=s3cret"])
def test_secrets_in_a_url_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(InputError, match="under auth") as refusal:
        EngineConfig("mine", "camunda8", url)
    assert "s3cret" not in str(refusal.value)


def test_engine_needs_a_name() -> None:
    with pytest.raises(InputError, match="has no name"):
        EngineConfig("", "camunda7", "http://engine")


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_ca_file_must_be_one(tmp_path: Path, content: bytes | None) -> None:
    ca_file = tmp_path / "ca.pem"
    if content is not None:
        ca_file.write_bytes(content)
    config = EngineConfig("mine", "camunda7", "https://engine", ca_file=ca_file)
    with pytest.raises(InputError, match=r"'mine' can't use the CA file .*ca\.pem"):
        open_engine(config)
