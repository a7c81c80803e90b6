"""What a node knows of the mesh's work, as plain values: for `gossamer status` and the metrics."""

from collections.abc import Iterable, Mapping, Sequence

from gossamer_mesh.drivers import Member
from gossamer_mesh.leases.claimer import Claimer
from gossamer_mesh.leases.messages import LeaseId
from gossamer_node.engines.port import Engine, EngineInfo
from gossamer_node.work.claiming import ClaimLoop
from gossamer_node.work.context import LeaseContext
from gossamer_node.work.electing import Claim, Election, engine_of
from gossamer_node.work.signals import Signals, signals_told


def engine(
    engine: Engine, info: EngineInfo | None, answers: bool, loops: Sequence[ClaimLoop]
) -> dict[str, object]:
    """An engine of this node, and what was asked of it.

    Args:
        info: what it said of itself, if it ever answered.
        answers: whether its last answer was one.
        loops: of this node's claimers there.
    """
    return {
        "name": engine.name,
        "kind": engine.kind,
        "reachable": info is not None and answers,
        "product": info.product if info else None,
        "version": info.version if info else None,
        "transport": engine.transport if info else None,
        "streams_open": sum(one.streams_open() for one in loops),
        "polls_open": sum(one.polls_open() for one in loops),
        "polls": sum(one.counts.polls for one in loops),
        "polls_failed": sum(one.counts.failures for one in loops),
        "jobs_activated": sum(one.counts.jobs for one in loops),
        "jobs_pushed": sum(one.counts.pushed for one in loops),
    }


def groups(
    members: Sequence[Member],
    elections: Mapping[str, Election],
    claimers: Mapping[str, Claimer],
    own: Mapping[str, Claim],
    signals: Signals,
) -> dict[str, object]:
    """Who claims, what is leased, and the demand.

    Args:
        members: everybody who is there.
        elections: who claims for each group.
        claimers: this node's own, elected or not.
        own: what this node tells of the groups that it claims for.
        signals: this node's.
    """
    names = {one.id: one.name for one in members}
    told = signals_told(members, elections, own)
    parts = [engine_of(group) for group in elections]
    return {
        "claimers": [
            {
                "group": group,
                "engine": engine_of(group),
                "id": one.claimer,
                "member": names.get(one.claimer, one.claimer),
                "standby": names.get(one.standby, one.standby) if one.standby else None,
            }
            for group, one in sorted(elections.items())
        ],
        "demand": [
            {
                "engine": name,
                "demand": one.demand,
                "capacity": one.capacity,
                "desired": one.desired,
                "parts": parts.count(name),
            }
            for name, one in sorted(told.items())
        ],
        "leases": [
            {
                "job": one.id.key,
                "topic": one.topic,
                "group": group,
                "epoch": f"{one.id.term}.{one.id.counter}",
                "state": one.state,
                "holder": names.get(one.holder, one.holder) if one.holder else None,
                "holder_id": one.holder or None,
                "regrants": one.regrants,
                **progress(one.progress),
            }
            for group, claimer in sorted(claimers.items())
            for one in claimer.leases()
        ],
        "claimed": {
            group: {**one.statistics(), "load_thousandths": signals.load(group)}
            for group, one in sorted(claimers.items())
        },
    }


def jobs(
    members: Sequence[Member], working: Iterable[tuple[LeaseId, LeaseContext]]
) -> list[dict[str, object]]:
    """What runs on this node, for engines and for other services.

    Args:
        working: each lease with what its worker may ask.
    """
    names = {one.id: one.name for one in members}
    return [
        {
            "job": lease.key,
            "topic": one.job.ref.topic,
            "engine": one.job.ref.engine,
            "epoch": f"{lease.term}.{lease.counter}",
            "granted_by": names.get(lease.claimer, lease.claimer),
            "called_by": one.chain[-1].service if one.chain else None,
            **progress(
                None
                if one.progress_told is None
                else (one.progress_told.thousandths, one.progress_told.sentence)
            ),
        }
        for lease, one in working
    ]


def progress(said: tuple[int, str] | None) -> dict[str, object]:
    """How far a worker said that its job is; another node's word may hold anything."""
    if said is None:
        return {"done": None, "doing": None}
    thousandths, sentence = said
    shown = "".join(one if one.isprintable() else " " for one in sentence)
    return {"done": thousandths / 1_000, "doing": shown}
