"""What the host itself has for services to depend on: one table of capabilities with versions.

A name in service.yaml's `dependencies` that stands in `HOST` means the host; any other one is a
service in the mesh. The host comes first, so nothing that somebody calls `grpc` can stand in for
what the host does. A version here is that of the operations as ABI.md describes them: a field or an
operation more raises the second number, and whatever a worker could stumble over the first.

To depend on a capability asks whether it is here. Whether the service may use it is another
question, which `capabilities` asks and the node's configuration answers.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from gossamer_node.errors import ServiceError
from gossamer_node.registry.ranges import parse_range
from gossamer_node.service.spec import Dependency, ServiceSpec


@dataclass(frozen=True, slots=True)
class Capability:
    """Something that a host can do for a worker.

    Attributes:
        meaning: for the reference page: what it is.
        operations: the host operations that make it up (ABI.md §4), if it is any.
    """

    name: str
    version: str
    meaning: str
    operations: tuple[str, ...] = ()


HOST = {
    one.name: one
    for one in (
        Capability("job1", "1.0.0", "the worker ABI itself"),
        Capability("clock", "1.0.0", "the time, `job1.now`"),
        Capability("config", "1.0.0", "plain configuration values", ("config.get",)),
        Capability("grpc", "1.0.0", "calls of gRPC servers", ("grpc.call",)),
        Capability("http", "1.0.0", "HTTP requests", ("http.fetch", "http.read", "http.close")),
        Capability(
            "job",
            "1.1.0",
            "the running job's lock and progress",
            ("job.extend_lock", "job.progress"),
        ),
        Capability(
            "kv",
            "1.0.0",
            "values kept from job to job",
            ("kv.get", "kv.put", "kv.delete", "kv.list"),
        ),
        Capability("log", "1.0.0", "lines in the node's log, `job1.log`"),
        Capability("random", "1.0.0", "random bytes, `job1.random`"),
        Capability("secrets", "1.0.0", "secrets by reference", ("secrets.get",)),
        Capability("service", "1.0.0", "calls of other services", ("service.call",)),
        Capability("state", "1.0.0", "state by key of a dense service"),
    )
}
"""By name. A test compares the operations with those that there are."""


def services_needed(spec: ServiceSpec) -> tuple[Dependency, ...]:
    """Of a service's dependencies those that the host does not have: services in the mesh."""
    return tuple(one for one in spec.dependencies if one.name not in HOST)


def services_called(spec: ServiceSpec) -> tuple[Dependency, ...]:
    """What a service asks to call, beside what it depends on."""
    needed = {one.name for one in spec.dependencies}
    return tuple(Dependency(one, "*") for one in spec.capabilities.calls if one not in needed)


def unmet(needs: Iterable[Dependency]) -> list[str]:
    """A part of a sentence for each dependency on a capability that this host has otherwise."""
    return [
        f"{one.name} {one.version}, and this host has {one.name} {HOST[one.name].version}"
        for one in needs
        if one.name in HOST and HOST[one.name].version not in parse_range(one.version)
    ]


def require_host(spec: ServiceSpec) -> None:
    """Raises: ServiceError for a service that depends on what this host does not have."""
    missing = unmet(spec.dependencies)
    if missing:
        raise ServiceError(
            f"{spec.path}: service {spec.name} depends on {'; on '.join(missing)}: change the "
            "range, or run it where Gossamer has that version (`gossamer doctor` shows what a host "
            "has)."
        )
