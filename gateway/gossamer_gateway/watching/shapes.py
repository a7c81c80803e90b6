"""What is shown of a mesh: plain values, as `/v1` answers them. Pure.

None stands for what is not known, because a member did not answer yet or cannot be asked; it is
never shown as zero.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

NodeState = Literal["alive", "suspect", "dead", "left"]
Role = Literal["node", "gateway", "unknown"]


@dataclass(frozen=True, slots=True)
class EngineSeen:
    """An engine, as one node reaches it."""

    name: str
    kind: str
    reachable: bool
    product: str | None
    version: str | None
    transport: str | None
    polls_open: int
    streams_open: int
    jobs_activated: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a node's claimer of a group has done since it started, and how near its limit it is."""

    open: int
    granted: int
    regranted: int
    settled: int
    released: int
    stale: int
    load_thousandths: int


@dataclass(frozen=True, slots=True)
class Node:
    """A member of the mesh.

    Attributes:
        since_ms: when it entered its state, as this gateway saw it, since 1970.
        heard_ms: when it last answered this gateway; null: not yet.
        silent: whether it left this gateway's last question unanswered.
        claims: groups of engines for which it claims, as it says by gossip.
        engines: that it reaches, by its last answer.
        outcomes: how many jobs ended how on it.
        gossip: counters of its membership protocol.
    """

    id: str
    name: str
    address: str
    state: NodeState
    since_ms: int
    incarnation: int
    role: Role = "unknown"
    heard_ms: int | None = None
    silent: bool = False
    version: str | None = None
    up_ms: int | None = None
    slots: int | None = None
    running: int | None = None
    unacknowledged: int | None = None
    services: int | None = None
    leases: int | None = None
    outcomes: dict[str, int] = field(default_factory=dict)
    claims: list[str] = field(default_factory=list)
    engines: list[EngineSeen] = field(default_factory=list)
    claimed: dict[str, Claimed] = field(default_factory=dict)
    gossip: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ServiceOnNode:
    """A service where it runs.

    Attributes:
        instances: jobs of it that run there at once, at most.
        waits: what it waits for before it works; null: it works.
    """

    node: str
    version: str
    instances: int
    waits: str | None


@dataclass(frozen=True, slots=True)
class Service:
    """A service of the mesh."""

    name: str
    topics: list[str]
    nodes: list[ServiceOnNode]


@dataclass(frozen=True, slots=True)
class Lease:
    """A job on its way through the mesh.

    Attributes:
        id: `GROUP:JOB`, one of a kind in the mesh.
        claimer: id of the node that answers for it to the engine.
        holder: id of the node that runs it; null: nobody known.
        moved_from: id of the node that held it before this one; null: it did not move.
        state: as its claimer sees it; `orphaned`: that claimer is gone, and no other has said yet
            that it answers for it.
        done_thousandths, doing: how far its worker says that it is.
        since_ms: when this gateway saw it first.
    """

    id: str
    engine: str
    group: str
    job: str
    topic: str
    state: str
    claimer: str
    holder: str | None
    moved_from: str | None
    epoch: str
    regrants: int
    done_thousandths: int | None
    doing: str | None
    since_ms: int


@dataclass(frozen=True, slots=True)
class Event:
    """Something changed.

    Attributes:
        number: rises by one with each event of this gateway's run.
        kind: `node.joined`, `lease.moved`, …; see `/v1/docs`.
        subject: the id of what changed.
        data: what it is like now; null when it is gone.
    """

    number: int
    at_ms: int
    kind: str
    subject: str
    data: Mapping[str, Any] | None
