"""A real Kafka on 127.0.0.1: one broker that is its own controller, from Maven Central.

What it is made of is locked by hash and kept in the user's cache, as the engines of
`gossamer_node.local_engines` are; it runs under the same guard, so it ends with the program that
started it, also when that is killed. Its heap and its inner topics are small: it serves tests,
first steps and one machine. A folder keeps its data, and then the next start goes on with them.
"""

import os
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import httpx
import trio

from gossamer_gateway.runs.kafka.cluster import Cluster
from gossamer_gateway.runs.kafka.topics import brokers
from gossamer_node.errors import LocalEngineError
from gossamer_node.local_engines import Progress, processes, silent
from gossamer_node.local_engines.cache import Kit, provide
from gossamer_node.local_engines.lock import read_lock

VERSION = "4.3.1"
"""4.4.0 is newer, but its POM names kafka-tools-api 4.4.0, which Maven Central hasn't got."""

_HERE = Path(__file__).resolve().parent
LOCK = _HERE / "kafka.lock"
POM = _HERE / "kafka-pom.xml"

_JVM = (
    *("-Xms64m", "-Xmx192m", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-XX:TieredStopAtLevel=1"),
    *("-XX:+ExitOnOutOfMemoryError", "-Dfile.encoding=UTF-8"),
    *("--enable-native-access=ALL-UNNAMED", "--sun-misc-unsafe-memory-access=allow"),
    f"-Dlog4j2.configurationFile={(_HERE / 'kafka-log4j2.properties').as_uri()}",
)

_CLUSTER = "R29zc2FtZXItYnJva2VyMQ"
"""16 bytes in base64, as Kafka wants it: this cluster has one broker and no neighbours."""

SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        # Of a misspelt name there shall be an error, not a topic.
        "auto.create.topics.enable": "false",
        # 128 MB of heap otherwise.
        "log.cleaner.dedupe.buffer.size": "2097152",
        "offsets.topic.num.partitions": "1",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.num.partitions": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        # 10 MB for each index of each partition otherwise, however empty.
        "log.index.size.max.bytes": "1048576",
        # Otherwise each new group waits 3 s for more members.
        "group.initial.rebalance.delay.ms": "0",
        # A restart after kill -9 waits until the old session ends: 3 s instead of 11.
        "broker.session.timeout.ms": "1500",
        "broker.heartbeat.interval.ms": "300",
        # A payload of 1 MiB, its envelope, and a join of some.
        "message.max.bytes": "8388608",
    }
)


@dataclass(frozen=True)
class RunningKafka:
    """A broker that takes messages."""

    address: str
    """`127.0.0.1:PORT`: what clients call `bootstrap.servers`. Plain text."""
    version: str
    process: processes.EngineProcess

    def kill(self) -> None:
        """Ends the broker as a power cut would: SIGKILL to the JVM, at once."""
        guard = self.process.guard_pid
        children = Path(f"/proc/{guard}/task/{guard}/children").read_text(encoding="ascii")
        for pid in children.split():
            os.kill(int(pid), signal.SIGKILL)


_NOTHING: Mapping[str, str] = MappingProxyType({})


@asynccontextmanager
async def start_kafka(
    *,
    progress: Progress = silent,
    port: int | None = None,
    folder: Path | None = None,
    settings: Mapping[str, str] = _NOTHING,
) -> AsyncIterator[RunningKafka]:
    """Runs a broker on 127.0.0.1 for the length of a block.

    Args:
        port: where clients find it; a free one without.
        folder: keeps its data, and is made where it is missing; without, a temporary one.
        settings: of Kafka's server.properties; they overrule `SETTINGS`.

    Raises:
        LocalEngineMissing: It can't be had on this machine.
        LocalEngineError: It was refused by its lock, or did not start.
    """
    title = f"Kafka {VERSION}"
    java = processes.java()
    kit = Kit("kafka", title, read_lock(LOCK))
    home = await provide(kit, progress)
    progress(f"starting {title}", None)
    free, controller = processes.free_ports(2)
    address = f"127.0.0.1:{port or free}"
    jars = ":".join(str(home / one.coordinate.file_name) for one in kit.lock.artifacts)
    base = [str(java), *_JVM, "-classpath", jars]
    with tempfile.TemporaryDirectory(prefix="gossamer-kafka-data-") as temporary:
        data = (folder or Path(temporary)).absolute()
        data.mkdir(parents=True, exist_ok=True)
        properties = data / "server.properties"
        listeners = f"PLAINTEXT://{address}"
        together = {
            **SETTINGS,
            "listeners": f"{listeners},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": listeners,
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "log.dirs": str(data / "log"),
            **settings,
        }
        lines = [f"{name}={_escaped(value)}\n" for name, value in together.items()]
        properties.write_text("".join(lines), encoding="ascii")
        if not (data / "log" / "meta.properties").exists():
            await _format(title, base, properties)

        def command(scratch: Path) -> Sequence[str]:
            return [*base[:1], f"-Djava.io.tmpdir={scratch}", *base[1:], "kafka.Kafka",
                    str(properties)]  # fmt: skip

        async def healthy(_client: httpx.AsyncClient) -> bool:
            return await brokers(Cluster(address)) > 0

        async with processes.running(title, command, healthy) as process:
            yield RunningKafka(address, VERSION, process)


def _escaped(value: str) -> str:
    """A value as `java.util.Properties` reads it: Latin-1, a backslash begins an escape."""
    units = value.encode("utf-16-be")
    codes = [int.from_bytes(units[at : at + 2]) for at in range(0, len(units), 2)]
    return "".join(
        chr(one) if 0x20 <= one < 0x7F and one != 0x5C else f"\\u{one:04x}" for one in codes
    )


async def _format(title: str, base: Sequence[str], properties: Path) -> None:
    """Makes an empty cluster of the folder."""
    done = await trio.run_process(
        [*base, "kafka.tools.StorageTool", "format", "-t", _CLUSTER, "-c", str(properties)],
        capture_stdout=True,
        stderr=subprocess.STDOUT,
        check=False,
        env={"LANG": "C.UTF-8"},
    )
    if done.returncode != 0:
        said = done.stdout.decode(errors="replace").strip().splitlines()[-5:]
        raise LocalEngineError(
            f"{title} could not make its folder {properties.parent}: {' / '.join(said)}"
        )
