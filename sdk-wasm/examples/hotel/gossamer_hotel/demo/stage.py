"""What the demonstration stands on: an engine, and nodes that run the hotel's workers."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from gossamer_hotel import ORIGINS, service_files
from gossamer_hotel.demo.processes import gossamer_process, wait_until_ready
from gossamer_node.engines.config import EngineConfig
from gossamer_node.local_engines.progress import Progress
from gossamer_node.local_engines.starting import start_camunda7, start_zeebe

EngineName = Literal["embedded", "camunda7", "camunda8"]


@asynccontextmanager
async def open_engine_process(
    name: EngineName, url: str | None, folder: Path, progress: Progress
) -> AsyncIterator[EngineConfig]:
    """An engine for the length of a block: the one at `url`, or one that is started here.

    Raises: NodeError when it cannot be had.
    """
    kind: Literal["camunda7", "camunda8"] = "camunda8" if name == "camunda8" else "camunda7"
    if url is not None:
        yield EngineConfig(name, kind, url.rstrip("/"))
    elif name == "camunda7":
        async with start_camunda7(progress=progress) as camunda7:
            yield EngineConfig(name, kind, camunda7.url)
    elif name == "camunda8":
        async with start_zeebe(progress=progress) as zeebe:
            yield EngineConfig(name, kind, zeebe.url)
    else:
        progress("starting the embedded engine", None)
        url_file = folder / "engine.url"
        arguments = ["engine", "--port", "0", "--data", str(folder / "engine.sqlite")]
        arguments += ["--url-file", str(url_file)]
        async with gossamer_process(arguments, folder / "engine") as process:
            await wait_until_ready(
                "the embedded engine", process, folder / "engine", lambda: _written(url_file)
            )
            yield EngineConfig(name, kind, url_file.read_text().strip())


def hotel_settings(engine: EngineConfig, origins: Mapping[str, str]) -> dict[str, Any]:
    """The configuration of a node that reaches the engine and runs every worker of the hotel."""
    return {
        "engines": [{"name": engine.name, "kind": engine.kind, "url": engine.url}],
        "services": [str(file) for file in service_files()],
        "grants": {
            file.parent.name: {"origins": {one: origins[one] for one in ORIGINS}}
            for file in service_files()
        },
    }


async def _written(path: Path) -> bool:
    return path.exists()  # the engine moves it here whole
