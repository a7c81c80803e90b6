"""A service as the rest of the node sees it: validated, immutable, with every default filled in.

`load` makes one from a service.yaml. A service only *requests*; what it gets is the node's
configuration to grant (`Grant`), and the host checks the grant, never the request.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from gossamer_node.engines.port import LOCK_MS_DEFAULT
from gossamer_node.service.secrets import SecretSource

Profile = Literal["fast", "dense"]
"""How a service's instances live: a fresh one for every job, or many that stay."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic that the service works on.

    Attributes:
        name: the topic's name at the engine.
        engines: configured engine names; None means every engine that the node knows.
        variables: names to fetch, None for all.
        lock_ms: the engine's lock, renewed while the job makes progress.
    """

    name: str
    engines: tuple[str, ...] | None = None
    variables: tuple[str, ...] | None = None
    lock_ms: int = LOCK_MS_DEFAULT


@dataclass(frozen=True, slots=True)
class Limits:
    """What one job of this service may use at most."""

    memory_bytes_max: int = 16 * 2**20
    time_ms_max: int = 10_000
    output_bytes_max: int = 2**20
    stack_bytes_max: int = 512 * 2**10


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The host operations that a service requests.

    Attributes:
        http_origins: exact origins for `http.fetch`. A name in braces, `{booking}`, stands for
            an origin that the node's configuration gives under that name.
        config: names that `config.get` may read.
        extend_lock: whether `job.extend_lock` is wanted.
        kv: whether `kv.get` and its like are wanted.
        secrets: names that `secrets.get` may read.
        calls: services that `service.call` may call.
    """

    http_origins: tuple[str, ...] = ()
    config: tuple[str, ...] = ()
    extend_lock: bool = False
    kv: bool = False
    secrets: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KvQuota:
    """How much a service may keep on one node.

    Attributes:
        bytes: of all keys and values together.
        keys: how many.
    """

    bytes: int = 16 * 2**20
    keys: int = 10_000


@dataclass(frozen=True, slots=True)
class Grant:
    """What the node's configuration lets one service do. Nothing by default.

    Attributes:
        http_origins: exact origins, `http://127.0.0.1:5001`.
        redirects: whether `http.fetch` follows redirects, to granted origins only.
        config: values for `config.get`, by name.
        extend_lock: whether `job.extend_lock` works.
        grpc: whether `grpc.call` works, to the server that the service names.
        kv: how much the service may keep; None: it may not.
        networks: where the names of origins may lead beyond the public internet, in CIDR.
        secrets: where the secrets for `secrets.get` are, by name.
        calls: services that `service.call` may call.
    """

    http_origins: tuple[str, ...] = ()
    redirects: bool = False
    config: Mapping[str, str] = field(default_factory=dict)
    extend_lock: bool = False
    grpc: bool = False
    kv: KvQuota | None = None
    networks: tuple[str, ...] = ()
    secrets: Mapping[str, SecretSource] = field(default_factory=dict)
    calls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dependency:
    """A capability of the host, or another service, by name and range (`registry.ranges`)."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Grpc:
    """A gRPC server that the worker wants to call.

    Attributes:
        proto_files: paths from service.yaml's folder.
        tls: TLS 1.2 or later; plain text otherwise.
    """

    host: str
    port: int
    proto_files: tuple[str, ...]
    tls: bool = False

    @property
    def target(self) -> str:
        """`host:port`, as grants write it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host.lower()}:{self.port}"


@dataclass(frozen=True, slots=True)
class InstanceRange:
    """Between how many and how many of its jobs a node runs at once, by the mesh's demand."""

    min: int = 1
    max: int = 8


@dataclass(frozen=True, slots=True)
class Dense:
    """How the live instances of a dense service are kept, and when they are let go.

    Attributes:
        key: JSON Pointer (RFC 6901) into a job's input; None: any idle instance takes any job.
        live: instances of this service on one node.
        when_full: `evict`: the one longest unused makes room; `refuse`: the new job fails.
        idle_ms: an instance unused for so long is let go.
        age_ms, jobs, memory_bytes: past any of these an instance is let go after its job.
        waiting: jobs that may wait for one key.
        state_bytes_max: of the state that a worker keeps for a key.
    """

    key: str | None = None
    live: int = 1_000
    when_full: Literal["evict", "refuse"] = "evict"
    idle_ms: int = 600_000
    age_ms: int = 86_400_000
    jobs: int = 100_000
    memory_bytes: int = 2**20
    waiting: int = 64
    state_bytes_max: int = 64 * 2**10


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """One service. `path` is its service.yaml; `module` the .wasm file, resolved beside it.

    `module` is None only for a description without worker, which a node refuses to start. `files`
    holds the proto-files of a service of the registry, packed (`proto.bundle`); with None they lie
    beside service.yaml.
    """

    path: Path
    name: str
    version: str
    description: str = ""
    module: Path | None = None
    topics: tuple[Topic, ...] = ()
    limits: Limits = field(default_factory=Limits)
    capabilities: Capabilities = field(default_factory=Capabilities)
    concurrency: int = 8
    instances: InstanceRange | None = None
    encoding: Literal["json", "msgpack"] = "json"
    retries: int = 3
    backoff_ms: int = 1_000
    on_holder_lost: Literal["regrant", "wait"] = "regrant"
    dependencies: tuple[Dependency, ...] = ()
    grpc: Grpc | None = None
    profile: Profile = "fast"
    dense: Dense | None = None
    files: Path | None = None

    @property
    def living(self) -> Dense:
        """`dense` with its defaults."""
        return self.dense or Dense()
