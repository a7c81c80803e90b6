"""The three clouds, started, with credentials that fit, and killed one by one.

Credentials are made anew each time and lie in files where the clouds' own tools would have them, so
that a gateway finds them as it would anywhere else.
"""

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from gossamer_gateway.runs.providers.local import azure_host, venvs
from gossamer_node.errors import LocalEngineError, LocalEngineMissing
from gossamer_node.local_engines.progress import Progress

HOSTS = "gossamer_gateway.runs.providers.local"
START_S = 60.0
REGION = "eu-central-1"
TIMEOUT_MS = 10_000


@dataclass(frozen=True)
class Cloud:
    """One that runs.

    Attributes:
        row: of `workflows.providers`, as it is written in a gateway's file.
        environ: with which a gateway finds its credentials.
        runtime: what runs its functions, for people.
    """

    name: str
    row: Mapping[str, Any]
    environ: Mapping[str, str]
    runtime: str
    process: trio.Process

    def kill(self) -> None:
        """An outage: its front and its runtimes end at once, in the middle of whatever they do."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


@asynccontextmanager
async def open_aws(
    place: Path, functions: Path, names: Mapping[str, str], environ: Mapping[str, str],
    progress: Progress, *, timeout_ms: int = TIMEOUT_MS,
) -> AsyncIterator[Cloud]:  # fmt: skip
    """AWS.

    Args:
        place: a folder for its credentials and log.
        functions: where the functions' modules are.
        names: handlers, as `module.function`, by the functions' names.
        environ: of the functions.
    """
    python = await venvs.provide(venvs.AWS, progress)
    id, secret, token = "AKIDLOCAL", secrets.token_urlsafe(30), secrets.token_urlsafe(90)
    file = place / "aws-credentials"
    _write(
        file,
        f"[local]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n"
        f"aws_session_token = {token}\nregion = {REGION}\n",
    )
    settings = {
        "python": str(python), "folder": str(functions), "functions": dict(names),
        "environ": dict(environ), "timeout_ms": timeout_ms,
        "key_id": id, "secret": secret, "token": token,
    }  # fmt: skip
    async with _open_host(
        [sys.executable, "-m", f"{HOSTS}.aws_host"], settings, place / "aws.log"
    ) as (process, port, _):
        row = {"kind": "aws", "base_url": f"http://127.0.0.1:{port}", "profile": "local"}
        found = {"AWS_SHARED_CREDENTIALS_FILE": str(file), "AWS_CONFIG_FILE": os.devnull}
        yield Cloud("AWS", row, found, venvs.AWS.title, process)


@asynccontextmanager
async def open_google(
    place: Path, source: Path, target: str, environ: Mapping[str, str], progress: Progress
) -> AsyncIterator[Cloud]:
    """Google Cloud. `source`, `target`: the module and the function that gets all requests."""
    python = await venvs.provide(venvs.GOOGLE, progress)
    key = await trio.to_thread.run_sync(rsa.generate_private_key, 65_537, 2_048)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    email = "gateway@local.iam.gserviceaccount.com"
    settings = {
        "python": str(python), "source": str(source), "target": target, "environ": dict(environ),
        "public_key": public.decode(), "email": email,
    }  # fmt: skip
    async with _open_host(
        [sys.executable, "-m", f"{HOSTS}.google_host"], settings, place / "google.log"
    ) as (process, port, _):
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        account = {
            "type": "service_account", "client_email": email, "private_key_id": "local",
            "private_key": private.decode(), "token_uri": f"http://127.0.0.1:{port}/token",
        }  # fmt: skip
        file = place / "google-account.json"
        _write(file, json.dumps(account))
        row = {
            "kind": "gcp", "base_url": f"http://127.0.0.1:{port}", "credentials": str(file)
        }  # fmt: skip
        yield Cloud("GCP", row, {}, venvs.GOOGLE.title, process)


@asynccontextmanager
async def open_azure(
    place: Path, functions: Path, environ: Mapping[str, str], progress: Progress
) -> AsyncIterator[Cloud]:
    """Azure. `functions`: the folder of `function_app.py`."""
    try:
        python = await venvs.provide(venvs.AZURE, progress)
    except LocalEngineMissing as error:
        progress(f"Azure's functions run without Microsoft's library: {error}", None)
        python = Path(sys.executable)
    key = secrets.token_urlsafe(30)
    file = place / "azure-key"
    _write(file, key)
    settings = {"folder": str(functions), "environ": dict(environ), "key": key}
    assert azure_host.__file__ is not None, "it is a file"
    command = [str(python), "-I", azure_host.__file__]
    async with _open_host(command, settings, place / "azure.log") as (process, port, how):
        row = {
            "kind": "azure", "base_url": f"http://127.0.0.1:{port}/api", "key": {"file": str(file)}
        }  # fmt: skip
        title = venvs.AZURE.title if how == "runtime" else "the HTTP contract alone"
        yield Cloud("AZURE", row, {}, title, process)


@asynccontextmanager
async def _open_host(
    command: list[str], settings: Mapping[str, Any], log: Path
) -> AsyncIterator[tuple[trio.Process, int, str]]:
    """Runs a host: the process, its port, and what else it said."""
    with log.open("wb") as file:
        process = await trio.lowlevel.open_process(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            start_new_session=True,
        )
    assert process.stdin is not None and process.stdout is not None
    try:
        await process.stdin.send_all(json.dumps(settings).encode() + b"\n")
        line = b""
        with trio.move_on_after(START_S):
            while not line.endswith(b"\n"):
                more = await process.stdout.receive_some()
                if not more:
                    break
                line += more
        said = line.decode().split()
        if said[:1] != ["ready"]:
            raise LocalEngineError(f"{' '.join(command[-2:])} did not start; its log: {log}")
        yield process, int(said[1]), " ".join(said[2:])
    finally:
        with trio.CancelScope(shield=True):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            await process.stdin.aclose()
            await process.stdout.aclose()


def _write(path: Path, text: str) -> None:
    """A file that nobody else may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
