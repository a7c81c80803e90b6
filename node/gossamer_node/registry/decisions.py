"""What a person on this machine decides about services, as rows of the registry.

A running node (`stock`) and a command without one come to the same rows this way.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256

from gossamer_mesh.orders import operator_in
from gossamer_node.config import NodeConfig
from gossamer_node.errors import InputError, ServiceError
from gossamer_node.registry import package as packages
from gossamer_node.registry.package import Package, Word
from gossamer_node.registry.packed import pack_spec, unpack_spec
from gossamer_node.registry.rows import Row, topics_of
from gossamer_node.registry.store import Registry
from gossamer_node.service.grants import Grants
from gossamer_node.service.host import require_host
from gossamer_node.service.spec import Grant, ServiceSpec


@dataclass(frozen=True, slots=True)
class Terms:
    """What a node's configuration says that a service must fit.

    Attributes:
        grants_of: what is granted to a service of that name.
        engines: names of the configured engines; with none, of any name.
        mesh_name, operators: whose orders count.
    """

    grants_of: Callable[[str], Grants]
    engines: Sequence[str] = ()
    mesh_name: str = ""
    operators: Sequence[str] = ()

    @classmethod
    def of(cls, config: NodeConfig) -> "Terms":
        """What a node's configuration says."""
        engines = [one.name for one in config.engines]
        return cls(config.grants_of, engines, config.mesh.name, config.mesh.operators)

    def counts(self, order: bytes) -> bool:
        """Whether an order that was taken before is of somebody who is an operator still."""
        return operator_in(order) in self.operators

    def grant(self, spec: ServiceSpec) -> Grant:
        """Raises: ServiceError for a request that is not granted, a capability that this host does
        not have, or an engine that is not here."""
        require_host(spec)
        grant, refused = self.grants_of(spec.name).bind(spec)
        if refused:
            raise ServiceError(" ".join(refused))
        for topic in spec.topics:
            strange = [one for one in topic.engines or () if one not in self.engines]
            if self.engines and strange:
                raise ServiceError(
                    f"topic {topic.name} of {spec.name} names the engine {strange[0]}, which this "
                    "node doesn't have; configure it, or take it off the topic."
                )
        return grant


def entry(registry: Registry, package: Package, terms: Terms) -> Row:
    """The row of a package; `Contents.keep` puts there what it names. Blocks.

    Raises: ServiceError, NodeError.
    """
    word = packages.check(package, terms.mesh_name, terms.operators)
    spec = package.spec
    before = registry.get(spec.name, spec.version)
    now_ms = _now_ms()
    if word is not None:
        number = word.number
        if (
            before is not None
            and before.word is not None
            and before.number > number
            and terms.counts(before.word)
        ):
            raise ServiceError(
                f"{spec.name}@{spec.version} was decided on by a later order of an operator; sign "
                "it again with `gossamer service sign` to overrule that, on a machine whose clock "
                f"is right (that order is of {_date(before.number)}, this one of {_date(number)})."
            )
    else:
        number = max(now_ms, before.number + 1 if before else 0)
    return Row(
        spec.name,
        spec.version,
        number,
        there=True,
        description=package.description,
        module=sha256(package.wasm).hexdigest(),
        size=len(package.wasm),
        files=sha256(package.files).hexdigest() if package.files else "",
        files_size=len(package.files),
        profile=spec.profile,
        topics=topics_of(spec),
        spec=pack_spec(spec),
        word=word.order if word else None,
        here=True,
        added_ms=now_ms,
        used_ms=now_ms,
    )


def refused(row: Row, why: str) -> Row:
    """The row of a version that this node does not serve."""
    return replace(row, refused=why)


def row_of(word: Word) -> Row:
    """The row of an operator's word. What it names has yet to come."""
    return Row(
        word.name,
        word.version,
        word.number,
        word.is_there,
        module=word.module.hex(),
        size=word.size,
        word=word.order,
        added_ms=_now_ms(),
        files=word.files.hex(),
        files_size=word.files_size,
    )


def put_own(registry: Registry, row: Row, terms: Terms) -> bool:
    """Takes the decision of a person on this machine; returns whether it changed anything."""
    before = registry.get(row.name, row.version)
    if before is not None and before.there and before.here and is_same(before, row):
        same_word = row.word in (None, before.word)
        if same_word and before.refused == row.refused:
            return False
    if before is not None and before.there and row.word is not None and before.word == row.word:
        # Known from another node; now its bytes are here, or it is to work here all the same.
        spec = unpack_spec(row.spec)
        registry.fill(before, spec, row.description, here=True, refused=row.refused)
    else:
        registry.put([row], over_own=True, counts=terms.counts)
    return True


def remove_own(registry: Registry, name: str, version: str | None) -> list[Row]:
    """Takes versions out on this machine. Returns them as they were. Raises: InputError."""
    rows = [one for one in registry.versions(name) if version in (None, one.version)]
    if not rows:
        what = name if version is None else f"{name}@{version}"
        raise InputError(f"there is no {what} here; see `gossamer service list`.")
    now_ms = _now_ms()
    registry.put(
        [
            Row(one.name, one.version, max(now_ms, one.number + 1), there=False, added_ms=now_ms)
            for one in rows
        ]
    )
    return rows


def shown(row: Row, state: str) -> dict[str, object]:
    """A version as `gossamer service list` shows it."""
    return {
        "service": row.name,
        "version": row.version,
        "state": state,
        "profile": row.profile,
        "topics": row.topics.split("\n") if row.topics else [],
        "module": row.module,
        "bytes": row.size,
        "signed": row.word is not None,
        "added_ms": row.added_ms,
        "refused": row.refused or None,
    }


def state_of(row: Row) -> str:
    """What the registry alone can say of a version."""
    if row.refused:
        return "refused"
    if not row.here:
        return "coming"
    return "chosen" if row.chosen else "registered"


def is_row(one: Row, other: Row) -> bool:
    return (one.name, one.version) == (other.name, other.version) and is_same(one, other)


def is_same(one: Row, other: Row) -> bool:
    """The same module and files, and the same description as far as both are here."""
    return (one.module, one.files) == (other.module, other.files) and (
        not one.description or not other.description or one.description == other.description
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _date(number: int) -> str:
    """An order's number as the time that it mostly is."""
    try:
        return datetime.fromtimestamp(number / 1_000, UTC).isoformat(" ", "milliseconds")
    except (OverflowError, ValueError, OSError):
        return "no time at all"
