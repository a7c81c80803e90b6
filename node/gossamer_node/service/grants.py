"""What a node's configuration lets a service do, and what of it the service gets.

A service requests, the configuration grants, and a service gets what is in both: a grant that
nobody asked for does nothing, and a request that nobody granted is refused when it is used. The
WASM host enforces the `Grant` that `bind` makes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gossamer_node.schema import Field, Flag, Form, ListOf, MapOf, Record, Text, Whole, size
from gossamer_node.service.load import NAME, ORIGIN, TARGET
from gossamer_node.service.networks import parse_network
from gossamer_node.service.secrets import SecretError, SecretSource, SecretSourceKind
from gossamer_node.service.spec import Grant, KvQuota, ServiceSpec


@dataclass(frozen=True, slots=True)
class Grants:
    """What the node's configuration lets one service do.

    Attributes:
        http_origins: exact origins.
        origins: origins by the name that a service puts in braces.
        grpc: servers that `grpc.call` may reach, `host:port`.
        calls: names of services that `service.call` may call.
    """

    http_origins: tuple[str, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict)
    redirects: bool = False
    config: Mapping[str, str] = field(default_factory=dict)
    extend_lock: bool = False
    grpc: tuple[str, ...] = ()
    kv: KvQuota | None = None
    networks: tuple[str, ...] = ()
    secrets: Mapping[str, SecretSource] = field(default_factory=dict)
    calls: tuple[str, ...] = ()

    def bind(self, spec: ServiceSpec) -> tuple[Grant, tuple[str, ...]]:
        """What the service gets: what it requests and the node grants, nothing else.

        A named origin is also what `config.get` of that name answers, so that the worker finds it.

        Returns: the grant, and a sentence for each request that stays without one, and for each
            secret that cannot be had now.
        """
        wanted = spec.capabilities
        origins: list[str] = []
        config: dict[str, str] = {}
        refused: list[str] = []
        for origin in wanted.http_origins:
            name = origin[1:-1]
            if not origin.startswith("{"):
                if origin in self.http_origins:
                    origins.append(origin)
                else:
                    refused.append(_refused(spec, f"http {origin}", f"http: [{origin}]"))
            elif name in self.origins:
                origins.append(self.origins[name])
                config[name] = self.origins[name]
            else:
                refused.append(_refused(spec, f"http {origin}", f"origins: {{{name}: URL}}"))
        for name in wanted.config:
            if name in self.config:
                config[name] = self.config[name]
            else:
                refused.append(_refused(spec, f"config {name}", f"config: {{{name}: VALUE}}"))
        if wanted.extend_lock and not self.extend_lock:
            refused.append(_refused(spec, "extend_lock", "extend_lock: true"))
        extend_lock = wanted.extend_lock and self.extend_lock
        grpc = spec.grpc is not None and spec.grpc.target in self.grpc
        if spec.grpc is not None and not grpc:
            target = spec.grpc.target
            refused.append(_refused(spec, f"grpc {target}", f'grpc: ["{target}"]'))
        if wanted.kv and self.kv is None:
            refused.append(_refused(spec, "kv", "kv: {}"))
        secrets: dict[str, SecretSource] = {}
        for name in wanted.secrets:
            if name not in self.secrets:
                grant_as = f"secrets: {{{name}: {{file: PATH}}}}"
                refused.append(_refused(spec, f"secret {name}", grant_as))
                continue
            secrets[name] = self.secrets[name]
            try:
                secrets[name].read()
            except SecretError as error:
                refused.append(f"service {spec.name} cannot have its secret {name}: {error}")
        calls = tuple(one for one in wanted.calls if one in self.calls)
        refused += [
            _refused(spec, f"call {one}", f"call: [{one}]")
            for one in wanted.calls
            if one not in calls
        ]
        grant = Grant(
            tuple(origins),
            self.redirects,
            config,
            extend_lock,
            kv=self.kv if wanted.kv else None,
            networks=self.networks,
            secrets=secrets,
            grpc=grpc,
            calls=calls,
        )
        return grant, tuple(refused)


def _refused(spec: ServiceSpec, what: str, grant: str) -> str:
    return (
        f"service {spec.name} requests {what}, which this node doesn't grant; "
        f"to grant it, write `{grant}` under grants.{spec.name}."
    )


NETWORK = Form("a network such as `10.1.0.0/16` or `fd00::/8`, or one address", parse_network, str)

KV = Record(
    "Kept values",
    "How much a service may keep by `kv.put` on this node, in `kv.sqlite` of its `data_dir`: "
    "8 GiB for all services. `kv: {}` grants it with these defaults.",
    KvQuota,
    (
        Field(
            "bytes",
            size("1KiB", "4GiB"),
            "bytes",
            "Of all its keys and values together.",
            "Counters, tokens, what was done already; files belong elsewhere.",
        ),
        Field(
            "keys",
            Whole(1, 10_000_000),
            "keys",
            "How many keys it may have.",
            "A worker that forgets to delete is found before it fills the disk.",
        ),
    ),
)

GRANTS = Record(
    "Grants",
    "What one service may do. A service gets what its service.yaml requests *and* this grants.",
    Grants,
    (
        Field(
            "http",
            ListOf(ORIGIN, "origins", 100),
            "http_origins",
            "Exact origins that `http.fetch` may reach.",
            "A worker reaches nothing that you didn't write down.",
        ),
        Field(
            "origins",
            MapOf(NAME, ORIGIN, "origins by name"),
            "origins",
            "Origins for the names that service.yaml writes in braces: `{booking}` there, "
            "`booking: http://127.0.0.1:5001` here. `config.get` of the name reads it.",
            "The same service runs in several places, and only this file knows the place.",
        ),
        Field(
            "redirects",
            Flag(),
            "redirects",
            "Whether `http.fetch` follows redirects, to granted origins only.",
            "A redirect is another's decision where to go.",
        ),
        Field(
            "networks",
            ListOf(NETWORK, "networks", 100),
            "networks",
            "Networks beyond the public internet that the names of granted origins and servers may "
            "lead to. Addresses that are granted themselves, and `localhost`, need none.",
            "Whoever runs a name's DNS could send the worker into your network.",
        ),
        Field(
            "config",
            MapOf(NAME, Text("text in quotes", 10_000, lines=True), "values by name"),
            "config",
            "Values for `config.get`.",
            "A worker reads nothing that you didn't write down.",
        ),
        Field(
            "extend_lock",
            Flag(),
            "extend_lock",
            "Whether `job.extend_lock` works.",
            "The node renews locks by itself.",
        ),
        Field(
            "grpc",
            ListOf(TARGET, "servers", 100),
            "grpc",
            "The servers that `grpc.call` may reach, as service.yaml's `grpc` names them.",
            "A worker reaches nothing that you didn't write down.",
        ),
        Field(
            "kv",
            KV,
            "kv",
            "How much `kv.put` may keep on this node.",
            "A worker keeps nothing on your disk that you didn't grant.",
            default_words="not granted",
        ),
        Field(
            "secrets",
            MapOf(NAME, SecretSourceKind(), "references by name, `{file: PATH}` or `{env: NAME}`"),
            "secrets",
            "Secrets for `secrets.get`. A file is read each time that a worker asks, and refused "
            "while other users may read it (`chmod 600`).",
            "A worker gets no password that you didn't hand to it.",
        ),
        Field(
            "call",
            ListOf(NAME, "services", 100),
            "calls",
            "Services, by their exact names, that `service.call` may call, wherever in the mesh "
            "they run.",
            "A service that may call another may have done whatever that one may do.",
        ),
    ),
)
