"""The picture of a mesh, and what changed in it. Pure: no I/O, takes `now_ms`.

What goes in: membership, and what members said of themselves. What comes out: the mesh as plain
values, and events for what became different. Rules:

1. A member speaks for itself alone: its leases are those that its own claimers answer for. Of two
   that both say that they answer for a job (views differ for a moment) the later word counts.
2. When a claimer goes, its leases are not over: its standby takes them over in some seconds. Until
   it says so they are `orphaned`, and after `ORPHAN_MS` they are dropped.
3. A lease that its claimer no longer names is settled, or given back to the engine: `lease.ended`.
   Which of the two cannot be seen from here; the claimers' counters know how many.
4. What begins and ends between two looks is never seen. Counters miss nothing.
5. Members that are gone stay for `GONE_MS`, so that a person sees who went.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

from gossamer_gateway.watching.reading import LeaseSaid, NodeSaid, ServiceSaid
from gossamer_gateway.watching.shapes import Event, Lease, Node, Service, ServiceOnNode
from gossamer_mesh.drivers import Member, MemberEventKind
from gossamer_node.work.electing import engine_of

NODES_MAX = 2_048
"""Twice what a mesh is made for; further members are counted and not shown."""

GONE_MS = 600_000
GONE_MAX = 256
"""How long those that went are shown, and how many."""

LEASES_MAX = 20_000
"""Ten for each node of a large mesh; a page shows no more, and further ones are counted."""

ORPHAN_MS = 30_000
"""A take-over takes some seconds."""

_PRESENT = ("alive", "suspect")

_KINDS: Mapping[MemberEventKind, str] = {
    "joined": "node.joined",
    "changed": "node.changed",
    "suspected": "node.suspected",
    "cleared": "node.cleared",
    "died": "node.died",
    "left": "node.left",
}


class Picture:
    """One gateway's."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        self._services: dict[str, dict[str, tuple[ServiceSaid, ...]]] = {}
        self._leases: dict[str, Lease] = {}
        self._of_claimer: dict[str, set[str]] = {}
        self._orphaned: dict[str, int] = {}
        self._events: list[Event] = []
        self._number = 0
        self.dropped = 0

    # --- what is shown

    def nodes(self) -> list[Node]:
        """Members by name: those that are there, then those that went."""
        return sorted(
            self._nodes.values(), key=lambda one: (one.state not in _PRESENT, one.name, one.id)
        )

    def node(self, id: str) -> Node | None:
        return self._nodes.get(id)

    def services(self) -> list[Service]:
        """Services by name, with the nodes that are there and have them."""
        found: dict[str, list[tuple[str, ServiceSaid]]] = {}
        for id, said in self._services.items():
            for per_name in said.values():
                for one in per_name:
                    found.setdefault(one.name, []).append((id, one))
        return [_service(name, found[name]) for name in sorted(found)]

    def leases(self) -> list[Lease]:
        """By group and job."""
        return sorted(self._leases.values(), key=lambda one: (one.group, one.job))

    @property
    def number(self) -> int:
        """Of the last event."""
        return self._number

    def take_events(self) -> list[Event]:
        """What happened since it was last asked."""
        taken, self._events = self._events, []
        return taken

    def tell(self, kind: str, subject: str, data: Any | None, now_ms: int) -> None:
        """An event of another part of the gateway, in line with the others."""
        self._number += 1
        self._events.append(Event(self._number, now_ms, kind, subject, data))

    # --- membership

    def members_are(self, members: Iterable[Member], now_ms: int) -> None:
        """Everybody who is there, at the start."""
        for one in members:
            if one.id not in self._nodes:
                self.member("joined", one, now_ms)

    def member(self, kind: MemberEventKind, member: Member, now_ms: int) -> None:
        """A membership event."""
        before = self._nodes.get(member.id)
        if before is None and len(self._nodes) >= NODES_MAX:
            self.dropped += 1
            return
        is_new = before is None or kind == "joined"
        since_ms = before.since_ms if before and before.state == member.state else now_ms
        shown = before if before is not None and not is_new else Node("", "", "", "alive", 0, 0)
        host, port = member.address
        node = replace(
            shown,
            id=member.id,
            name=member.name,
            address=f"{host}:{port}",
            state=member.state,
            since_ms=since_ms,
            incarnation=member.incarnation,
            claims=_claims(member),
        )
        if node.state not in _PRESENT:
            node = replace(node, running=None, unacknowledged=None, leases=None, claims=[])
        self._nodes[member.id] = node
        self._tell_of(_KINDS[kind], member.id, node, now_ms)
        if member.state not in _PRESENT:
            self._gone(member.id, now_ms)

    def _gone(self, id: str, now_ms: int) -> None:
        for name in sorted(self._services.pop(id, {})):
            self._tell_service(name, now_ms)
        for lease_id in sorted(self._of_claimer.pop(id, ())):
            lease = replace(self._leases[lease_id], state="orphaned")
            self._leases[lease_id] = lease
            self._orphaned[lease_id] = now_ms
            self._tell_of("lease.orphaned", lease_id, lease, now_ms)

    def tick(self, now_ms: int) -> None:
        """Forgets what is over."""
        for id in [id for id, since in self._orphaned.items() if now_ms - since >= ORPHAN_MS]:
            del self._orphaned[id]
            del self._leases[id]
            self._tell_of("lease.ended", id, None, now_ms)
        gone = sorted(
            (one.since_ms, one.id) for one in self._nodes.values() if one.state not in _PRESENT
        )
        for place, (since_ms, id) in enumerate(gone):
            if now_ms - since_ms >= GONE_MS or place < len(gone) - GONE_MAX:
                del self._nodes[id]
                self._tell_of("node.forgotten", id, None, now_ms)

    # --- what members say

    def silent(self, id: str, now_ms: int) -> None:
        """A member that is there did not answer."""
        before = self._nodes.get(id)
        if before is not None and not before.silent:
            self._put(replace(before, silent=True), now_ms)

    def said(
        self,
        id: str,
        said: NodeSaid,
        services: Iterable[ServiceSaid] | None,
        leases: Iterable[LeaseSaid],
        now_ms: int,
    ) -> None:
        """A member's answer, all pages of it.

        Args:
            services: None: it was not asked for them, they are as before.
        """
        before = self._nodes.get(id)
        if before is None or before.state not in _PRESENT:
            return  # it went while it answered
        node = replace(
            before,
            role=said.role,
            heard_ms=now_ms,
            silent=False,
            version=said.version,
            up_ms=said.up_ms,
            slots=said.slots,
            running=said.running,
            unacknowledged=said.unacknowledged,
            services=said.services,
            leases=said.leases,
            outcomes=dict(said.outcomes),
            engines=list(said.engines),
            claimed=dict(said.claimed),
            gossip=dict(said.gossip),
        )
        self._put(node, now_ms)
        if services is not None:
            self._serves(id, services, now_ms)
        self._answers_for(id, leases, now_ms)

    def _put(self, node: Node, now_ms: int) -> None:
        before = self._nodes[node.id]
        self._nodes[node.id] = node
        if _weighty(before) != _weighty(node):
            self._tell_of("node.changed", node.id, node, now_ms)

    def _serves(self, id: str, services: Iterable[ServiceSaid], now_ms: int) -> None:
        before = self._services.get(id, {})
        now: dict[str, tuple[ServiceSaid, ...]] = {}
        for one in services:
            now[one.name] = (*now.get(one.name, ()), one)
        self._services[id] = now
        for name in sorted({*before, *now}):
            if before.get(name) != now.get(name):
                self._tell_service(name, now_ms)

    def _tell_service(self, name: str, now_ms: int) -> None:
        rows = [(id, one) for id, said in self._services.items() for one in said.get(name, ())]
        self._tell_of("service.changed", name, _service(name, rows) if rows else None, now_ms)

    def _answers_for(self, id: str, leases: Iterable[LeaseSaid], now_ms: int) -> None:
        before = self._of_claimer.pop(id, set())
        now: set[str] = set()
        for said in leases:
            lease_id = f"{said.group}:{said.job}"
            known = self._leases.get(lease_id)
            if known is None and len(self._leases) >= LEASES_MAX:
                self.dropped += 1
                continue
            self._orphaned.pop(lease_id, None)
            if known is not None and known.claimer != id:
                self._of_claimer.get(known.claimer, set()).discard(lease_id)
            lease = _lease(id, lease_id, said, known, now_ms)
            self._leases[lease_id] = lease
            now.add(lease_id)
            kind = _kind(known, lease)
            if kind is not None:
                self._tell_of(kind, lease_id, lease, now_ms)
        if now:
            self._of_claimer[id] = now
        for lease_id in sorted(before - now):
            del self._leases[lease_id]
            self._tell_of("lease.ended", lease_id, None, now_ms)

    def _tell_of(
        self, kind: str, subject: str, value: Node | Lease | Service | None, now_ms: int
    ) -> None:
        self.tell(kind, subject, None if value is None else asdict(value), now_ms)


def _lease(claimer: str, id: str, said: LeaseSaid, known: Lease | None, now_ms: int) -> Lease:
    moved_from = known.moved_from if known else None
    if known is not None and known.holder != said.holder and known.holder is not None:
        moved_from = known.holder
    return Lease(
        id=id,
        engine=engine_of(said.group),
        group=said.group,
        job=said.job,
        topic=said.topic,
        state=said.state,
        claimer=claimer,
        holder=said.holder,
        moved_from=moved_from if moved_from != said.holder else None,
        epoch=said.epoch,
        regrants=said.regrants,
        done_thousandths=said.done_thousandths,
        doing=said.doing,
        since_ms=known.since_ms if known else now_ms,
    )


def _kind(known: Lease | None, lease: Lease) -> str | None:
    """What became of a lease."""
    if known is None:
        return "lease.granted" if lease.holder else "lease.waiting"
    if known == lease:
        return None
    if lease.holder != known.holder:
        if lease.holder is None:
            return "lease.waiting"
        return "lease.moved" if lease.moved_from else "lease.granted"
    if lease.claimer != known.claimer:
        return "lease.inherited"
    return "lease.changed"


def _service(name: str, rows: Iterable[tuple[str, ServiceSaid]]) -> Service:
    topics: set[str] = set()
    nodes = []
    for id, one in sorted(rows, key=lambda row: (row[0], row[1].version)):
        topics.update(one.topics)
        nodes.append(ServiceOnNode(id, one.version, one.instances, one.waits))
    return Service(name, sorted(topics), nodes)


def _claims(member: Member) -> list[str]:
    said = member.tags.get("claims")
    return sorted(str(one) for one in said) if isinstance(said, dict) else []


def _weighty(node: Node) -> Node:
    """Without what changes all the time and means nothing by itself."""
    return replace(node, heard_ms=None, up_ms=None, gossip={})


def counters(nodes: Iterable[Node]) -> Iterator[tuple[str, str, int]]:
    """Counter, group and value, of all claimers that are there, summed by group."""
    totals: dict[tuple[str, str], int] = {}
    for node in nodes:
        for group, one in node.claimed.items():
            for name in ("open", "granted", "regranted", "settled", "released", "stale"):
                key = (name, group)
                totals[key] = totals.get(key, 0) + getattr(one, name)
    for (name, group), value in sorted(totals.items()):
        yield name, group, value
