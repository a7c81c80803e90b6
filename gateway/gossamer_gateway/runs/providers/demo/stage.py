"""What the demo stands on: three clouds, and a gateway as a person would configure it."""

import json
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from gossamer_gateway.runs.providers.demo import FUNCTIONS
from gossamer_gateway.runs.providers.local.clouds import Cloud, open_aws, open_azure, open_google
from gossamer_node.local_engines.processes import free_ports, running
from gossamer_node.local_engines.progress import Progress

CHARGE_MS = 1_500
"""How long taking the money lasts: an outage shall meet it."""

NAMES = ("authorize", "charge", "receipt")

DEADLINE_S = 90.0


@dataclass(frozen=True)
class Stage:
    """All of it, while it stands.

    Attributes:
        url: of the gateway.
        clouds: by their names, in the order in which they are tried.
        ledger: where money that was taken is written down.
        config: the gateway's file.
    """

    url: str
    clouds: Mapping[str, Cloud]
    ledger: Path
    config: Path


@asynccontextmanager
async def open_stage(folder: Path, progress: Progress) -> AsyncIterator[Stage]:
    """Builds it, for the length of a block.

    Raises: NodeError when a part cannot be had.
    """
    ledger = folder / "ledger"
    environ = {"LEDGER": str(ledger), "CHARGE_MS": str(CHARGE_MS)}
    handlers = {name: f"on_aws.{name}" for name in NAMES}
    async with AsyncExitStack() as stack:
        found: list[Cloud] = []
        for title, cloud in (
            ("AWS", open_aws(folder, FUNCTIONS, handlers, environ, progress)),
            ("Google", open_google(folder, FUNCTIONS / "on_google.py", "pay", environ, progress)),
            ("Azure", open_azure(folder, FUNCTIONS, environ, progress)),
        ):
            progress(f"starting functions of {title}", None)
            found.append(await stack.enter_async_context(cloud))
        progress("starting the gateway", None)
        http, grpc = free_ports(2)
        url = f"http://127.0.0.1:{http}"
        config = folder / "gateway.yaml"
        settings = {
            "name": "failover",
            "http": f"127.0.0.1:{http}",
            "grpc": f"127.0.0.1:{grpc}",
            "data_dir": str(folder / "gateway"),
            "cache_dir": str(folder / "cache"),
            "workflows": {"providers": [one.row for one in found]},
        }
        config.write_text(json.dumps(settings, indent=2), encoding="utf-8")
        variables = [f"{name}={text}" for one in found for name, text in one.environ.items()]
        command = [shutil.which("env") or "/usr/bin/env", *variables, sys.executable, "-m"]
        command += ["gossamer_node", "gateway", "--config", str(config)]

        async def healthy(client: httpx.AsyncClient) -> bool:
            return (await client.get(f"{url}/v1/health")).status_code == 200

        await stack.enter_async_context(
            running("The gateway", lambda _: command, healthy, deadline_s=DEADLINE_S)
        )
        yield Stage(url, {one.name: one for one in found}, ledger, config)
