"""What a node's configuration lets a service do, and what of it the service gets.

A service requests, the configuration grants, and a service gets what is in both: a grant that
nobody asked for does nothing, and a request that nobody granted is refused when it is used. The
WASM host enforces the `Grant` that `bind` makes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gossamer_node.schema import Field, Flag, ListOf, MapOf, Record, Text
from gossamer_node.service.load import NAME, ORIGIN, TARGET
from gossamer_node.service.spec import Grant, ServiceSpec


@dataclass(frozen=True, slots=True)
class Grants:
    """What the node's configuration lets one service do.

    Attributes:
        http_origins: exact origins.
        origins: origins by the name that a service puts in braces.
        grpc: servers that `grpc.call` may reach, `host:port`.
    """

    http_origins: tuple[str, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict)
    redirects: bool = False
    config: Mapping[str, str] = field(default_factory=dict)
    extend_lock: bool = False
    grpc: tuple[str, ...] = ()

    def bind(self, spec: ServiceSpec) -> tuple[Grant, tuple[str, ...]]:
        """What the service gets: what it requests and the node grants, nothing else.

        A named origin is also what `config.get` of that name answers, so that the worker finds it.

        Returns: the grant, and a sentence for each request that stays without one.
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
        return Grant(tuple(origins), self.redirects, config, extend_lock, grpc), tuple(refused)


def _refused(spec: ServiceSpec, what: str, grant: str) -> str:
    return (
        f"service {spec.name} requests {what}, which this node doesn't grant; "
        f"to grant it, write `{grant}` under grants.{spec.name}."
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
    ),
)
