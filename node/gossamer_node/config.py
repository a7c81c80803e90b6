"""A node's configuration: one YAML file, the environment, and flags.

`NODE` is the one place where a setting is described. A flag wins over an environment variable,
that over the file, and the file over the default; the four are laid over each other as trees, so
each value is judged by the same reader and an error names the file and line, the variable or the
flag that it came from. Every setting of one value or a list has a variable, `GOSSAMER_` and its
path in capitals (`mesh.key_file`: `GOSSAMER_MESH_KEY_FILE`). Secrets are given by reference only.
What a service may do is in `service.grants`.
"""

import argparse
import os
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from gossamer_mesh.leases.messages import TOPICS_MAX
from gossamer_node.address import ADDRESS, LISTEN, Address
from gossamer_node.engines.config import (
    Auth,
    BasicAuth,
    BearerAuth,
    EngineConfig,
    NoAuth,
    OAuth2Auth,
    check_url,
)
from gossamer_node.errors import InputError
from gossamer_node.mesh_config import MESH, MeshConfig
from gossamer_node.metrics_config import METRICS, MetricsConfig
from gossamer_node.schema import (
    Choice,
    Field,
    FilePath,
    Flag,
    Form,
    Kind,
    ListOf,
    MapOf,
    OneOf,
    Record,
    Secret,
    Text,
    Whole,
    source,
)
from gossamer_node.schema.source import Place, Scalar, Source
from gossamer_node.service.grants import GRANTS, Grants
from gossamer_node.service.load import NAME
from gossamer_node.tracing_config import TRACING, TracingConfig

T = TypeVar("T")

ENVIRONMENT_PREFIX = "GOSSAMER_"

CONFIG_FILE_VARIABLE = "GOSSAMER_CONFIG"
"""Names the configuration file, as `--config` does."""


@dataclass(frozen=True, slots=True)
class LogConfig:
    """What is logged, and in which form."""

    format: Literal["logfmt", "json"] = "logfmt"
    level: Literal["debug", "info", "warning", "error"] = "info"


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """A node's settings, complete and checked. `NODE` says what each one means."""

    name: str
    data_dir: Path
    cache_dir: Path
    listen: Address = LISTEN
    advertise: Address | None = None
    join: tuple[Address, ...] = ()
    discovery: bool = False
    mesh: MeshConfig = field(default_factory=MeshConfig)
    engines: tuple[EngineConfig, ...] = ()
    services: tuple[Path, ...] = ()
    grants: Mapping[str, Grants] = field(default_factory=dict)
    slots: int = 32
    topics_max: int = TOPICS_MAX
    claim: bool = True
    log: LogConfig = field(default_factory=LogConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    tracing: TracingConfig = field(default_factory=TracingConfig)

    def grants_of(self, service: str) -> Grants:
        """What is granted to a service of that name: nothing, if the configuration is silent."""
        return self.grants.get(service, Grants())


def _base_url(text: str) -> str:
    """The base of a REST API, without a slash at its end."""
    try:
        check_url(text, "this")
    except InputError as error:
        raise ValueError("is no http(s) URL, or has credentials or a query") from error
    return text.rstrip("/")


URL = Form("a URL such as `http://localhost:8080/engine-rest`", _base_url, str)
WORD = Text("text", 1_000)

AUTH: OneOf[Auth] = OneOf(
    "type",
    {
        "none": Record("No authentication", "The engine asks for nothing.", NoAuth, ()),
        "basic": Record(
            "Basic authentication",
            "User name and password with every request.",
            BasicAuth,
            (
                Field("username", WORD, "username", "The user's name."),
                Field("password", Secret(), "password", "The password."),
            ),
        ),
        "bearer": Record(
            "Bearer token",
            "A fixed token with every request.",
            BearerAuth,
            (Field("token", Secret(), "token", "The token."),),
        ),
        "oauth2": Record(
            "OAuth 2.0 client credentials",
            "Tokens are fetched, and renewed before they end.",
            OAuth2Auth,
            (
                Field("token_url", URL, "token_url", "Where tokens are had."),
                Field("client_id", WORD, "client_id", "The client's id."),
                Field("client_secret", Secret(), "client_secret", "The client's secret."),
                Field(
                    "audience",
                    WORD,
                    "audience",
                    "Camunda 8's audience, often `zeebe-api`.",
                    default_words="left out",
                ),
                Field("scope", WORD, "scope", "The scope asked for.", default_words="left out"),
            ),
        ),
    },
)


def _engine(
    *,
    kind: Literal["camunda7", "camunda8"],
    url: str,
    name: str | None = None,
    tenant: str | None = None,
    auth: Auth = NoAuth(),  # noqa: B008 - immutable
    ca_file: Path | None = None,
    grpc: str | None = None,
    cert_file: Path | None = None,
    key_file: Path | None = None,
) -> EngineConfig:
    return EngineConfig(name or kind, kind, url, tenant, auth, ca_file, grpc, cert_file, key_file)


ENGINE = Record(
    "Engine",
    "An engine that this node can reach.",
    _engine,
    (
        Field(
            "name",
            NAME,
            "name",
            "Under which services, logs and the other nodes know it; the same on every node.",
            "Most meshes have one engine of a kind.",
            default_words="the kind",
        ),
        Field(
            "kind",
            Choice(("camunda7", "camunda8")),
            "kind",
            "Its dialect. The embedded engine speaks Camunda 7's.",
        ),
        Field(
            "url",
            URL,
            "url",
            "The base of its REST API: up to `/engine-rest` for Camunda 7, up to the port for "
            "Camunda 8.",
        ),
        Field(
            "tenant",
            WORD,
            "tenant",
            "Works only jobs of this tenant.",
            "Engines without tenants are the rule.",
            default_words="the default tenant",
        ),
        Field("auth", AUTH, "auth", "How the node proves who it is.", "As both engines ship."),
        Field(
            "ca_file",
            FilePath("the path of a PEM file"),
            "ca_file",
            "Certificates to trust, for an engine with a certificate of your own authority.",
            default_words="the system's authorities",
        ),
        Field(
            "cert_file",
            FilePath("the path of a PEM file"),
            "cert_file",
            "The certificate by which the engine knows this node (mutual TLS), for an `https` URL; "
            "over gRPC as well. With `key_file`.",
            "Few engines ask for one.",
            default_words="none",
        ),
        Field(
            "key_file",
            FilePath("the path of a PEM file"),
            "key_file",
            "The key of `cert_file`, not encrypted; readable by the node's user alone.",
            default_words="none",
        ),
        Field(
            "grpc",
            WORD,
            "grpc",
            "Camunda 8 alone: `HOST:PORT` of its gRPC, under TLS if `url` is https. It is used "
            "while it answers, and REST while it does not.",
            "With it jobs come sooner and cost less.",
            default_words="REST alone",
        ),
    ),
)

LOG = Record(
    "Log",
    "Logs go to standard error, one record a line.",
    LogConfig,
    (
        Field(
            "format",
            Choice(("logfmt", "json")),
            "format",
            "`logfmt`: key=value pairs; `json`: one object a line.",
            "People read logfmt, and so do most collectors.",
            flag="--log-format",
        ),
        Field(
            "level",
            Choice(("debug", "info", "warning", "error")),
            "level",
            "The least severe records that are written.",
            "A grant and an outcome of each job, and what went wrong.",
            flag="--log-level",
        ),
    ),
)


def _check(config: NodeConfig) -> Iterator[tuple[str, str]]:
    """Settings that are right alone and wrong together."""
    joins = bool(config.join) or config.discovery
    if joins and config.mesh.key_file is None:
        yield (
            "join" if config.join else "discovery",
            "a node without mesh key cannot join; make a key with `gossamer key new PATH` and "
            "name it as mesh.key_file",
        )
    if config.listen.is_wildcard and config.mesh.key_file and config.advertise is None:
        yield (
            "listen",
            f"{config.listen.host} is every address of this machine, and others need one of "
            "them; write it as `advertise`",
        )
    if config.advertise and (config.advertise.is_wildcard or config.advertise.port == 0):
        yield "advertise", f"nobody can reach {config.advertise}; write a real host and port"
    if not config.listen.is_loopback and config.mesh.key_file is None:
        yield (
            "listen",
            "a node without mesh key listens on this machine alone; name a mesh.key_file, or "
            f"listen on 127.0.0.1:{config.listen.port}",
        )


NODE = Record(
    "Node",
    "One file configures a node: `gossamer node --config gossamer.yaml`. Every field may be left "
    "out. A flag wins over an environment variable, that over the file, the file over the "
    "default. In a variable, items of a list stand apart by commas, engines by semicolons; an "
    "engine is written `kind=camunda7,url=http://localhost:8080/engine-rest`, with a dot for "
    "each level below: `auth.type=basic,auth.username=demo,auth.password.env=C7_PASSWORD`.",
    NodeConfig,
    (
        Field(
            "name",
            NAME,
            "name",
            "The node's name, for people; its identity is its key.",
            default_words="the machine's name",
            flag="--name",
        ),
        Field(
            "listen",
            ADDRESS,
            "listen",
            "Where the node listens: UDP for gossip and TCP for streams, on one port number. Port "
            "0 is any free port.",
            "Loopback, so that a first try opens nothing to the network.",
            flag="--listen",
        ),
        Field(
            "advertise",
            ADDRESS,
            "advertise",
            "The address that other nodes use, where it differs from `listen`.",
            default_words="`listen`",
            flag="--advertise",
        ),
        Field(
            "join",
            ListOf(ADDRESS, "addresses", 100),
            "join",
            "Nodes to join through; one that answers is enough.",
            "The first node has nobody to join.",
            flag="--join",
        ),
        Field(
            "discovery",
            Flag(),
            "discovery",
            "Finds and is found by nodes of the same mesh on the local network (mDNS).",
            "A node announces itself to a network only when it is told to.",
            flag="--discovery",
        ),
        Field("mesh", MESH, "mesh", "Which mesh the node belongs to."),
        Field(
            "engines",
            ListOf(ENGINE, "engines", 100, unique=lambda one: one.name, separator=";"),
            "engines",
            "The engines that this node can reach.",
            "A node without engines works jobs that others claim.",
            flag="--engine",
        ),
        Field(
            "services",
            ListOf(FilePath("the path of a service.yaml or of a folder"), "paths"),
            "services",
            "The services that this node runs: files, folders with a service.yaml, or folders of "
            "such folders.",
            "A node without services claims for others, or only gossips.",
            flag="--service",
        ),
        Field(
            "grants",
            MapOf(NAME, GRANTS, "grants by service name"),
            "grants",
            "What each service may do beyond computing.",
            "Nothing: a module is somebody else's code.",
        ),
        Field(
            "slots",
            Whole(1, 10_000),
            "slots",
            "How many jobs run here at once, over all services.",
            "Jobs mostly wait for HTTP; a machine of two cores keeps up with this many.",
            flag="--slots",
        ),
        Field(
            "topics_max",
            Whole(1, TOPICS_MAX),
            "topics_max",
            "How many topics this node asks the mesh for work on, over all services. Of services "
            "that were added beyond that, those that were used or added last have their topics "
            "polled; the others are reached by other services, by their names.",
            "A heartbeat names all of them every second. Camunda 8 has an open poll for each, "
            "Camunda 7 a condition in each query: say less where that is too much for the engine.",
        ),
        Field(
            "claim",
            Flag(),
            "claim",
            "Whether this node may be the one that asks an engine for work.",
            "Any node that reaches the engine can; say `false` on a weak or distant one.",
            flag="--claim",
        ),
        Field(
            "data_dir",
            FilePath("a folder's path"),
            "data_dir",
            "The node's identity, its snapshot of the mesh and the services that were added to it. "
            "One node, one folder.",
            "What a user's programs keep goes there (XDG Base Directory).",
            default_words="`$XDG_STATE_HOME/gossamer/<name>`, `~/.local/state/gossamer/<name>`",
            flag="--data-dir",
        ),
        Field(
            "cache_dir",
            FilePath("a folder's path"),
            "cache_dir",
            "Compiled modules; may be deleted at any time, and shared by nodes.",
            "What can be made again goes there (XDG Base Directory).",
            default_words="`$XDG_CACHE_HOME/gossamer`, `~/.cache/gossamer`",
            flag="--cache-dir",
        ),
        Field("log", LOG, "log", "What is logged, and in which form."),
        Field("metrics", METRICS, "metrics", "Where Prometheus reads what the node counts."),
        Field("tracing", TRACING, "tracing", "Where traces of jobs go."),
    ),
    check=_check,
)


@dataclass(frozen=True, slots=True)
class Setting:
    """A field that has a variable, by its dotted path, and a flag where it has one."""

    path: str
    row: Field

    @property
    def variable(self) -> str:
        return ENVIRONMENT_PREFIX + self.attribute.upper()

    @property
    def attribute(self) -> str:
        """Of the parsed arguments."""
        return self.path.replace(".", "_")


def settings(record: Record[Any] = NODE, above: str = "") -> Iterator[Setting]:
    """Every setting with a variable, in the order of the table."""
    for row in record.fields:
        if isinstance(row.kind, Record):
            yield from settings(row.kind, f"{above}{row.key}.")
        elif not isinstance(row.kind, MapOf):
            yield Setting(above + row.key, row)


def add_flags(parser: argparse.ArgumentParser, *paths: str, record: Record[Any] = NODE) -> None:
    """Adds `--config` and the flags of these settings; of all that have one, if none is named."""
    whose = record.title.lower()
    parser.add_argument(
        "--config", metavar="FILE", type=Path, help=f"the {whose}'s configuration file (YAML)"
    )
    for setting in settings(record):
        row = setting.row
        if row.flag and (not paths or setting.path in paths):
            several = isinstance(row.kind, ListOf)
            alone = isinstance(row.kind, Flag)
            parser.add_argument(
                row.flag,
                dest=setting.attribute,
                metavar=_metavar(row.kind),
                action="append" if several else "store",
                nargs="?" if alone else None,
                const="true" if alone else None,
                help=_help(row, several),
            )


def load(
    arguments: argparse.Namespace | None = None, environ: Mapping[str, str] | None = None
) -> NodeConfig:
    """The node's configuration. See `load_record`."""
    return load_record(NODE, arguments, environ)


def load_record(
    record: Record[T],
    arguments: argparse.Namespace | None = None,
    environ: Mapping[str, str] | None = None,
) -> T:
    """A process's configuration, from the flags of `add_flags`, the environment and the file.

    Args:
        record: with `name`, `data_dir` and `cache_dir` among its fields.

    Raises: Invalid, with every problem; InputError when the file can't be read.
    """
    environ = os.environ if environ is None else environ
    flags = vars(arguments) if arguments is not None else {}
    named = environ.get(CONFIG_FILE_VARIABLE)
    path: Path | None = flags.get("config") or (Path(named) if named else None)
    tree = source.Mapping(Place(Source("the configuration", Path(), environ)), ())
    if path is not None:
        tree = source.overlay(tree, _read_file(path, environ, record))
    for setting in settings(record):
        text = environ.get(setting.variable)
        if text is not None:
            tree = source.overlay(tree, _layer(setting, [text], setting.variable, environ))
        given = flags.get(setting.attribute)
        if given is not None:
            texts = given if isinstance(given, list) else [str(given)]
            tree = source.overlay(tree, _layer(setting, texts, setting.row.flag, environ))
    return record.read(source.overlay(_defaults(tree, environ), tree), "")


def load_grants(path: Path) -> Mapping[str, Grants]:
    """The grants of a configuration file, whatever else it says: they need none of its secrets.

    Raises: Invalid, InputError, as `load`.
    """
    row = next(row for row in NODE.fields if row.key == "grants")
    written = _read_file(path, os.environ, NODE).get(row.key)
    grants: Mapping[str, Grants] = {} if written is None else row.kind.read(written, row.key)
    return grants


def _read_file(path: Path, environ: Mapping[str, str], record: Record[Any]) -> source.Mapping:
    tree = source.read_file(path, environ=environ)
    if not isinstance(tree, source.Mapping):
        raise source.invalid(tree.place, f"this is no mapping; write {record.words()}")
    return tree


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """Variables that begin as ours do, and that nothing reads: probably a slip of the pen."""
    known = {setting.variable for setting in settings()} | {CONFIG_FILE_VARIABLE, "GOSSAMER_DEBUG"}
    return sorted(
        name for name in environ if name.startswith(ENVIRONMENT_PREFIX) and name not in known
    )


def _layer(
    setting: Setting, texts: Sequence[str], label: str, environ: Mapping[str, str]
) -> source.Mapping:
    """The tree that says one setting, as a variable's or a flag's texts give it."""
    place = Place(Source(label, Path(), environ))
    nodes = [setting.row.kind.from_text(text, place) for text in texts]
    node = nodes[-1]
    if isinstance(setting.row.kind, ListOf):
        lists = [one for one in nodes if isinstance(one, source.Sequence)]
        node = source.Sequence(place, tuple(item for one in lists for item in one.items))
    for key in reversed(setting.path.split(".")):
        node = source.Mapping(place, ((Scalar(place, key), node),))
    assert isinstance(node, source.Mapping)
    return node


def _defaults(tree: source.Mapping, environ: Mapping[str, str]) -> source.Mapping:
    """The defaults that depend on the machine, as the lowest layer."""
    place = Place(Source("default", Path(), environ))
    machine = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname()).strip("-")[:63] or "node"
    written = tree.get("name")
    name = written.text if isinstance(written, Scalar) else machine
    defaults = {
        "name": machine,
        "data_dir": _base_directory(environ, "XDG_STATE_HOME", ".local/state") / name,
        "cache_dir": _base_directory(environ, "XDG_CACHE_HOME", ".cache"),
    }
    entries = [(Scalar(place, key), Scalar(place, str(text))) for key, text in defaults.items()]
    return source.Mapping(tree.place, tuple(entries))


def _base_directory(environ: Mapping[str, str], variable: str, below_home: str) -> Path:
    """XDG Base Directory Specification 0.8: a relative path in the variable is to be ignored."""
    given = Path(environ.get(variable, ""))
    base = given if given.is_absolute() else Path(environ.get("HOME", "/")) / below_home
    return base / "gossamer"


def _metavar(kind: Kind[Any]) -> str:
    """What a flag's value looks like, in the help."""
    match kind:
        case ListOf():
            return _metavar(kind.of)
        case Choice():
            return "|".join(kind.values)
        case Flag():
            return "true|false"
        case Whole():
            return "NUMBER"
        case FilePath():
            return "PATH"
        case Record():
            return "KEY=VALUE,…"
        case _:
            return "HOST:PORT" if kind is ADDRESS else "NAME"


def _help(row: Field, several: bool) -> str:
    words = row.meaning.replace("`", "").replace("%", "%%")
    return words + (" May be given several times." if several else "")
