"""A gateway's configuration: a node's settings that a gateway has as well, and its own.

One table, `GATEWAY`, read as `gossamer_node.config` reads a node's: flags win over variables, those
over the file.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from gossamer_gateway.door.config import DOOR, DoorConfig, exposed
from gossamer_gateway.door.tls import TLS, TlsConfig
from gossamer_gateway.errors import InputError as GatewayInputError
from gossamer_gateway.names import forms
from gossamer_gateway.runs.config import WORKFLOWS, WorkflowsConfig, misplaced
from gossamer_gateway.storage import Place, PostgresPlace, SqlitePlace
from gossamer_node.address import ADDRESS, Address
from gossamer_node.config import NODE, LogConfig, NodeConfig
from gossamer_node.engines.config import EngineConfig
from gossamer_node.mesh_config import MeshConfig
from gossamer_node.metrics_config import MetricsConfig
from gossamer_node.schema import Field, Form, ListOf, Record, Secret, Text
from gossamer_node.tracing_config import TracingConfig

HTTP = Address("127.0.0.1", 8090)
GRPC = Address("127.0.0.1", 8091)
"""Next to the ports that engines have, so that one on the same machine keeps its own."""

LISTEN = Address("127.0.0.1", 0)
"""Nobody joins through a gateway, so any port will do."""

FILE_NAME = "gateway.sqlite"


@dataclass(frozen=True, slots=True)
class StorageConfig:
    """Where the gateway keeps its rows. `postgres` None: in a file of its own."""

    postgres: str | None = None
    schema: str = "gossamer"

    def place(self, data_dir: Path) -> Place:
        """Raises: InputError for a schema that is no name."""
        if self.postgres is None:
            return SqlitePlace(data_dir / FILE_NAME)
        return PostgresPlace(self.postgres, self.schema)


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """A gateway's settings, complete and checked. `GATEWAY` says what each one means."""

    name: str
    data_dir: Path
    cache_dir: Path
    http: Address = HTTP
    grpc: Address = GRPC
    engines: tuple[EngineConfig, ...] = ()
    storage: StorageConfig = field(default_factory=StorageConfig)
    workflows: WorkflowsConfig = field(default_factory=WorkflowsConfig)
    door: DoorConfig = field(default_factory=DoorConfig)
    tls: TlsConfig = field(default_factory=TlsConfig)
    peers: tuple[str, ...] = ()
    listen: Address = LISTEN
    advertise: Address | None = None
    join: tuple[Address, ...] = ()
    discovery: bool = False
    mesh: MeshConfig = field(default_factory=MeshConfig)
    log: LogConfig = field(default_factory=LogConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    tracing: TracingConfig = field(default_factory=TracingConfig)

    def node(self) -> NodeConfig:
        """The member of the mesh that a gateway is: one that claims no work and does none."""
        return NodeConfig(
            name=self.name,
            data_dir=self.data_dir,
            cache_dir=self.cache_dir,
            listen=self.listen,
            advertise=self.advertise,
            join=self.join,
            discovery=self.discovery,
            mesh=self.mesh,
            slots=1,
            claim=False,
            log=self.log,
            metrics=self.metrics,
        )


def _check(config: GatewayConfig) -> Iterator[tuple[str, str]]:
    """Settings that are right alone and wrong together."""
    kinds = Counter(one.kind for one in config.engines)
    if kinds["camunda8"] > 1:
        yield (
            "engines",
            "two of them are Camunda 8, and their keys, plain numbers, could not be told apart; "
            "run a gateway for each",
        )
    try:
        forms.tags(one.name for one in config.engines)
    except GatewayInputError as error:
        yield "engines", str(error).rstrip(".")
    yield from misplaced(config.workflows, {one.name: one.kind for one in config.engines})
    open_to = exposed(config.door, (config.http, config.grpc))
    if open_to is not None:
        yield "door", open_to
    if config.peers and config.mesh.key_file is None:
        yield (
            "peers",
            "gateways tell each other of routes over the mesh, and one without key is in none; "
            "make a key with `gossamer key new PATH` and name it as mesh.key_file",
        )
    yield from NODE.check(config.node())


_OF_A_NODE = {row.key: row for row in NODE.fields}


def _node_id(text: str) -> str:
    if re.fullmatch(r"[0-9a-f]{32}", text) is None:
        raise ValueError("is no node id")
    return text


NODE_ID = Form("32 hex digits, a node's id", _node_id, str)

STORAGE = Record(
    "Storage",
    "Where the gateway keeps what must outlive it: names of things across engines, who holds which "
    "job, routes, keys of the door.",
    StorageConfig,
    (
        Field(
            "postgres",
            Secret(),
            "postgres",
            "A PostgreSQL, as libpq reads it: `postgresql://user@host/database`. Gateways that "
            "share one know each other's jobs.",
            "A file in `data_dir` is all that one gateway needs.",
            default_words="a file, `gateway.sqlite` in `data_dir`",
        ),
        Field(
            "schema",
            Text("a name of PostgreSQL's", 63),
            "schema",
            "The tables are in it; two meshes may share a database by two of them.",
        ),
    ),
)

GATEWAY: Record[GatewayConfig] = Record(
    "Gateway",
    "One file configures a gateway: `gossamer gateway --config gateway.yaml`. Every field may be "
    "left out. It is read as a node's is, and has many of its fields.",
    GatewayConfig,
    (
        _OF_A_NODE["name"],
        Field(
            "http",
            ADDRESS,
            "http",
            "Where it serves HTTP: `/engine-rest` for clients of Camunda 7, `/v2` for those of "
            "Camunda 8, `/v1` for its own, `/workflow` and `/executions` for workflows, and the "
            "operations page at `/`.",
            "Loopback, so that a first try opens nothing to the network.",
            flag="--http",
        ),
        Field(
            "grpc",
            ADDRESS,
            "grpc",
            "Where it serves gRPC to clients of Camunda 8.",
            flag="--grpc",
        ),
        replace(
            _OF_A_NODE["engines"],
            meaning="The engines behind it: any number that speak Camunda 7's dialect, and at most "
            "one Camunda 8. Their order counts: where nothing else says so, a new instance starts "
            "in the first engine of its client's own dialect.",
            why="A gateway without engines still shows the mesh.",
        ),
        Field("storage", STORAGE, "storage", "Where it keeps its rows."),
        Field("workflows", WORKFLOWS, "workflows", "How workflows run, and over what."),
        Field("door", DOOR, "door", "Who is let in, how much, and from which web pages."),
        Field("tls", TLS, "tls", "The certificate under which it serves."),
        Field(
            "peers",
            ListOf(NODE_ID, "node ids", 100),
            "peers",
            "The other gateways, by their node ids, which `/v1/health` shows as `gateway`: "
            "routes, rules and overrides that were made there count here. Each names all others.",
            "Whoever has the mesh key could say that he is a gateway. Gateways that share a "
            "PostgreSQL need none.",
        ),
        replace(
            _OF_A_NODE["listen"],
            why="Loopback, and any free port: nobody needs to find a gateway to join the mesh.",
        ),
        *(_OF_A_NODE[key] for key in ("advertise", "join", "discovery", "mesh")),
        replace(
            _OF_A_NODE["data_dir"],
            meaning="The gateway's identity, its rows (`gateway.sqlite`, unless they are in a "
            "PostgreSQL) and its snapshot of the mesh. A gateway and a node on one machine need "
            "two: give them different names, or write it.",
        ),
        *(_OF_A_NODE[key] for key in ("cache_dir", "log", "metrics", "tracing")),
    ),
    check=_check,
)
