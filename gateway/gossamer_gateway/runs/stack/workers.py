"""The three example workers: what each needs, how it is built, and how it is started.

Their sources are the SDKs' under `sdk-wasm`. They are copied into the stack's folder and built
there once, so a checkout stays as it is; a copy of the same sources is used again. A worker whose
tools are missing, or that can't be built, is left out and said.
"""

import hashlib
import importlib.metadata
import json
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import trio

from gossamer_gateway.runs.stack.parts import Part, done, log_bytes, running
from gossamer_node.local_engines import Progress, silent

READY = "gossamer-worker: ready"
"""How the line begins in which a worker says that it can be given jobs."""

_LEFT_OUT = shutil.ignore_patterns("node_modules", "build", "target", "__pycache__", ".*")


@dataclass(frozen=True, slots=True)
class Example:
    """One worker.

    Attributes:
        folder: in `sdk-wasm`.
        tools: programs that have to be on the path.
        build: what makes it, in its folder; none: nothing has to be.
        start: what runs it, in its folder.
    """

    name: str
    folder: str
    tools: tuple[str, ...]
    build: tuple[tuple[str, ...], ...]
    start: tuple[str, ...]


EXAMPLES = (
    Example("python", "python", (), (), (sys.executable, "examples/worker.py")),
    Example(
        "node", "node", ("node", "npm"),
        (("npm", "ci", "--no-audit", "--no-fund"), ("npm", "run", "build")),
        ("node", "build/examples/worker.js"),
    ),
    Example(
        "java", "java", ("java", "mvn"),
        (("mvn", "-q", "-B", "package", "-DskipTests"),),
        ("java", "-Xmx64m", "-cp", "target/gossamer-worker.jar:target/lib/*",
         "examples/ExampleWorkerApp.java"),
    ),
)  # fmt: skip
"""`sdk-wasm/README.md` has the same table for people."""

_HERE = Path(__file__).resolve().parents[4]
"""The checkout, where this module runs from one."""

_STAMP = ".built-from"


class LeftOut(Exception):
    """Why a worker does not run; the rest goes on without it."""


@asynccontextmanager
async def start_worker(
    example: Example, kafka: str, home: Path, log_path: Path, progress: Progress = silent
) -> AsyncIterator[Part]:
    """Builds a worker, if it must be, and runs it for the length of a block.

    Args:
        kafka: `HOST:PORT`.
        home: where the copies of all are.

    Raises: LeftOut; StackError when it was built and doesn't start.
    """
    log_path.parent.mkdir(parents=True, exist_ok=True)
    place = await prepare(example, home, log_path, progress)
    progress(f"starting the {example.name} worker", None)
    begin = log_bytes(log_path)

    async def ready() -> bool:
        with log_path.open("rb") as log:
            log.seek(begin)
            return READY.encode() in log.read()

    env = {"GOSSAMER_KAFKA": kafka, "PYTHONPATH": "."}
    title = f"the {example.name} worker"
    over_http = ("GOSSAMER_URL", "GOSSAMER_TOKEN")
    async with running(
        title, example.start, log_path, ready, cwd=place, env=env, without=over_http
    ) as part:
        yield part


async def prepare(
    example: Example, home: Path, log_path: Path, progress: Progress = silent
) -> Path:
    """Builds a worker, if it must be. Gives the folder in which it was.

    Raises: LeftOut.
    """
    folder = checkout(_HERE, _installed_from())
    if folder is None:
        raise LeftOut(
            "its source is in no clone that is known here; keep the clone that Gossamer is "
            "installed from where it was, or install it from one again"
        )
    source = folder / "sdk-wasm" / example.folder
    for tool in example.tools:
        if shutil.which(tool) is None:
            raise LeftOut(f"it needs the program {tool}, which is not on the path")
    digest = await trio.to_thread.run_sync(_digest, source)
    place = home / example.name
    stamp = place / _STAMP
    if stamp.exists() and stamp.read_text(encoding="ascii") == digest:
        return place
    shutil.rmtree(place, ignore_errors=True)
    await trio.to_thread.run_sync(lambda: shutil.copytree(source, place, ignore=_LEFT_OUT))
    if example.build:
        progress(f"building the {example.name} worker (its log: {log_path})", None)
    for command in example.build:
        if problem := await done(command, log_path, cwd=place):
            raise LeftOut(f"`{' '.join(command)}` failed with it: {problem}")
    stamp.write_text(digest, encoding="ascii")
    return place


def checkout(here: Path, installed_from: str | None) -> Path | None:
    """The folder of the repository, which the installed package does not have in it.

    Args:
        installed_from: the `direct_url.json` that an installer leaves with what it installed from
            a folder (PyPA's "Recording the Direct URL Origin of installed distributions").
    """
    folders = [here]
    if installed_from is not None:
        url = urlsplit(json.loads(installed_from)["url"])
        if url.scheme == "file":
            folders.append(Path(url2pathname(url.path)))
    return next((one for one in folders if (one / "sdk-wasm" / "python").is_dir()), None)


def _installed_from() -> str | None:
    try:
        return importlib.metadata.distribution("gossamer").read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        return None


def _digest(source: Path) -> str:
    """Of all that is copied."""
    digest = hashlib.sha256()
    waiting = [source]
    while waiting:
        folder = waiting.pop()
        names = sorted(one.name for one in folder.iterdir())
        left_out = _LEFT_OUT(str(folder), names)
        for path in (folder / name for name in names if name not in left_out):
            if path.is_dir():
                waiting.append(path)
            else:
                digest.update(f"{path.relative_to(source)}\0".encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
