"""The adapters beside the clouds' own runtimes of functions, here on this machine.

What is before the runtimes (signatures, tokens, keys) is ours; what the functions side does is
AWS's, Google's and Microsoft's. No cloud is asked.
"""

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.runs.providers.clouds import NO_NETWORK

from gossamer_gateway.runs.model.definition import Place
from gossamer_gateway.runs.model.events import Failure
from gossamer_gateway.runs.providers.config import (
    PROVIDERS,
    AwsConfig,
    AzureConfig,
    GcpConfig,
    ProviderConfig,
)
from gossamer_gateway.runs.providers.demo import FUNCTIONS
from gossamer_gateway.runs.providers.factory import open_provider
from gossamer_gateway.runs.providers.local.clouds import (
    Cloud,
    open_aws,
    open_azure,
    open_google,
)
from gossamer_gateway.runs.providers.port import Invocation, Outcome, Provider
from gossamer_node.local_engines.progress import silent
from gossamer_node.schema.source import Source, parse

pytestmark = pytest.mark.processes

ORDER = {"order": "Ä-7 💶", "amount": 42}
KEY = "run-1:charge"
HANDLERS = {
    **{one: f"on_aws.{one}" for one in ("authorize", "charge", "receipt")},
    "exits": "ending.handler",
    "missing": "nowhere.handler",
}


@asynccontextmanager
async def open_cloud(name: str, folder: Path) -> AsyncIterator[Cloud]:
    environ = {"LEDGER": str(folder / "ledger"), "CHARGE_MS": "0"}
    if name == "AWS":
        functions = folder / "functions"
        shutil.copytree(FUNCTIONS, functions)
        ending = "import os\ndef handler(event, context): os._exit(1)\n"
        (functions / "ending.py").write_text(ending)
        opened = open_aws(folder, functions, HANDLERS, environ, silent, timeout_ms=3_000)
    elif name == "GCP":
        opened = open_google(folder, FUNCTIONS / "on_google.py", "pay", environ, silent)
    else:
        opened = open_azure(folder, FUNCTIONS, environ, silent)
    async with opened as cloud:
        yield cloud


def configured(cloud: Cloud) -> ProviderConfig:
    row = parse(json.dumps([cloud.row]).encode(), Source("test"))
    (config,) = PROVIDERS.read(row, "providers")
    return config


@asynccontextmanager
async def opened(config: ProviderConfig, cloud: Cloud) -> AsyncIterator[Provider]:
    provider = open_provider(config, NO_NETWORK | dict(cloud.environ))
    try:
        yield provider
    finally:
        await provider.aclose()


async def call(provider: Provider, function: str, payload: object = ORDER) -> Outcome | Failure:
    place = Place("any", function)
    return await provider.invoke(Invocation(place, payload, KEY, 30_000))


@pytest.mark.parametrize("name", ["AWS", "GCP", "AZURE"])
async def test_a_function_that_a_clouds_own_runtime_runs(name: str, tmp_path: Path) -> None:
    async with open_cloud(name, tmp_path) as cloud, opened(configured(cloud), cloud) as provider:
        assert cloud.runtime != "the HTTP contract alone", "there is a Python for it here"
        assert await call(provider, "authorize") == Outcome({**ORDER, "authorizedBy": name})
        for _ in range(2):
            assert await call(provider, "charge") == Outcome({**ORDER, "chargedBy": name})
        ledger = [json.loads(one) for one in (tmp_path / "ledger").read_text().splitlines()]
        assert [one["charged"] for one in ledger if "charged" in one] == [KEY], "once for its key"
        found = await call(provider, "authorize", {"amount": -1})
        assert isinstance(found, Failure)
        if name == "AWS":
            assert (found.code, found.blame) == ("ValueError", "function")
            assert found.message == "-1 cannot be paid" and "payment.py" in found.details
        elif name == "GCP":
            assert (found.code, found.blame) == ("FunctionError", "function")
        else:  # a status is all that Azure says
            assert (found.code, found.blame) == ("Unavailable", "provider")
        found = await call(provider, "nothing")
        assert isinstance(found, Failure) and found.code == "FunctionNotFound"
        cloud.kill()
        await cloud.process.wait()
        found = await call(provider, "authorize")
        assert isinstance(found, Failure) and found.blame == "provider"
        assert found.code in ("ConnectRefused", "ConnectionLost")


async def test_lambdas_that_fail_as_lambdas_do(tmp_path: Path) -> None:
    async with open_cloud("AWS", tmp_path) as cloud, opened(configured(cloud), cloud) as provider:
        for function, code in (
            ("exits", "Runtime.ExitError"),
            ("missing", "Runtime.ImportModuleError"),
            ("exits", "Runtime.ExitError"),
        ):
            found = await call(provider, function)
            assert isinstance(found, Failure)
            assert (found.code, found.blame) == (code, "function"), found
        arn = "arn:aws:lambda:eu-central-1:123456789012:function:authorize:$LATEST"
        assert isinstance(await call(provider, arn), Outcome)
    slow = {"LEDGER": str(tmp_path / "ledger"), "CHARGE_MS": "10000"}
    async with (
        open_aws(tmp_path, FUNCTIONS, HANDLERS, slow, silent, timeout_ms=1_500) as cloud,
        opened(configured(cloud), cloud) as provider,
    ):
        found = await call(provider, "charge")
        assert isinstance(found, Failure)
        assert (found.code, found.blame) == ("Sandbox.Timedout", "function")
        assert isinstance(await call(provider, "authorize"), Outcome)


async def test_an_event_is_handed_over(tmp_path: Path) -> None:
    async with open_cloud("AWS", tmp_path) as cloud:
        config = configured(cloud)
        assert isinstance(config, AwsConfig)
        event = AwsConfig(base_url=config.base_url, profile="local", invocation="Event")
        async with opened(event, cloud) as provider:
            assert await call(provider, "authorize") == Outcome(None)


@pytest.mark.parametrize("name", ["AWS", "GCP", "AZURE"])
async def test_credentials_that_do_not_fit(name: str, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    async with open_cloud(name, tmp_path) as cloud:
        config = configured(cloud)
        if isinstance(config, AwsConfig):
            file = Path(cloud.environ["AWS_SHARED_CREDENTIALS_FILE"])
            text = file.read_text()
            file.write_text(text.replace("aws_secret_access_key = ", "aws_secret_access_key = x"))
        elif isinstance(config, GcpConfig):
            config = GcpConfig(
                base_url=config.base_url, credentials=config.credentials, audience="https://other"
            )
        else:
            config = AzureConfig(base_url=config.base_url, key="another key")
        async with opened(config, cloud) as provider:
            found = await call(provider, "authorize")
        assert isinstance(found, Failure) and found.code == "AccessDenied"
