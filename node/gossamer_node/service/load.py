"""service.yaml → `ServiceSpec`: the table of its fields, and the rules between services.

`SERVICE` is the one place where a field of service.yaml is described; the shipped JSON Schema and
the reference page are made from it. A file may have the root `service:` or not. Loading reads that
file alone: whether its module exists and can run is asked only of a service that is to run
(`require_runnable`, `require_module`), so a description without a worker is a valid file.
"""

import dataclasses
import re
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from gossamer_node.errors import InputError, ServiceError
from gossamer_node.proto import load_schema
from gossamer_node.registry.ranges import RANGE_CHARS_MAX, parse_range
from gossamer_node.schema import (
    Choice,
    Field,
    FilePath,
    Flag,
    Form,
    ListOf,
    Record,
    Text,
    Whole,
    duration,
    size,
)
from gossamer_node.schema.source import Mapping, Node, Source, invalid, parse, read_file, shown
from gossamer_node.service.dense import DENSE, check_profile
from gossamer_node.service.host import require_host
from gossamer_node.service.spec import (
    Capabilities,
    Dependency,
    Grpc,
    InstanceRange,
    Limits,
    ServiceSpec,
    Topic,
)

FILE_NAME = "service.yaml"

SERVICES_MAX = 10_000
"""Services that one node loads; a folder with more is surely not a folder of services."""

WASM_MAGIC = b"\0asm"
"""WebAssembly core specification §5.5.16: how every binary module begins."""

_SEMVER = (
    r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)"
    r"(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?"
)
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?"

NAME = Text("a name: letters, digits, `.`, `_` and `-`, such as `search-client`", 63, _LABEL)
VERSION = Text("a semantic version such as `1.0.0`", 64, _SEMVER)
HOST = Text("a host name or an IP address", 253, r"[A-Za-z0-9_.:-]+")


def parse_needed(text: str) -> str:
    """A range of versions, as it was written; not an empty one, which is easily an oversight."""
    if not parse_range(text).text.strip(" "):
        raise ValueError("is empty")
    return text


RANGE = Form(
    "a version range such as `^1.0.0`, `>=1.2 <2`, `1.x || 3.x`, or `*`",
    parse_needed,
    str,
    rf"[-0-9A-Za-z*^~<>=|.+ ]{{1,{RANGE_CHARS_MAX}}}",
)

PORTS = {"http": 80, "https": 443}


def parse_origin(text: str) -> str:
    """An exact origin (RFC 6454), normalised: lower case, without the scheme's own port."""
    parts = urlsplit(text)
    if parts.scheme not in PORTS or not parts.hostname or not text.isprintable():
        raise ValueError("is not an origin")
    if parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("has more than scheme, host and port")
    if not re.fullmatch(r"[a-z0-9_.:-]+", parts.hostname):
        raise ValueError("has a host that is no name and no address")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = "" if parts.port in (None, PORTS[parts.scheme]) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def _requested_origin(text: str) -> str:
    if re.fullmatch(r"\{" + _LABEL + r"\}", text):
        return text
    return parse_origin(text)


ORIGIN = Form("an exact origin, such as `http://127.0.0.1:5001`", parse_origin, str)
REQUESTED_ORIGIN = Form(
    "an exact origin, `https://api.example.org`, or a name in braces, `{booking}`",
    _requested_origin,
    str,
)


def parse_target(text: str) -> str:
    """A server's `host:port` or `[v6]:port`, in lower case."""
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):([0-9]{1,5})", text)
    if match is None or not 1 <= int(match[2]) <= 65_535:
        raise ValueError("is not HOST:PORT")
    return f"{match[1].lower()}:{int(match[2])}"


TARGET = Form("a server, `host:port`", parse_target, str)

TOPIC = Record(
    "Topic",
    "A topic that the service works on.",
    Topic,
    (
        Field(
            "name",
            Text("the topic's name", 255),
            "name",
            "The topic in Camunda 7, the job type in Camunda 8.",
        ),
        Field(
            "engines",
            ListOf(NAME, "configured engine names", 100, 1),
            "engines",
            "The engines on which the service works this topic.",
            "Every engine of the node, so that one worker serves a migration from both sides.",
            default_words="all",
        ),
        Field(
            "variables",
            ListOf(Text("a variable's name"), "variable names"),
            "variables",
            "The process variables to fetch; `[]` fetches none.",
            "A worker that works with all of them is right first and can be made thrifty later.",
            default_words="all",
        ),
        Field(
            "lock",
            duration("1s", "1h"),
            "lock_ms",
            "How long the engine keeps a job for this mesh. It is renewed at a third while the "
            "job makes progress.",
            "If every node dies at once, a job is worked again after this time.",
        ),
    ),
)

LIMITS = Record(
    "Limits",
    "What one job may use at most; past it the job fails, and the node goes on.",
    Limits,
    (
        Field(
            "memory",
            size("64KiB", "4GiB"),
            "memory_bytes_max",
            "The worker's linear memory.",
            "Ample for a worker of JSON in C, Rust or AssemblyScript; a language that brings "
            "its own runtime asks for more.",
        ),
        Field(
            "time",
            duration("1ms", "1h"),
            "time_ms_max",
            "From the call of the worker to its answer, host operations included.",
            "A job of a service task lasts milliseconds; a loop is found before the lock ends.",
        ),
        Field(
            "output",
            size("1KiB", "64MiB"),
            "output_bytes_max",
            "The answer's length in bytes.",
            "Engines take a few MiB in a request at best; large data belongs elsewhere.",
        ),
        Field(
            "stack",
            size("64KiB", "8MiB"),
            "stack_bytes_max",
            "The stack of the compiled code, beside the linear memory.",
            "Wasmtime's own default; deep recursion needs more.",
        ),
    ),
)

CAPABILITIES = Record(
    "Capabilities",
    "The host operations that the worker requests. The node's configuration grants them, or not.",
    Capabilities,
    (
        Field(
            "http",
            ListOf(REQUESTED_ORIGIN, "origins", 100),
            "http_origins",
            "Origins for `http.fetch`. A name in braces stands for an origin that the node's "
            "configuration gives under that name; `config.get` of the name reads it.",
            "Nothing is reached unless it is written down.",
        ),
        Field(
            "config",
            ListOf(NAME, "names", 1_000),
            "config",
            "Names that `config.get` may read.",
            "Nothing is read unless it is written down.",
        ),
        Field(
            "extend_lock",
            Flag(),
            "extend_lock",
            "Whether the worker wants `job.extend_lock`.",
            "The node renews locks by itself; few workers need more.",
        ),
        Field(
            "kv",
            Flag(),
            "kv",
            "Whether the worker wants to keep values from job to job (`kv.get`, `kv.put`, "
            "`kv.delete`, `kv.list`).",
            "What a process knows is in its variables.",
        ),
        Field(
            "secrets",
            ListOf(NAME, "names", 100),
            "secrets",
            "Names that `secrets.get` may read.",
            "Nothing is read unless it is written down.",
        ),
        Field(
            "call",
            ListOf(NAME, "services", 100),
            "calls",
            "Services that `service.call` may call, by their exact names.",
            "Nothing is called unless it is written down.",
        ),
    ),
)

DEPENDENCY = Record(
    "Dependency",
    "What the service does not work without: a capability of the host, or another service. A name "
    "of the table below means the host, which is refused at once where its version won't do; any "
    "other name is a service in the mesh, and while nobody offers a version that will do, this one "
    "takes no jobs.",
    Dependency,
    (
        Field("name", NAME, "name", "The capability's name, or the service's."),
        Field(
            "version",
            RANGE,
            "version",
            "The versions that will do, in npm's notation. For a service they also say which ones "
            "`service.call` takes, where the worker names no range of its own.",
        ),
    ),
)

GRPC = Record(
    "gRPC",
    "A gRPC server that the worker wants to call, by `grpc.call`. The node's configuration grants "
    "it, or not.",
    Grpc,
    (
        Field("host", HOST, "host", "Where it listens."),
        Field("port", Whole(1, 65_535), "port", "Where it listens."),
        Field(
            "proto-files",
            ListOf(Text("a file's name"), "file names", 100, 1),
            "proto_files",
            "Its protocol definitions, beside service.yaml or in folders there: `.proto` files "
            "(proto2, proto3), or sets of descriptors under any other name, as `protoc "
            "--include_imports --descriptor_set_out` makes them. All that they import is named as "
            "well, but for `google/protobuf/*.proto`, which the node has.",
        ),
        Field(
            "tls",
            Flag(),
            "tls",
            "Whether it speaks TLS; the machine's authorities must vouch for its certificate.",
            "Servers beside the node speak plain text.",
        ),
    ),
)


def _check_range(value: InstanceRange) -> Iterable[tuple[str, str]]:
    if value.min > value.max:
        yield "min", f"{value.min} is more than `max`, {value.max}; exchange them"


INSTANCES = Record(
    "Instances",
    "A range instead of a fixed `concurrency`: a node begins at the minimum; while the mesh wants "
    "more slots than it has, it goes up to twofold every ten seconds, and down by an eighth a "
    "minute while a quarter of the slots is too many.",
    InstanceRange,
    (
        Field(
            "min",
            Whole(1, 1_024),
            "min",
            "So many of its jobs one node runs at once when there is little to do.",
            "A service that nobody calls keeps one slot, and answers the first job at once.",
        ),
        Field(
            "max",
            Whole(1, 1_024),
            "max",
            "So many when there is much to do. The node's `slots` bound all services together.",
            "As `concurrency`.",
        ),
    ),
    check=_check_range,
)

SERVICE = Record(
    "Service",
    "A service is a worker and what it needs: one service.yaml beside one WebAssembly module. "
    "Its fields stand under `service:`, or at the top of the file.",
    ServiceSpec,
    (
        Field("name", NAME, "name", "Unique on a node; logs, grants and `status` use it."),
        Field("version", VERSION, "version", "The service's own version (semver.org, 2.0.0)."),
        Field(
            "description",
            Text("text", 2_000, lines=True),
            "description",
            "What it is for, for people.",
            default_words="none",
        ),
        Field(
            "module",
            FilePath("the path of a .wasm file, from service.yaml's folder"),
            "module",
            "The worker: a core module with the job1 interface, or a WASI command.",
            "Without one the file is a description, which no node can run.",
            default_words="none",
        ),
        Field(
            "topics",
            ListOf(TOPIC, "topics", 1_000, unique=lambda topic: topic.name),
            "topics",
            "What the service works on.",
            "Without one it gets no job of an engine, and only other services call it.",
            default_words="none",
        ),
        Field("limits", LIMITS, "limits", "What one job may use at most."),
        Field("capabilities", CAPABILITIES, "capabilities", "The host operations it requests."),
        Field(
            "concurrency",
            Whole(1, 1_024),
            "concurrency",
            "How many of its jobs one node runs at once.",
            "Enough to hide the waits of HTTP calls, and few enough for a small machine.",
        ),
        Field(
            "instances",
            INSTANCES,
            "instances",
            "Moves that number by the demand of the mesh, between a minimum and a maximum; "
            "`concurrency` then counts for nothing.",
            default_words="`concurrency`, always",
        ),
        Field(
            "encoding",
            Choice(("json", "msgpack")),
            "encoding",
            "How the job's input is written; the worker's answer may be either.",
            "Every language reads JSON.",
        ),
        Field(
            "retries",
            Whole(1, 100),
            "retries",
            "Tries of a job for which the engine counts none yet (Camunda 7 before the first "
            "failure).",
            "Camunda's own default for a service task.",
        ),
        Field(
            "backoff",
            duration("0ms", "24h"),
            "backoff_ms",
            "How long a failed job waits for its next try, when the worker names no time.",
            "A restarting neighbour is often back by then.",
        ),
        Field(
            "on_holder_lost",
            Choice(("regrant", "wait")),
            "on_holder_lost",
            "When the node that holds a job is lost: `regrant` it to another at once, or `wait` "
            "for the engine's lock to end.",
            "Work goes on within seconds. A worker that must not run twice at once waits.",
        ),
        Field(
            "dependencies",
            ListOf(DEPENDENCY, "dependencies", 100, unique=lambda one: one.name),
            "dependencies",
            "What it does not work without: capabilities of the host, and other services.",
            default_words="none",
        ),
        Field(
            "grpc",
            GRPC,
            "grpc",
            "A gRPC server that it calls.",
            default_words="none",
        ),
        Field(
            "profile",
            Choice(("fast", "dense")),
            "profile",
            "`fast`: a fresh instance for every job, so nothing leaks from one to the next. "
            "`dense`: instances live on and keep what they have in memory, up to 100,000 of them "
            "in a process.",
            "A worker is right in it without thinking of other jobs.",
        ),
        Field(
            "dense",
            DENSE,
            "dense",
            "How the live instances of the dense profile are kept.",
            default_words="each field's default",
        ),
    ),
    check=check_profile,
)


def load(path: Path) -> ServiceSpec:
    """The service that a service.yaml describes.

    Raises: Invalid, with every problem of the file by line and field; InputError when the file
        can't be read.
    """
    return _spec(read_file(path), path)


def loads(data: bytes, path: Path) -> ServiceSpec:
    """As `load`, from bytes; `path` is what errors call them and where `module` starts."""
    return _spec(parse(data, Source(str(path), path.parent)), path)


def find(path: Path) -> list[Path]:
    """The service files that a path means: itself, `service.yaml` in it, or in folders below it.

    Raises: InputError when there is none.
    """
    if not path.is_dir():
        return [path]
    if (path / FILE_NAME).is_file():
        return [path / FILE_NAME]
    found = sorted(path.glob(f"*/{FILE_NAME}"))
    if not found:
        raise InputError(
            f"{path} has no {FILE_NAME}, and no folder in it has one; name a service's folder, "
            "or make one with `gossamer service new`."
        )
    if len(found) > SERVICES_MAX:
        raise InputError(f"{path} has {len(found)} services; one node takes {SERVICES_MAX}.")
    return found


def require_runnable(spec: ServiceSpec) -> Path:
    """The module of a service that a node is to run.

    One without topics is for other services alone, which call it.

    Raises: ServiceError when it has no module, or the module isn't WebAssembly, or its proto-files
        can't be read.
    """
    module = require_module(spec)
    load_schema(spec)
    return module


def require_module(spec: ServiceSpec) -> Path:
    """The module of a service that is to run here.

    Raises: ServiceError when there is none, or it isn't WebAssembly, or it depends on what this
        host doesn't have.
    """
    require_host(spec)
    if spec.module is None:
        raise ServiceError(
            f"{spec.path}: service {spec.name} has no `module`, so it is a description and "
            "nothing can run; name its .wasm file."
        )
    try:
        with spec.module.open("rb") as file:
            magic = file.read(len(WASM_MAGIC))
    except OSError as error:
        raise ServiceError(
            f"{spec.path}: module {spec.module} cannot be read ({error.strerror}); build it, or "
            "mend its path."
        ) from error
    if magic != WASM_MAGIC:
        raise ServiceError(
            f"{spec.path}: module {spec.module} is not a WebAssembly binary; name the .wasm file "
            "that the build made."
        )
    return spec.module


def refuse_conflicts(specs: Iterable[ServiceSpec], engines: Sequence[str]) -> None:
    """The rule between services: on one engine, a topic belongs to one service.

    Args:
        engines: names of the node's configured engines; with none, the node works what others
            claim, from engines of whatever name.

    Raises: ServiceError that names both files, for a topic, or a service name, claimed twice; and
        for a topic on an engine that isn't among the configured ones.
    """
    specs = list(specs)
    if not engines:
        named = {one for spec in specs for topic in spec.topics for one in topic.engines or ()}
        engines = sorted(named) or ["any"]
    names: dict[str, ServiceSpec] = {}
    owners: dict[tuple[str, str], ServiceSpec] = {}
    for spec in specs:
        before = names.setdefault(spec.name, spec)
        if before is not spec:
            raise ServiceError(
                f"{before.path} and {spec.path} are both named {spec.name}; rename one of them."
            )
        for topic in spec.topics:
            for engine in engines if topic.engines is None else topic.engines:
                if engine not in engines:
                    raise ServiceError(
                        f"{spec.path}: topic {topic.name} names the engine {engine}, which this "
                        "node doesn't have; configure it, or take it off the topic."
                    )
                before = owners.setdefault((engine, topic.name), spec)
                if before is not spec:
                    raise ServiceError(
                        f"{before.path} and {spec.path} both claim topic {topic.name} on engine "
                        f"{engine}; give the topic `engines`, or take it from one of them."
                    )


def _spec(tree: Node, path: Path) -> ServiceSpec:
    record = dataclasses.replace(SERVICE, make=partial(ServiceSpec, path=path))
    root = tree.get("service") if isinstance(tree, Mapping) else None
    if not isinstance(tree, Mapping) or root is None:
        return record.read(tree, "")
    beside = [key for key, value in tree.entries if value is not root]
    if beside:
        key = shown(beside[0].text)
        raise invalid(beside[0].place, f"{key} stands beside `service:`; indent it under that")
    return record.read(root, "")
